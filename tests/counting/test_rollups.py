"""The writer of rollups: buckets by hour, caps on what clients may name, moves, tallies, the baseline's history."""

import threading
from datetime import UTC, date, datetime

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from events import clock
from events.counting import buckets, rollups
from events.counting.buckets import DAY_MS, HOUR_MS, OTHER, UNKNOWN, Bucket
from events.ingest import contract
from events.models import (
    CounterBaseline,
    DailyRollup,
    Event,
    EventType,
    HourlyRollup,
    IngestTally,
    LifetimeTotal,
    ModeRollup,
)
from events.reports import metrics
from tests.conftest import make_event, payload, success
from tests.servers import PATIENCE_SECONDS, wait_until
from tests.threads import in_threads

pytestmark = pytest.mark.django_db

MIDNIGHT_MS = 1_770_854_400_000  # 2026-02-12 00:00 UTC
NOON_MS = MIDNIGHT_MS + 12 * HOUR_MS


def failures_of(*, models: list[str] = ["UV-5RM"], versions: list[str] = ["19afc18"], at_ms: int = NOON_MS) -> None:  # noqa: B006
    for model in models:
        for version in versions:
            make_event(
                **payload(message=f"{model} {version} {at_ms}", model=model, app_version=version), received_at_ms=at_ms
            )


def names(column: str) -> set[str]:
    return set(HourlyRollup.objects.values_list(column, flat=True))


def counts() -> dict[Bucket, int]:
    rows = HourlyRollup.objects.values_list(*Bucket._fields, "accepted")
    return {Bucket(*key): count for *key, count in rows}


def mode_counts() -> dict[tuple[int, int], int]:
    rows = ModeRollup.objects.filter(day_ms=MIDNIGHT_MS, event_type="flash_error")
    return {
        (mode, connected): count for mode, connected, count in rows.values_list("write_mode", "connected", "accepted")
    }


def test_events_of_one_hour_type_model_and_version_share_a_row() -> None:
    for at_ms in (NOON_MS, NOON_MS + HOUR_MS - 1, NOON_MS + HOUR_MS):
        failures_of(at_ms=at_ms)
    make_event(**success(), received_at_ms=NOON_MS)
    assert counts() == {
        Bucket(NOON_MS, "flash_error", "UV-5RM", "19afc18"): 2,
        Bucket(NOON_MS + HOUR_MS, "flash_error", "UV-5RM", "19afc18"): 1,
        Bucket(NOON_MS, "flash_success", "UV-5RM", "19afc18"): 1,
    }
    assert set(LifetimeTotal.objects.values_list("event_type", "accepted", "last_received_at_ms")) == {
        ("flash_error", 3, NOON_MS + HOUR_MS),
        ("flash_success", 1, NOON_MS),
    }


@pytest.mark.django_db(transaction=True)
def test_a_total_that_does_not_exist_yet_is_locked_in_its_place_of_the_order() -> None:
    """On PostgreSQL: while one transaction locks all totals, another one adds the first event of a type."""
    failures_of()
    event = Event.objects.get()
    first_of_its_type = contract.parse(payload(event_type="connect_error"), received_at_ms=NOON_MS)
    is_locked = threading.Event()

    def lock_all() -> None:
        with transaction.atomic():
            rollups.lock(EventType.values, adding=[first_of_its_type.event_type])
            is_locked.set()
            wait_until(is_somebody_waiting, "nobody waits for the totals")
            rollups.add([first_of_its_type])

    def add_both() -> None:
        assert is_locked.wait(PATIENCE_SECONDS)
        with transaction.atomic():
            rollups.add([first_of_its_type, event])

    def is_somebody_waiting() -> bool:
        if connection.vendor == "sqlite":
            return True  # the other transaction cannot begin
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_locks"
                " JOIN pg_database ON pg_locks.database = pg_database.oid WHERE datname = current_database()))"
            )
            return bool(cursor.fetchone()[0])

    assert in_threads([lock_all, add_both]) == [None, None]
    totals = LifetimeTotal.objects.filter(accepted__gt=0).values_list("event_type", "accepted")
    assert set(totals) == {("connect_error", 2), ("flash_error", 2)}


def test_an_older_event_does_not_set_the_last_time_back() -> None:
    failures_of(at_ms=NOON_MS)
    failures_of(at_ms=NOON_MS - DAY_MS)
    assert LifetimeTotal.objects.get().last_received_at_ms == NOON_MS


def test_models_past_the_fiftieth_of_a_day_are_counted_together() -> None:
    failures_of(models=[f"m{number:03}" for number in range(60)])
    # One of the fifty places is reserved for `unknown`, which no event has used yet.
    assert names("model") == {f"m{number:03}" for number in range(49)} | {OTHER}
    assert HourlyRollup.objects.get(model=OTHER).accepted == 11


def test_versions_past_the_two_hundredth_of_a_day_are_counted_together() -> None:
    failures_of(versions=[f"v{number:03}" for number in range(205)])
    assert names("app_version") == {f"v{number:03}" for number in range(199)} | {OTHER}
    assert HourlyRollup.objects.get(app_version=OTHER).accepted == 6


