"""`GET /count` and `POST /increment` in `alias`, where they read and change the public count."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from events import clock
from events.counting import rollups
from events.counting.buckets import DAY_MS
from events.ingest.refusals import RefusalReason
from events.models import Event
from events.reports import metrics
from legacy.models import LegacyCount
from tests.conftest import make_event, success
from tests.refusals import counted, expect_answer, expect_refusal
from tests.storage import locked_events

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["/count", "/count/"])
def test_the_count_is_the_public_one(client: Client, path: str) -> None:
    rollups.set_baseline(412, note="the old counter", user=None, user_name="command", at=clock.now())
    make_event(**success())
    make_event()
    expect_answer(client.get(path), 200, {"ok": True, "total": 413})
    assert client.get("/metrics/flash-count").json() == {"ok": True, "total": 413}


def test_a_session_is_counted_once(client: Client, post: Callable[..., Any]) -> None:
    rollups.set_baseline(412, note="the old counter", user=None, user_name="command", at=clock.now())
    expect_answer(post("/increment", {"sessionId": "a"}), 200, {"ok": True, "total": 413, "deduped": False})
    expect_answer(post("/increment/", {"sessionId": "a"}), 200, {"ok": True, "total": 413, "deduped": True})
    expect_answer(post("/increment", {"sessionId": "b"}), 200, {"ok": True, "total": 414, "deduped": False})
    assert client.get("/count").json() == {"ok": True, "total": 414}
    assert list(LegacyCount.objects.order_by("session_id").values_list("session_id", flat=True)) == ["a", "b"]
    assert counted() == {"duplicate": 1}


def test_the_stored_event_is_a_placeholder_for_the_session(post: Callable[..., Any]) -> None:
    post("/increment", {"sessionId": "a", "model": "not looked at", "user_agent": "Agent-7"})
    event = Event.objects.get()
    assert (event.event_type, event.session_id, event.source) == ("flash_success", "a", "increment")
    assert (event.model, event.app_version, event.message) == ("unknown", "unknown", "Flash complete")
    assert event.occurred_at == clock.iso(event.received_at_ms)


def test_its_event_fills_the_placeholder_and_the_total_stays(client: Client, post: Callable[..., Any]) -> None:
    post("/increment", {"sessionId": "a"})
    placeholder = Event.objects.get()
    sent = success(session_id="a", metadata_json='{"source":"web"}', log_lines_json='["ok"]')
    expect_answer(post("/event", sent), 200, {"ok": True, "deduped": True})
    event = Event.objects.get()
    assert (event.id, event.received_at_ms) == (placeholder.id, placeholder.received_at_ms)
    assert (event.model, event.app_version, event.source) == ("UV-5RM", "19afc18", "event")
    assert (event.occurred_at, event.metadata_json, event.log_lines_json) == (
        "2026-02-12T18:00:00.000Z",
        '{"source":"web"}',
        '["ok"]',
    )
    day_ms = event.received_at_ms - event.received_at_ms % DAY_MS
    assert metrics.sliced(metrics.by_day(day_ms, day_ms + DAY_MS).cells, "model") == [("UV-5RM", 1, 0, 0)]
    assert client.get("/count").json()["total"] == 1


def test_a_session_that_arrived_by_event_is_not_counted_again(post: Callable[..., Any]) -> None:
    post("/event", success(session_id="a"))
    expect_answer(post("/increment", {"sessionId": "a"}), 200, {"ok": True, "total": 1, "deduped": True})
    assert Event.objects.get().source == "event"
    assert LegacyCount.objects.get().session_id == "a"


def test_a_failure_of_the_session_is_no_success(post: Callable[..., Any]) -> None:
    post("/event", success(event_type="flash_error", session_id="a"))
    expect_answer(post("/increment", {"sessionId": "a"}), 200, {"ok": True, "total": 1, "deduped": False})


@pytest.mark.parametrize("session", ["s", "s" * 128, "📻" * 128, " ", "baseline", "'; DROP TABLE x; --"])
def test_a_good_session_is_counted(post: Callable[..., Any], session: str) -> None:
    assert post("/increment", {"sessionId": session}).json() == {"ok": True, "total": 1, "deduped": False}
    assert LegacyCount.objects.get().session_id == session


def test_characters_that_no_database_can_store_are_replaced(post: Callable[..., Any]) -> None:
    assert post("/increment", b'{"sessionId": "a\\u0000\\ud83d"}').status_code == 200
    assert LegacyCount.objects.get().session_id == Event.objects.get().session_id == "a\ufffd\ufffd"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"sessionId": None},
        {"sessionId": ""},
        {"sessionId": 5},
        {"sessionId": True},
        {"sessionId": ["a"]},
        {"sessionId": {"a": 1}},
        {"sessionId": "s" * 129},
        {"sessionId": "baseline-412"},
        {"sessionId": "baseline-"},
        {"session_id": "a"},
        {"sessionid": "a"},
    ],
    ids=lambda body: repr(body)[:30],
)
def test_a_bad_session_is_refused(post: Callable[..., Any], body: Any) -> None:
    fields = {"sessionId": ["Must be a string of 1 to 128 characters, not a baseline."]}
    expect_refusal(post("/increment", body), 400, "Invalid payload fields", RefusalReason.INVALID_FIELDS, fields)


@pytest.mark.parametrize("body", [b"[]", b'"a"', b'{"sessionId":', b"sessionId=a", b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(post: Callable[..., Any], body: bytes) -> None:
    expect_refusal(post("/increment", body), 400, "Invalid JSON", RefusalReason.INVALID_JSON)


@pytest.mark.parametrize(("method", "path"), [("POST", "/count"), ("GET", "/increment"), ("DELETE", "/count")])
def test_another_method_is_refused(client: Client, method: str, path: str) -> None:
    expect_refusal(client.generic(method, path), 405, "Method not allowed", None)


@pytest.mark.django_db(transaction=True)
def test_a_session_that_cannot_be_stored_is_not_counted(client: Client, post: Callable[..., Any]) -> None:
    with locked_events():
        answer = post("/increment", {"sessionId": "a"})
        expect_answer(answer, 503, {"ok": False, "error": "Storage unavailable"})
    assert not LegacyCount.objects.exists()
    assert post("/increment", {"sessionId": "a"}).json() == {"ok": True, "total": 1, "deduped": False}


def test_head_of_the_count_has_no_body(client: Client) -> None:
    answer = client.head("/count")
    assert (answer.status_code, answer.content) == (200, b"")
