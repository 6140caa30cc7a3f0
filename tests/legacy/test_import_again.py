"""`manage.py import_d1` into a site with events: no event counts twice, and a dry run reports the same as the run."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models import Sum

from events import clock
from events.counting import rollups
from events.counting.buckets import DAY_MS
from events.maintenance import retention
from events.models import Event, FailureGroup, LifetimeTotal
from events.reports import metrics
from legacy import old_tables
from legacy.cutover import old_counts
from legacy.imports import d1_import
from legacy.models import ClientLog, ImportRun, LegacyCount, ParityRun
from tests.conftest import make_event, payload, rolled_back, success
from tests.faults.conftest import FULL
from tests.fixtures.both_sides import dump
from tests.fixtures.d1 import EXPORT, NOON_MS, baseline_row, event_row, export, log_row, success_row, twin_of

pytestmark = pytest.mark.django_db

Import = Callable[..., str]
PRUNED = "older events are pruned, so it may have been counted already"
GONE_NEARBY = "received within a day of pruned or erased events, so it may have been counted already"
ERASED = "its session was erased here"


@pytest.fixture
def import_rows(tmp_path: Path) -> Import:
    """Import a file, or an export with these rows; return the output."""

    def run(*options: str, file: Path = tmp_path / "export.sql", **rows: list[dict[str, Any]]) -> str:
        if rows:
            file.write_text(export(**rows), encoding="utf-8")
        output = io.StringIO()
        call_command("import_d1", str(file), *options, stdout=output)
        return output.getvalue()

    return run


def prune(*, imported_too: bool = False, before_ms: int | None = None) -> None:
    """Delete the events of the day that these tests use; later events stay."""
    before_ms = before_ms or NOON_MS // DAY_MS * DAY_MS + DAY_MS
    for _ in retention.prune(before_ms, imported_too=imported_too, who="a test", at=clock.now(), why=""):
        pass


def erase(session_id: str) -> None:
    call_command("erase_session", session_id, stdout=io.StringIO())


def switch(mode: str) -> None:
    call_command("legacy_mode", mode, "--force", "--reason", "a test", stdout=io.StringIO())


def counts() -> dict[str, Any]:
    return {
        "by type": dict(LifetimeTotal.objects.order_by("event_type").values_list("event_type", "accepted")),
        "groups": FailureGroup.objects.aggregate(sum=Sum("accepted"))["sum"],
        "public": metrics.flash_count(),
        "old": old_tables.count(),
    }


# --- how the events of the export also arrived here ------------------------------------------

SESSION = "attempt-of-somebody"
FAILURE = event_row(message="No ACK for block 7", session_id=None)
OF_SESSION = event_row(message="No answer to the handshake", session_id=SESSION)
OTHER_SESSION = event_row(message="The port is gone", session_id="attempt-that-failed", event_type="connect_error")
ROWS = {
    "events": [success_row(SESSION), success_row("attempt-of-another"), FAILURE, OF_SESSION, OTHER_SESSION],
    "logs": [twin_of(FAILURE), twin_of(OF_SESSION), log_row(message="In the old log alone")],
}


def live_event(row: dict[str, Any]) -> dict[str, Any]:
    """Return the body that the client of an old row sent to `/event` of this site."""
    return {name: row[name] for name in payload() if name in row} | {
        name: row[name] for name in ("session_id", "error_name", "stack", "log_lines_json", "metadata_json")
    }


def arrived_by_import(import_rows: Import, post: Callable[..., Any]) -> None:
    import_rows(**ROWS)


def arrived_by_event(import_rows: Import, post: Callable[..., Any]) -> None:
    for row in ROWS["events"]:
        make_event(received_at_ms=row["received_at_ms"] + 900, **live_event(row))


def arrived_by_old_routes(import_rows: Import, post: Callable[..., Any]) -> None:
    arrived_by_event(import_rows, post)
    for row in ROWS["logs"]:
        body = {name: row[name] for name in (*payload(), "error_name", "stack", "log_lines_json")}
        assert post("/client-log", body).status_code == 200
    for session_id in (SESSION, "attempt-of-another"):
        assert post("/increment", {"sessionId": session_id}).status_code == 200
    # A request gets the current time, so set the time of the other events.
    Event.objects.filter(received_at_ms__gt=NOON_MS + DAY_MS).update(received_at_ms=NOON_MS)
    ClientLog.objects.update(received_at_ms=NOON_MS)


def arrived_by_old_routes_in_separate(import_rows: Import, post: Callable[..., Any]) -> None:
    switch("separate")
    arrived_by_old_routes(import_rows, post)


def pruned() -> None:
    prune()


def pruned_with_what_was_imported() -> None:
    prune(imported_too=True)


def pruned_and_switched_there_and_back() -> None:
    prune(imported_too=True)
    switch("separate")
    switch("alias")


def erased_with_a_success() -> None:
    erase(SESSION)


def erased_without_a_success() -> None:
    erase("attempt-that-failed")


def erased_and_pruned() -> None:
    erase(SESSION)
    prune(imported_too=True)


WAYS = [arrived_by_import, arrived_by_event, arrived_by_old_routes, arrived_by_old_routes_in_separate]
REMOVALS = [
    pruned,
    pruned_with_what_was_imported,
    pruned_and_switched_there_and_back,
    erased_with_a_success,
    erased_without_a_success,
    erased_and_pruned,
]


@pytest.mark.parametrize("removed", REMOVALS, ids=lambda step: step.__name__)
@pytest.mark.parametrize("arrive", WAYS, ids=lambda step: step.__name__)
def test_what_was_counted_and_is_gone_counts_no_second_time(
    import_rows: Import, post: Callable[..., Any], arrive: Callable[..., Any], removed: Callable[[], None]
) -> None:
    make_event(message="the site is in use", received_at_ms=NOON_MS + 30 * DAY_MS)
    arrive(import_rows, post)
    removed()
    before = counts()
    import_rows(**ROWS)
    after = counts()
    is_known = arrive in (arrived_by_import, arrived_by_old_routes)
    if arrive is arrived_by_event:
        # The import adds the stored sessions to the old counter, and the failure of the old log is new.
        assert before["old"] <= after["old"] <= before["public"].total
        before["old"] = after["old"]
    elif not is_known:
        assert before["old"] == after["old"]
    assert after["public"] == before["public"]
    added = sum(after["by type"].values()) - sum(before["by type"].values())
    assert added <= 1  # the failure that is only in the old log is new
    assert not is_known or after == before
    assert rollups.compare_totals() == []
    settled = dump()
    import_rows(**ROWS)
    assert dump() == settled


def test_a_repeated_import_after_a_prune_reports_the_outcome_of_each_row(import_rows: Import) -> None:
    import_rows(**ROWS)
    prune(imported_too=True)
    output = import_rows(**ROWS)
    assert output == (
        "Read:\n          3  client_logs\n          5  telemetry_events\n"
        "Already stored:\n          2  telemetry_events\n"
        "Refused:\n"
        f"          3  client_logs: received before 2026-02-18; {PRUNED}"
        f"  (such as {', '.join(row['id'] for row in ROWS['logs'])})\n"
        f"          3  telemetry_events: received before 2026-02-18; {PRUNED}"
        f"  (such as {', '.join(row['id'] for row in ROWS['events'][2:])})\n"
        "The public count is 2, the old counter's 2; the old routes are in separate.\n"
    )


# --- before the mark of a prune -----------------------------------------------------------------------------------

FAR = 5 * DAY_MS


@pytest.mark.parametrize(
    ("counted_days_before", "is_refused"), [(0, True), (1, True), (2, False), (3, False)], ids=lambda value: str(value)
)
def test_a_success_before_the_mark_is_new_unless_one_is_missing_around_its_day(
    import_rows: Import, counted_days_before: int, is_refused: bool
) -> None:
    make_event(received_at_ms=NOON_MS - counted_days_before * DAY_MS, **success())
    prune()
    output = import_rows(events=[success_row("from the old system")])
    assert (f"telemetry_events: received before 2026-02-18; {PRUNED}" in output) is is_refused
    assert metrics.flash_count().accepted == 2 - is_refused
    assert LegacyCount.objects.count() == 1 - is_refused


def test_a_success_after_the_mark_may_be_one_from_before_it(import_rows: Import) -> None:
    """The client sent the event again, and the old system received it on the next day."""
    make_event(received_at_ms=NOON_MS, **success(session_id="both"))
    prune()
    output = import_rows(events=[success_row("both", received_at_ms=NOON_MS + DAY_MS)])
    assert f"1  telemetry_events: {GONE_NEARBY}" in output
    assert metrics.flash_count().accepted == 1


def test_a_success_is_new_if_every_counted_success_is_known(import_rows: Import, post: Callable[..., Any]) -> None:
    import_rows(events=[success_row("imported")])
    make_event(received_at_ms=NOON_MS, **success(session_id="erased later"))
    erase("erased later")
    prune(imported_too=True)
    output = import_rows(events=[success_row("new"), success_row("imported"), success_row("erased later")])
    assert "Added to the unified stream:\n          1  telemetry_events\n" in output
    assert "Already stored:\n          1  telemetry_events\n" in output
    assert f"1  telemetry_events: {ERASED}" in output
    assert metrics.flash_count().accepted == 3
    assert old_tables.count() == 3


def test_a_failure_of_another_type_than_the_deleted_ones_is_new(import_rows: Import) -> None:
    make_event(received_at_ms=NOON_MS, event_type="window_error")
    prune()
    output = import_rows(events=[event_row(), event_row(event_type="window_error")], logs=[log_row()])
    assert "Added to the unified stream:\n          1  client_logs\n          1  telemetry_events\n" in output
    assert f"1  telemetry_events: received before 2026-02-18; {PRUNED}" in output


def test_the_twin_of_a_refused_failure_is_refused_at_any_time(import_rows: Import) -> None:
    make_event(received_at_ms=NOON_MS)
    prune()
    failure = event_row()
    output = import_rows(events=[failure], logs=[twin_of(failure, received_at_ms=NOON_MS + FAR)])
    assert f"1  client_logs: received before 2026-02-18; {PRUNED}" in output
    assert not ClientLog.objects.exists()


def test_a_session_that_waits_for_the_stream_is_marked_before_its_event_is_pruned(
    import_rows: Import, post: Callable[..., Any]
) -> None:
    """Otherwise the switch would copy it again."""
    switch("separate")
    make_event(received_at_ms=NOON_MS, **success(session_id="both"))
    make_event(received_at_ms=NOON_MS, message="both")
    post("/increment", {"sessionId": "both"})
    post("/increment", {"sessionId": "old alone"})
    post("/client-log", payload(message="both"))
    post("/client-log", payload(message="old alone"))
    prune()
    waiting = LegacyCount.objects.filter(in_stream=False), ClientLog.objects.filter(in_stream=False)
    assert [row.pk for row in waiting[0]] == ["old alone"]
    assert [row.message for row in waiting[1]] == ["old alone"]
    switch("alias")
    totals = dict(LifetimeTotal.objects.values_list("event_type", "accepted"))
    assert totals == {"flash_success": 2, "flash_error": 2}


# --- erasures -----------------------------------------------------------------------------------------------------


def test_an_erased_session_is_refused_with_its_failures_and_their_twins(import_rows: Import) -> None:
    second = event_row(session_id=SESSION, message="a second failure of the session")
    rows = {"events": [*ROWS["events"], second], "logs": [*ROWS["logs"], twin_of(second)]}
    import_rows(**rows)
    before = dump()
    erase(SESSION)
    output = import_rows(**rows)
    assert f"          3  telemetry_events: {ERASED}" in output
    assert f"          2  client_logs: {ERASED}" in output
    assert "Added" not in output
    assert SESSION not in repr(dump()) + repr(list(ImportRun.objects.values())) + repr(list(ParityRun.objects.values()))
    assert dump()["totals"] == before["totals"]


def test_an_erased_session_that_only_failed_is_not_restored(import_rows: Import) -> None:
    import_rows(**ROWS)
    erase("attempt-that-failed")
    output = import_rows(**ROWS)
    assert f"1  telemetry_events: {GONE_NEARBY}" in output
    assert "attempt-that-failed" not in repr(dump())


def test_the_name_of_an_erased_session_depends_on_the_key(settings: Any) -> None:
    make_event(**success(session_id=SESSION))
    erase(SESSION)
    name = LegacyCount.objects.get().session_id
    assert re.fullmatch(r"erased-[0-9a-f]{8}-[0-9a-f]{32}", name)
    assert old_tables.erased_name(SESSION) == name
    assert old_tables.erased_name("another") != name


def test_an_erased_session_with_a_random_name_is_not_counted_again(
    import_rows: Import,
) -> None:
    """An earlier release used random names. A changed secret key has the same effect."""
    import_rows(events=[success_row(SESSION)])
    Event.objects.all().delete()
    LegacyCount.objects.update(session_id=old_tables.anonymous_name())
    output = import_rows(events=[success_row(SESSION)])
    assert f"1  telemetry_events: {GONE_NEARBY}" in output
    assert (metrics.flash_count().accepted, old_tables.count()) == (1, 1)


def test_a_second_erasure_of_a_session_keeps_both_counts(import_rows: Import, post: Callable[..., Any]) -> None:
    for _ in range(3):
        post("/increment", {"sessionId": SESSION})
        erase(SESSION)
    assert (metrics.flash_count().total, old_tables.count()) == (3, 3)
    assert SESSION not in repr(dump())
    output = import_rows(events=[success_row(SESSION)])
    assert f"1  telemetry_events: {ERASED}" in output


def test_an_erased_success_that_arrived_only_by_event_is_in_both_counts() -> None:
    make_event(**success(session_id=SESSION))
    make_event(**success(session_id="another"))
    erase(SESSION)
    assert LegacyCount.objects.values_list("in_stream", flat=True).get()
    for mode in ("separate", "alias"):
        switch(mode)
        assert old_counts.count_now() == 2
    assert LegacyCount.objects.count() == 2


def test_a_session_on_both_sides_is_not_copied_after_it_was_erased(post: Callable[..., Any]) -> None:
    switch("separate")
    post("/increment", {"sessionId": SESSION})
    make_event(**success(session_id=SESSION))
    erase(SESSION)
    switch("alias")
    assert old_counts.count_now() == metrics.flash_count().total == 1


# --- a dry run ----------------------------------------------------------------------------------------------------


def in_use(import_rows: Import, post: Callable[..., Any]) -> None:
    make_event(message="the site is in use")


def half_imported(import_rows: Import, post: Callable[..., Any]) -> None:
    """The state after a killed run."""
    import_rows(events=ROWS["events"][::2], logs=ROWS["logs"][:1])
    ImportRun.objects.all().delete()


def with_a_baseline(import_rows: Import, post: Callable[..., Any]) -> None:
    rollups.set_baseline(500, note="by hand", user=None, user_name="someone", at=clock.now())


def waiting(import_rows: Import, post: Callable[..., Any]) -> None:
    """Sessions and failures that are only in the old tables."""
    switch("separate")
    post("/increment", {"sessionId": SESSION})
    post("/increment", {"sessionId": "attempt-1"})
    body = {name: FAILURE[name] for name in (*payload(), "error_name", "stack", "log_lines_json")}
    post("/client-log", body)


def empty(import_rows: Import, post: Callable[..., Any]) -> None:
    pass


def everything_pruned(import_rows: Import, post: Callable[..., Any]) -> None:
    """No event is left, but the site is not new."""
    arrived_by_event(import_rows, post)
    prune(imported_too=True)


def example_imported(import_rows: Import, post: Callable[..., Any]) -> None:
    import_rows(file=EXPORT)


def left_alone() -> None:
    pass


def some_erased() -> None:
    for session_id in (SESSION, "attempt-that-failed", "attempt-1", "attempt-4"):
        erase(session_id)


STATES = [empty, in_use, half_imported, example_imported, with_a_baseline, waiting, everything_pruned, *WAYS]
AFTERWARDS: dict[str, Callable[[], None]] = {
    "then left alone": left_alone,
    "then pruned": pruned,
    "then pruned too": pruned_with_what_was_imported,
    "then erased": some_erased,
    "then gone": lambda: switch("gone"),
}
AGAIN = event_row(session_id=SESSION, message="a second failure of the session")
EXPORTS: dict[str, dict[str, Any]] = {
    "the example": {"file": EXPORT},
    "twins and repeats": {
        "events": [
            baseline_row(7),
            *ROWS["events"],
            AGAIN,
            event_row(**(AGAIN | {"id": "again", "session_id": None})),
            success_row("new"),
            success_row("new", received_at_ms=NOON_MS + FAR),
            success_row("n\0l", message="a\0b"),
            success_row("far", received_at_ms=NOON_MS - 40 * DAY_MS),
            baseline_row(8, id="baseline-second"),
        ],
        "logs": [*ROWS["logs"], twin_of(AGAIN), twin_of(AGAIN, id="twice"), log_row(message="n\0l")],
    },
}


def report_and_counts(output: str) -> tuple[list[str], list[str]]:
    """Return the report of a run or a dry run, and the counts and the mode of its last line."""
    *report, last = output.splitlines()
    return report, re.findall(r"\d+|\w+(?=\.$)", last)


@pytest.mark.parametrize("state", STATES, ids=lambda step: step.__name__)
def test_a_dry_run_reports_what_the_run_does(
    import_rows: Import, post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, state: Callable[..., None]
) -> None:
    """`make faults` combines every state with every change, other runs each state with no change and with one more."""
    state(import_rows, post)
    one = list(AFTERWARDS)[1 + STATES.index(state) % (len(AFTERWARDS) - 1)]
    for afterwards, act in AFTERWARDS.items():
        if not FULL and act is not left_alone and afterwards != one:
            continue
        with rolled_back():
            act()
            for name, rows in EXPORTS.items():
                # Only two states have rows of the example, which the steps afterwards can change.
                if name == "the example" and act is not left_alone and state not in (example_imported, waiting):
                    continue
                with rolled_back(), monkeypatch.context() as patch:
                    patch.setattr(d1_import, "CHUNK", 3)  # so that twins are in different transactions
                    expect_the_dry_run_to_report_the_run(import_rows, rows, f"{afterwards}, {name}")


def expect_the_dry_run_to_report_the_run(import_rows: Import, rows: dict[str, Any], case: str) -> None:
    before = dump()
    dry = import_rows("--dry-run", **rows)
    assert dump() == before, case
    real = import_rows(**rows)
    assert report_and_counts(dry) == report_and_counts(real), case
    assert rollups.compare_totals() == [], case
    read = sum(ImportRun.objects.latest("id").report["read"].values())
    fates = ("added", "already_there", "twins", "refused")
    assert sum(sum(ImportRun.objects.latest("id").report[fate].values()) for fate in fates) == read, case
    settled = dump()
    again = import_rows(**rows)
    assert dump() == settled, case
    assert "Added" not in again, case
