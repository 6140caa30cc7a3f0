"""The writer of corrections: the count falls by exactly the void successes, and an undo restores exactly these."""

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client

from events import clock, process_memory
from events.counting import buckets, corrections, releases, rollups
from events.counting.buckets import DAY_MS, HOUR_MS
from events.counting.corrections import AlreadyUndone, NothingMatches, Selection
from events.ingest import contract, writer
from events.maintenance import demo, retention
from events.models import (
    AuditEntry,
    Correction,
    CorrectionShare,
    Event,
    HourlyRollup,
    LifetimeTotal,
    ModeRollup,
    Release,
    Source,
)
from events.reports import metrics
from events.rows import EventRow
from legacy import old_tables
from legacy.cutover import parity, switch
from legacy.models import ImportRun, LegacyCount, Mode, Verdict
from tests.conftest import make_event, payload, success
from tests.fixtures.d1 import export, success_row
from tests.threads import in_threads

pytestmark = pytest.mark.django_db

NOON_MS = 1_770_897_600_000  # 2026-02-12 12:00 UTC
HOUR = Selection(NOON_MS, NOON_MS + HOUR_MS)


def store(sessions: int, *, name: str = "forged", at_ms: int = NOON_MS, **changes: Any) -> None:
    """Store successes of sessions `name-0`, `name-1` and so on, one second apart."""
    writer.record_many(
        [
            contract.parse(success(session_id=f"{name}-{n}") | changes, received_at_ms=at_ms + n * 1_000)
            for n in range(sessions)
        ]
    )


def void(selection: Selection = HOUR) -> Correction:
    correction = corrections.begin(selection, who="maintainer", at=clock.now(), why="forged by one address")
    list(corrections.carry_out(correction))
    correction.refresh_from_db()
    return correction


def undo(correction: Correction) -> dict[str, int]:
    restored = dict.fromkeys((corrections.STORED, corrections.GONE), 0)
    for what, count in corrections.undo(correction, who="maintainer", at=clock.now(), why="they were real"):
        restored[what] += count
    correction.refresh_from_db()
    return restored


def counts() -> dict[str, Any]:
    """Return every rollup of which something is left, and the versions that are known."""
    hours = HourlyRollup.objects.filter(accepted__gt=0).order_by("hour_ms", "event_type", "model", "app_version")
    days = ModeRollup.objects.filter(accepted__gt=0).order_by("day_ms", "event_type", "write_mode", "connected")
    return {
        "totals": dict(LifetimeTotal.objects.values_list("event_type", "accepted")),
        "hours": list(hours.values_list("hour_ms", "event_type", "model", "app_version", "accepted")),
        "days": list(days.values_list("day_ms", "event_type", "write_mode", "connected", "accepted")),
        "releases": dict(Release.objects.order_by("app_version").values_list("app_version", "first_seen_ms")),
    }


def assert_counts_are_rows() -> None:
    """Every rollup says exactly what the events say that are not void."""
    assert [difference for day in rollups.days_in_use(0, None) for difference in rollups.compare(day)] == []
    assert rollups.compare_totals() == []


