"""The scheduled retention: which events go and when, what is kept, what a run says, and when it refuses."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test import Client

from events import clock, process_memory
from events.counting import rollups, site_days
from events.maintenance import database_file, retention
from events.maintenance.jobs import registry
from events.maintenance.jobs.registry import JobFailed
from events.maintenance.retention import Cutoffs
from events.maintenance.retention_policy import preview, pruning, rules, size
from events.models import (
    AuditEntry,
    Event,
    EventType,
    HourlyRollup,
    LifetimeTotal,
    RetentionDefault,
    RetentionMark,
    SiteDay,
)
from legacy import old_tables, translate
from legacy.models import ClientLog
from telemetry_site.env import Periods
from tests.conftest import make_event, payload, sign_in, success, text_of
from tests.plans import sought_by

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 26, 3, 17, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock, which the run of yesterday leaves no doubt of, and do not pause."""
    monkeypatch.setattr(clock, "now", lambda: NOW)
    monkeypatch.setattr(database_file, "BUSY_PART", 1)
    yesterday = NOW - timedelta(days=1)
    SiteDay.objects.create(
        seen_on=yesterday.date(), database_bytes=1, clock_confirmed_ms=int(yesterday.timestamp() * 1000)
    )


def ms(days: float) -> int:
    """Return noon, UTC, of a day gone by."""
    return int((NOW.replace(hour=12, minute=0) - timedelta(days=days)).timestamp() * 1000)


def store(event_type: str, days: float, *, source: str = "event", count: int = 1) -> None:
    """Store events that were received some days ago."""
    for number in range(count):
        name = f"{event_type} {days} {source} {number}"
        body = payload(event_type=event_type, session_id=name, message=name, occurred_at=clock.iso(ms(days)))
        event = make_event(**body, received_at_ms=ms(days) + number)
        Event.objects.filter(pk=event.pk).update(source=source)


