"""The sums of rollups behind the overview: each agrees with the sums by hour."""

import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events import clock
from events.counting import rollups
from events.counting.buckets import DAY_MS, HOUR_MS
from events.grouping import triage
from events.models import DailyExpected, DailyRollup, ExpectedRollup
from events.reports import metrics
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
        if number % 2:
            make_event(**success(app_version=version, session_id=f"{number}"), received_at_ms=at_ms)
        else:
            kind = drawn.choice(["flash_error", "connect_error"])
            make_event(event_type=kind, message=kind, app_version=version, session_id=f"{number}", received_at_ms=at_ms)
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