def test_the_count_falls_by_exactly_the_void_successes_and_an_undo_restores_them() -> None:
    store(3, name="real", at_ms=NOON_MS - HOUR_MS)
    make_event(**payload(), received_at_ms=NOON_MS)
    rollups.set_baseline(100, note="before", user=None, user_name="someone", at=clock.now())
    store(700, model="Forged", app_version="f0f0f0f", write_mode=0)
    before = counts()
    assert metrics.flash_count().total == 803
    correction = void()
    assert metrics.flash_count().total == 103
    assert counts() == {
        "totals": {"flash_error": 1, "flash_success": 3},
        "hours": [
            (NOON_MS - HOUR_MS, "flash_success", "UV-5RM", "19afc18", 3),
            (NOON_MS, "flash_error", "UV-5RM", "19afc18", 1),
        ],
        "days": [(NOON_MS - 12 * HOUR_MS, "flash_error", 1, 1, 1), (NOON_MS - 12 * HOUR_MS, "flash_success", 1, 1, 3)],
        "releases": {"19afc18": NOON_MS - HOUR_MS},
    }
    assert_counts_are_rows()
    assert Event.objects.filter(event_type="flash_success").count() == 703  # the plan's count over the table
    assert Event.objects.filter(correction=correction.pk).count() == correction.voided == correction.matched == 700
    assert correction.finished_at is not None
    assert undo(correction) == {"events": 700, "events that are no longer stored": 0}
    assert counts() == before
    assert_counts_are_rows()
    assert metrics.flash_count().total == 803
    assert corrections.void_now() == 0


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(NOON_MS, NOON_MS + 1), ["a"]),
        (Selection(NOON_MS, NOON_MS + 1_000), ["a"]),
        (Selection(NOON_MS, NOON_MS + 1_001), ["a", "b"]),
        (Selection(NOON_MS + 1, NOON_MS + HOUR_MS), ["b", "c"]),
        (Selection(NOON_MS, NOON_MS + HOUR_MS, model="UV-17R"), ["b"]),
        (Selection(NOON_MS, NOON_MS + HOUR_MS, model="uv-17r"), []),
        (Selection(NOON_MS, NOON_MS + HOUR_MS, app_version="c0ffee1"), ["c"]),
        (Selection(NOON_MS, NOON_MS + HOUR_MS, source="event"), ["a", "b", "c"]),
        (Selection(NOON_MS, NOON_MS + HOUR_MS, source="import"), []),
        (Selection(NOON_MS, NOON_MS + HOUR_MS, model="UV-17R", app_version="c0ffee1"), []),
    ],
)
def test_the_bounds_are_half_open_and_names_are_exact(selection: Selection, expected: list[str]) -> None:
    make_event(**success(session_id="a"), received_at_ms=NOON_MS)
    make_event(**success(session_id="b", model="UV-17R"), received_at_ms=NOON_MS + 1_000)
    make_event(**success(session_id="c", app_version="c0ffee1"), received_at_ms=NOON_MS + 2_000)
    make_event(**payload(), received_at_ms=NOON_MS)  # a failure is never selected
    assert sorted(event.session_id or "" for event in selection.successes()) == expected
    assert corrections.preview(selection).total == len(expected)


def test_nothing_matches_is_said_and_keeps_nothing() -> None:
    with pytest.raises(NothingMatches, match="Nothing matches: no counted success was received from 2026-02-12T12"):
        void()
    assert not Correction.objects.exists()
    assert not AuditEntry.objects.exists()


def test_what_is_void_is_not_voided_twice_and_an_undo_is_done_once() -> None:
    store(5)
    correction = void()
    with pytest.raises(NothingMatches):
        void()
    assert undo(correction)["events"] == 5
    with pytest.raises(AlreadyUndone, match="undone already"):
        undo(correction)
    assert metrics.flash_count().total == 5


def test_both_deeds_are_in_the_audit_log() -> None:
    store(2)
    correction = void()
    undo(correction)
    assert list(AuditEntry.objects.order_by("id").values_list("kind", "who", "why", "what")) == [
        (
            "correction",
            "maintainer",
            "forged by one address",
            f"Correction {correction.pk} voids 2 successes received from 2026-02-12T12:00:00.000Z until"
            " 2026-02-12T13:00:00.000Z.",
        ),
        ("correction", "maintainer", "they were real", f"Undid correction {correction.pk}: 2 successes count again."),
    ]


# --- interrupted, and at once ----------------------------------------------------------------------------------------


