"""`POST /event/batch`: a client's offline queue, each event with an answer of its own."""

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, override_settings

from events import clock
from events.grouping import advice
from events.ingest.refusals import RefusalReason
from events.models import AdviceDay, Event
from tests.api.test_event_route import hand_over
from tests.conftest import make_event, payload, success
from tests.refusals import counted, expect_answer, expect_refusal
from tests.storage import locked_events

pytestmark = pytest.mark.django_db


def test_every_item_has_its_result_in_order_and_the_valid_ones_are_kept(post: Callable[..., Any]) -> None:
    make_event(message="Known")
    answer = post(
        "/event/batch",
        {
            "events": [
                success(session_id="session-a"),
                payload(message="Known"),
                payload(message="", connected=True),
                7,
                None,
                [],
                success(session_id=None),
                payload(message="New"),
                success(session_id="session-a"),
            ]
        },
    )
    words = {"ok": False, "fields": {"event": ["Must be a JSON object."]}}
    expect_answer(
        answer,
        200,
        {
            "ok": True,
            "results": [
                {"ok": True, "deduped": False, "id": Event.objects.get(session_id="session-a").id},
                {"ok": True, "deduped": True},
                {
                    "ok": False,
                    "fields": {"message": ["Must not be empty."], "connected": ["Must be the integer 0 or 1."]},
                },
                words,
                words,
                words,
                {"ok": False, "fields": {"session_id": ["Required for flash_success."]}},
                {"ok": True, "deduped": False, "id": Event.objects.get(message="New").id},
                {"ok": True, "deduped": True},
            ],
        },
    )
    assert Event.objects.count() == 3
    assert counted() == {"duplicate": 2, "invalid_fields": 5}


def test_a_batch_of_nothing_valid_is_answered_item_by_item(post: Callable[..., Any]) -> None:
    answer = post("/event/batch", {"events": [{}, 1]})
    assert (answer.status_code, [result["ok"] for result in answer.json()["results"]]) == (200, [False, False])
    assert not Event.objects.exists()


def test_a_batch_sent_again_stores_nothing(post: Callable[..., Any]) -> None:
    batch = {"events": [success(session_id=f"again-{number}") for number in range(3)]}
    post("/event/batch", batch)
    assert post("/event/batch", batch).json()["results"] == [{"ok": True, "deduped": True}] * 3
    assert Event.objects.count() == 3


def test_of_two_events_of_a_session_the_first_is_stored(post: Callable[..., Any]) -> None:
    batch = [
        success(session_id=f"twice-{number}", message=word) for word in ("first", "second") for number in range(20)
    ]
    results = post("/event/batch", {"events": batch}).json()["results"]
    assert [result["deduped"] for result in results] == [False] * 20 + [True] * 20
    assert set(Event.objects.values_list("message", flat=True)) == {"first"}


@pytest.mark.parametrize("count", [1, 100])
def test_it_takes_one_to_a_hundred_events(client: Client, post: Callable[..., Any], count: int) -> None:
    answer = post("/event/batch/", {"events": [success() for _ in range(count)]})
    assert (answer.status_code, len(answer.json()["results"])) == (200, count)
    assert client.get("/metrics/flash-count").json()["total"] == count


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"events": None},
        {"events": {}},
        {"events": "[]"},
        {"events": []},
        {"events": [payload()] * 101},
        payload(),
    ],
    ids=lambda body: repr(body)[:30],
)
def test_no_list_an_empty_one_and_a_long_one_are_refused(post: Callable[..., Any], body: Any) -> None:
    fields = {"events": ["Must be a list of 1 to 100 events."]}
    expect_refusal(post("/event/batch", body), 400, "Invalid payload fields", RefusalReason.INVALID_FIELDS, fields)


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"events": [1e999]}', b'{"events":' + b"[" * 10_000])
def test_what_is_no_json_object_is_refused(post: Callable[..., Any], body: bytes) -> None:
    expect_refusal(post("/event/batch", body), 400, "Invalid JSON", RefusalReason.INVALID_JSON)


def padded(size: int) -> str:
    bare = json.dumps({"events": [payload()], "padding": ""})
    return json.dumps({"events": [payload()], "padding": "x" * (size - len(bare))})


def test_a_batch_of_a_mebibyte_is_taken_and_a_byte_more_is_not(post: Callable[..., Any]) -> None:
    assert post("/event/batch", padded(1_048_576)).status_code == 200
    assert post("/event/batch", padded(1_048_577)).status_code == 413


@override_settings(MAX_BATCH_BODY_BYTES=1_000)
def test_a_batch_without_content_length_has_the_limit_of_a_batch(client: Client) -> None:
    for size, status in ((1_000, 200), (1_001, 413)):
        body = BytesIO(padded(size).encode())
        answer = hand_over(client, body, "", PATH_INFO="/event/batch", **{"wsgi.input_terminated": True})
        assert answer.status_code == status


@pytest.mark.parametrize(
    ("headers", "status", "error", "outcome"),
    [
        ({"origin": "https://evil.example"}, 403, "Origin not allowed", RefusalReason.ORIGIN),
        ({"content_type": "text/html"}, 415, "Unsupported media type", RefusalReason.MEDIA_TYPE),
        ({"content-encoding": "gzip"}, 415, "Unsupported media type", RefusalReason.MEDIA_TYPE),
    ],
)
def test_the_guards_run_before_it(
    post: Callable[..., Any], headers: dict[str, str], status: int, error: str, outcome: RefusalReason
) -> None:
    expect_refusal(post("/event/batch", {"events": [payload()]}, **headers), status, error, outcome)


def test_it_takes_posts_alone(client: Client) -> None:
    expect_refusal(client.get("/event/batch"), 405, "Method not allowed", None)


@pytest.mark.django_db(transaction=True)
def test_all_or_nothing_when_storage_is_away(post: Callable[..., Any]) -> None:
    batch = {"events": [success(session_id=f"away-{number}") for number in range(3)]}
    with locked_events():
        answer = post("/event/batch", batch)
        expect_answer(answer, 503, {"ok": False, "error": "Storage unavailable"})
        assert "Retry-After" in answer.headers
    assert not Event.objects.exists()
    assert post("/event/batch", batch).status_code == 200
    assert Event.objects.count() == 3


def test_a_batch_is_one_transaction(post: Callable[..., Any], django_assert_max_num_queries: Any) -> None:
    post("/event/batch", {"events": [success()]})
    # One of them writes the measurements of earlier commits, once a second.
    with django_assert_max_num_queries(13, connection=connection):
        post("/event/batch", {"events": [success() for _ in range(100)]})


def test_every_failure_of_a_batch_has_the_advice_of_its_group(post: Callable[..., Any]) -> None:
    key = make_event(session_id="known").fingerprint or ""
    advice.give(key, "Wait.", None, user=User(username="olga"), at=clock.now())
    answer = post(
        "/event/batch",
        {"events": [payload(session_id="known"), 7, success(), payload(message="Another"), payload(session_id="new")]},
    )
    given = {"text": "Wait.", "url": None}
    assert [result.get("advice") for result in answer.json()["results"]] == [given, None, None, None, given]
    assert AdviceDay.objects.get().delivered == 2
