"""Finds the Mondays of the digest."""

from collections.abc import Iterator
from datetime import datetime

from events.alerts import timing
from events.alerts.messages import Part
from events.alerts.rules.evaluation import Problem
from events.counting.buckets import DAY_MS
from events.models import LifetimeTotal

HOUR = 7
# A site that was off on Monday sends the digest until Wednesday.
LATE_MS = 2 * DAY_MS


def find(now: datetime) -> Iterator[Problem]:
    """Yield the digest of this week from Monday at seven on, in ALERT_TIME_ZONE. A site without any event has none."""
    now_ms = int(now.timestamp() * 1000)
    monday = timing.last_monday(HOUR, now_ms)
    if not LifetimeTotal.objects.filter(accepted__gt=0).exists():
        return
    is_due = now_ms - int(monday.timestamp() * 1000) < LATE_MS
    # It lasts all week, so that it is written once.
    yield Problem(f"{monday:%Y-%m-%d}", Part("Monday's digest"), opens=is_due)