def test_a_killed_operation_is_consistent_and_its_part_can_be_finished_or_undone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(corrections, "BATCH_EVENTS", 4)
    store(10)
    before = counts()
    killed = corrections.begin(HOUR, who="maintainer", at=clock.now(), why="forged")
    next(corrections.carry_out(killed))
    killed.refresh_from_db()
    assert (killed.voided, killed.finished_at, metrics.flash_count().total) == (4, None, 6)
    assert_counts_are_rows()
    rest = void()
    assert (rest.voided, metrics.flash_count().total) == (6, 0)
    steps = corrections.undo(rest, who="maintainer", at=clock.now(), why="real")
    next(steps)  # killed as well
    assert metrics.flash_count().total == 4
    assert_counts_are_rows()
    assert undo(rest)["events"] == 2
    undo(killed)
    assert counts() == before


def test_an_undo_ends_the_operation_that_still_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrections, "BATCH_EVENTS", 4)
    store(10)
    correction = corrections.begin(HOUR, who="maintainer", at=clock.now(), why="forged")
    batches = corrections.carry_out(correction)
    assert next(batches) == 4
    undo(correction)
    assert list(batches) == [0, 0]
    assert metrics.flash_count().total == 10


def attempts(*jobs: Callable[[], Any]) -> list[Any]:
    results = in_threads(list(jobs))
    assert [one for one in results if isinstance(one, Exception) and not isinstance(one, NothingMatches)] == []
    return results


@pytest.mark.django_db(transaction=True)
def test_all_writers_at_once_leave_counts_and_rows_agreed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrections, "BATCH_EVENTS", 20)
    monkeypatch.setattr(retention, "PRUNED_AT_ONCE", 20)
    store(200)
    writer.record_many([placeholder(f"forged-{n}", NOON_MS + n) for n in range(200, 260)])
    store(40, name="old", at_ms=NOON_MS - DAY_MS)
    old = Selection(NOON_MS - DAY_MS, NOON_MS - DAY_MS + HOUR_MS)

    def send() -> None:
        for n in range(60):
            body = success(session_id=f"forged-{200 + n}", model="UV-17R")  # fills a placeholder in
            writer.record(contract.parse(body, received_at_ms=NOON_MS + 2 * HOUR_MS))
            writer.record(contract.parse(success(session_id=f"forged-{n}"), received_at_ms=NOON_MS + 2 * HOUR_MS))
            writer.record(contract.parse(success(session_id=f"new-{n}"), received_at_ms=NOON_MS + 2 * HOUR_MS))

    def prune() -> None:
        midnight_ms = NOON_MS - 12 * HOUR_MS
        list(retention.prune(midnight_ms, imported_too=False, who="m", at=clock.now(), why=""))

    def erase() -> None:
        retention.erase("forged-150", who="m", at=clock.now(), why="")

    attempts(send, void, void, lambda: void(old), prune, erase)
    assert metrics.flash_count().total == 60 + 300 - corrections.void_now()
    assert_recent_counts_are_rows()
    for correction in Correction.objects.all():
        undo(correction)
    # Everything that was ever accepted counts again, whatever was pruned or erased.
    assert metrics.flash_count().total == 360
    assert corrections.void_now() == 0
    assert rollups.compare_totals() == []


def assert_recent_counts_are_rows() -> None:
    """As `rebuild_rollups --check`, which leaves out the days that may be pruned; one success was erased."""
    days = rollups.days_in_use(retention.whole_since_ms(), None)
    differences = [one for day in days for one in rollups.compare(day) if one.model is None]
    assert sum(one.counted - one.events for one in differences) in (0, 1)
    assert rollups.compare_totals() == []


# --- events that are gone --------------------------------------------------------------------------------------------


def prune_everything() -> None:
    list(retention.prune(NOON_MS + 12 * HOUR_MS, imported_too=True, who="m", at=clock.now(), why=""))


def erase_one() -> None:
    retention.erase("forged-1", who="m", at=clock.now(), why="")


@pytest.mark.parametrize(("deletion", "gone"), [(prune_everything, 4), (erase_one, 1)])
def test_a_deleted_void_success_changes_no_count_and_an_undo_restores_it_from_the_record(
    deletion: Callable[[], None], gone: int
) -> None:
    store(3)
    store(1, name="forged-late", at_ms=NOON_MS + 1_800_000, app_version="c0ffee1", connected=0)
    before = counts()
    correction = void()
    after = counts()
    deletion()
    assert counts() == after
    assert undo(correction) == {"events": 4 - gone, "events that are no longer stored": gone}
    assert counts() == before