def test_unknown_has_a_bucket_of_its_own_on_a_day_full_of_names() -> None:
    failures_of(models=[f"m{number:03}" for number in range(60)])
    failures_of(models=[UNKNOWN], versions=[UNKNOWN])
    assert HourlyRollup.objects.get(model=UNKNOWN).app_version == UNKNOWN


def test_a_full_day_leaves_the_next_one_free() -> None:
    failures_of(models=[f"m{number:03}" for number in range(60)])
    failures_of(models=["m059"], at_ms=NOON_MS + DAY_MS)
    assert HourlyRollup.objects.get(hour_ms=NOON_MS + DAY_MS).model == "m059"


def test_a_process_that_begins_on_a_full_day_knows_its_names() -> None:
    failures_of(models=[f"m{number:03}" for number in range(60)])
    buckets.forget_names()
    failures_of(models=["m000", "new"], at_ms=NOON_MS + HOUR_MS)
    assert {bucket.model: count for bucket, count in counts().items() if bucket.hour_ms > NOON_MS} == {
        "m000": 1,
        OTHER: 1,
    }


def test_a_moved_event_leaves_the_total_as_it_was() -> None:
    failures_of(models=["a", "b"])
    old, new = Event.objects.get(model="a"), Event.objects.get(model="b")
    new.connected = 0
    rollups.move(old, new)
    buckets_now = {bucket.model: count for bucket, count in counts().items()}
    assert buckets_now == {"a": 0, "b": 2}
    assert mode_counts() == {(1, 0): 1, (1, 1): 1}
    assert LifetimeTotal.objects.get().accepted == 2
    assert [row.name for row in metrics.sliced(metrics.by_day(MIDNIGHT_MS, MIDNIGHT_MS + DAY_MS).cells, "model")] == [
        "b"
    ]


def test_a_move_to_the_same_bucket_changes_nothing() -> None:
    failures_of()
    event = Event.objects.get()
    rollups.move(event, event)
    assert list(counts().values()) == [1]
    assert mode_counts() == {(1, 1): 1}


def test_a_day_is_counted_by_mode_and_connection() -> None:
    for number, (mode, connected) in enumerate([(1, 1), (1, 1), (0, 1), (0, 0)]):
        make_event(received_at_ms=NOON_MS + number, message=f"fault {number}", write_mode=mode, connected=connected)
    assert mode_counts() == {(1, 1): 2, (0, 1): 1, (0, 0): 1}


def test_a_wrong_count_by_mode_is_found_and_rebuilt() -> None:
    failures_of()
    ModeRollup.objects.update(accepted=7)
    (difference,) = rollups.compare(MIDNIGHT_MS)
    assert (difference.model, difference.app_version) == ("write_mode 1", "connected 1")
    assert (difference.counted, difference.events) == (7, 1)
    rollups.rebuild(MIDNIGHT_MS)
    assert mode_counts() == {(1, 1): 1}
    assert rollups.compare(MIDNIGHT_MS) == []


def test_tallies_add_up_by_day_and_outcome() -> None:
    today, tomorrow = date(2026, 2, 12), date(2026, 2, 13)
    rollups.add_tallies({(today, "origin"): 2, (today, "duplicate"): 1, (tomorrow, "origin"): 1})
    rollups.add_tallies({(today, "origin"): 3})
    assert set(IngestTally.objects.values_list("seen_on", "outcome", "count")) == {
        (today, "origin", 5),
        (today, "duplicate", 1),
        (tomorrow, "origin", 1),
    }


def test_every_change_of_the_baseline_is_kept() -> None:
    make_event(**success())
    olga = User.objects.create_user("olga")
    at = datetime(2026, 2, 12, tzinfo=UTC)
    rollups.set_baseline(412, note="the old counter", user=olga, user_name="olga", at=at)
    rollups.set_baseline(410, note="two were tests", user=None, user_name="command", at=at)
    assert metrics.flash_count() == metrics.FlashCount(baseline=410, accepted=1)
    history = CounterBaseline.objects.values_list("value", "note", "set_by", "set_by_name", "set_at")
    assert list(history) == [
        (410, "two were tests", None, "command", at),
        (412, "the old counter", olga.pk, "olga", at),
    ]
    olga.delete()
    assert CounterBaseline.objects.get(value=412).set_by_name == "olga"


def test_an_event_after_the_baseline_leaves_it_in_force() -> None:
    rollups.set_baseline(412, note="the old counter", user=None, user_name="command", at=datetime.now(UTC))
    make_event(**success())
    assert metrics.flash_count() == metrics.FlashCount(baseline=412, accepted=1)


# --- sums of past days -----------------------------------------------------------------------------------------------

AN_HOUR_AFTER_MS = MIDNIGHT_MS + DAY_MS + HOUR_MS


def set_clock(monkeypatch: pytest.MonkeyPatch, at_ms: int) -> None:
    monkeypatch.setattr(clock, "now", lambda: datetime.fromtimestamp(at_ms / 1000, UTC))


