"""`POST /client-log` in `alias`: the responses of the old Worker, and the rows on both sides."""

import datetime
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client, override_settings

from events.ingest.refusals import RefusalReason
from events.models import Event, FailureGroup
from events.reports import metrics
from legacy.models import ClientLog
from tests.conftest import payload
from tests.refusals import counted, expect_answer, expect_refusal
from tests.storage import locked_events

pytestmark = pytest.mark.django_db


def old_payload(**changes: Any) -> dict[str, Any]:
    """Return the body that a deployed client sends to `/client-log`, with `changes`."""
    return payload(user_agent="Agent-7", page_url="https://page.example/?q=7", log_lines_json='["open"]') | changes


def test_a_failure_is_stored_in_the_stream_and_in_the_old_table(post: Callable[..., Any]) -> None:
    answer = post(
        "/client-log",
        old_payload(event_type="flash_fail", error_name="ProtocolError", stack="at flash"),
        user_agent="Agent-7",
        referer="https://page.example/?q=7",
    )
    expect_answer(answer, 200, {"ok": True})
    event, row = Event.objects.values().get(), ClientLog.objects.values().get()
    shared = {
        "id": event["id"],
        "received_at_ms": event["received_at_ms"],
        "occurred_at": "2026-02-12T18:00:00.000Z",
        "message": "No ACK for block 0x001f (got 0x15)",
        "error_name": "ProtocolError",
        "model": "UV-5RM",
        "write_mode": 1,
        "connected": 1,
        "app_version": "19afc18",
    }
    assert event == shared | {
        "stack": "at flash",
        "log_lines_json": '["open"]',
        "event_type": "flash_error",
        "session_id": None,
        "metadata_json": '{"legacy_event_type":"flash_fail"}',
        "source": "client_log",
        "fingerprint": FailureGroup.objects.get().fingerprint,
        "correction": None,
        "merged_from": None,
    }
    no_personal_data = {"user_agent": "", "page_url": "", "origin": None, "ip_hash": None}
    in_both = {"event_id": event["id"], "in_stream": True, "imported": False}
    arrived = {"arrived": True, "sent_to_event": False, "refused_fields": "event_type", "session_key": ""}
    texts = {"stack": None, "log_lines_json": "[]", "text_in_stream": True}
    assert row == shared | no_personal_data | in_both | arrived | texts | {"event_type": "flash_fail"}


def test_no_personal_data_is_stored(post: Callable[..., Any]) -> None:
    body = old_payload(ip_hash="hash-7", origin="https://origin.example/7")
    post("/client-log", body, user_agent="Agent-7", origin="http://localhost:5173", referer="https://page.example/7")
    stored = repr([*Event.objects.values(), *ClientLog.objects.values()])
    assert not [word for word in ("Agent-7", "page.example", "hash-7", "origin.example", "5173") if word in stored]


def test_a_retry_is_one_row_on_both_sides(post: Callable[..., Any]) -> None:
    for _ in range(3):
        expect_answer(post("/client-log", old_payload()), 200, {"ok": True})
    assert (Event.objects.count(), ClientLog.objects.count()) == (1, 1)
    assert counted() == {"duplicate": 2}


TWINS: list[dict[str, Any]] = [
    {},
    {"message": "m" * 299 + "...", "stack": "s" * 1_199 + "...", "error_name": "E" * 119 + "..."},
    {"message": "📻" * 149 + "\ud83d...", "log_lines_json": '["📻\\ud83d..."]'},
    {"message": 'quote " back \\ nul \x00', "log_lines_json": json.dumps(['""', "\\", "\x00", "\u2028"])},
    {"message": "m" * 500, "model": "m" * 64, "app_version": "v" * 64, "error_name": "E" * 200, "stack": "s" * 4_000},
    {"error_name": None, "stack": None},
    {"error_name": "", "stack": ""},
    {"occurred_at": "2026-02-12T19:00:00+01:00"},
    {"log_lines_json": '{"b": 1, "a": [1.50, 1e2]}'},
]


@pytest.mark.parametrize("first", ["/client-log", "/event"])
@pytest.mark.parametrize("changes", TWINS, ids=lambda changes: ",".join(changes) or "plain")
def test_the_twins_of_a_dual_writing_client_are_one_failure(
    post: Callable[..., Any], first: str, changes: dict[str, Any]
) -> None:
    old = old_payload(**changes)
    new = {name: value for name, value in old.items() if name not in ("user_agent", "page_url")}
    new["metadata_json"] = '{"source":"web-v2"}'
    bodies = {"/client-log": old, "/event": new}
    second = "/event" if first == "/client-log" else "/client-log"
    assert post(first, bodies[first]).status_code in (200, 201)
    expect_answer(post(second, bodies[second]), 200, {"ok": True} | ({"deduped": True} if second == "/event" else {}))
    event = Event.objects.get()
    assert (event.source, event.metadata_json) == ("event", '{"source":"web-v2"}')
    assert ClientLog.objects.get().id == event.id
    assert metrics.totals_by_type(0, event.received_at_ms + 3_600_000)["flash_error"] == 1


