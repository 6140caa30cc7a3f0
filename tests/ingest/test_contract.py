"""The wire contract, below HTTP: what is JSON, what is a time, what two layers of JSON become."""

import json
from typing import Any

import pytest

from events.ingest import contract
from tests.conftest import payload

MAX_JSON = {"max_length": 65_536, "max_items": 200}


@pytest.mark.parametrize(
    ("raw", "stored"),
    [
        ("2026-02-12T18:00:00.000Z", "2026-02-12T18:00:00.000Z"),
        ("2026-02-12", "2026-02-12T00:00:00.000Z"),
        ("2026-02-12T18:00", "2026-02-12T18:00:00.000Z"),
        ("2026-02-12T18:00:00", "2026-02-12T18:00:00.000Z"),
        ("2026-02-12T18:00Z", "2026-02-12T18:00:00.000Z"),
        ("2026-02-12T18:00:00.5Z", "2026-02-12T18:00:00.500Z"),
        ("2026-02-12T18:00:00.123999999Z", "2026-02-12T18:00:00.123Z"),
        ("2026-02-12T18:00:00+01:00", "2026-02-12T17:00:00.000Z"),
        ("2026-02-12T18:00:00-0930", "2026-02-13T03:30:00.000Z"),
        ("2026-02-12T18:00:00+05", "2026-02-12T13:00:00.000Z"),
        ("2026-02-12T18:00:00.250+05:45", "2026-02-12T12:15:00.250Z"),
        ("2026-02-12T18:00:00-00:00", "2026-02-12T18:00:00.000Z"),
        ("2026-02-12T18:00:00+23:59", "2026-02-11T18:01:00.000Z"),
        ("2026-01-01T00:30:00+01:00", "2025-12-31T23:30:00.000Z"),
        ("2024-02-29T23:59:59.999Z", "2024-02-29T23:59:59.999Z"),
        ("0001-01-01", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_time_is_stored_in_one_form(raw: str, stored: str) -> None:
    assert contract.normalise_time(raw) == stored


@pytest.mark.parametrize(
    "raw",
    [
        "2026-02-30",
        "2025-02-29T00:00:00Z",
        "2026-02-12T24:00:00Z",
        "2026-02-12T23:60:00Z",
        "2016-12-31T23:59:60Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+10:00",
        "9999-12-31T23:59:59-10:00",
        "2026-02-12T18:00:00+24:00",
        "2026-02-12T18:00:00+10:60",
    ],
)
def test_a_time_that_does_not_exist_is_refused(raw: str) -> None:
    with pytest.raises(ValueError, match=r"^there is no such date or time$"):
        contract.normalise_time(raw)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        " ",
        "now",
        "1770919200000",
        "2026",
        "2026-02",
        "2026-W07-4",
        "2026-W07-4T18:00:00Z",
        "2026-043",
        "20260212",
        "20260212T180000Z",
        "2026-02-12T18",
        "2026-02-12 18:00:00",
        "2026-02-12t18:00:00z",
        "2026-02-12T18:00:00,5Z",
        "2026-02-12T18:00:00.Z",
        "2026-02-12T18:00:00.1234567890Z",
        "2026-02-12T18:00:00 Z",
        "2026-02-12T18:00:00Z\n",
        " 2026-02-12T18:00:00Z",
        "2026-02-12T18:00:00Z[Europe/Berlin]",
        "2026-02-12Z",
        "+2026-02-12T18:00:00Z",
        "-0001-01-01T00:00:00Z",
        "12026-02-12T18:00:00Z",
        "2026-2-1",
        "２０２６-02-12T18:00:00Z",
        "Thu, 12 Feb 2026 18:00:00 GMT",
        "9" * 100_000,
    ],
)
def test_what_is_no_iso_date_time_is_refused(raw: str) -> None:
    with pytest.raises(ValueError, match=r"^expected an ISO 8601 date-time"):
        contract.normalise_time(raw)


@pytest.mark.parametrize(
    ("raw", "stored"),
    [
        ("[]", "[]"),
        ("{}", "{}"),
        (" [ ] ", "[]"),
        ('{ "a" : [1, 2.5, true, null] }', '{"a":[1,2.5,true,null]}'),
        ('["\\u00e9", "é", "\\/"]', '["é","é","/"]'),
        ('["\\ud83d\\udcfb"]', '["📻"]'),
        ('["cut \\ud83d"]', '["cut \ufffd"]'),
        ('["\\udcfb\\ud83d"]', '["\ufffd\ufffd"]'),
        ('["nul \\u0000"]', '["nul \ufffd"]'),
        ('{"\\u0000": "\\ud83d"}', '{"\ufffd":"\ufffd"}'),
        ('["\\\\u0000"]', '["\\\\u0000"]'),
        ('["bel \\u0007, tab \\t"]', '["bel \\u0007, tab \\t"]'),
        ('{"a": 1, "a": 2}', '{"a":2}'),
        ("[1e308, -1e308]", "[1e+308,-1e+308]"),
        (f"[{2**70}]", f"[{2**70}]"),
        (f"[{'9' * 4300}]", f"[{'9' * 4300}]"),
        ("[[[[[[[[]]]]]]]]", "[[[[[[[[]]]]]]]]"),
        ('["[[[[[[[[[[[["]', '["[[[[[[[[[[[["]'),
        ('["\\"[[[[[[[[[["]', '["\\"[[[[[[[[[["]'),
        (json.dumps([0] * 200), json.dumps([0] * 200, separators=(",", ":"))),
        (json.dumps(["x" * 65_532]), json.dumps(["x" * 65_532])),
        ('["a","b \x7f \u2028"]', '["a","b \x7f \u2028"]'),
        ('["a","b",1]', '["a","b",1]'),
        ('["a","b\\"","c\\\\"]', '["a","b\\"","c\\\\"]'),
        ('["a","\\u0062"]', '["a","b"]'),
        ('["a", "b"]', '["a","b"]'),
    ],
)
def test_json_text_is_stored_compact_and_clean(raw: str, stored: str) -> None:
    assert contract.normalise_json(raw, **MAX_JSON) == stored


NO_JSON = "must be JSON text, nested at most 8 deep"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("", NO_JSON),
        ("not json", NO_JSON),
        ("{", NO_JSON),
        ('["cut off', NO_JSON),
        ("[1,]", NO_JSON),
        ("['x']", NO_JSON),
        ("[] []", NO_JSON),
        ("{}x", NO_JSON),
        ("\ufeff[]", NO_JSON),
        ('["\t"]', NO_JSON),
        ("[NaN]", NO_JSON),
        ("[Infinity]", NO_JSON),
        ("[-Infinity]", NO_JSON),
        ("[1e999]", NO_JSON),
        ("[-1E+999]", NO_JSON),
        (f"[{'9' * 400}.0]", NO_JSON),
        (f"[{'9' * 5000}]", NO_JSON),
        ("[[[[[[[[[]]]]]]]]]", NO_JSON),
        ('{"a":' * 9 + "1" + "}" * 9, NO_JSON),
        ("[" * 10_000, NO_JSON),
        ("[" * 10_000 + "]" * 10_000, NO_JSON),
        ('{"a":' * 10_000, NO_JSON),
        ("]" * 10_000 + "[" * 10_000, NO_JSON),
        ("1", "must be a JSON array or object"),
        ("null", "must be a JSON array or object"),
        ("true", "must be a JSON array or object"),
        ('"text"', "must be a JSON array or object"),
        (json.dumps([0] * 201), "at most 200 items"),
        (json.dumps({str(n): n for n in range(201)}), "at most 200 items"),
        (json.dumps(["x" * 65_533]), "at most 65536 characters"),
    ],
)
def test_json_text_that_breaks_a_rule_is_refused_in_words(raw: str, words: str) -> None:
    with pytest.raises(ValueError, match=rf"^{words}$"):
        contract.normalise_json(raw, **MAX_JSON)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"[]",
        b'"x"',
        b"1",
        b"null",
        b"true",
        b'{"a":',
        b'{"a":}',
        b"{'a': 1}",
        b"{} {}",
        b"{}trailing",
        b"a=1&b=2",
        b"\xef\xbb\xbf{}",
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\xbd"}',
        b'{"a": "\xc0\xaf"}',
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-16-le"),
        '{"a": 1}'.encode("utf-32"),
        '{"a": "é"}'.encode("latin-1"),
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5_000 + b"}",
        b'{"a": -' + b"9" * 5_000 + b"}",
        b"[" * 10_000,
        b'{"a": ' + b"[" * 10_000,
        b'{"a": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"a": ' + b"[" * 64 + b"]" * 64 + b"}",
        b'{"a": "' + b"[" * 100,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(contract.InvalidJson):
        contract.read_object(body)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"{}", {}),
        (b' \r\n{"a": 1}\t', {"a": 1}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        ('{"é": "📻"}'.encode(), {"é": "📻"}),
        (b'{"a": "\\ud83d\\udcfb"}', {"a": "📻"}),
        (b'{"a": "\\ud83d"}', {"a": "\ufffd"}),
        (b'{"a": "\\u0000b"}', {"a": "\ufffdb"}),
        (b'{"a\\u0000": ["\\udcfb", {"b": "\\u0000"}]}', {"a\ufffd": ["\ufffd", {"b": "\ufffd"}]}),
        (b'{"a": "\\\\u0000"}', {"a": "\\u0000"}),
        (b'{"a": "' + b"[{" * 5_000 + b'"}', {"a": "[{" * 5_000}),
        (b'{"a": "\\"' + b"[" * 5_000 + b'"}', {"a": '"' + "[" * 5_000}),
        (b'{"a": [' + b"[]," * 5_000 + b"1]}", {"a": [[]] * 5_000 + [1]}),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_what_no_database_can_store_becomes_a_replacement_character(body: bytes, value: dict[str, Any]) -> None:
    assert contract.read_object(body) == value


def test_nesting_as_deep_as_is_read_is_the_same_on_every_python() -> None:
    contract.read_object(b'{"a": ' + b"[" * 63 + b"]" * 63 + b"}")


def test_the_same_content_is_the_same_event_however_its_json_is_written() -> None:
    first = contract.parse(payload(log_lines_json='["é", {"a": 1}]'), received_at_ms=1)
    again = contract.parse(payload(log_lines_json=' ["\\u00e9",{"a":1} ]'), received_at_ms=2)
    assert first.id == again.id


@pytest.mark.parametrize(
    "change",
    [
        {"event_type": "connect_error"},
        {"occurred_at": "2026-02-12T18:00:00.001Z"},
        {"message": "Another message"},
        {"error_name": "Error"},
        {"error_name": ""},
        {"stack": "at flash"},
        {"model": "DM-32UV"},
        {"write_mode": 0},
        {"connected": 0},
        {"app_version": "web-dev"},
        {"log_lines_json": '["line"]'},
    ],
    ids=str,
)
def test_each_part_of_the_content_makes_another_event(change: dict[str, Any]) -> None:
    first = contract.parse(payload(), received_at_ms=1)
    assert contract.parse(payload(**change), received_at_ms=1).id != first.id


def test_metadata_does_not_make_another_event() -> None:
    first = contract.parse(payload(), received_at_ms=1)
    assert contract.parse(payload(metadata_json='{"source":"web-v2"}'), received_at_ms=1).id == first.id
