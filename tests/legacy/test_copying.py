"""`copying` copies the rows that one side lacks. It can be repeated, also after an interruption."""

from collections.abc import Callable
from typing import Any

import pytest

from events import clock
from events.counting import rollups
from events.ingest import writer
from events.maintenance import retention
from events.models import Event
from events.reports import metrics
from legacy import old_tables, translate
from legacy.cutover import copying
from legacy.models import ClientLog, LegacyCount
from tests.conftest import make_event, payload, success
from tests.fixtures.both_sides import dump

pytestmark = pytest.mark.django_db
NOON_MS = 1_771_329_600_000  # 2026-02-17 12:00 UTC


def log(**changes: Any) -> None:
    """Write a failure only to the old log, as in `separate`."""
    body = payload(**changes)
    event = translate.event_from_client_log(body, NOON_MS)
    assert old_tables.keep(translate.client_log_row(event, body["event_type"], in_stream=False))


def count(session_id: str) -> None:
    """Write a session only to the old counter, as in `separate`."""
    assert old_tables.keep(LegacyCount(session_id=session_id, counted_at_ms=NOON_MS, in_stream=False))


def to_stream() -> int:
    return copying.to_stream(writer.record_many)


def test_more_than_a_chunk_is_copied_to_the_stream_and_then_nothing() -> None:
    old_tables.keep_all(LegacyCount(session_id=f"a{n}", counted_at_ms=NOON_MS, in_stream=False) for n in range(600))
    for n in range(3):
        log(message=f"failure {n}")
    assert to_stream() == 603
    assert metrics.flash_count().accepted == 600
    assert not LegacyCount.objects.filter(in_stream=False).exists()
    assert not ClientLog.objects.filter(in_stream=False).exists()
    assert rollups.compare_totals() == []
    settled = dump()
    assert to_stream() == copying.to_legacy(since_ms=0) == 0
    assert dump() == settled


def test_more_than_a_chunk_is_copied_to_the_old_tables_and_then_nothing() -> None:
    now_ms = clock.now_ms()
    for n in range(520):
        make_event(received_at_ms=now_ms - n // 3, message=f"failure {n}")
    make_event(**success(session_id="a"))
    assert copying.to_legacy(since_ms=0) == 521
    assert (ClientLog.objects.count(), LegacyCount.objects.count()) == (520, 1)
    assert not ClientLog.objects.filter(in_stream=False).exists()
    settled = dump()
    assert copying.to_legacy(since_ms=0) == to_stream() == 0
    assert dump() == settled


def test_a_copied_row_that_was_not_marked_is_marked_by_the_next_run() -> None:
    count("a")
    log(message="failure")
    assert to_stream() == 2
    LegacyCount.objects.update(in_stream=False)
    ClientLog.objects.update(in_stream=False)
    assert to_stream() == 0
    assert (Event.objects.count(), ClientLog.objects.get().in_stream) == (2, True)


def test_an_event_that_a_client_sent_to_both_sides_is_not_copied() -> None:
    make_event(**success(session_id="a"))
    make_event(message="failure")
    count("a")
    log(message="failure")
    assert to_stream() == copying.to_legacy(since_ms=0) == 0
    assert (Event.objects.count(), ClientLog.objects.count(), LegacyCount.objects.count()) == (2, 1, 1)
    assert Event.objects.successes().get().source == "event"


def test_a_copy_has_the_old_type_name_and_the_times() -> None:
    log(event_type="flash_fail", occurred_at="Tue, 17 Feb 2026 12:59:00 +0100")
    to_stream()
    event = Event.objects.get()
    assert (event.event_type, event.metadata_json) == ("flash_error", '{"legacy_event_type":"flash_fail"}')
    assert (event.received_at_ms, event.occurred_at) == (NOON_MS, "2026-02-17T11:59:00.000Z")


def test_a_failure_of_a_session_is_logged_once() -> None:
    event = make_event(message="failure", session_id="a")
    assert copying.to_legacy(since_ms=0) == 1
    assert copying.to_legacy(since_ms=0) == 0
    row = ClientLog.objects.get()
    assert row.id == event.id
    assert row.event_id != event.id


def test_only_events_received_since_then_are_copied_to_the_old_tables() -> None:
    for at_ms in (NOON_MS - 1, NOON_MS):
        make_event(received_at_ms=at_ms, **success(session_id=f"a{at_ms}"))
        make_event(received_at_ms=at_ms, message=f"failure at {at_ms}")
    assert copying.to_legacy(since_ms=NOON_MS) == 2
    assert LegacyCount.objects.get().session_id == f"a{NOON_MS}"
    assert ClientLog.objects.get().message == f"failure at {NOON_MS}"


def test_event_completes_a_copied_session(post: Callable[..., Any]) -> None:
    count("a")
    to_stream()
    assert post("/event", success(session_id="a", model="UV-K5")).json()["deduped"]
    event = Event.objects.get()
    assert (event.model, event.source) == ("UV-K5", "event")
    assert metrics.flash_count().total == 1


def test_an_existing_row_is_not_written_again() -> None:
    rows = [LegacyCount(session_id=name, counted_at_ms=NOON_MS, in_stream=False) for name in ("b", "a", "b")]
    assert old_tables.keep_all(rows) == 2
    assert old_tables.keep_all(rows) == 0
    assert old_tables.keep_all([]) == 0
    assert not old_tables.keep(LegacyCount(session_id="a", counted_at_ms=1, in_stream=True))
    assert LegacyCount.objects.values_list("counted_at_ms", "in_stream").get(pk="a") == (NOON_MS, False)


@pytest.mark.parametrize("session", [{}, {"session_id": "s"}], ids=["without a session", "with a session"])
def test_copies_of_demo_failures_are_deleted_with_them(session: dict[str, str]) -> None:
    make_event(**session)
    Event.objects.update(source="demo")
    assert copying.to_legacy(since_ms=0) == 1
    list(retention.delete_demo())
    assert not ClientLog.objects.exists()