@pytest.mark.parametrize("first", ["/client-log", "/event"])
def test_a_failure_with_a_session_and_the_same_content_without_one_are_two(
    post: Callable[..., Any], first: str
) -> None:
    """The contract identifies an event by its content only if it has no session."""
    bodies = {"/client-log": old_payload(), "/event": old_payload(session_id="s")}
    for path in (first, *(path for path in bodies if path != first)):
        assert post(path, bodies[path]).status_code in (200, 201)
    assert set(Event.objects.values_list("session_id", "source")) == {("s", "event"), (None, "client_log")}
    assert counted() == {}


def test_failures_that_differ_are_two(post: Callable[..., Any]) -> None:
    post("/client-log", old_payload())
    post("/client-log", old_payload(occurred_at="2026-02-12T18:00:00.001Z"))
    assert (Event.objects.count(), ClientLog.objects.count()) == (2, 2)


@pytest.mark.parametrize("body", [b"", b"[]", b'"x"', b'{"a":', b"\xff", b'{"a": 1e999}', b"[" * 10_000])
def test_a_body_that_is_no_json_object_is_refused(post: Callable[..., Any], body: bytes) -> None:
    answer = post("/client-log", body or b" ")
    expect_refusal(answer, 400, "Invalid JSON", RefusalReason.INVALID_JSON)


def test_the_three_texts_are_required(post: Callable[..., Any]) -> None:
    answer = post("/client-log", {"event_type": 1, "occurred_at": "some day"})
    fields = {
        "event_type": ["Must be a string."],
        "message": ["Must be a string."],
        "occurred_at": ["Must be a date and time."],
    }
    expect_refusal(answer, 400, "Invalid payload fields", RefusalReason.INVALID_FIELDS, fields)


def test_a_bare_report_is_enough(post: Callable[..., Any]) -> None:
    bare = {"event_type": "crash", "message": "", "occurred_at": "Thu, 12 Feb 2026 18:00:00 +0100"}
    expect_answer(post("/client-log/", bare, content_type="text/plain"), 200, {"ok": True})
    event = Event.objects.get()
    assert (event.event_type, event.message, event.occurred_at, event.model, event.app_version) == (
        "window_error",
        "(no message)",
        "2026-02-12T17:00:00.000Z",
        "unknown",
        "unknown",
    )


def test_the_body_has_the_limit_of_an_event(post: Callable[..., Any]) -> None:
    answer = post("/client-log", old_payload(padding="x" * 140_000))
    expect_refusal(answer, 413, "Payload too large", RefusalReason.TOO_LARGE)


def test_only_post_is_allowed(client: Client) -> None:
    expect_refusal(client.get("/client-log"), 405, "Method not allowed", None)


@pytest.mark.django_db(transaction=True)
def test_both_sides_are_written_or_neither(post: Callable[..., Any]) -> None:
    with locked_events():
        answer = post("/client-log", old_payload())
        expect_answer(answer, 503, {"ok": False, "error": "Storage unavailable"})
        assert "Retry-After" in answer.headers
    assert (Event.objects.count(), ClientLog.objects.count()) == (0, 0)


OLD_ROUTES = [("POST", "/client-log"), ("GET", "/count"), ("POST", "/increment"), ("GET", "/recent")]


@pytest.mark.parametrize(("method", "path"), OLD_ROUTES)
@pytest.mark.parametrize("refused", [False, True])
def test_an_old_route_names_its_successor(client: Client, method: str, path: str, refused: bool) -> None:
    body = json.dumps(old_payload(sessionId="a"))
    answer = client.generic("PUT" if refused else method, path, body, content_type="application/json")
    assert answer.headers["Deprecation"] == f"@{int(datetime.datetime(2026, 2, 12, tzinfo=datetime.UTC).timestamp())}"
    assert answer.headers["Link"] == '</event>; rel="successor-version"'
    assert "Sunset" not in answer.headers


@override_settings(SUNSET=datetime.date(2027, 1, 31))
@pytest.mark.parametrize(("method", "path"), OLD_ROUTES)
def test_an_old_route_has_a_sunset_header_if_sunset_is_set(client: Client, method: str, path: str) -> None:
    answer = client.generic(method, path, "{}", content_type="application/json")
    assert answer.headers["Sunset"] == "Sun, 31 Jan 2027 00:00:00 GMT"


def test_a_new_route_is_not_deprecated(client: Client) -> None:
    assert "Deprecation" not in client.get("/metrics/flash-count").headers