def sums() -> dict[tuple[int, str, str, str], int]:
    rows = DailyRollup.objects.values_list(*rollups.DayBucket._fields, "accepted")
    return {tuple(key): count for *key, count in rows}


def cells(days: int = 1) -> set[tuple[str, str, str, int]]:
    return {cell[:4] for cell in metrics.by_day(MIDNIGHT_MS, MIDNIGHT_MS + days * DAY_MS).cells}


def test_a_past_day_is_summed_once_it_is_over_for_an_hour() -> None:
    failures_of(at_ms=NOON_MS)
    failures_of(at_ms=NOON_MS + HOUR_MS)
    assert rollups.sum_past_days(AN_HOUR_AFTER_MS - 1) == 0
    assert sums() == {}
    assert rollups.sum_past_days(AN_HOUR_AFTER_MS) == 1
    assert sums() == {(MIDNIGHT_MS, "flash_error", "UV-5RM", "19afc18"): 2}


def test_only_days_without_sums_and_the_newest_three_are_summed() -> None:
    for day in range(6):
        failures_of(at_ms=NOON_MS + day * DAY_MS)
    now_ms = AN_HOUR_AFTER_MS + 5 * DAY_MS
    assert rollups.sum_past_days(now_ms) == 6
    assert rollups.sum_past_days(now_ms) == 3
    assert len(sums()) == 6


def test_figures_are_the_same_from_sums_and_from_hours() -> None:
    for day in range(3):
        failures_of(models=["a", "b"], versions=["1", "2"], at_ms=NOON_MS + day * DAY_MS)
    by_hour = cells(days=3)
    rollups.sum_past_days(AN_HOUR_AFTER_MS + DAY_MS)  # two of the three days
    assert len(sums()) == 8
    assert cells(days=3) == by_hour == {("flash_error", model, version, 3) for model in "ab" for version in "12"}


def test_the_sums_are_what_the_figures_of_a_past_day_are_read_from() -> None:
    failures_of()
    rollups.sum_past_days(AN_HOUR_AFTER_MS)
    HourlyRollup.objects.update(accepted=7)
    assert cells() == {("flash_error", "UV-5RM", "19afc18", 1)}


def test_every_change_of_a_past_day_drops_its_sums() -> None:
    """Whatever changes the hours of a day, the figures of that day are right at once."""

    def add() -> None:
        rollups.add([contract.parse(success(session_id="late"), received_at_ms=NOON_MS + 1)])

    def move() -> None:
        placeholder = Event.objects.get(session_id="known")
        known = contract.parse(success(session_id="known", model="UV-17R"), received_at_ms=NOON_MS)
        rollups.move(placeholder, known)

    def void() -> None:
        rollups.void(list(Event.objects.filter(session_id="known")))

    def subtract() -> None:
        rollups.subtract_demo(list(Event.objects.filter(session_id="known")), [])

    for change in (add, move, void, subtract):
        Event.objects.all().delete()
        HourlyRollup.objects.all().delete()
        make_event(**success(session_id="known"), received_at_ms=NOON_MS)
        rollups.sum_past_days(AN_HOUR_AFTER_MS)
        assert len(sums()) == 1
        with transaction.atomic():
            change()
        by_hour = HourlyRollup.objects.filter(accepted__gt=0)
        assert sums() == {}, change.__name__
        assert cells() == set(by_hour.values_list("event_type", "model", "app_version", "accepted")), change.__name__


def test_a_day_that_a_clock_set_back_opens_again_loses_its_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sum of the current day exists only if the clock was ahead before."""
    failures_of()
    rollups.sum_past_days(AN_HOUR_AFTER_MS)
    set_clock(monkeypatch, NOON_MS + HOUR_MS)
    failures_of(at_ms=NOON_MS + HOUR_MS)
    failures_of(at_ms=NOON_MS + HOUR_MS + 1)
    assert sums() == {}
    assert cells() == {("flash_error", "UV-5RM", "19afc18", 3)}


def test_ingest_of_the_current_day_deletes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch, NOON_MS)
    failures_of()
    event = Event.objects.get()
    with CaptureQueriesContext(connection) as captured, transaction.atomic():
        rollups.add([event])
    assert [query["sql"] for query in captured if "DELETE" in query["sql"]] == []


def test_a_check_finds_a_wrong_sum_and_a_rebuild_mends_it() -> None:
    failures_of()
    rollups.sum_past_days(AN_HOUR_AFTER_MS)
    DailyRollup.objects.update(accepted=4)
    assert rollups.compare(MIDNIGHT_MS) == [(MIDNIGHT_MS, "flash_error", "UV-5RM", "19afc18", 4, 1)]
    rollups.rebuild(MIDNIGHT_MS)
    assert rollups.compare(MIDNIGHT_MS) == []
    assert cells() == {("flash_error", "UV-5RM", "19afc18", 1)}


@pytest.mark.parametrize("span", [(MIDNIGHT_MS + 1, AN_HOUR_AFTER_MS), (MIDNIGHT_MS, NOON_MS), (MIDNIGHT_MS,) * 2])
def test_a_span_that_is_not_whole_days_is_refused(span: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="starts of two days"):
        metrics.by_day(*span)
