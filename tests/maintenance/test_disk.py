"""Little free disk: failures without their long texts; nearly none: nothing is stored."""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings

from events import clock, rows
from events.counting import rollups
from events.grouping import triage
from events.grouping.fingerprints import fingerprint
from events.ingest import contract, quotas, writer
from events.maintenance import disk, regrouping, retention
from events.models import Event, FailureGroup, HourlyRollup, LifetimeTotal, ModeRollup
from legacy import old_tables
from legacy.cutover import copying
from legacy.models import ClientLog, ModeInForce
from tests.conftest import payload, sign_in, success
from tests.refusals import counted, expect_answer

pytestmark = pytest.mark.django_db

LEAST = 1_000_000
LINES = ["open", "write", "no ACK"]


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Set how much of the disk is free; it is enough at first."""

    def set_free(number: int) -> None:
        monkeypatch.setattr(disk, "free_bytes", lambda: number)
        disk.forget()

    set_free(LEAST)
    with override_settings(MIN_FREE_BYTES=LEAST):
        yield set_free


def failure(**changes: Any) -> dict[str, Any]:
    return payload(stack="Error: x\n at flash (a.js:1:2)", log_lines_json=json.dumps(LINES), **changes)


@pytest.mark.parametrize(
    ("number", "room"),
    [
        (10 * LEAST, "enough"),
        (LEAST, "enough"),
        (LEAST - 1, "little"),
        (LEAST // 4, "little"),
        (LEAST // 4 - 1, "none"),
        (0, "none"),
    ],
)
def test_how_much_room_there_is(free: Callable[[int], None], number: int, room: str) -> None:
    free(number)
    assert disk.room().value == room


def test_the_disk_is_looked_at_once_for_many_requests(
    free: Callable[[int], None], post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    monkeypatch.setattr(disk, "LOOK_SECONDS", 3600.0)
    monkeypatch.setattr(disk, "free_bytes", lambda: looks.append(1) or LEAST)
    for _ in range(5):
        post("/event", success())
    assert len(looks) == 1


def test_the_free_bytes_are_those_of_the_data_folder() -> None:
    assert disk.free_bytes() > 0


SENT = {
    "/event": ("/event", failure()),
    "/event, with a session": ("/event", failure(session_id="s")),
    "/event/batch": ("/event/batch", {"events": [failure()]}),
    "/client-log": ("/client-log", failure()),
}


@pytest.mark.parametrize("door", SENT)
def test_with_little_room_a_failure_loses_its_long_texts_and_stays_the_same_event(
    free: Callable[[int], None], post: Callable[..., Any], door: str
) -> None:
    """Sent again in full when there is room again, by its own door and by every other one that knows its content."""
    path, body = SENT[door]
    free(LEAST - 1)
    assert post(path, body).status_code in (200, 201)
    stored = Event.objects.get()
    full_id = rows.content_id(rows.EventRow(*Event.objects.values_list(*rows.EventRow._fields).get()))
    assert stored.stack is None
    assert stored.log_lines_json == (f'"(stack and log lines left out, the disk was nearly full: {full_id})"')
    assert stored.message == body.get("message", payload()["message"])
    assert counted() == {"left_out": 1}
    for row in old_tables.recent(9):
        assert (row.stack, row.log_lines_json, row.event_id) == (None, stored.log_lines_json, full_id)
    free(LEAST)
    assert post(path, body).status_code == 200
    if "session" not in door:
        assert post("/event", failure()).json() == {"ok": True, "deduped": True}
        assert post("/client-log", failure()).json() == {"ok": True}
    assert Event.objects.count() == 1


def counts() -> list[list[Any]]:
    """Return every rollup, and what a failure and a success count there."""
    return [list(model.objects.order_by("pk").values()) for model in (LifetimeTotal, HourlyRollup, ModeRollup)]


RESENT = {
    **{f"by {door}": sent for door, sent in SENT.items()},
    "by another door": ("/event/batch", {"events": [failure(metadata_json='{"source": "web-v2"}')]}),
    "by the old route": ("/client-log", failure()),
}
# Where each was stored without its long texts; elsewhere by `/event`.
FIRST = {"by /event, with a session": SENT["/event, with a session"], "by /client-log": SENT["/client-log"]}


@pytest.mark.parametrize("case", RESENT)
def test_with_room_again_the_whole_failure_fills_in_what_was_left_out(
    free: Callable[[int], None], post: Callable[..., Any], case: str
) -> None:
    free(LEAST - 1)
    post(*FIRST.get(case, SENT["/event"]))
    before = Event.objects.get()
    counted_before = counts()
    for room in (LEAST - 1, LEAST, LEAST):
        free(room)
        answer = post(*RESENT[case])
        assert answer.status_code == 200
        assert b'"deduped":false' not in answer.content.replace(b" ", b"")
    event = Event.objects.get()
    assert (event.stack, json.loads(event.log_lines_json)) == (failure()["stack"], LINES)
    assert (event.id, event.received_at_ms, event.session_id) == (before.id, before.received_at_ms, before.session_id)
    assert counts() == counted_before
    assert [difference for day in rollups.days_in_use(0, None) for difference in rollups.compare(day)] == []
    assert rollups.compare_totals() == []
    # A stack shows where a failure is from, so this one has a group of its own.
    mark = fingerprint(event.event_type, event.error_name, event.message, event.stack)
    assert (FailureGroup.objects.get().pk, event.fingerprint) == (mark.key, mark.key)
    assert before.fingerprint != mark.key
    assert not regrouping.survey().moves
    assert regrouping.compare() == []
    for row in old_tables.recent(9):
        assert (row.stack, row.log_lines_json) == (event.stack, event.log_lines_json)


@pytest.mark.parametrize(
    "change",
    [{"stack": "Error: y\n at read (b.js:1:2)"}, {"log_lines_json": '["other"]'}, {"message": "Another"}],
    ids=lambda change: next(iter(change)),
)
def test_another_failure_of_the_session_fills_in_nothing(
    free: Callable[[int], None], post: Callable[..., Any], change: dict[str, str]
) -> None:
    free(LEAST - 1)
    post("/event", failure(session_id="s"))
    before = Event.objects.values().get()
    free(LEAST)
    assert post("/event", failure(session_id="s") | change).json() == {"ok": True, "deduped": True}
    assert Event.objects.values().get() == before


def test_the_whole_failure_may_come_in_the_same_commit(free: Callable[[int], None]) -> None:
    whole = [contract.parse(failure(session_id=session), received_at_ms=clock.now_ms()) for session in ("s", None)]
    without = [rows.without_long_texts(event) for event in whole]
    outcomes = writer.record_many([*without, *whole, *whole])
    assert [(outcome.stored, outcome.filled_in) for outcome in outcomes[:2]] == [(True, False)] * 2
    assert [outcome.stored for outcome in outcomes[2:]] == [False] * 4
    assert [event.stack for event in Event.objects.all()] == [failure()["stack"]] * 2
    assert regrouping.compare() == []


def test_what_was_decided_goes_with_the_failure_to_its_group(
    free: Callable[[int], None], post: Callable[..., Any]
) -> None:
    free(LEAST - 1)
    post("/event", failure())
    group = FailureGroup.objects.get()
    triage.annotate(group.pk, "see the wiki", user=User.objects.create_user("kim"), at=clock.now())
    free(LEAST)
    post("/event", failure())
    moved = FailureGroup.objects.get()
    assert (moved.note, moved.pk == group.pk) == ("see the wiki", False)


@override_settings(DAILY_BYTES_PER_CLIENT=10**9)
@pytest.mark.parametrize("door", SENT)
def test_a_client_is_charged_for_what_it_fills_in(
    free: Callable[[int], None], post: Callable[..., Any], door: str
) -> None:
    free(LEAST - 1)
    post(*SENT[door])
    before = brought()
    free(LEAST)
    post(*SENT[door])
    after = brought()
    assert after > before + len(failure()["stack"])
    post(*SENT[door])
    assert brought() == after


def brought() -> int:
    return sum(known for known, _ in quotas._brought.values())


def test_the_id_of_the_whole_content_is_that_of_the_twin_without_a_session(
    free: Callable[[int], None], post: Callable[..., Any]
) -> None:
    free(LEAST - 1)
    post("/event", failure(session_id="s"))
    free(LEAST)
    post("/client-log", failure())
    twin = ClientLog.objects.get()
    with_session = rows.EventRow(*Event.objects.filter(session_id="s").values_list(*rows.EventRow._fields).get())
    assert rows.content_id(with_session) == twin.event_id
    assert copying.to_legacy(since_ms=0) == 0
    counts = retention.erase("s", who="olga", at=clock.now(), why="")
    assert counts == {"events": 2, "rows of the old log": 1}
    assert not Event.objects.exists()
    assert not ClientLog.objects.exists()


def test_a_failure_of_the_old_side_alone_is_the_same_event_when_it_is_copied(
    free: Callable[[int], None], post: Callable[..., Any]
) -> None:
    ModeInForce.objects.create(id=1, mode="separate")
    free(LEAST - 1)
    post("/client-log", failure())
    free(LEAST)
    post("/event", failure())
    assert copying.to_stream(writer.record_many) == 0
    assert Event.objects.get().stack


def test_it_is_copied_as_it_is_when_the_stream_lacks_it(free: Callable[[int], None], post: Callable[..., Any]) -> None:
    ModeInForce.objects.create(id=1, mode="separate")
    free(LEAST - 1)
    post("/client-log", failure())
    assert copying.to_stream(writer.record_many) == 1
    row = ClientLog.objects.get()
    assert Event.objects.values_list("id", "log_lines_json").get() == (row.event_id, row.log_lines_json)


KEPT_WHOLE = {
    "a success": success(session_id="s", stack="x", log_lines_json='["line"]'),
    "a failure without long texts": payload(),
    "a failure with an empty object": payload(log_lines_json="{}"),
}


@pytest.mark.parametrize("case", KEPT_WHOLE)
def test_with_little_room_other_events_stay_whole(
    free: Callable[[int], None], post: Callable[..., Any], case: str
) -> None:
    free(LEAST - 1)
    assert post("/event", KEPT_WHOLE[case]).status_code == 201
    event = Event.objects.get()
    assert (event.stack, event.log_lines_json) == (
        KEPT_WHOLE[case].get("stack"), KEPT_WHOLE[case].get("log_lines_json", "[]"),
    )  # fmt: skip
    assert counted() == {}


@pytest.mark.parametrize("path", ["/event", "/client-log"])
def test_no_client_can_send_the_placeholder_of_left_out_texts(post: Callable[..., Any], path: str) -> None:
    words = f'"(stack and log lines left out, the disk was nearly full: {"0" * 32})"'
    post(path, payload(log_lines_json=words))
    assert not Event.objects.filter(log_lines_json=words).exists()
    assert not ClientLog.objects.filter(log_lines_json=words).exists()


def test_the_page_of_the_event_says_why_there_is_no_stack(
    free: Callable[[int], None], post: Callable[..., Any], client: Client
) -> None:
    free(LEAST - 1)
    event_id = post("/event", failure()).json()["id"]
    sign_in(client, "Staff")
    text = client.get(f"/admin/events/recentfailure/{event_id}/").content.decode()
    assert "stack and log lines left out, the disk was nearly full" in text
    writer.flush_refusals()
    context = client.get("/admin/").context
    assert (context["left_out"], context["refusals"]) == (1, {})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/event", success()),
        ("/event/batch", {"events": [success()]}),
        ("/client-log", payload()),
        ("/increment", {"sessionId": "s"}),
    ],
)
def test_with_nearly_no_room_nothing_is_stored(
    free: Callable[[int], None], post: Callable[..., Any], client: Client, path: str, body: Any
) -> None:
    free(LEAST // 4 - 1)
    answer = post(path, body)
    expect_answer(answer, 503, {"ok": False, "error": "Storage unavailable"})
    assert answer.headers["Retry-After"] == "2"
    assert not Event.objects.exists()
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json()["error"]) == (503, "Storage unavailable: the disk is nearly full")
    free(LEAST)
    assert post(path, body).status_code in (200, 201)
    assert client.get("/health/ready").status_code == 200


def test_each_change_is_logged_once(free: Callable[[int], None], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="events.maintenance.disk"):
        for number in (LEAST - 1, LEAST - 2, 0, LEAST):
            disk._looked_at = float("-inf")
            disk.free_bytes = lambda number=number: number  # type: ignore[misc, assignment]
            disk.room()
    assert [record.getMessage().partition(" (")[0] for record in caplog.records] == [
        "Disk space is low: failures are stored without stack and log lines",
        "Disk is nearly full: nothing is stored",
        "Enough disk space is free again",
    ]
