"""The figures that everybody may see: the public count, and the successful flashes by day and by model.

They contain no failure, no version and no text of an event. Void flashes are not counted, as in the public count.
"""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from events.counting.buckets import OTHER, UNKNOWN
from events.process_memory import Recent
from events.reports import metrics

DAYS = 90
MAX_MODELS = 50
# The public count is read each time. The flashes by day need many rows, and anybody may ask for them.
_flashes: "Recent[Flashes]" = Recent(60)


class Day(NamedTuple):
    day: date
    flashes: int


class Model(NamedTuple):
    name: str
    flashes: int


class Flashes(NamedTuple):
    """The successful flashes of the last DAYS days, UTC: by day, oldest first, and by model, most first.

    `models` has at most MAX_MODELS names. The rest is OTHER, which is last, after the unknown model.
    """

    read_at: datetime
    days: list[Day]
    models: list[Model]

    @property
    def total(self) -> int:
        return sum(day.flashes for day in self.days)


class Statistics(NamedTuple):
    """`total` is the public count: all flashes, also those before these days and before this site."""

    total: int
    flashes: Flashes


def statistics(now: datetime) -> Statistics:
    """Return the public figures. The flashes by day and model can be a minute old. Source: LifetimeTotal, rollups."""
    return Statistics(metrics.flash_count().total, _flashes.get(now.date(), now, lambda: _read(now)))


def _read(now: datetime) -> Flashes:
    start_ms, end_ms = metrics.last_days(DAYS, now.date())
    by_day, by_model = Counter[date](), Counter[str]()
    for day_ms, model, flashes in metrics.successes_by_day_and_model(start_ms, end_ms):
        by_day[datetime.fromtimestamp(day_ms / 1000, UTC).date()] += flashes
        by_model[model] += flashes
    days = [now.date() - timedelta(days=ago) for ago in reversed(range(DAYS))]
    return Flashes(now, [Day(day, by_day[day]) for day in days], _ranked(by_model))


def _ranked(by_model: Counter[str]) -> list[Model]:
    other = by_model.pop(OTHER, 0)
    ranked = sorted(by_model.items(), key=lambda row: (row[0] == UNKNOWN, -row[1], row[0]))
    models = [Model(*row) for row in ranked[:MAX_MODELS]]
    other += sum(flashes for _, flashes in ranked[MAX_MODELS:])
    return [*models, Model(OTHER, other)] if other else models


def as_json(figures: Statistics) -> dict[str, Any]:
    flashes = figures.flashes
    return {
        "total": figures.total,
        "days": DAYS,
        "by_day": [{"day": row.day.isoformat(), "flashes": row.flashes} for row in flashes.days],
        "by_model": [{"model": row.name, "flashes": row.flashes} for row in flashes.models],
    }