def test_a_made_up_void_success_goes_with_its_record() -> None:
    store(2, name="real")
    before = counts()
    writer.record_many(list(demo.generate(60, days=1, now_ms=NOON_MS + HOUR_MS, seed=1)))
    correction = void(Selection(0, NOON_MS + DAY_MS))
    list(retention.delete_demo())
    process_memory.clear()
    assert undo(correction) == {"events": 2, "events that are no longer stored": 0}
    assert counts()["hours"] == before["hours"]
    assert counts()["days"] == before["days"]
    assert metrics.flash_count().total == 2


# --- names -----------------------------------------------------------------------------------------------------------


def test_a_success_under_other_is_taken_from_there_and_comes_back_there() -> None:
    for n in range(buckets.MAX_MODELS_A_DAY + 5):
        store(1, name=f"forged-{n}", model=f"m{n}", at_ms=NOON_MS + n)
    before = counts()
    correction = void()
    assert counts()["hours"] == []
    undo(correction)
    assert counts() == before


def test_a_release_that_only_void_successes_brought_is_none_until_it_really_comes() -> None:
    store(2, app_version="f0f0f0f")
    correction = void()
    assert not releases.was_seen("f0f0f0f")
    make_event(**success(app_version="f0f0f0f"), received_at_ms=NOON_MS + HOUR_MS)
    assert Release.objects.get(pk="f0f0f0f").first_seen_ms == NOON_MS + HOUR_MS
    undo(correction)
    assert Release.objects.get(pk="f0f0f0f").first_seen_ms == NOON_MS


def test_another_process_learns_within_a_minute_that_a_release_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    store(1, app_version="f0f0f0f")
    void()
    releases._known["f0f0f0f"] = NOON_MS  # as another process remembers it
    monkeypatch.setattr(releases, "_known_since", time.monotonic() - releases._KNOWN_SECONDS)
    make_event(**success(app_version="f0f0f0f"), received_at_ms=NOON_MS + HOUR_MS)
    assert releases.was_seen("f0f0f0f")


# --- sent again ------------------------------------------------------------------------------------------------------


def placeholder(session_id: str, at_ms: int = NOON_MS) -> EventRow:
    body = success(session_id=session_id, model="unknown", app_version="unknown")
    return contract.parse(body, received_at_ms=at_ms)._replace(source=Source.INCREMENT.value)


@pytest.mark.parametrize("mode", [Mode.ALIAS, Mode.SEPARATE])
def test_a_void_session_sent_again_is_a_duplicate_and_does_not_count(post: Callable[..., Any], mode: Mode) -> None:
    switch_to(mode)
    store(1)
    void()
    assert post("/event", success(session_id="forged-0")).json() == {"ok": True, "deduped": True}
    assert post("/increment", {"sessionId": "forged-0"}).json() == {"ok": True, "total": 0, "deduped": True}
    assert metrics.flash_count().total == old_tables.count() == 0


def test_an_import_that_brings_a_void_session_does_not_count_it_again(tmp_path: Path) -> None:
    file = tmp_path / "export.sql"
    file.write_text(export(events=[success_row("a"), success_row("b")]), encoding="utf-8")
    call_command("import_d1", str(file), stdout=io.StringIO())
    assert metrics.flash_count().total == old_tables.count() == 2
    correction = void(Selection(0, clock.now_ms()))
    call_command("import_d1", str(file), stdout=io.StringIO())
    assert metrics.flash_count().total == old_tables.count() == 0
    undo(correction)
    assert metrics.flash_count().total == old_tables.count() == 2


