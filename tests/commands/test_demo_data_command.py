"""`manage.py demo_data`: a made-up world that looks alive, and goes again without a trace."""

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from events import clock
from events.counting import buckets, releases, rollups
from events.grouping.fingerprints import fingerprint
from events.grouping.groups import MAX_NEW_A_DAY
from events.ingest import contract
from events.maintenance import demo, regrouping
from events.maintenance.demo import decisions
from events.models import (
    AdviceDay,
    Event,
    FailureGroup,
    GroupHour,
    GroupShare,
    HourlyRollup,
    LifetimeTotal,
    Release,
    SourceMap,
)
from events.querysets import SUCCESS
from legacy import old_tables
from legacy.models import ClientLog, LegacyCount
from tests.conftest import make_event, payload, success, turn_clock_to

pytestmark = pytest.mark.django_db

NOON_MS = 1_770_897_600_000  # 2026-02-12 12:00 UTC


def run(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("demo_data", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_it_fills_an_empty_site() -> None:
    out, err = run("--events", "2000", "--days", "3", "--seed", "7")
    assert out == "2,000 demo events of 3 days were stored (--seed 7).\n"
    assert err.endswith("100 %: 2,000 of 2,000\n")
    assert Event.objects.demo().count() == 2000
    assert sum(LifetimeTotal.objects.values_list("accepted", flat=True)) == 2000
    assert [difference for day in rollups.days_in_use(0, None) for difference in rollups.compare(day)] == []
    newest = Event.objects.newest_first()[0].received_at_ms
    oldest = Event.objects.newest_first().reverse()[0].received_at_ms
    assert newest <= clock.now_ms()
    assert newest - oldest <= 3 * buckets.DAY_MS


def test_more_can_be_added() -> None:
    run("--events", "100", "--seed", "1")
    run("--events", "100", "--seed", "2")
    assert Event.objects.count() == 200


def test_clear_leaves_real_events_and_their_counts_alone() -> None:
    run("--events", "300", "--days", "2")
    make_event(**success())
    make_event()
    out, _ = run("--clear")
    assert out == "300 demo events were deleted, with their counts, maps, decisions and advice.\n"
    assert Event.objects.count() == 2
    assert dict(LifetimeTotal.objects.exclude(accepted=0).values_list("event_type", "accepted")) == {
        "flash_success": 1,
        "flash_error": 1,
    }
    assert HourlyRollup.objects.count() == 2


def test_clear_of_nothing_is_said() -> None:
    assert run("--clear") == ("0 demo events were deleted, with their counts, maps, decisions and advice.\n", "")


def test_a_database_with_real_events_is_refused() -> None:
    make_event()
    with pytest.raises(CommandError, match="This database contains real events") as refused:
        run("--events", "10")
    assert refused.value.returncode == 1
    assert Event.objects.count() == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--events", "0"], "--events must be from 1 to 10,000,000, not 0"),
        (["--events", "-5"], "--events must be from 1 to 10,000,000, not -5"),
        (["--events", "10000001"], "--events must be from 1"),
        (["--days", "0"], "--days must be from 1 to 730, not 0"),
        (["--days", "731"], "--days must be from 1 to 730, not 731"),
        (["--events", "many"], "invalid int value: 'many'"),
    ],
)
def test_nonsense_is_refused_in_words(arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        run(*arguments)
    assert not Event.objects.exists()


# --- the made-up world -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def month() -> list[demo.EventRow]:
    return list(demo.generate(20_000, days=30, now_ms=NOON_MS, seed=4))


def test_events_come_in_the_order_of_their_time(month: list[demo.EventRow]) -> None:
    moments = [event.received_at_ms for event in month]
    assert moments == sorted(set(moments))
    assert len(moments) == 20_000
    assert moments[0] > NOON_MS - 30 * buckets.DAY_MS
    assert moments[-1] < NOON_MS


def test_every_event_is_one_that_the_contract_takes(month: list[demo.EventRow]) -> None:
    for event in month[::50]:
        fields = {name: value for name, value in event._asdict().items() if name in payload() or value is not None}
        taken = contract.parse(fields, received_at_ms=event.received_at_ms)
        assert taken._replace(id=event.id, source="demo") == event


def test_the_same_seed_draws_the_same_world(month: list[demo.EventRow]) -> None:
    again = demo.generate(20_000, days=30, now_ms=NOON_MS, seed=4)
    assert all(one._replace(id="") == other._replace(id="") for one, other in zip(month, again, strict=True))


def test_most_flashes_succeed(month: list[demo.EventRow]) -> None:
    types = Counter(event.event_type for event in month)
    assert 0.8 < types[SUCCESS] / len(month) < 0.9
    assert len(types) == 5


def test_failures_have_logs_to_read_and_mostly_stacks(month: list[demo.EventRow]) -> None:
    for event in month[::7]:
        assert 3 <= len(json.loads(event.log_lines_json)) <= 80
        assert event.event_type != SUCCESS or event.stack is None
    failures = [event for event in month if event.event_type != SUCCESS]
    assert 0.8 < sum(event.stack is not None for event in failures) / len(failures) < 1


def test_facets_tell_who_fails(month: list[demo.EventRow]) -> None:
    def rate(**facets: str) -> float:
        asked = [event for event in month if facets.items() <= json.loads(event.metadata_json).items()]
        assert len(asked) > 50
        return sum(event.event_type != SUCCESS for event in asked) / len(asked)

    assert rate(os="Windows", usb="10c4:ea60") > 1.5 * rate(os="macOS", usb="10c4:ea60")
    snap = [event for event in month if json.loads(event.metadata_json).get("browser", "").startswith("Chromium")]
    assert sum("Failed to open" in event.message for event in snap) / len(snap) > 0.2
    overrun = Counter(
        json.loads(event.metadata_json).get("browser", "").split(" ")[-1]
        for event in month
        if event.message.startswith("Buffer overrun")
    )
    assert len(overrun.keys() - {""}) == 1
    steps = {json.loads(event.metadata_json).get("step") for event in month}
    assert steps == {"connect", "handshake", "read", "write", "verify", None}


def test_old_clients_send_no_facets(month: list[demo.EventRow]) -> None:
    versions = {event.app_version for event in month if event.metadata_json == '{"source":"web-v2"}'}
    assert 1 <= len(versions - {"dev", "unknown"}) <= 2


def test_many_close_the_port_picker(month: list[demo.EventRow]) -> None:
    closed = [event for event in month if event.message.endswith("No port selected by the user.")]
    assert len(closed) > 0.1 * sum(event.event_type != SUCCESS for event in month)
    assert {(event.event_type, event.error_name) for event in closed} == {("connect_error", "NotFoundError")}


def test_some_try_again_in_their_session(month: list[demo.EventRow]) -> None:
    sessions: dict[str, list[str]] = {}
    for event in month:
        if event.session_id is not None:
            sessions.setdefault(event.session_id, []).append(event.event_type)
    assert all(len(types) == len(set(types)) for types in sessions.values())
    several = [types for types in sessions.values() if len(types) > 1]
    assert sum(types[-1] == SUCCESS for types in several) > 200
    assert any(len(set(types) - {SUCCESS}) > 1 for types in several)
    assert all(SUCCESS not in types[:-1] for types in several)


def test_one_day_is_silent(month: list[demo.EventRow]) -> None:
    days = Counter(event.received_at_ms // buckets.DAY_MS for event in month)
    assert len(days) == 29
    assert max(days) - min(days) == 29


def test_the_bad_release_fails_more_from_its_first_day() -> None:
    world = demo.World(days=30, now_ms=NOON_MS, seed=4)
    bad = world.broken
    rows = [event for event in demo.events(world, 20_000) if event.received_at_ms < bad.at_ms + buckets.DAY_MS]
    first_day = [event for event in rows if event.received_at_ms >= bad.at_ms and event.app_version == bad.version]
    before = [event for event in rows if event.received_at_ms < bad.at_ms]
    failed = [sum(event.event_type != SUCCESS for event in events) / len(events) for events in (first_day, before)]
    assert len(first_day) > 100
    assert failed[0] > failed[1] + 0.05


@pytest.mark.parametrize("seed", ["1", "2", "7"])
def test_a_group_that_was_resolved_comes_back(seed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    turn_clock_to(monkeypatch, NOON_MS // 1_000)  # at another hour, few of the 4,000 events can be in the last release
    run("--events", "4000", "--days", "30", "--seed", seed)
    # A hash of a bundle can look like words, so that the fault has more than one group.
    resolved = FailureGroup.objects.filter(title="Port vanished while writing", fixed_in__isnull=False)
    back = [group for group in resolved if group.regressed_at_ms is not None]
    assert back
    for group in back:
        assert group.status == "open"
        assert group.regressed_at_ms > group.decided_at_ms


def test_one_model_fails_with_one_release_until_the_next(month: list[demo.EventRow]) -> None:
    asked = Counter((event.model, event.app_version) for event in month)
    failed = Counter((event.model, event.app_version) for event in month if event.event_type != SUCCESS)
    broken = {key for key, count in asked.items() if key[0] != "unknown" and count >= 50 and failed[key] / count > 0.4}
    assert len(broken) == 1
    assert broken.pop()[0] == "UV-17R"


def test_a_few_failures_are_common_and_a_long_tail_is_rare(month: list[demo.EventRow]) -> None:
    counts = Counter(
        fingerprint(event.event_type, event.error_name, event.message, event.stack).title
        for event in month
        if event.event_type != SUCCESS
    )
    assert len(counts) > 100
    assert sum(count for _, count in counts.most_common(10)) > 0.7 * counts.total()
    assert list(counts.values()).count(1) > 50


def test_one_failure_is_new_today_and_one_grows(month: list[demo.EventRow]) -> None:
    today_ms = NOON_MS - NOON_MS % buckets.DAY_MS
    new = [event.received_at_ms for event in month if event.message == "Bootloader answered with an unknown revision"]
    assert new
    assert min(new) >= today_ms
    growing = [event.received_at_ms for event in month if event.message.startswith("Buffer overrun")]
    middle_ms = today_ms - 15 * buckets.DAY_MS
    assert sum(at_ms >= middle_ms for at_ms in growing) > 3 * sum(at_ms < middle_ms for at_ms in growing)


def test_no_day_has_more_new_failures_than_a_day_may_bring(month: list[demo.EventRow]) -> None:
    # Where there is only one day it brings all of them.
    for events in (month, list(demo.generate(20_000, days=1, now_ms=NOON_MS, seed=4))):
        born: dict[tuple[str, str], int] = {}
        for event in events:
            born.setdefault((event.event_type, event.message), event.received_at_ms // buckets.DAY_MS)
        born = {key: day for key, day in born.items() if key[0] != SUCCESS and not re.search(r"\d", key[1])}
        assert max(Counter((day, event_type) for (event_type, _), day in born.items()).values()) < MAX_NEW_A_DAY


def test_clear_takes_groups_and_releases_along() -> None:
    run("--events", "2000", "--days", "3", "--seed", "7")
    made_up = Release.objects.order_by("first_seen_ms")[0]
    make_event(app_version="19afc18")
    make_event(message="Handshake timed out after 3 attempts", app_version=made_up.app_version)
    run("--clear")
    assert set(FailureGroup.objects.values_list("title", "accepted")) == {
        ("No ACK for block … (got …)", 1),
        ("Handshake timed out after … attempts", 1),
    }
    assert sum(GroupHour.objects.values_list("accepted", flat=True)) == 2
    assert GroupShare.objects.count() == 8
    assert set(Release.objects.values_list("app_version", flat=True)) == {"19afc18", made_up.app_version}
    assert Release.objects.get(pk=made_up.pk).first_seen_ms > made_up.first_seen_ms
    assert regrouping.compare() == []


def test_clear_takes_what_a_switch_copied() -> None:
    run("--events", "200", "--days", "3", "--seed", "7")
    real = make_event(**success())
    call_command("legacy_mode", "separate", stdout=StringIO())
    assert LegacyCount.objects.count() > 1
    assert ClientLog.objects.exists()
    run("--clear")
    assert LegacyCount.objects.get().session_id == real.session_id
    assert not ClientLog.objects.exists()
    assert old_tables.count() == 1


def test_a_day_alone_is_enough_for_a_world() -> None:
    for now_ms in (NOON_MS, NOON_MS - NOON_MS % buckets.DAY_MS + 60_000):
        assert len(list(demo.generate(50, days=1, now_ms=now_ms, seed=1))) == 50


# --- interrupted -----------------------------------------------------------------------------------------------------


def test_what_was_stored_before_an_interrupt_is_counted_right(data_dir: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    environment |= {"DATA_DIR": str(data_dir), "DJANGO_SETTINGS_MODULE": "telemetry_site.settings"}

    def manage(*arguments: str) -> list[str]:
        return [sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments]

    with subprocess.Popen(
        manage("demo_data", "--events", "50000"), env=environment, stderr=subprocess.PIPE, text=True
    ) as filling:
        assert filling.stderr is not None
        assert filling.stderr.readline() == "10 %: 5,000 of 50,000\n"
        filling.send_signal(signal.SIGINT)
        errors = filling.stderr.read()
    assert filling.returncode == 130
    assert "Interrupted: the stored events stay" in errors
    proof = subprocess.run(manage("rebuild_rollups", "--check"), env=environment, capture_output=True, text=True)
    assert (proof.returncode, proof.stderr) == (0, "")
    assert " 0 differ." in proof.stdout


def test_maps_decisions_and_advice_stay_until_they_are_cleared() -> None:
    User.objects.create_superuser("admin")
    run("--events", "12000", "--days", "30", "--seed", "7")
    assert [difference for day in rollups.days_in_use(0, None) for difference in rollups.compare(day)] == []
    released = set(Release.objects.exclude(app_version__in=["dev", "unknown"]).values_list("app_version", flat=True))
    mapped = set(SourceMap.objects.values_list("app_version", flat=True))
    assert 0.5 * len(released) < len(mapped & released) < len(released)
    [pickers] = FailureGroup.objects.filter(status="expected")
    assert pickers.title.endswith("No port selected by the user.")
    advised = FailureGroup.objects.exclude(advice_text="")
    assert {group.error_name for group in advised} == {"WrongBootloaderError"}
    assert AdviceDay.objects.exists()
    [unfixed] = FailureGroup.objects.filter(unfixed_at_ms__isnull=False)
    assert unfixed.title.startswith("Handshake timed out")
    assert len(releases.similar(unfixed.fixed_in or "", 5)) == 1
    [assigned] = FailureGroup.objects.filter(assigned_to__username="admin")
    assert assigned.title == "Radio rejected the clock setting"
    resolved = FailureGroup.objects.filter(fixed_in__isnull=False)
    assert {group.decided_by_name for group in (pickers, *resolved)} == {decisions.AUTHOR}
    for group in (pickers, advised[0], unfixed, assigned, resolved.exclude(pk=unfixed.pk)[0]):
        last = Event.objects.of_group(group.pk).newest_first()[0]
        real = make_event(
            event_type=last.event_type, error_name=last.error_name, message=last.message, stack=last.stack
        )
        assert real.fingerprint == group.pk
    run("--clear")
    assert not SourceMap.objects.exists()
    columns = (
        "status", "fixed_in", "regressed_at_ms", "unfixed_at_ms", "assigned_at_ms", "advice_text", "advice_url",
        "issue_url", "accepted",
    )  # fmt: skip
    assert list(FailureGroup.objects.values_list(*columns)) == [("open", None, None, None, None, "", None, None, 1)] * 5
