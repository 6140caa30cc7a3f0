"""Finds a failure rate of the last 24 hours that is far above its own past values.

The rate is that of flashes: failed ones divided by all. The past are the PAST_DAYS periods of 24 hours before. Failures
come in bursts, so the days of a site differ by more than chance. The dispersion measures by how much: Pearson's
chi-square of the past days divided by its degrees of freedom (McCullagh and Nelder, Generalized Linear Models, 4.5).
All counts are divided by it. Then Newcombe's interval of the difference is computed with Z_OPENS standard deviations.

Simulated with a look every hour, at 20 flashes a day and a rate of 8 %, an unchanged site gets 0 or 1 alert a year. If
the rates of its days vary by a half (a standard deviation of 0.5 of their logarithm), it gets up to 2. A rise to 30 %
is found after 2 to 4 days, one to 50 % after 1 to 2.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from math import sqrt
from statistics import NormalDist

from events.alerts import timing
from events.alerts.messages import Part, page
from events.alerts.rules import affected
from events.alerts.rules.evaluation import Problem
from events.counting.buckets import DAY_MS
from events.models import EventType
from events.querysets import SUCCESS
from events.reports import intervals, metrics
from events.reports.groups import ranking
from events.reports.releases.verdicts import Flashes

PAST_DAYS = 28
# Fewer flashes cannot tell: of the last 24 hours, of the past, and of days with any.
LEAST_FLASHES, LEAST_FAILURES = 10, 5
LEAST_PAST_FLASHES, LEAST_PAST_DAYS = 50, 7
# "Far above": chance excluded, and a rise that people notice.
LEAST_RISE, LEAST_RATIO = 0.05, 1.5
Z_OPENS = 4.5
# A reported problem lasts until the rise may be chance.
Z_LASTS = NormalDist().inv_cdf(1 - 0.05 / 2)


def find(now: datetime) -> Iterator[Problem]:
    """Yield at most one problem."""
    last_from_ms = ranking.last_day_from_ms(int(now.timestamp() * 1000))
    last, past = last_day_and_past(last_from_ms)
    if not is_above(last, past, Z_LASTS):
        return
    total = _sum(past)
    part = Part(
        heading(last),
        (
            f"{last.failures:,} of {last.total:,} flashes failed since {timing.moment(last_from_ms)}.",
            f"In the {PAST_DAYS} days before: {_percent(total)} ({total.failures:,} of {total.total:,}).",
            *affected.lines(last_from_ms, last_from_ms + DAY_MS),
        ),
        page("events_failuregroup_changelist"),
    )
    yield Problem("rate", part, opens=is_above(last, past, Z_OPENS))


def last_day_and_past(last_from_ms: int) -> tuple[Flashes, list[Flashes]]:
    """Return the flashes of the 24 hours from a whole hour on, and of each past period. Source: HourlyRollup."""
    start_ms = last_from_ms - PAST_DAYS * DAY_MS
    days = [[0, 0] for _ in range(PAST_DAYS + 1)]
    for hour in metrics.timeseries(start_ms, last_from_ms + DAY_MS, "hour"):
        counts = days[(hour.start_ms - start_ms) // DAY_MS]
        counts[0] += hour.counts[SUCCESS]
        counts[1] += hour.unexpected[EventType.FLASH_ERROR]
    flashes = [Flashes(successes, failures) for successes, failures in days]
    return flashes[-1], flashes[:-1]


def is_above(last: Flashes, past: Sequence[Flashes], z: float) -> bool:
    """Return whether the last rate is far above the past ones; chance is excluded with z standard deviations."""
    total = _sum(past)
    if (
        last.total < LEAST_FLASHES
        or last.failures < LEAST_FAILURES
        or total.total < LEAST_PAST_FLASHES
        or sum(day.total > 0 for day in past) < LEAST_PAST_DAYS
    ):
        return False
    rate, past_rate = last.failures / last.total, total.failures / total.total
    if rate - past_rate < LEAST_RISE or rate < LEAST_RATIO * past_rate:
        return False
    spread = dispersion(past)
    low, _ = intervals.wilson(last.failures / spread, last.total / spread, z)
    _, past_high = intervals.wilson(total.failures / spread, total.total / spread, z)
    return rate - past_rate - sqrt((rate - low) ** 2 + (past_high - past_rate) ** 2) > 0


def dispersion(days: Sequence[Flashes]) -> float:
    """Return by how much the rates of days vary, in multiples of the variance of chance; at least 1."""
    total = _sum(days)
    used = [day for day in days if day.total]
    if not total.failures or not total.successes or len(used) < 2:
        return 1.0
    rate = total.failures / total.total
    chi_square = sum((day.failures - day.total * rate) ** 2 / (day.total * rate * (1 - rate)) for day in used)
    return max(chi_square / (len(used) - 1), 1.0)


def heading(last: Flashes) -> str:
    return f"The failure rate of the last 24 hours is {_percent(last)}"


def _sum(days: Sequence[Flashes]) -> Flashes:
    return Flashes(sum(day.successes for day in days), sum(day.failures for day in days))


def _percent(flashes: Flashes) -> str:
    return f"{100 * (flashes.failure_rate or 0):.1f} %"