@pytest.mark.parametrize("deletion", ["prune", "erase"])
def test_an_import_does_not_count_a_void_session_that_was_deleted(tmp_path: Path, deletion: str) -> None:
    file = tmp_path / "export.sql"
    file.write_text(export(events=[success_row("a"), success_row("b")]), encoding="utf-8")
    call_command("import_d1", str(file), stdout=io.StringIO())
    correction = void(Selection(0, clock.now_ms()))
    if deletion == "prune":
        tomorrow_ms = (clock.now_ms() // DAY_MS + 1) * DAY_MS
        list(retention.prune(tomorrow_ms, imported_too=True, who="m", at=clock.now(), why=""))
    else:
        retention.erase("a", who="m", at=clock.now(), why="")
    for expected in (0, 2):
        call_command("import_d1", str(file), stdout=io.StringIO())
        assert both_counts() == (expected, expected)
        if correction.undone_at is None:
            undo(correction)


@pytest.mark.parametrize("is_void_one_pruned", [False, True])
def test_void_events_hide_no_pruned_ones_from_an_import(tmp_path: Path, is_void_one_pruned: bool) -> None:
    """Or an import would count a pruned event again, because a void one fills its place."""
    store(1, name="real")
    if is_void_one_pruned:
        store(1, model="Forged")
        void(Selection(NOON_MS, NOON_MS + HOUR_MS, model="Forged"))
    midnight_ms = NOON_MS + 12 * HOUR_MS
    list(retention.prune(midnight_ms, imported_too=False, who="m", at=clock.now(), why=""))
    if not is_void_one_pruned:
        store(1)
        void()
    file = tmp_path / "export.sql"
    file.write_text(export(events=[success_row("real-0", received_at_ms=NOON_MS)]), encoding="utf-8")
    call_command("import_d1", str(file), stdout=io.StringIO())
    assert metrics.flash_count().total == 1


def test_an_import_knows_an_erased_session_after_an_undo(tmp_path: Path) -> None:
    store(1)
    correction = void()
    retention.erase("forged-0", who="m", at=clock.now(), why="")
    undo(correction)
    file = tmp_path / "export.sql"
    file.write_text(export(events=[success_row("forged-0", received_at_ms=NOON_MS)]), encoding="utf-8")
    call_command("import_d1", str(file), stdout=io.StringIO())
    assert both_counts() == (1, 1)
    assert "its session was erased here" in str(ImportRun.objects.get().report["refused"])


def test_the_event_of_a_void_placeholder_fills_it_in_and_stays_void() -> None:
    writer.record(placeholder("old"))
    correction = void()
    outcome = writer.record(contract.parse(success(session_id="old", model="UV-17R"), received_at_ms=NOON_MS + 1))
    assert not outcome.stored
    stored = Event.objects.get()
    assert (stored.model, stored.source, stored.correction) == ("UV-17R", "event", correction.pk)
    assert metrics.flash_count().total == 0
    assert_counts_are_rows()
    undo(correction)
    assert counts()["hours"] == [(NOON_MS, "flash_success", "UV-17R", "19afc18", 1)]
    assert_counts_are_rows()


# --- the old counter -------------------------------------------------------------------------------------------------


def switch_to(mode: Mode) -> None:
    switch.to_mode(mode, reason="to see", user=None, user_name="someone", at=clock.now())


def both_counts() -> tuple[int, int]:
    return metrics.flash_count().total, old_tables.count()


@pytest.mark.parametrize("mode", [Mode.SEPARATE, Mode.ALIAS])
def test_both_counts_fall_alike_and_a_switch_changes_neither(post: Callable[..., Any], mode: Mode) -> None:
    switch_to(mode)
    for n in range(3):
        post("/increment", {"sessionId": f"both-{n}"})
        post("/event", success(session_id=f"both-{n}"))
    post("/increment", {"sessionId": "old counter alone"})
    post("/event", success(session_id="stream alone"))
    switch_to(Mode.ALIAS)
    assert both_counts() == (5, 5)
    switch_to(mode)
    correction = void(Selection(0, clock.now_ms() + 1))
    assert correction.voided == 5
    assert both_counts() == (0, 0)
    for each in (Mode.SEPARATE, Mode.ALIAS, Mode.SEPARATE):
        switch_to(each)
        assert both_counts() == (0, 0)
    undo(correction)
    assert both_counts() == (5, 5)
    switch_to(Mode.ALIAS)
    assert both_counts() == (5, 5)


def test_each_count_falls_by_the_sessions_that_it_counted(post: Callable[..., Any]) -> None:
    switch_to(Mode.SEPARATE)
    post("/event", success(session_id="stream alone"))
    post("/increment", {"sessionId": "old counter alone"})
    assert both_counts() == (1, 1)
    preview = corrections.preview(Selection(0, clock.now_ms() + 1))
    assert (preview.events, preview.waiting, preview.total) == (1, 1, 2)
    correction = void(Selection(0, clock.now_ms() + 1))
    assert (correction.voided, *both_counts()) == (2, 0, 0)
    undo(correction)
    # The stream now knows the session of the old counter, as after a switch.
    assert both_counts() == (2, 1)
    assert LegacyCount.objects.values_list("session_id", "correction").get() == ("old counter alone", None)


@pytest.mark.parametrize("selection", [{"model": "UV-5RM"}, {"app_version": "19afc18"}, {"source": "event"}])
def test_a_session_of_the_old_counter_is_left_where_its_placeholder_does_not_match(
    post: Callable[..., Any], selection: dict[str, str]
) -> None:
    switch_to(Mode.SEPARATE)
    post("/event", success(session_id="stream alone"))
    post("/increment", {"sessionId": "old counter alone"})
    void(Selection(0, clock.now_ms() + 1, **selection))
    assert both_counts() == (0, 1)


def test_an_erased_void_session_is_restored_on_both_sides(post: Callable[..., Any]) -> None:
    post("/increment", {"sessionId": "someone"})
    switch_to(Mode.SEPARATE)
    correction = void(Selection(0, clock.now_ms() + 1))
    retention.erase("someone", who="m", at=clock.now(), why="")
    assert both_counts() == (0, 0)
    undo(correction)
    assert both_counts() == (1, 1)


def test_parity_calls_no_void_success_drift(post: Callable[..., Any]) -> None:
    switch_to(Mode.SEPARATE)
    for n in range(3):
        post("/increment", {"sessionId": f"both-{n}"})
        post("/event", success(session_id=f"both-{n}"))
    void(Selection(0, clock.now_ms() + 1))
    finding = parity.check(1, clock.today())
    assert finding.verdict == Verdict.PROVEN
    assert (finding.old_count, finding.new_count) == (0, 0)


# --- what reads successes --------------------------------------------------------------------------------------------


def test_a_rebuild_leaves_void_successes_out() -> None:
    store(3)
    store(2, name="real", at_ms=NOON_MS + HOUR_MS)
    void()
    HourlyRollup.objects.filter(hour_ms=NOON_MS + HOUR_MS).update(accepted=1)
    call_command("rebuild_rollups", stdout=io.StringIO())
    assert counts()["hours"] == [(NOON_MS + HOUR_MS, "flash_success", "UV-5RM", "19afc18", 2)]
    call_command("rebuild_rollups", "--check", stdout=io.StringIO())
    assert metrics.flash_count().total == 2


def test_the_public_count_reads_one_row(client: Client, django_assert_num_queries: Any) -> None:
    store(2)
    void()
    with django_assert_num_queries(1):
        assert client.get("/metrics/flash-count").json() == {"ok": True, "total": 0}


def test_the_record_is_found_by_an_index() -> None:
    store(3)
    correction = void()
    if connection.vendor == "sqlite":
        plan = Event.objects.filter(correction=correction.pk).order_by("received_at_ms", "id").explain()
        assert "telemetry_events_void" in plan
    assert list(CorrectionShare.objects.values_list("hour_ms", "voided", "first_ms")) == [(NOON_MS, 3, NOON_MS)]
