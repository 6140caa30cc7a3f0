"""The sums of rollups behind the overview: each agrees with the sums by hour."""

import json
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events import clock
from events.counting import rollups
from events.counting.buckets import DAY_MS, HOUR_MS
from events.grouping import triage
from events.ingest import contract
from events.models import (
    DailyExpected,
    DailyRollup,
    Event,
    ExpectedRollup,
    FacetRollup,
    FailureGroup,
    GroupShare,
    ModeRollup,
)
from events.reports import metrics
from events.reports.failures import Criteria
from tests.conftest import make_event, success, turn_clock_to

pytestmark = pytest.mark.django_db
NOW_MS = int(datetime(2026, 2, 12, 10, 30, tzinfo=UTC).timestamp() * 1000)
TODAY_MS = NOW_MS - NOW_MS % DAY_MS
AT = datetime.fromtimestamp(NOW_MS / 1000, UTC)


@pytest.fixture
def four_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """Store events of four days, some of them expected. One past day lost its sums, one those of expected events."""
    turn_clock_to(monkeypatch, NOW_MS // 1000)
    drawn = random.Random(18)
    for number in range(60):
        at_ms = NOW_MS - drawn.randrange(4 * DAY_MS)
        version = drawn.choice(["19afc18", "dev", "unknown"])
        known = {
            "app_version": version,
            "session_id": f"{number}",
            "connected": number % 3 // 2,
            "metadata_json": json.dumps({"browser": f"Chrome {number % 4}"} if number % 5 else {}),
        }
        if number % 2:
            make_event(**success(**known), received_at_ms=at_ms)
        else:
            kind = drawn.choice(["flash_error", "connect_error"])
            make_event(event_type=kind, message=kind, received_at_ms=at_ms, **known)
    picker = make_event(event_type="connect_error", message="connect_error")
    triage.expect([str(picker.fingerprint)], user=User.objects.create(username="ada"), at=clock.now())
    rollups.sum_past_days(NOW_MS)
    DailyRollup.objects.filter(day_ms=TODAY_MS - 2 * DAY_MS).delete()
    assert DailyExpected.objects.filter(day_ms=TODAY_MS - DAY_MS).delete()[0]


@pytest.mark.usefixtures("four_days")
def test_figures_by_day_and_by_hour_agree() -> None:
    start_ms, end_ms = TODAY_MS - 4 * DAY_MS, TODAY_MS + DAY_MS
    by_day, by_hour = metrics.by_day(start_ms, end_ms), metrics.figures_of(metrics.by_hour(start_ms, end_ms))
    assert sorted(by_day.cells) == sorted(by_hour.cells)
    series = [metrics.series(figures.steps, start_ms, end_ms, DAY_MS) for figures in (by_day, by_hour)]
    assert series[0] == series[1] == metrics.timeseries(start_ms, end_ms, "day")
    for counts in (by_day.steps, by_day.cells, by_hour.steps):
        assert sum(count.events for count in counts) == 61
        assert sum(count.expected for count in counts) == sum(ExpectedRollup.objects.values_list("accepted", flat=True))
    assert sum(count.expected for count in by_day.steps) > 5


def names_of(start_ms: int, end_ms: int) -> tuple[Counter[tuple[str, str, str]], Counter[tuple[str, int, int]]]:
    """Return the counts by facet and by mode, from their rows."""
    of_days: dict[str, Any] = {"day_ms__gte": start_ms, "day_ms__lt": end_ms, "accepted__gt": 0}
    by_facet: Counter[tuple[str, str, str]] = Counter()
    for *key, n in FacetRollup.objects.filter(**of_days).values_list("facet", "name", "event_type", "accepted"):
        by_facet[key[0], key[1], key[2]] += n
    expected = GroupShare.objects.filter(**of_days, fingerprint__in=FailureGroup.objects.expected().values("pk"))
    for facet, name, n in expected.filter(facet="f.browser").values_list("facet", "name", "accepted"):
        by_facet[facet, name, ""] += n
    by_mode: Counter[tuple[str, int, int]] = Counter()
    for *mode, n in ModeRollup.objects.filter(**of_days).values_list(
        "event_type", "write_mode", "connected", "accepted"
    ):
        by_mode[mode[0], mode[1], mode[2]] += n
    return by_facet, by_mode


def kept_names_of(start_ms: int, end_ms: int) -> tuple[Counter[tuple[str, str, str]], Counter[tuple[str, int, int]]]:
    """Return the same counts from the figures of the days."""
    found = metrics.by_day(start_ms, end_ms)
    by_facet: Counter[tuple[str, str, str]] = Counter()
    for facet, name, event_type, n in found.facets:
        by_facet[facet, name, event_type] += n
    by_mode: Counter[tuple[str, int, int]] = Counter()
    for *mode, n in found.modes:
        by_mode[mode[0], mode[1], mode[2]] += n
    return by_facet, by_mode


@pytest.mark.usefixtures("four_days")
@pytest.mark.parametrize(("from_day", "to_day"), [(-4, 1), (-3, 0), (0, 1), (-NOW_MS // DAY_MS, 1)])
def test_facets_and_modes_of_days_agree_with_their_rows(from_day: int, to_day: int) -> None:
    span = max(TODAY_MS + from_day * DAY_MS, 0), TODAY_MS + to_day * DAY_MS
    by_facet, by_mode = names_of(*span)
    assert by_facet.total() > 0 < by_mode.total()
    for _ in range(2):  # the second time from the process
        assert kept_names_of(*span) == (by_facet, by_mode)


@pytest.mark.usefixtures("four_days")
def test_facets_of_past_days_follow_each_change() -> None:
    span = TODAY_MS - 4 * DAY_MS, TODAY_MS + DAY_MS
    key = str(Event.objects.failures().filter(received_at_ms__lt=TODAY_MS)[0].fingerprint)
    other = FailureGroup.objects.exclude(pk=key)[0].pk
    user = User.objects.get()
    old = Event.objects.successes().exclude(metadata_json="{}").filter(received_at_ms__lt=TODAY_MS)[0]
    new = contract.parse(success(**_fields_of(old), metadata_json='{"browser":"Safari"}'), received_at_ms=1)
    new = new._replace(received_at_ms=old.received_at_ms)
    changes: list[Callable[[], object]] = [
        lambda: make_event(metadata_json='{"browser":"Opera"}', received_at_ms=NOW_MS - 3 * DAY_MS),
        lambda: rollups.move(old, new),
        lambda: triage.expect([key, other], user=user, at=AT),
        lambda: triage.reopen([other], user=user, at=AT),
        lambda: make_event(message="later", metadata_json='{"browser":"Opera"}', received_at_ms=NOW_MS),
        lambda: rollups.sum_past_days(NOW_MS),
    ]
    for change in changes:
        before = kept_names_of(*span)
        change()
        assert kept_names_of(*span) == names_of(*span)
        assert change is changes[-1] or kept_names_of(*span) != before


def _fields_of(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in ("session_id", "app_version", "model", "write_mode", "connected")}


@pytest.mark.usefixtures("four_days")
def test_sums_are_grouped_again_only_after_a_change() -> None:
    start_ms, end_ms = TODAY_MS - 4 * DAY_MS, TODAY_MS + DAY_MS

    def groups_sums() -> bool:
        with CaptureQueriesContext(connection) as captured:
            found = metrics.by_day(start_ms, end_ms)
        assert sorted(found.cells) == sorted(metrics.figures_of(metrics.by_hour(start_ms, end_ms)).cells)
        return "FROM summed GROUP BY" in captured.captured_queries[-1]["sql"]

    past = success(app_version="19afc18", session_id="late")
    changes: list[Callable[[], object]] = [
        lambda: make_event(**past, received_at_ms=NOW_MS - DAY_MS),
        lambda: triage.reopen([str(ExpectedRollup.objects.all()[0].fingerprint)], user=User(username="ada"), at=AT),
        lambda: rollups.sum_past_days(NOW_MS),
    ]
    assert [groups_sums() for _ in range(3)] == [True, False, False]
    make_event(**success(session_id="today"), received_at_ms=NOW_MS)
    assert not groups_sums()
    for change in changes:
        change()
        assert [groups_sums(), groups_sums()] == [True, False]


@pytest.mark.parametrize("read", [metrics.by_day, metrics.by_hour])
def test_bounds_that_are_no_whole_steps_are_refused(read: Callable[[int, int], object]) -> None:
    for bounds in ((TODAY_MS + 1, TODAY_MS + DAY_MS), (TODAY_MS, TODAY_MS + 1), (TODAY_MS, TODAY_MS)):
        with pytest.raises(ValueError, match="the bounds are not the starts of two"):
            read(*bounds)


@pytest.mark.usefixtures("four_days")
@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize(
    ("from_hour", "to_hour"), [(0, 24), (-96, 11), (-75, -70), (-75, 0), (-72, -5), (-48, -48), (3, 7)]
)
def test_sums_of_any_hours_agree_with_the_hours(from_hour: int, to_hour: int, released: bool) -> None:
    start_ms, end_ms = TODAY_MS + from_hour * HOUR_MS, TODAY_MS + to_hour * HOUR_MS
    found = metrics.sums(start_ms, end_ms, released=released)
    counted, expected = Counter[str](), Counter[str]()
    for count in metrics.by_hour(start_ms, end_ms) if start_ms < end_ms else []:
        if count.app_version == "19afc18" or not released:
            counted[count.event_type] += count.events
            expected[count.event_type] += count.expected
    assert (+Counter(found.counts), +Counter(found.expected)) == (counted, +expected)


@pytest.mark.usefixtures("four_days")
@pytest.mark.parametrize("expected", [None, True, False])
@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize(
    ("from_hour", "to_hour"), [(None, None), (-96, 24), (-75, None), (-75, -70), (-72, -5), (-48, -48), (3, 7)]
)
def test_a_count_of_any_hours_agrees_with_the_hours(
    from_hour: int | None, to_hour: int | None, released: bool, expected: bool | None
) -> None:
    bounds = [None if hour is None else TODAY_MS + hour * HOUR_MS for hour in (from_hour, to_hour)]
    criteria = Criteria(since_ms=bounds[0], until_ms=bounds[1], released=released, expected=expected)
    start_ms, end_ms = bounds[0] or TODAY_MS - 9 * DAY_MS, bounds[1] or TODAY_MS + DAY_MS
    events = of_expected = 0
    for count in metrics.by_hour(start_ms, end_ms) if start_ms < end_ms else []:
        if count.event_type != "flash_success" and (count.app_version == "19afc18" or not released):
            events += count.events
            of_expected += count.expected
    assert metrics.count(criteria) == {None: events, True: of_expected, False: events - of_expected}[expected]


def test_nothing_is_counted_on_an_empty_site() -> None:
    assert metrics.count(Criteria()) == 0
    assert metrics.by_day(0, metrics.MAX_MS) == ([], [], [], [])
