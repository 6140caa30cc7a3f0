"""`manage.py prune_events`: what is old leaves, in short transactions, and every count stays."""

import io
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import Sum
from django.test import Client

from events import clock, process_memory
from events.counting import site_days
from events.counting.buckets import DAY_MS
from events.grouping import merges
from events.ingest import contract, writer
from events.maintenance import demo, regrouping, retention
from events.models import (
    AuditEntry,
    Event,
    FailureGroup,
    GroupHour,
    GroupShare,
    HourlyRollup,
    LifetimeTotal,
    ModeRollup,
    RetentionMark,
    SiteDay,
)
from events.reports import failures, metrics
from events.reports.failures import Criteria
from events.rows import EventRow
from legacy import old_tables, translate
from legacy.cutover import copying, modes, old_counts, parity
from legacy.models import ClientLog, LegacyCount
from tests.conftest import make_event, payload, sign_in, success
from tests.fixtures.arrivals import failure_arrived, success_arrived
from tests.fixtures.d1 import event_row, export, log_row, success_row, twin_of
from tests.other_process import manage, shared_site
from tests.servers import wait_until
from tests.threads import in_threads

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _the_server_has_started(db: None) -> None:
    site_days.note_start(clock.now())  # so nothing doubts the clock


def run(*args: str, days: int = 90) -> str:
    out = io.StringIO()
    call_command("prune_events", "--older-than-days", str(days), *args, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def output_of(command: str, *args: str) -> str:
    out = io.StringIO()
    call_command(command, *args, stdout=out)
    return out.getvalue()


def days_ago(days: int) -> int:
    """Return noon, UTC, of a day gone by."""
    return metrics.day_start_ms(clock.today() - timedelta(days=days)) + DAY_MS // 2


def day(days: int) -> str:
    return f"{clock.today() - timedelta(days=days):%Y-%m-%d}"


def counts() -> dict[str, Any]:
    tables = (LifetimeTotal, HourlyRollup, ModeRollup, FailureGroup, GroupHour)
    shares = GroupShare.objects.values("fingerprint", "facet", "name").annotate(Sum("accepted"))
    return {
        "GroupShare": list(shares.order_by("fingerprint", "facet", "name")),  # a prune may forget their days
        **{table.__name__: list(table._default_manager.order_by("pk").values()) for table in tables},
    }


def days_of_shares() -> dict[str, list[tuple[str, int, int]]]:
    """Return the shares by model of each group: its title, and name, day and count of each."""
    titles = dict(FailureGroup.objects.values_list("pk", "title"))
    found: dict[str, list[tuple[str, int, int]]] = {}
    rows = GroupShare.objects.filter(facet="model").order_by("fingerprint", "name", "day_ms")
    for key, name, day_ms, accepted in rows.values_list("fingerprint", "name", "day_ms", "accepted"):
        found.setdefault(titles.get(key, "former"), []).append((name, day_ms, accepted))
    return found


def log(at_ms: int, **changes: Any) -> ClientLog:
    """Send a failure by the old log, as it is in `alias`: to both sides."""
    body = payload(message=f"old failure {at_ms} {changes}")
    event = translate.event_from_client_log(body, at_ms)
    row = translate.client_log_row(event, "flash_error", in_stream=True)
    for name, value in changes.items():
        setattr(row, name, value)
    if row.in_stream:
        writer.record(event)
    old_tables.keep(row)
    return row


def bring(folder: Path, **rows: Any) -> None:
    file = folder / "export.sql"
    file.write_text(export(**rows), encoding="utf-8")
    call_command("import_d1", str(file), stdout=io.StringIO())
    modes.forget()


def test_what_is_old_leaves_and_every_count_stays() -> None:
    for number in range(3):
        make_event(**success(), received_at_ms=days_ago(91) + number)
        make_event(message=f"old {number}", received_at_ms=days_ago(100) + number)
    kept = {
        make_event(**success(), received_at_ms=days_ago(90)).pk,
        make_event(message="new", received_at_ms=days_ago(1)).pk,
    }
    log(days_ago(95))
    kept_row = log(days_ago(3))
    before = counts()
    said = run("--reason", "the privacy notice")
    assert said.splitlines() == [
        f"Received before {day(90)}, UTC:",
        "  deleted: rows of the old log 1, events 7. Counts stay.",
        f"The oldest remaining event was received {clock.iso(days_ago(90))}.",
    ]
    assert set(Event.objects.values_list("pk", flat=True)) == kept | {kept_row.pk}
    assert list(ClientLog.objects.values_list("pk", flat=True)) == [kept_row.pk]
    assert counts() == before
    entry = AuditEntry.objects.get()
    assert (entry.kind, entry.why) == ("prune", "the privacy notice")
    assert entry.what == (
        f"Pruned events received before {day(90)}, except imported ones: events 7, rows of the old log 1."
    )


def test_shares_of_more_than_a_hundred_days_ago_lose_their_days() -> None:
    for number, days in enumerate([150, 101, 100, 1]):
        make_event(message="often", session_id=str(number), received_at_ms=days_ago(days))
    make_event(message="new", received_at_ms=days_ago(1))
    start_ms = DAY_MS // 2
    kept = [("UV-5RM", days_ago(100) - start_ms, 1), ("UV-5RM", days_ago(1) - start_ms, 1)]
    dated = [("UV-5RM", days_ago(150) - start_ms, 1), ("UV-5RM", days_ago(101) - start_ms, 1), *kept]
    run("--dry-run")
    assert days_of_shares()["often"] == dated
    for _ in range(2):
        run(days=1_000)
        assert days_of_shares() == {"often": [("UV-5RM", 0, 2), *kept], "new": kept[1:]}
        assert regrouping.compare() == []


def test_with_a_clock_in_doubt_shares_keep_their_days() -> None:
    make_event(received_at_ms=days_ago(101), occurred_at=clock.iso(days_ago(101)))
    SiteDay.objects.all().delete()
    before = days_of_shares()
    run(days=1_000)
    assert days_of_shares() == before


@pytest.mark.parametrize("is_pruned", [True, False])
def test_a_group_whose_shares_have_lost_their_days_can_be_split_off(is_pruned: bool) -> None:
    olga = User.objects.create_user("olga")
    for number, days in enumerate([150, 120, 2]):
        make_event(message="first", session_id=f"first {number}", received_at_ms=days_ago(days), model="UV-17R")
        make_event(message="second", session_id=f"second {number}", received_at_ms=days_ago(days))
    keys = {group.title: group.pk for group in FailureGroup.objects.all()}
    merges.merge(keys["first"], keys["second"], user=olga, at=clock.now())
    run(days=110 if is_pruned else 1_000)
    merges.split(keys["first"], user=olga, at=clock.now())
    back = [2] if is_pruned else [150, 120, 2]  # joined again from stored events
    today_ms = days_ago(2) - DAY_MS // 2
    assert days_of_shares() == {
        "first": [("UV-17R", 0, 2)] * is_pruned + [("UV-17R", days_ago(days) - DAY_MS // 2, 1) for days in back],
        "second": [("UV-5RM", 0, 2), ("UV-5RM", today_ms, 1)],
    }
    assert dict(FailureGroup.objects.values_list("title", "model_count")) == {"first": 1, "second": 1}
    assert regrouping.compare() == []


def test_a_dry_run_only_looks() -> None:
    make_event(received_at_ms=days_ago(91))
    assert "would be deleted: events 1. Nothing was deleted: --dry-run." in run("--dry-run")
    assert Event.objects.count() == 1
    assert not AuditEntry.objects.exists()
    assert not RetentionMark.objects.exists()


def test_nothing_old_is_nothing_to_do_or_to_note() -> None:
    make_event()
    assert "deleted: nothing." in run()
    assert not AuditEntry.objects.exists()
    Event.objects.all().delete()
    assert "No event is left." in run()


def test_an_import_stays_unless_asked(tmp_path: Path) -> None:
    first = event_row(session_id="flash-1")
    again = event_row(session_id="flash-1")  # a second failure, which keeps its session in its metadata
    bring(tmp_path, events=[success_row("flash-1"), first, again], logs=[twin_of(first), log_row()])
    make_event(received_at_ms=days_ago(91))
    log(days_ago(92))
    rows, events = ClientLog.objects.filter(imported=True).count(), Event.objects.filter(source="import").count()
    assert (rows, events) == (2, 4)
    before = counts()
    said = run()
    assert "kept: imported events 4, imported rows of the old log 2." in said
    assert Event.objects.count() == 4
    assert ClientLog.objects.count() == 2
    assert "deleted: rows of the old log 2, events 4." in run("--imported-too")
    assert not Event.objects.exists()
    assert not ClientLog.objects.exists()
    assert counts() == before


def test_what_an_import_brought_stays_imported_when_a_switch_copies_it(tmp_path: Path) -> None:
    bring(tmp_path, events=[event_row()], logs=[])
    call_command("legacy_mode", "alias", stdout=io.StringIO())
    assert ClientLog.objects.get().imported
    run()
    assert ClientLog.objects.count() == 1


def test_rows_that_wait_for_the_stream_stay_and_are_reported() -> None:
    log(days_ago(100), in_stream=False)
    assert "kept: rows of the old log that the stream lacks 1." in run()
    copying.to_stream(writer.record_many)
    run()
    assert not ClientLog.objects.exists()
    assert LifetimeTotal.objects.get(event_type="flash_error").accepted == 1


def test_the_old_counter_and_the_public_count_stay(client: Client) -> None:
    old_tables.keep(LegacyCount(session_id="flash-1", counted_at_ms=days_ago(100), in_stream=True))
    make_event(**success(session_id="flash-1"), received_at_ms=days_ago(100))
    run()
    assert not Event.objects.exists()
    assert old_tables.count() == 1
    assert client.get("/metrics/flash-count").json() == {"ok": True, "total": 1}
    assert client.get("/count").json() == {"ok": True, "total": 1}


def test_made_up_events_stay_as_they_go_with_their_counts() -> None:
    writer.record_many(list(demo.generate(20, days=1, now_ms=days_ago(100), seed=1)))
    run()
    assert Event.objects.demo().count() == 20


def test_one_that_was_stopped_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PRUNED_AT_ONCE", 10)
    for number in range(25):
        make_event(message=f"old {number}", received_at_ms=days_ago(100) + number)
    before = counts()
    pruning = retention.prune(days_ago(90), imported_too=False, who="olga", at=clock.now(), why="")
    assert next(pruning) == (retention.EVENTS, 10)
    pruning.close()
    assert Event.objects.count() == 15
    assert "deleted: events 15." in run()
    assert not Event.objects.exists()
    assert counts() == before


@pytest.mark.django_db(transaction=True)
def test_one_that_was_killed_goes_on(tmp_path: Path) -> None:
    writer.record_many(
        [
            contract.parse(payload(message=f"old {number}"), received_at_ms=days_ago(100) + number)
            for number in range(12 * retention.PRUNED_AT_ONCE)
        ]
    )
    before = counts()
    site = shared_site(tmp_path / "data")
    for _ in range(2):
        left = Event.objects.count()
        pruning = manage(site, "prune_events", "--older-than-days", "90")
        wait_until(lambda: Event.objects.count() < left or pruning.poll() is not None, "nothing was ever deleted")  # noqa: B023
        pruning.send_signal(signal.SIGKILL)
        pruning.communicate()
        assert pruning.returncode == -signal.SIGKILL
        assert 0 < Event.objects.count() < left
        assert Event.objects.count() % retention.PRUNED_AT_ONCE == 0
    left = Event.objects.count()
    assert f"deleted: events {left:,}." in run()
    assert not Event.objects.exists()
    assert counts() == before
    assert AuditEntry.objects.count() == 3
    assert_counts_are_proved()


@pytest.mark.django_db(transaction=True)
def test_nobody_waits_in_a_circle_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each transaction is another connection's, as in processes, and locks many counts of its own choice."""
    monkeypatch.setattr(retention, "PRUNED_AT_ONCE", 20)
    monkeypatch.setattr(regrouping, "BATCH_EVENTS", 20)
    types = ["flash_error", "connect_error", "window_error"]

    def events(count: int, at_ms: int, **changes: Any) -> list[EventRow]:
        return [
            contract.parse(
                payload(
                    message=f"{'abcdefgh'[number % 8]} of {at_ms}",
                    session_id=f"{at_ms} {number} {changes}",
                    event_type=types[number % 3],
                    **changes,
                ),
                received_at_ms=at_ms + number,
            )
            for number in range(count)
        ]

    writer.record_many(events(400, days_ago(100)))
    Event.objects.update(fingerprint=None)
    for model in (FailureGroup, GroupHour, GroupShare):
        model.objects.all().delete()
    process_memory.clear()

    def bring(worker: int) -> Callable[[], None]:
        def bring_both() -> None:
            for number in range(15):
                old = events(12, days_ago(101) + number, app_version=f"v{worker}")
                new = events(12, days_ago(1) + number, app_version=f"v{worker}")
                with transaction.atomic():
                    writer.record_within([*old, *new] if (worker + number) % 2 else [*new, *old][::-1])

        return bring_both

    def regroup() -> None:
        list(regrouping.regroup(regrouping.survey()))

    *others, said = in_threads([bring(0), bring(1), regroup, run])
    assert others == [None] * 3
    assert "deleted: events" in said
    run()
    assert Event.objects.count() == 2 * 15 * 12
    regroup()
    assert_counts_are_proved()


def assert_counts_are_proved() -> None:
    for command in ("rebuild_rollups", "regroup_failures"):
        call_command(command, "--check", stdout=io.StringIO())


def test_imported_ones_in_between_hide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PRUNED_AT_ONCE", 3)
    for number in range(20):
        make_event(message=f"old {number}", received_at_ms=days_ago(100))  # all within one millisecond
    imported = list(Event.objects.order_by("id").values_list("id", flat=True)[::2])
    Event.objects.filter(id__in=imported).update(source="import")
    assert "deleted: events 10." in run()
    assert list(Event.objects.order_by("id").values_list("id", flat=True)) == imported


@pytest.mark.parametrize("days", [0, -1, 99_999])
def test_what_is_no_span_is_refused_in_words(days: int) -> None:
    with pytest.raises(CommandError, match="must be from 1 to 36500"):
        run(days=days)


@pytest.mark.django_db(transaction=True)
def test_the_file_gives_its_free_pages_back() -> None:
    if connection.vendor != "sqlite":
        return
    writer.record_many(
        [event._replace(source="event") for event in demo.generate(3_000, days=1, now_ms=days_ago(100), seed=1)]
    )

    def pages() -> int:
        with connection.cursor() as cursor:
            return int(cursor.execute("PRAGMA page_count").fetchone()[0])

    full = pages()
    run()
    assert pages() < full / 2


def test_an_event_that_comes_again_is_taken_as_new() -> None:
    """What docs/privacy.md says of it."""
    row = make_event(**success(session_id="flash-1"), received_at_ms=days_ago(100))
    run()
    make_event(**success(session_id="flash-1"))
    assert LifetimeTotal.objects.get(event_type=row.event_type).accepted == 2


# --- what is proved and shown afterwards ------------------------------------------------------------------------------


def test_counts_are_still_compared_and_pruned_days_are_reported() -> None:
    for number in range(4):
        make_event(message=f"a {number}", received_at_ms=days_ago(89 + number))
    run()
    said = output_of("rebuild_rollups", "--check")
    assert said.splitlines()[0].startswith(f"Events received before {day(90)} may be pruned.")
    assert said.splitlines()[-1] == "2 days: 2 agree, 0 differ."
    before = counts()
    output_of("rebuild_rollups")
    assert counts() == before
    assert "may be pruned" not in output_of("rebuild_rollups", "--check", "--from", day(90))
    HourlyRollup.objects.filter(hour_ms__gte=days_ago(90)).update(model="m9")
    with pytest.raises(CommandError, match="2 days differ"):
        output_of("rebuild_rollups", "--check")


def test_groups_are_still_proved_beside_imported_failures_that_stayed() -> None:
    old = make_event(message="imported", received_at_ms=days_ago(120))
    Event.objects.filter(pk=old.pk).update(source="import")
    for number in range(3):
        make_event(message="No ACK", occurred_at=f"2026-02-12T18:00:0{number}Z", received_at_ms=days_ago(100) + number)
    make_event(message="No ACK", occurred_at="2026-02-13T18:00:00Z", received_at_ms=days_ago(1))
    run()
    assert Event.objects.count() == 2
    assert output_of("regroup_failures", "--check").splitlines() == [
        "0 of 2 failures would move to another group.",
        f"Events received before {day(90)} may be pruned. Earlier counts are compared only with each other, not"
        " with failures.",
    ]


def test_parity_leaves_the_pruned_days_out(client: Client) -> None:
    for days in (12, 11, 3, 2):
        success_arrived(days, by_event=True)
        failure_arrived(days, by_event=True)
    run(days=5)
    said = output_of("check_parity", "--days", "14")
    assert "Parity: proven on 2 days" in said
    assert "Days with pruned events are not compared." in said
    finding = parity.check(14, clock.today())
    assert finding.days[0].day == day(5)
    assert (finding.total.successes.expected, finding.total.failures.expected) == (2, 2)
    sign_in(client, "Staff")
    client.post("/admin/legacy/parityrun/check/")
    assert client.get("/admin/legacy/parityrun/").status_code == 200
    call_command("prune_events", "--older-than-days", "1", stdout=io.StringIO(), stderr=io.StringIO())
    assert len(parity.check(14, clock.today()).days) == 2


def test_a_switch_brings_nothing_back() -> None:
    log(days_ago(100))
    old_tables.keep(LegacyCount(session_id="flash-1", counted_at_ms=days_ago(100), in_stream=True))
    make_event(**success(session_id="flash-1"), received_at_ms=days_ago(100))
    run()
    for mode in ("separate", "alias"):
        call_command("legacy_mode", mode, stdout=io.StringIO())
    assert not Event.objects.exists()
    assert not ClientLog.objects.exists()
    assert old_counts.count_now() == 1


def test_pages_say_what_is_gone(client: Client) -> None:
    sign_in(client, "Maintainers")
    for number in range(3):
        make_event(message="No ACK", occurred_at=f"2026-02-12T18:00:0{number}Z", received_at_ms=days_ago(100) + number)
    group = FailureGroup.objects.get()
    where = f"/admin/events/failuregroup/{group.pk}/"
    FailureGroup.objects.update(regressed_at_ms=days_ago(100), regressed_by=Event.objects.first().pk)  # type: ignore[union-attr]
    assert f"/admin/events/event/{Event.objects.first().pk}/" in client.get(where).content.decode()  # type: ignore[union-attr]
    run()
    process_memory.clear()  # pages read the mark of retention again after some seconds
    text = client.get(where).content.decode()
    assert "Its events are no longer stored. Their counts are." in text
    assert "<h2>Regression</h2>" in text
    assert "/admin/events/event/" not in text.split("<h2>Regression</h2>")[1].split("</section>")[0]
    words = f"Events received before {day(90)} may be pruned"
    for path in ("/admin/events/recentfailure/", "/admin/events/event/"):
        assert words in client.get(path).content.decode()
    make_event(message="No ACK")
    assert words in client.get(where).content.decode()
    make_event(message="something else")
    other = FailureGroup.objects.exclude(pk=group.pk).get()
    assert words not in client.get(f"/admin/events/failuregroup/{other.pk}/").content.decode()


def test_a_cursor_into_what_is_gone_ends_the_list() -> None:
    for number in range(4):
        make_event(message=f"{number}", received_at_ms=days_ago(100) - number)
    first = failures.page(Criteria(), limit=2)
    assert first.older
    run()
    assert failures.page(Criteria(), limit=2, after=first.older) == ([], None, None)


def test_today_is_never_pruned() -> None:
    midnight_ms = int(datetime.combine(clock.today(), datetime.min.time(), UTC).timestamp() * 1000)
    make_event(received_at_ms=midnight_ms - DAY_MS)
    make_event(message="b", received_at_ms=midnight_ms - DAY_MS - 1)
    run(days=1)
    assert Event.objects.get().received_at_ms == midnight_ms - DAY_MS
