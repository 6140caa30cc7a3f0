"""`POST /event` and `/event/batch` with any body. The response and the row follow the contract."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import oracle
from tests.fuzz.judge import ask, check, share, take_events
from tests.fuzz.strategies import BATCHES, BODIES, broken, payloads, written

pytestmark = pytest.mark.django_db


def expect(answer: Any, expected: oracle.Expected, body: bytes) -> None:
    rows = take_events()
    if expected.status == 201:
        check("refused", answer.status_code == 201, answer.content, body)
        expect_row(rows, expected)
        return
    check("stored", not rows, rows, body)
    check("else", answer.status_code == expected.status, answer.status_code, expected, body)
    fields = answer.json().get("fields", {})
    check("else", set(fields) == expected.fields, fields, expected, body)


def expect_row(rows: list[dict[str, Any]], expected: oracle.Expected) -> None:
    check("else", len(rows) == 1, rows, expected)
    check("else", as_expected(rows[0]) == expected.columns, rows, expected)


def as_expected(row: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of the contract, with parsed JSON."""
    columns = {name: row[name] for name in oracle.RULES}
    return columns | {name: json.loads(columns[name]) for name in ("log_lines_json", "metadata_json")}


@pytest.mark.fault("events beside the contract")
@share(35)
@given(body=written(payloads()))
def test_an_event(body: bytes) -> None:
    expect(ask("/event", body), oracle.of_body(body), body)


@pytest.mark.fault("broken bytes")
@share(15)
@given(body=broken())
def test_broken_bytes(body: bytes) -> None:
    expect(ask("/event", body), oracle.of_body(body), body)


MEDIA_TYPES = {
    "application/json": True,
    "text/plain": True,
    "text/plain;charset=UTF-8": True,
    'APPLICATION/JSON ; charset="utf8"': True,
    "application/json; charset=x": False,
    "application/json; charset=utf-8; charset=hex": False,
    "text/plain; charset*=utf-8''punycode": False,
    "application/x-www-form-urlencoded": False,
    "multipart/form-data; boundary=x": False,
    "text/html": False,
    "application/jsonx": False,
    ",": False,
    "é": False,
}


@pytest.mark.fault("media types and encodings of a body")
@share(10)
@given(
    body=BODIES,
    media_type=st.sampled_from(list(MEDIA_TYPES)),
    encoding=st.sampled_from(["", "", "", "gzip", "identity", "é"]),
    accept=st.sampled_from(["*/*", "text/html", "nonsense", ""]),
    slash=st.sampled_from(["", "/", "?token=x", "?format=api&token=%ff"]),
)
def test_a_body_under_any_heading(body: bytes, media_type: str, encoding: str, accept: str, slash: str) -> None:
    headers = {"accept": accept} | ({"content-encoding": encoding} if encoding else {})
    expected = oracle.of_body(body)
    if encoding or not MEDIA_TYPES[media_type]:
        expected = oracle.Expected(415)
    expect(ask(f"/event{slash}", body, media_type, **headers), expected, body)


@pytest.mark.fault("other methods")
@share(5)
@given(body=BODIES, method=st.sampled_from(["PUT", "PATCH", "DELETE", "GET", "TRACE", "BREW"]))
def test_another_method_stores_nothing(body: bytes, method: str) -> None:
    answer = ask("/event", body, method=method)
    check("stored", not take_events(), method, body)
    check("else", answer.status_code == 405, answer.status_code, method)


@pytest.mark.fault("batches beside the contract")
@share(10)
@given(body=BATCHES | BODIES)
def test_a_batch(body: bytes) -> None:
    status, expected_items = oracle.of_batch(body)
    answer, rows = ask("/event/batch", body), take_events()
    check("else", answer.status_code == status, answer.status_code, status, body)
    results = answer.json()["results"] if status == 200 else []
    check("else", len(results) == len(expected_items), results, expected_items)
    seen: dict[tuple[Any, ...], dict[str, Any]] = {}
    for result, expected in zip(results, expected_items, strict=True):
        if expected.columns is None:
            check("else", (result["ok"], set(result["fields"])) == (False, expected.fields), result, expected)
            continue
        check("refused", result["ok"], result, expected)
        name = oracle.identity(expected.columns)
        check("else", result["deduped"] is (name in seen), result, expected)
        seen.setdefault(name, expected.columns)
    check("stored", len(rows) == len(seen), rows, seen)
    order = lambda columns: repr(oracle.identity(columns))  # noqa: E731
    check("else", sorted(map(as_expected, rows), key=order) == sorted(seen.values(), key=order), rows, seen)


@pytest.mark.fault("the same event again")
@share(5)
@given(payload=payloads())
def test_the_same_event_again_is_known(payload: dict[str, Any]) -> None:
    body = json.dumps(payload).encode()
    if oracle.of_body(body).status == 201:
        first, again = ask("/event", body), ask("/event", body)
        check("refused", (first.status_code, again.status_code) == (201, 200), first.content, again.content)
        check("else", again.json() == {"ok": True, "deduped": True} and len(take_events()) == 1, again.content, body)
