"""The writer of events: group commit, idempotency, and counts that go with their events."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from events.counting import rollups
from events.grouping import advice
from events.ingest import contract, refusals, writer
from events.ingest.group_commit import Recorded, StorageUnavailable
from events.models import AdviceDay, Event, HourlyRollup, IngestTally, LifetimeTotal, Source
from events.rows import EventRow, identified
from tests.conftest import payload, success
from tests.plans import sought_by
from tests.threads import in_threads

pytestmark = pytest.mark.django_db

NOON_MS = 1_770_897_600_000  # 2026-02-12 12:00 UTC
DAY = datetime(2026, 2, 12, tzinfo=UTC).date()


def row(body: dict[str, Any], *, source: Source = Source.EVENT, received_at_ms: int = NOON_MS) -> EventRow:
    """Return a valid event as `source` would bring it."""
    return contract.parse(body, received_at_ms=received_at_ms)._replace(source=source.value)


def placeholder(session_id: str) -> EventRow:
    """Return what an old client's increment leaves: a success of which only the session is known."""
    body = success(session_id=session_id, model="unknown", app_version="unknown")
    return row(body, source=Source.INCREMENT)


def with_wrong_mode(body: dict[str, Any]) -> EventRow:
    """Return an event that only the database refuses."""
    return row(body)._replace(write_mode=7)


def buckets() -> dict[tuple[str, str, str], int]:
    rows = HourlyRollup.objects.filter(accepted__gt=0)
    return {
        (event_type, model, version): count
        for event_type, model, version, count in rows.values_list("event_type", "model", "app_version", "accepted")
    }


def totals() -> dict[str, int]:
    return dict(LifetimeTotal.objects.values_list("event_type", "accepted"))


def tallies() -> dict[str, int]:
    return dict(IngestTally.objects.filter(seen_on=DAY).values_list("outcome", "count"))


def assert_counts_are_rows() -> None:
    """Every count says exactly what the table of events holds."""
    rows: dict[str, int] = {}
    for event_type in Event.objects.values_list("event_type", flat=True):
        rows[event_type] = rows.get(event_type, 0) + 1
    assert {name: count for name, count in totals().items() if count} == rows
    assert [difference for day in rollups.days_in_use(0, None) for difference in rollups.compare(day)] == []


# --- what is the same event --------------------------------------------------------------------------------------


def test_the_same_session_is_stored_once() -> None:
    first = writer.record(row(success(session_id="s")))
    again = writer.record(row(success(session_id="s", message="Flash complete, told again")))
    assert (first.stored, again.stored) == (True, False)
    assert Event.objects.get().message == "Flash complete"
    assert tallies() == {"duplicate": 1}
    assert_counts_are_rows()


def test_one_session_may_fail_and_succeed() -> None:
    assert writer.record(row(payload(session_id="s"))).stored
    assert writer.record(row(success(session_id="s"))).stored
    assert_counts_are_rows()


def test_without_a_session_the_same_content_is_the_same_event() -> None:
    assert writer.record(row(payload())).stored
    assert not writer.record(row(payload(), received_at_ms=NOON_MS + 60_000)).stored
    assert Event.objects.get().received_at_ms == NOON_MS
    assert_counts_are_rows()


@pytest.mark.parametrize(
    "change",
    [
        {"event_type": "connect_error"},
        {"occurred_at": "2026-02-12T18:00:00.001Z"},
        {"message": "No ACK for block 0x0020 (got 0x15)"},
        {"error_name": "ProtocolError"},
        {"stack": "at flash"},
        {"model": "UV-17R"},
        {"write_mode": 0},
        {"connected": 0},
        {"app_version": "dev"},
        {"log_lines_json": '["open port"]'},
    ],
    ids=lambda change: next(iter(change)),
)
def test_without_a_session_other_content_is_another_event(change: dict[str, Any]) -> None:
    assert writer.record(row(payload())).stored
    assert writer.record(row(payload(**change))).stored


