"""Which hourly bucket counts an event, and how few of them a client can make by inventing names."""

import threading
from typing import NamedTuple

from django.db.models import QuerySet

from events.models import HourlyRollup

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

# Clients choose models and versions. Past so many a UTC day, the rest of that day's go to OTHER.
MAX_MODELS_A_DAY = 50
MAX_VERSIONS_A_DAY = 200
OTHER = "(other)"
# A placeholder waits under this name, so it always has a bucket of its own to be moved out of.
UNKNOWN = "unknown"


class Bucket(NamedTuple):
    hour_ms: int
    event_type: str
    model: str
    app_version: str


def rollups_of_day(day_ms: int) -> QuerySet[HourlyRollup]:
    return HourlyRollup.objects.filter(hour_ms__gte=day_ms, hour_ms__lt=day_ms + DAY_MS)


class _Names:
    """The models and versions that have buckets of their own on one UTC day, as this process knows them."""

    def __init__(self, day_ms: int) -> None:
        self._day_ms = day_ms
        self._known: dict[str, set[str]] = {"model": {UNKNOWN}, "app_version": {UNKNOWN}}
        self._reload()

    def place(self, model: str, app_version: str) -> tuple[str, str]:
        return (
            self._admit("model", model, MAX_MODELS_A_DAY),
            self._admit("app_version", app_version, MAX_VERSIONS_A_DAY),
        )

    def _admit(self, column: str, name: str, most: int) -> str:
        known = self._known[column]
        if name in known:
            return name
        if len(known) < most:
            self._reload()  # another process may have named it, and others
            if name in known or len(known) < most:
                known.add(name)
                return name
        return OTHER

    def _reload(self) -> None:
        day = rollups_of_day(self._day_ms)
        for column, known in self._known.items():
            known.update(day.exclude(**{column: OTHER}).values_list(column, flat=True).distinct())


_names: dict[int, _Names] = {}
_names_lock = threading.Lock()
_REMEMBERED_DAYS = 400  # more than an import brings in any order


def bucket_of(received_at_ms: int, event_type: str, model: str, app_version: str) -> Bucket:
    """Return the hourly bucket that counts such an event."""
    day_ms = received_at_ms - received_at_ms % DAY_MS
    with _names_lock:
        names = _names.get(day_ms)
        if names is None:
            names = _names[day_ms] = _Names(day_ms)
            while len(_names) > _REMEMBERED_DAYS:
                del _names[next(iter(_names))]
        return Bucket(received_at_ms - received_at_ms % HOUR_MS, event_type, *names.place(model, app_version))


def forget_names() -> None:
    """Forget which names have buckets; the next event reads them again from the table."""
    with _names_lock:
        _names.clear()
