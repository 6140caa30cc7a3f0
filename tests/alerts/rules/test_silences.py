"""Silence: longer than ever in 30 days, at least ALERT_SILENCE_HOURS, where events used to arrive."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from events.alerts.rules import evaluation, silences
from events.alerts.rules.evaluation import Rule
from events.counting.buckets import DAY_MS, HOUR_MS
from events.models import Alert, AlertKind, HourlyRollup, LifetimeTotal
from tests.conftest import make_event, success

pytestmark = pytest.mark.django_db

LAST = datetime(2026, 2, 12, 12, 0, tzinfo=UTC)
LAST_MS = int(LAST.timestamp() * 1000)
RULE = Rule("silences", AlertKind.SILENCE, silences.find, silences.ended)


def count(*hours_ago: float) -> None:
    """Count an event so many hours before the last one, and the last one itself."""
    hours = {(LAST_MS - int(hours * HOUR_MS)) // HOUR_MS * HOUR_MS for hours in (0, *hours_ago)}
    HourlyRollup.objects.bulk_create(
        HourlyRollup(hour_ms=hour, event_type="flash_success", model="m", app_version="v", accepted=1) for hour in hours
    )
    LifetimeTotal.objects.update_or_create(
        event_type="flash_success", defaults={"accepted": len(hours), "last_received_at_ms": LAST_MS}
    )


def opens(hours_later: float) -> bool:
    return any(problem.opens for problem in silences.find(LAST + timedelta(hours=hours_later)))


DAILY = tuple(range(24, 24 * 30, 24))


@pytest.mark.parametrize(
    ("earlier", "least", "hours_later", "expected"),
    [
        # Once a day: a day without is usual, with the coarseness of an hour.
        (DAILY, 24, 23.9, False),
        (DAILY, 24, 25, False),
        (DAILY, 24, 25.1, True),
        (DAILY, 48, 47.9, False),
        (DAILY, 48, 48.1, True),
        # Every hour: the setting decides.
        (tuple(range(24 * 30)), 24, 23.9, False),
        (tuple(range(24 * 30)), 24, 24.1, True),
        (tuple(range(24 * 30)), 6, 6.1, True),
        # A pause of four days within the 30 days, and one before.
        ((*range(24, 240, 24), *range(336, 700, 24)), 24, 72, False),
        ((*range(24, 240, 24), *range(336, 700, 24)), 24, 122, True),
        ((*range(24, 750, 24), 900), 24, 72, True),
        # A longer pause that ended within the 30 days, although it began before.
        ((*range(24, 600, 24), 900), 24, 72, False),
        # Few events: none is expected.
        ((24, 48, 72, 96, 120), 24, 300, False),
        ((24, 48, 72, 96, 120, 144), 24, 300, True),
        ((), 24, 300, False),
    ],
)
def test_when_silence_is_a_problem(
    settings: Any, earlier: tuple[int, ...], least: int, hours_later: float, expected: bool
) -> None:
    settings.ALERT_SILENCE_HOURS = least
    count(*earlier)
    assert opens(hours_later) is expected


def test_a_site_without_events_is_not_silent() -> None:
    assert list(silences.find(LAST)) == []


def test_a_silence_is_two_alerts_one_for_its_begin_and_one_for_its_end() -> None:
    count(*DAILY)
    for hours in (24, 30, 31, 24 * 20, 24 * 60):  # after a month, no event used to arrive
        evaluation.evaluate(LAST + timedelta(hours=hours), [RULE])
    assert Alert.objects.count() == 1
    make_event(**success(), received_at_ms=LAST_MS + 61 * DAY_MS)
    for hours in (0, 1):
        evaluation.evaluate(LAST + timedelta(days=61, hours=hours), [RULE])
    begin, end = Alert.objects.order_by("id")
    assert begin.facts["heading"] == "No event for 30 hours"
    assert begin.facts["lines"][:2] == [
        "The last event arrived on Thu 12 Feb 2026, 12:00 UTC.",
        "The longest pause of the 30 days before was at most 25 hours. Events arrived on 30 of these days.",
    ]
    assert end.facts["heading"] == "Events arrive again"
    assert end.facts["lines"] == [
        "1 event since the silence was reported on Fri 13 Feb 2026, 18:00 UTC.",
        "The last event arrived on Thu 12 Feb 2026, 12:00 UTC.",
    ]