def test_of_one_session_twice_in_one_batch_the_first_is_stored() -> None:
    for number in range(10):
        twins = [row(success(session_id=f"s-{number}", message=message)) for message in ("first", "second")]
        assert [outcome.stored for outcome in writer.record_many(twins)] == [True, False]
    assert set(Event.objects.values_list("message", flat=True)) == {"first"}


def test_rows_are_inserted_in_one_order_so_that_no_two_processes_deadlock() -> None:
    failures = [row(payload(message=f"failure {number}")) for number in range(5)]
    sessions = [row(success(session_id=f"session-{number}")) for number in range(5)]
    successes = [row(payload(session_id=f"session-{number}")) for number in range(5)]
    expected = [event.id for event in sorted(failures, key=lambda event: event.id)]
    expected += [event.id for event in successes + sessions]
    for events in (failures + successes + sessions, [*reversed(failures + successes + sessions)]):
        with CaptureQueriesContext(connection) as queries, transaction.atomic():
            writer.record_within(events)
            transaction.set_rollback(True)
        [insert] = [query["sql"] for query in queries if query["sql"].startswith("INSERT INTO telemetry_events")]
        assert sorted(expected, key=insert.index) == expected


def test_twins_in_one_batch_are_one_event() -> None:
    events = [row(success(session_id="s")), row(payload()), row(success(session_id="s")), row(payload())]
    outcomes = writer.record_many(events)
    assert [outcome.stored for outcome in outcomes].count(True) == 2
    assert [outcomes[1].stored, outcomes[3].stored] == [True, False]
    assert Event.objects.count() == 2
    assert tallies() == {"duplicate": 2}
    assert_counts_are_rows()


@pytest.mark.parametrize("source", [Source.EVENT, Source.IMPORT])
@pytest.mark.parametrize("known", [range(0), range(0, 120, 3), range(120)], ids=["none", "some", "all"])
def test_each_of_many_hears_whether_it_was_new(source: Source, known: range) -> None:
    def brought(number: int) -> EventRow:
        event = row(success(session_id=f"s{number}"), source=source)
        return event._replace(id=f"old-{number}") if source == Source.IMPORT else event

    writer.record_many([brought(number) for number in known])
    outcomes = writer.record_many([brought(number) for number in range(120)])
    assert [outcome.stored for outcome in outcomes] == [number not in known for number in range(120)]
    assert_counts_are_rows()


def test_a_duplicate_of_made_up_or_imported_events_is_no_refusal() -> None:
    for source in (Source.DEMO, Source.IMPORT):
        writer.record_many([row(payload(message=source), source=source)] * 2)
    assert tallies() == {}


# --- what an old route left ---------------------------------------------------------------------------------------


def test_the_event_of_an_old_log_brings_its_metadata() -> None:
    assert writer.record(row(payload(), source=Source.CLIENT_LOG)).stored
    assert not writer.record(row(payload(metadata_json='{"source": "web-v2"}'))).stored
    event = Event.objects.get()
    assert (event.metadata_json, event.source) == ('{"source":"web-v2"}', "event")
    assert_counts_are_rows()


def test_an_old_log_takes_nothing_from_its_event() -> None:
    writer.record(row(payload(metadata_json='{"source": "web-v2"}')))
    writer.record(row(payload(), source=Source.CLIENT_LOG))
    event = Event.objects.get()
    assert (event.metadata_json, event.source) == ('{"source":"web-v2"}', "event")


@pytest.mark.parametrize("together", [False, True], ids=["one after the other", "in one commit"])
def test_the_event_of_a_placeholder_fills_it_in(together: bool) -> None:
    waiting = placeholder("s")
    complete = row(success(session_id="s", log_lines_json='["verify ok"]'), received_at_ms=NOON_MS + 5_400_000)
    for batch in [[waiting, complete]] if together else [[waiting], [complete]]:
        writer.record_many(batch)
    event = Event.objects.get()
    assert (event.id, event.received_at_ms) == (waiting.id, NOON_MS)
    assert (event.model, event.app_version, event.log_lines_json) == ("UV-5RM", "19afc18", '["verify ok"]')
    assert event.source == "event"
    assert totals() == {"flash_success": 1}
    assert buckets() == {("flash_success", "UV-5RM", "19afc18"): 1}
    assert_counts_are_rows()


