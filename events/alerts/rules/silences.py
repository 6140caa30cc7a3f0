"""Finds a silence: no event for longer than ever in the last 30 days, where events used to arrive."""

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise

from django.conf import settings

from events.alerts import timing
from events.alerts.messages import Part, page
from events.alerts.rules.evaluation import Problem
from events.counting.buckets import DAY_MS, HOUR_MS
from events.models import Alert, HourlyRollup
from events.reports import metrics

PAST_DAYS = 30
# Events used to arrive if they did on this many days of the 30 before the silence.
LEAST_DAYS = 7


def find(now: datetime) -> Iterator[Problem]:
    """Yield at most one problem. A reported silence lasts until an event arrives."""
    now_ms = int(now.timestamp() * 1000)
    last_ms = metrics.lifetime_figures(now_ms).last_received_at_ms
    if last_ms is None or now_ms - last_ms < settings.ALERT_SILENCE_HOURS * HOUR_MS:
        return
    hours = hours_with_events(last_ms)
    longest_ms = longest_pause_ms(hours, last_ms - PAST_DAYS * DAY_MS)
    part = Part(
        f"No event for {timing.duration(now_ms - last_ms)}",
        (
            f"The last event arrived on {timing.moment(last_ms)}.",
            f"The longest pause of the {PAST_DAYS} days before was at most {timing.duration(longest_ms)}."
            f" Events arrived on {days_with_events(hours)} of these days.",
            "Check that the front end is online and reaches the site.",
        ),
        page("index"),
    )
    opens = days_with_events(hours) >= LEAST_DAYS and now_ms - last_ms > longest_ms
    yield Problem("silence", part, opens=opens)


def ended(alert: Alert, now: datetime) -> Part:
    """Return the text for the end of a silence."""
    now_ms = int(now.timestamp() * 1000)
    since_ms = alert.happened_at_ms
    arrived = metrics.totals_by_type(since_ms - since_ms % HOUR_MS, now_ms + HOUR_MS)
    number = sum(arrived.values())
    return Part(
        "Events arrive again",
        (
            f"{number:,} event{'' if number == 1 else 's'} since the silence was reported"
            f" on {timing.moment(since_ms)}.",
            *alert.facts["lines"][:1],
        ),
        page("index"),
    )


def hours_with_events(until_ms: int, days: int = 2 * PAST_DAYS) -> list[int]:
    """Return the hours with any event in the days up to a time, oldest first. Source: HourlyRollup."""
    rows = HourlyRollup.objects.filter(hour_ms__gt=until_ms - days * DAY_MS, hour_ms__lte=until_ms, accepted__gt=0)
    return list(rows.values_list("hour_ms", flat=True).distinct().order_by("hour_ms"))


def alert_after(hours: list[int], least_hours: int) -> int | None:
    """Return when a silence that follows these hours is an alert, None if no event is expected."""
    if days_with_events(hours) < LEAST_DAYS:
        return None
    longest_ms = longest_pause_ms(hours, hours[-1] - PAST_DAYS * DAY_MS)
    return hours[-1] + HOUR_MS + max(longest_ms, least_hours * HOUR_MS)


def days_with_events(hours: list[int]) -> int:
    """Return on how many of the PAST_DAYS days up to the last hour events arrived."""
    return len({hour_ms // DAY_MS for hour_ms in hours if hour_ms >= hours[-1] - PAST_DAYS * DAY_MS})


def longest_pause_ms(hours: list[int], since_ms: int) -> int:
    """Return the longest pause between these hours that ended after `since_ms`: at most, because hours are coarse."""
    return max((later + HOUR_MS - earlier for earlier, later in pairwise(hours) if later >= since_ms), default=0)