def days_left() -> dict[str, list[int]]:
    """Return the ages in days of the stored events, by type, or by source if they are imported or demo events."""
    left: dict[str, list[int]] = {}
    for event in Event.objects.order_by("-received_at_ms"):
        kind = event.source if event.source in ("import", "demo") else event.event_type
        left.setdefault(kind, []).append((ms(0) - event.received_at_ms + 1_000) // 86_400_000)
    return left


def set_rule(settings: LazySettings, general: int | None, **of_kind: int | None) -> None:
    settings.RETENTION_DAYS = Periods(general, of_kind)


# --- by age -----------------------------------------------------------------------------------------------------------

AGES = (10, 40, 100, 400)
ALL = {kind: [*AGES] for kind in ("flash_success", "flash_error", "import", "demo")}
# The rule, the ages that remain where not all do, what the run says, the marks in days of all and of the two types.
RULES: dict[str, tuple[tuple[int | None, dict[str, int | None]], dict[str, list[int]], str, tuple[int, int, int]]] = {
    "90": (
        (90, {}), {"flash_success": [10, 40], "flash_error": [10, 40]},
        "Deleted 4 events received before 2026-08-28", (90, 90, 90),
    ),
    "90,flash_success=365": (
        (90, {"flash_success": 365}), {"flash_success": [10, 40, 100], "flash_error": [10, 40]},
        "Deleted 3 events: flash_success received before 2025-11-26, other types received before 2026-08-28",
        (90, 365, 90),
    ),
    "off,flash_error=30": (
        (None, {"flash_error": 30}), {"flash_error": [10]},
        "Deleted 3 events: flash_error received before 2026-10-27", (30, 0, 30),
    ),
    "90,flash_success=off": (
        (90, {"flash_success": None}), {"flash_error": [10, 40]},
        "Deleted 2 events: flash_error, connect_error, window_error, unhandled_rejection received before 2026-08-28",
        (90, 0, 90),
    ),
    "off,imported=365": (
        (None, {"imported": 365}), {"import": [10, 40, 100]},
        "Deleted 1 event: imported ones received before 2025-11-26", (365, 0, 365),
    ),
    "90,imported=30": (
        (90, {"imported": 30}), {"flash_success": [10, 40], "flash_error": [10, 40], "import": [10]},
        "Deleted 7 events received before 2026-08-28, imported ones received before 2026-10-27", (30, 90, 30),
    ),
    "off": ((None, {}), {}, "Every event is kept: RETENTION_DAYS is off.", (0, 0, 0)),
    "500": ((500, {}), {}, "Nothing to delete: no event received before 2025-07-14.", (0, 0, 0)),
}  # fmt: skip


@pytest.mark.parametrize("case", RULES)
def test_each_type_is_kept_for_its_period(settings: LazySettings, case: str) -> None:
    (general, of_kind), remaining, said, marks = RULES[case]
    for days in AGES:
        store("flash_success", days)
        store("flash_error", days)
        store("connect_error", days, source="import")
        store("window_error", days, source="demo")
    connect_errors = Event.objects.filter(source="import")
    connect_errors.update(event_type="flash_error", session_id=None)
    counted = [*LifetimeTotal.objects.order_by("pk").values()], [*HourlyRollup.objects.order_by("pk").values()]
    set_rule(settings, general, **of_kind)
    expected = preview.in_force(NOW)
    before = Event.objects.count()
    words = pruning.delete_old_events()
    assert words.startswith(said), words
    assert days_left() == ALL | remaining
    assert expected.total == (before - Event.objects.count(), True)
    assert counted == (
        [*LifetimeTotal.objects.order_by("pk").values()], [*HourlyRollup.objects.order_by("pk").values()],
    )  # fmt: skip
    midnight_ms = ms(0) - 12 * 3_600_000
    assert [
        (midnight_ms - since_ms) // 86_400_000 if since_ms else 0
        for since_ms in (
            retention.whole_since_ms(), retention.whole_since_ms(["flash_success"]),
            retention.whole_since_ms(["flash_error"]),
        )
    ] == list(marks)  # fmt: skip
    assert pruning.delete_old_events().startswith(("Nothing to delete", "Every event is kept"))
    assert AuditEntry.objects.count() == bool(remaining)


def test_copies_in_the_old_log_go_with_the_shortest_period_of_a_failure(settings: LazySettings) -> None:
    for days in AGES:
        body = payload(message=f"old failure {days}", occurred_at=clock.iso(ms(days)))
        event = translate.event_from_client_log(body, ms(days))
        make_event(**body, received_at_ms=ms(days))
        old_tables.keep(translate.client_log_row(event, "flash_error", in_stream=True))
    set_rule(settings, 365, window_error=30, flash_success=1)
    assert preview.in_force(NOW).copies == {"rows of the old log": 3}
    words = pruning.delete_old_events()
    assert words.startswith("Deleted 1 event: ")
    assert ", and rows of the old log 3; " in words
    assert ClientLog.objects.count() == 1
    assert Event.objects.count() == 3


def test_a_run_that_was_stopped_goes_on_without_loss(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PRUNED_AT_ONCE", 2)
    store("flash_error", 100, count=5)
    store("flash_error", 10)
    set_rule(settings, 90)
    monkeypatch.setattr(pruning, "RUN_MINUTES", -1)
    assert pruning.delete_old_events().endswith("The time was over. The next run deletes the rest.")
    assert Event.objects.count() == 4
    monkeypatch.undo()
    monkeypatch.setattr(clock, "now", lambda: NOW)
    cutoffs = rules.in_force().cutoffs(NOW)
    two = [retention.prune_by_type(cutoffs, "Pruned", who="a test", at=NOW, why="") for _ in range(2)]
    next(two[0])  # two at once
    deleted = 2 + sum(count for run in reversed(two) for _, count in run)
    assert deleted <= 3
    assert days_left() == {"flash_error": [10]}
    assert rollups.compare_totals() == []


def test_kept_events_are_skipped_by_the_day(settings: LazySettings) -> None:
    """Imported events of years must not be read each night."""
    store("flash_success", 400, source="import", count=3)
    store("flash_success", 300, source="import", count=2)
    store("flash_success", 300)
    part = retention._Slice("flash_success", is_imported=False, before_ms=ms(90))
    assert [(ms(0) - start_ms) // 86_400_000 for start_ms, _ in part.days()] == [300]


def test_the_counts_of_a_preview_read_only_indexes() -> None:
    for number in range(100):
        store("flash_error" if number % 10 else "flash_success", 100 + number)
    kept = Event.objects.of_type("flash_success").between(0, ms(90)).filter(source="import").order_by()
    counted = Event.objects.of_type("flash_success").between(0, ms(90)).order_by()
    for rows, index in ((kept, "source"), (counted, "event_type")):
        query = str(rows.values("received_at_ms").query).replace("flash_success", "'flash_success'")
        (sought,) = sought_by(re.sub("= import", "= 'import'", query))
        assert index in sought
        assert "received_at_ms" in sought


def test_beyond_its_limit_a_preview_takes_the_counts_of_days(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "COUNTED", 3)
    store("flash_error", 100, count=4)
    store("flash_error", 101, source="import")
    store("flash_success", 100, count=2)
    set_rule(settings, 90)
    assert {line.kind: line.old for line in preview.in_force(NOW).lines if line.old.rows} == {
        "flash_error": (4, False), "flash_success": (2, True),
    }  # fmt: skip


# --- the default ------------------------------------------------------------------------------------------------------


def test_without_the_setting_a_new_site_keeps_90_days_and_an_older_one_everything(client: Client) -> None:
    sign_in(client, "Staff")
    store("flash_error", 100)
    store("flash_error", 10)
    note = "<strong>This site keeps every event:</strong> it is older than the setting"
    RetentionDefault.objects.update_or_create(id=1, defaults={"days": 90})
    assert rules.in_force() == (90, {}, rules.Origin.NEW_SITE, None)
    assert note not in text_of(client.get("/admin/"))
    RetentionDefault.objects.update(days=None)
    process_memory.clear()  # the overview reads the rule once in some seconds
    assert rules.in_force() == (None, {}, rules.Origin.OLDER_SITE, None)
    assert note in text_of(client.get("/admin/"))
    assert pruning.delete_old_events().startswith("Every event is kept: this site is older than RETENTION_DAYS")
    RetentionDefault.objects.all().delete()
    assert rules.in_force().origin is rules.Origin.OLDER_SITE
    RetentionDefault.objects.create(id=1, days=90)
    assert pruning.delete_old_events().startswith("Deleted 1 event received before 2026-08-28; ")


# --- by size ----------------------------------------------------------------------------------------------------------


def hold(monkeypatch: pytest.MonkeyPatch, *, counts: int, per_event: int) -> None:
    """Let the database hold these bytes for its counts and for each event, so that no page size matters."""
    monkeypatch.setattr(database_file, "held_bytes", lambda: counts + per_event * Event.objects.count())
    monkeypatch.setattr(database_file, "bytes_per_event", lambda: per_event)


# The limit, the days that remain, and how the outcome begins. The counts take 1,000 bytes, each event 100.
LIMITS: dict[str, tuple[int, dict[str, list[int]], str]] = {
    "enough": (2_000, {"flash_error": [0, 1, 1, 2, 2, 3, 3], "import": [400]}, "Every event is kept"),
    "a day too much": (
        1_700, {"flash_error": [0, 1, 1, 2, 2, 3, 3]},
        "Deleted 1 event received before 2025-10-23, also imported ones; ",
    ),
    "more than a day": (1_450, {"flash_error": [0, 1, 1]}, "Deleted 5 events"),
    "all but today": (1_100, {"flash_error": [0]}, "Deleted 7 events"),
    "less than the counts": (
        50, {"flash_error": [0, 1, 1, 2, 2, 3, 3], "import": [400]},
        "The database holds 1.7 KiB more than RETENTION_BYTES (50 B). Counts, groups and the events of today need more"
        " than that, so no further events were deleted. Set RETENTION_BYTES higher. Every event is kept",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LIMITS)
def test_the_oldest_days_go_until_the_database_is_small_enough(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    limit, remaining, said = LIMITS[case]
    store("flash_error", 400, source="import")
    for days in (3, 2, 1):
        store("flash_error", days, count=2)
    store("flash_error", 0)
    hold(monkeypatch, counts=1_000, per_event=100)
    set_rule(settings, None)
    settings.RETENTION_BYTES = limit
    try:
        words = pruning.delete_old_events()
    except JobFailed as failure:
        words = str(failure)
    assert words.startswith(said), words
    assert days_left() == remaining


def test_what_a_limit_deletes_is_measured_again(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """An estimate that is too low only means a second round."""
    for days in range(9):
        store("flash_error", days)
    hold(monkeypatch, counts=0, per_event=100)
    monkeypatch.setattr(database_file, "bytes_per_event", lambda: 200)
    set_rule(settings, None)
    settings.RETENTION_BYTES = 500
    pruning.delete_old_events()
    assert days_left() == {"flash_error": [0, 1, 2, 3, 4]}
    assert AuditEntry.objects.count() > 1


def test_the_bytes_of_an_event_are_estimated_on_both_engines() -> None:
    store("flash_error", 1, count=3)
    assert 300 < database_file.bytes_per_event() < 3_000
    assert database_file.held_bytes() > 10_000
    assert size.excess(10**12, ms(0)) is None


# --- the clock --------------------------------------------------------------------------------------------------------


def confirmed(days: float) -> Callable[[], object]:
    def confirm() -> None:
        assert site_days.confirm_clock(NOW - timedelta(days=days)) is None

    return confirm


def started(*days: float) -> Callable[[], object]:
    return lambda: [site_days.note_start(NOW - timedelta(days=age)) for age in days]


def received(*, sent_days_before: float) -> Callable[[], object]:
    sent_at = NOW - timedelta(hours=1, days=sent_days_before)
    at_ms = int((NOW - timedelta(hours=1)).timestamp() * 1000)
    return lambda: make_event(**success(occurred_at=sent_at.isoformat()), received_at_ms=at_ms)


def chain(*days: float) -> Callable[[], object]:
    """Start the server so many days ago, and run the job once on each of the days."""

    def run_daily() -> None:
        site_days.note_start(NOW - timedelta(days=days[0], hours=1))
        for age in days:
            site_days.confirm_clock(NOW - timedelta(days=age))

    return run_daily


# What happened before, and whether the job believes the clock.
SIGNS: dict[str, tuple[Callable[[], object], bool]] = {
    "nothing": (lambda: None, False),
    "an event of a client whose clock agrees": (received(sent_days_before=6), True),
    "an event of a client whose clock is weeks behind": (received(sent_days_before=60), False),
    "a start today, and one last week": (started(7, 0.1), True),
    "a start today after half a year": (started(180, 0.1), False),
    "a quiet site with a run each day": (chain(4, 3, 2, 1), True),
    "a run each day, and a jump of three days": (chain(6, 5, 4, 3), False),
    "a run under the wrong clock yesterday, a jump before": (chain(90, 89, 88, 1), False),
    "a start after a short gap since the last run": (lambda: (chain(6, 5)(), started(0.1)()), True),
    "a start after a long gap since the last run": (lambda: (chain(60, 59)(), started(0.1)()), False),
    "a long gap before runs that an event confirmed": (
        lambda: (started(200)(), received(sent_days_before=1)(), confirmed(0.03)(), started(0.02)()), True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SIGNS)
def test_a_run_deletes_nothing_while_the_clock_may_be_ahead(settings: LazySettings, case: str) -> None:
    happen, is_believed = SIGNS[case]
    SiteDay.objects.all().delete()
    store("flash_error", 200, source="import")  # says nothing about the clock
    happen()
    before = Event.objects.count()
    set_rule(settings, 90, imported=90)
    doubt = preview.in_force(NOW).doubt
    if is_believed:
        assert pruning.delete_old_events().startswith("Deleted 1 event ")
        assert doubt is None
        return
    with pytest.raises(JobFailed, match="Nothing was deleted: no event, no start of the server and no earlier check"):
        pruning.delete_old_events()
    assert doubt
    assert Event.objects.count() == before
    assert not RetentionMark.objects.exists()
    set_rule(settings, None)
    assert pruning.delete_old_events() == "Every event is kept: RETENTION_DAYS is off."  # no failure each night
    set_rule(settings, 90, imported=90)
    with pytest.raises(JobFailed):  # a run without work confirms nothing
        pruning.delete_old_events()


# --- the jobs and the file --------------------------------------------------------------------------------------------


def test_both_jobs_are_offered() -> None:
    jobs = registry.registered()
    assert (jobs["retention"].title, jobs["reclaim-space"].title) == ("Delete old events", "Reclaim disk space")
    assert jobs["retention"].limit_minutes > pruning.RUN_MINUTES


@pytest.mark.django_db(transaction=True)
def test_a_run_returns_the_space_and_says_how_much(settings: LazySettings) -> None:
    pruning.reclaim_space()  # what other tests left in the file
    store("flash_error", 100, count=3)
    Event.objects.update(log_lines_json='"' + "x" * 60_000 + '"')
    set_rule(settings, 90)
    words = pruning.delete_old_events()
    assert pruning.reclaim_space().startswith("0 B freed")
    if connection.vendor == "sqlite":
        match = re.fullmatch(r"Deleted 3 events received before 2026-08-28; (\d+) KiB freed\.", words)
        assert match, words
        assert 150 <= int(match[1]) <= 400


def test_a_mark_of_one_type_is_mended_after_a_wrong_clock() -> None:
    ahead_ms = ms(-900)
    RetentionMark.objects.create(id=1, whole_since_ms=ahead_ms, of_types=dict.fromkeys(EventType.values, ahead_ms))
    midnight_ms = ms(0) - 12 * 3_600_000
    assert retention.whole_since_ms(["flash_error"]) == midnight_ms
    retention.mend_mark()
    mark: Any = RetentionMark.objects.get()
    assert (mark.whole_since_ms, set(mark.of_types.values())) == (midnight_ms, {midnight_ms})


def test_a_mark_of_the_previous_release_holds_for_each_type() -> None:
    RetentionMark.objects.create(id=1, whole_since_ms=ms(200))
    store("flash_error", 100)
    list(retention.prune_by_type(Cutoffs({"flash_error": ms(90)}), "Pruned", who="a test", at=NOW, why=""))
    assert retention.whole_since_ms(["flash_error"]) == ms(90)
    assert retention.whole_since_ms(["flash_success"]) == ms(200)