def test_a_placeholder_is_filled_in_once() -> None:
    writer.record(placeholder("s"))
    writer.record(row(success(session_id="s", model="UV-5RM")))
    writer.record(row(success(session_id="s", model="UV-17R")))
    assert Event.objects.get().model == "UV-5RM"
    assert buckets() == {("flash_success", "UV-5RM", "19afc18"): 1}


def test_a_placeholder_takes_nothing_from_its_event() -> None:
    writer.record(row(success(session_id="s")))
    assert not writer.record(placeholder("s")).stored
    assert Event.objects.get().model == "UV-5RM"
    assert_counts_are_rows()


# --- what is written alongside, and refusals ----------------------------------------------------------------------


def write_alongside() -> None:
    LifetimeTotal.objects.update_or_create(event_type="window_error", defaults={"baseline": 7})


def wrote_alongside() -> bool:
    return LifetimeTotal.objects.filter(event_type="window_error", baseline=7).exists()


@pytest.mark.parametrize("already_there", [False, True], ids=["a new event", "a duplicate"])
def test_what_is_written_alongside_is_committed_with_the_event(already_there: bool) -> None:
    if already_there:
        writer.record(row(payload()))
    writer.record(row(payload()), alongside=write_alongside)
    assert wrote_alongside()


def test_what_is_written_alongside_goes_when_the_event_cannot_be_stored() -> None:
    def write_and_fail() -> None:
        write_alongside()
        LifetimeTotal.objects.create(event_type="flash_success", accepted=-1)

    with pytest.raises(IntegrityError):
        writer.record(row(payload()), alongside=write_and_fail)
    assert not wrote_alongside()
    assert not Event.objects.exists()
    assert totals() == {}


def test_refusals_go_to_disk_with_the_next_event() -> None:
    refusals.note(refusals.RefusalReason.ORIGIN, NOON_MS, 3)
    assert tallies() == {}
    writer.record(row(payload()))
    refusals.note(refusals.RefusalReason.ORIGIN, NOON_MS)
    writer.flush_refusals()
    assert tallies() == {"origin": 4}


def test_refusals_are_put_back_when_a_commit_fails() -> None:
    refusals.note(refusals.RefusalReason.ORIGIN, NOON_MS, 3)
    with pytest.raises(IntegrityError):
        writer.record(with_wrong_mode(payload()))
    assert tallies() == {}
    writer.record(row(payload()))
    assert tallies() == {"origin": 3}


# --- many at once --------------------------------------------------------------------------------------------------


