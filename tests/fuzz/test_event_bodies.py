"""`POST /event` and `/event/batch` under any body: the answer and the row are what the contract says."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import oracle
from tests.fuzz.judge import ask, hold, kept, share
from tests.fuzz.strategies import BATCHES, BODIES, broken, payloads, written

pytestmark = pytest.mark.django_db


def expect(answer: Any, verdict: oracle.Verdict, body: bytes) -> None:
    rows = kept()
    if verdict.status == 201:
        hold("refused", answer.status_code == 201, answer.content, body)
        expect_row(rows, verdict)
        return
    hold("stored", not rows, rows, body)
    hold("else", answer.status_code == verdict.status, answer.status_code, verdict, body)
    told = answer.json().get("fields", {})
    hold("else", set(told) == verdict.fields, told, verdict, body)


def expect_row(rows: list[dict[str, Any]], verdict: oracle.Verdict) -> None:
    hold("else", len(rows) == 1, rows, verdict)
    hold("else", as_told(rows[0]) == verdict.columns, rows, verdict)


def as_told(row: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of the contract, and JSON text as what it says."""
    told = {name: row[name] for name in oracle.RULES}
    return told | {name: json.loads(told[name]) for name in ("log_lines_json", "metadata_json")}


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
    verdict = oracle.of_body(body)
    if encoding or not MEDIA_TYPES[media_type]:
        verdict = oracle.Verdict(415)
    expect(ask(f"/event{slash}", body, media_type, **headers), verdict, body)


@pytest.mark.fault("other methods")
@share(5)
@given(body=BODIES, method=st.sampled_from(["PUT", "PATCH", "DELETE", "GET", "TRACE", "BREW"]))
def test_another_method_stores_nothing(body: bytes, method: str) -> None:
    answer = ask("/event", body, method=method)
    hold("stored", not kept(), method, body)
    hold("else", answer.status_code == 405, answer.status_code, method)


@pytest.mark.fault("batches beside the contract")
@share(10)
@given(body=BATCHES | BODIES)
def test_a_batch(body: bytes) -> None:
    status, verdicts = oracle.of_batch(body)
    answer, rows = ask("/event/batch", body), kept()
    hold("else", answer.status_code == status, answer.status_code, status, body)
    results = answer.json()["results"] if status == 200 else []
    hold("else", len(results) == len(verdicts), results, verdicts)
    seen: dict[tuple[Any, ...], dict[str, Any]] = {}
    for result, verdict in zip(results, verdicts, strict=True):
        if verdict.columns is None:
            hold("else", (result["ok"], set(result["fields"])) == (False, verdict.fields), result, verdict)
            continue
        hold("refused", result["ok"], result, verdict)
        name = oracle.identity(verdict.columns)
        hold("else", result["deduped"] is (name in seen), result, verdict)
        seen.setdefault(name, verdict.columns)
    hold("stored", len(rows) == len(seen), rows, seen)
    order = lambda columns: repr(oracle.identity(columns))  # noqa: E731
    hold("else", sorted(map(as_told, rows), key=order) == sorted(seen.values(), key=order), rows, seen)


@pytest.mark.fault("the same event again")
@share(5)
@given(payload=payloads())
def test_the_same_event_again_is_known(payload: dict[str, Any]) -> None:
    body = json.dumps(payload).encode()
    if oracle.of_body(body).status == 201:
        first, again = ask("/event", body), ask("/event", body)
        hold("refused", (first.status_code, again.status_code) == (201, 200), first.content, again.content)
        hold("else", again.json() == {"ok": True, "deduped": True} and len(kept()) == 1, again.content, body)
