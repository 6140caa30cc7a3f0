"""CSV and NDJSON: each kind of cell, texts that no encoding has, and files that cannot be completed."""

import gzip
import json
import zlib
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from django.db import DatabaseError

from events.reports.exports import text_files
from events.reports.exports.columns import Column, Kind

AT_MS = 1_770_919_200_005


def ndjson(kind: Kind, value: Any) -> str:
    (line,) = b"".join(text_files.as_ndjson([[(value,)]], [Column("x", kind)])).decode().splitlines()
    return line.removeprefix('{"x":').removesuffix("}")


def as_csv(kind: Kind, value: Any) -> str:
    return b"".join(text_files.as_csv([[(value,)]], [Column("x", kind)])).decode("utf-8-sig").partition("\r\n")[2]


@pytest.mark.parametrize(
    ("kind", "value", "in_ndjson", "in_csv"),
    [
        (Kind.TEXT, "a", '"a"', '"a"'),
        (Kind.TEXT, '"\n\x01é', '"\\"\\n\\u0001é"', '"""\n\x01é"'),
        (Kind.TEXT, "\ud83d lone", '"\ufffd lone"', '"\ufffd lone"'),
        (Kind.TEXT, "=cmd", '"=cmd"', '"\'=cmd"'),
        (Kind.TEXT, "00123", '"00123"', '"00123"'),
        (Kind.TEXT, None, "null", '""'),
        (Kind.NUMBER, 7, "7", '"7"'),
        (Kind.NUMBER, -0.25, "-0.25", '"-0.25"'),
        (Kind.NUMBER, True, "1", '"True"'),
        (Kind.NUMBER, None, "null", '""'),
        (Kind.MOMENT, AT_MS, '"2026-02-12T18:00:00.005Z"', '"2026-02-12T18:00:00.005Z"'),
        (Kind.MOMENT, None, "null", '""'),
        (Kind.TIME, "2026-02-12T18:00:00.000Z", '"2026-02-12T18:00:00.000Z"', '"2026-02-12T18:00:00.000Z"'),
        (Kind.DAY, date(2026, 2, 12), '"2026-02-12"', '"2026-02-12"'),
        (Kind.JSON, '{"a":[1,"b"]}', '{"a":[1,"b"]}', '"{""a"":[1,""b""]}"'),
        (Kind.JSON, '{"a":\n 1}', '{"a":1}', '"{""a"":\n 1}"'),
        (Kind.JSON, "{not json", '"{not json"', '"{not json"'),
        (Kind.JSON, "NaN", '"NaN"', '"NaN"'),
        (Kind.JSON, "[" * 3_000, json.dumps("[" * 3_000), f'"{"[" * 3_000}"'),
    ],
)
def test_each_kind_of_cell(kind: Kind, value: Any, in_ndjson: str, in_csv: str) -> None:
    assert (ndjson(kind, value), as_csv(kind, value)) == (in_ndjson, f"{in_csv}\r\n")
    json.loads(ndjson(kind, value))


def test_rows_without_a_value_and_with_equal_values_stay_in_their_places() -> None:
    form = [Column("x"), Column("value", Kind.JSON), Column("at", Kind.MOMENT), Column("n", Kind.NUMBER)]
    rows: list[tuple[Any, ...]] = [("a", "[]", AT_MS, 1), (None, None, None, None), ("a", "[]", AT_MS, 2)]
    at = "2026-02-12T18:00:00.005Z"
    lines = b"".join(text_files.as_ndjson([rows, [], rows[:1]], form)).decode().splitlines()
    first = {"x": "a", "value": [], "at": at, "n": 1}
    assert list(map(json.loads, lines)) == [first, dict.fromkeys(first), first | {"n": 2}, first]
    assert b"".join(text_files.as_csv([rows, []], form)).decode("utf-8-sig").splitlines() == [
        '"x","value","at","n"', f'"a","[]","{at}","1"', '"","","",""', f'"a","[]","{at}","2"',
    ]  # fmt: skip


def failing() -> Iterator[list[tuple[Any, ...]]]:
    yield [("first",)]
    raise DatabaseError("away")


def test_a_file_that_cannot_be_completed_does_not_look_complete() -> None:
    received: list[bytes] = []
    for write in (text_files.as_csv, text_files.as_ndjson):
        received.clear()
        with pytest.raises(DatabaseError, match="away"):
            received.extend(text_files.gzipped(write(failing(), [Column("x")])))
        with pytest.raises(EOFError):
            gzip.decompress(b"".join(received))
    lines: list[bytes] = []
    with pytest.raises(DatabaseError, match="away"):
        lines.extend(text_files.as_csv(failing(), [Column("x")]))
    assert lines[-1].decode().strip() == f'"{text_files.ENDED_EARLY}"'


def test_equal_rows_give_equal_files() -> None:
    first, second = (b"".join(text_files.gzipped(text_files.as_csv([[("a",)]], [Column("x")]))) for _ in range(2))
    assert first == second
    assert zlib.decompress(first, 16 + zlib.MAX_WBITS).endswith(b'"a"\r\n')