def in_one_commit(jobs: list[Callable[[], Any]]) -> list[Any]:
    """Run jobs in threads, behind a commit that does not end before all of them wait in line."""

    def until_all_wait() -> None:
        deadline = time.monotonic() + 30
        while len(writer._queue._waiting) < len(jobs) and time.monotonic() < deadline:
            time.sleep(0.001)

    def lead() -> Recorded:
        return writer.record(row(success()), alongside=until_all_wait)

    def follow(job: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            while not writer._queue._has_leader:
                time.sleep(0.001)
            return job()

        return run

    return in_threads([lead, *map(follow, jobs)])[1:]


@pytest.mark.django_db(transaction=True)
def test_the_same_session_from_sixteen_threads_is_counted_once() -> None:
    outcomes = in_threads([lambda: writer.record(row(success(session_id="s")))] * 16)
    assert sorted(outcome.stored for outcome in outcomes) == [False] * 15 + [True]
    assert Event.objects.count() == 1
    assert totals() == {"flash_success": 1}
    assert tallies() == {"duplicate": 15}
    assert_counts_are_rows()


@pytest.mark.django_db(transaction=True)
def test_many_threads_are_all_answered_and_counted() -> None:
    def send(thread: int) -> list[bool]:
        return [
            writer.record(row(payload(message=f"{thread}/{number}", model=f"m{number % 3}"))).stored
            for number in range(20)
        ]

    stored = in_threads([lambda thread=thread: send(thread) for thread in range(16)])
    assert stored == [[True] * 20] * 16
    assert totals() == {"flash_error": 320}
    assert_counts_are_rows()


@pytest.mark.django_db(transaction=True)
def test_one_bad_event_does_not_fail_its_neighbours(caplog: pytest.LogCaptureFixture) -> None:
    first, bad, last = in_one_commit(
        [
            lambda: writer.record(row(payload(message="first"))),
            lambda: writer.record(with_wrong_mode(payload(message="bad"))),
            lambda: writer.record(row(payload(message="last"))),
        ]
    )
    assert "A commit of 3 submissions failed and is replayed one by one" in caplog.text
    assert (first.stored, last.stored) == (True, True)
    assert isinstance(bad, IntegrityError)
    assert set(Event.objects.failures().values_list("message", flat=True)) == {"first", "last"}
    assert_counts_are_rows()


@pytest.mark.django_db(transaction=True)
def test_who_opens_while_the_last_one_closes_finds_the_file() -> None:
    """The last to close takes SQLite's log away, which must not look as if somebody else had."""

    def come_and_go() -> None:
        for _ in range(200):
            writer.record(row(success()))
            connection.close()

    connection.close()  # or it would keep the log
    assert in_threads([come_and_go] * 2) == [None, None]


@pytest.mark.django_db(transaction=True)
def test_those_who_wait_are_committed_together() -> None:
    def send(number: int) -> bool:
        return writer.record(row(payload(message=str(number))), alongside=note_thread).stored

    def note_thread() -> None:
        # Whoever shares a commit shares its connection, and the thread that leads it.
        inside.append(threading.get_ident())

    inside: list[int] = []
    assert in_one_commit([lambda number=number: send(number) for number in range(8)]) == [True] * 8
    assert len(inside) == 8
    assert len(set(inside)) == 1


# --- when the database cannot be written -----------------------------------------------------------------------------


@contextmanager
def locked_database() -> Iterator[None]:
    """Let another connection hold the lock that a writer needs, and this one not wait for it long."""
    other = connection.copy()
    if connection.vendor == "sqlite":
        patience, lock, reset = "PRAGMA busy_timeout = 20", "BEGIN IMMEDIATE", "PRAGMA busy_timeout = 5000"
    else:
        patience, lock = "SET lock_timeout = '20ms'", "BEGIN; LOCK TABLE telemetry_events IN EXCLUSIVE MODE"
        reset = "RESET lock_timeout"
    try:
        with other.cursor() as theirs, connection.cursor() as ours:
            theirs.execute(lock)
            ours.execute(patience)
            yield
            theirs.execute("ROLLBACK")
            ours.execute(reset)
    finally:
        other.close()


@pytest.mark.django_db(transaction=True)
def test_a_locked_database_stores_nothing_and_says_so() -> None:
    refusals.note(refusals.RefusalReason.ORIGIN, NOON_MS, 2)
    event = row(payload())
    with locked_database(), pytest.raises(StorageUnavailable):
        writer.record(event, alongside=write_alongside)
    assert not Event.objects.exists()
    assert not wrote_alongside()
    assert (totals(), tallies(), buckets()) == ({}, {}, {})
    assert writer.record(event).stored
    assert tallies() == {"origin": 2}
    assert_counts_are_rows()


def test_an_id_is_short_and_new_ones_come_last() -> None:
    early = identified(row(success(), received_at_ms=NOON_MS))
    late = identified(row(success(), received_at_ms=NOON_MS + 1))
    assert early.id < late.id
    assert len(early.id) == len(row(payload()).id) == 32


# --- advice to users -------------------------------------------------------------------------------------------------


@pytest.fixture
def advised(db: None) -> str:
    """Give advice to the group of the failures of `payload()`, which has one event; return its key."""
    writer.record(row(payload(session_id="advised")))
    key = Event.objects.get(session_id="advised").fingerprint or ""
    advice.give(key, "Use another cable.", None, user=User(username="olga"), at=datetime(2026, 2, 12, tzinfo=UTC))
    return key


def advice_of(outcomes: list[Recorded]) -> list[str | None]:
    return [outcome.advice and outcome.advice.text for outcome in outcomes]


def deliveries() -> int:
    return advice.deliveries(list(AdviceDay.objects.values_list("fingerprint", flat=True)), 0).total


def test_every_outcome_of_a_failure_has_the_advice_of_its_group(advised: str) -> None:
    session, other = row(payload(session_id="advised")), row(payload(message="Another fault"))
    new = row(payload())
    outcomes = writer.record_many([session, row(success()), new, other, new, row(payload(session_id="new"))])
    text = "Use another cable."
    assert [outcome.stored for outcome in outcomes] == [False, True, True, True, False, True]
    assert advice_of(outcomes) == [text, None, text, None, text, text]
    assert deliveries() == 4
    assert_counts_are_rows()


@pytest.mark.parametrize("source", [source for source in Source if source != Source.EVENT])
def test_events_of_other_routes_deliver_no_advice(advised: str, source: Source) -> None:
    body = payload(session_id="elsewhere")
    assert advice_of([writer.record(row(body, source=source)) for _ in range(2)]) == [None, None]
    assert deliveries() == 0


def test_advice_costs_no_query_without_a_known_failure(advised: str) -> None:
    def number_of_queries(*events: EventRow) -> int:
        with CaptureQueriesContext(connection) as queries, transaction.atomic():
            writer.record_within(events)
        return sum("advice_text <>" in query["sql"] for query in queries.captured_queries)

    known = [row(payload(message="Fault without advice", session_id=f"known {number}")) for number in range(3)]
    assert number_of_queries(row(success(session_id="twice")), row(payload()), *known) == 0
    assert number_of_queries(row(success(session_id="twice"))) == 0
    assert number_of_queries(*known) == 1


def test_advice_of_a_known_failure_is_found_by_an_index(advised: str) -> None:
    for number in range(100):
        word = "".join("abcdefghij"[int(digit)] for digit in f"{number:02}")  # each is a group
        writer.record(row(payload(message=f"Fault {word}{word}", session_id=f"many {number}")))
    with CaptureQueriesContext(connection) as queries:
        writer.record_many([row(payload(session_id="advised")), row(payload()), row(payload())])
    found = [query["sql"] for query in queries.captured_queries if "advice_text <>" in query["sql"]]
    assert len(found) == 2
    for query in found:
        assert len(sought_by(query)) == 2  # the event, then its group


@pytest.mark.django_db(transaction=True)
def test_a_commit_that_is_replayed_counts_its_deliveries_once(advised: str) -> None:
    valid, bad, _ = in_one_commit(
        [
            lambda: writer.record(row(payload(session_id="valid"))),
            lambda: writer.record(with_wrong_mode(payload(session_id="bad"))),
            lambda: writer.record(row(success())),
        ]
    )
    assert advice_of([valid]) == ["Use another cable."]
    assert isinstance(bad, IntegrityError)
    assert deliveries() == 1


def test_a_delivery_that_cannot_be_counted_fails_no_event(advised: str, caplog: pytest.LogCaptureFixture) -> None:
    refuse = {
        "sqlite": "CREATE TRIGGER full BEFORE INSERT ON events_adviceday BEGIN SELECT RAISE(ABORT, 'full'); END",
        "postgresql": "ALTER TABLE events_adviceday ADD CONSTRAINT full_table CHECK (delivered < 0)",
    }
    with connection.cursor() as cursor:
        cursor.execute(refuse[connection.vendor])
    outcomes = [writer.record(row(payload(session_id=session))) for session in ("new", "advised")]
    assert [outcome.stored for outcome in outcomes] == [True, False]
    assert advice_of(outcomes) == ["Use another cable."] * 2
    assert "Deliveries of advice were not counted" in caplog.text
    assert deliveries() == 0
    assert_counts_are_rows()


@pytest.mark.django_db(transaction=True)
def test_deliveries_of_many_threads_are_all_counted(advised: str) -> None:
    def send(thread: int) -> list[str | None]:
        return advice_of([writer.record(row(payload(session_id=f"{thread % 8}/{n}"))) for n in range(5)])

    assert in_threads([lambda thread=thread: send(thread) for thread in range(16)]) == [["Use another cable."] * 5] * 16
    assert deliveries() == 80
    assert_counts_are_rows()
