"""The periods in force: `RETENTION_DAYS`, or the default of this site while it is not set."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import NamedTuple

from django.conf import settings

from events.counting.buckets import DAY_MS
from events.maintenance.retention import IMPORTED, Cutoffs
from events.models import EventType, RetentionDefault


class Origin(Enum):
    """Where the periods come from."""

    SET = "set"
    NEW_SITE = "new site"
    OLDER_SITE = "older site"  # it had events before this setting existed, and keeps them until it is set


class Rule(NamedTuple):
    """The storage periods in days; None keeps for ever.

    Imported events have a period only if the setting names one. They are often older than the site, so the general
    period would delete them on the night after the import.
    """

    general: int | None
    of_kind: Mapping[str, int | None]
    origin: Origin
    limit_bytes: int | None

    @property
    def has_period(self) -> bool:
        return any(days is not None for days in (self.general, *self.of_kind.values()))

    @property
    def periods(self) -> list[tuple[str, int | None]]:
        """Return the period of each event type and of imported events."""
        types = [(name, self.of_kind.get(name, self.general)) for name in EventType.values]
        return [*types, (IMPORTED, self.of_kind.get(IMPORTED))]

    @property
    def as_set(self) -> str:
        """Return the periods in the form of RETENTION_DAYS."""
        return ",".join([_days(self.general), *(f"{kind}={_days(days)}" for kind, days in self.of_kind.items())])

    def cutoffs(self, now: datetime) -> Cutoffs:
        before = {kind: _start_ms(now, days) for kind, days in self.periods}
        of_imported = before.pop(IMPORTED)
        return Cutoffs(before, of_imported)


def in_force() -> Rule:
    """Return the rule in force. A site without a record of its start keeps all events."""
    limit_bytes = settings.RETENTION_BYTES
    if settings.RETENTION_DAYS is not None:
        return Rule(settings.RETENTION_DAYS.general, settings.RETENTION_DAYS.of_kind, Origin.SET, limit_bytes)
    days = RetentionDefault.objects.values_list("days", flat=True).first()
    return Rule(days, {}, Origin.OLDER_SITE if days is None else Origin.NEW_SITE, limit_bytes)


def in_words(cutoffs: Cutoffs) -> str:
    """Return the cutoffs as `received before 2026-08-30`, with the types where they differ."""
    days = Counter(before_ms for before_ms in cutoffs.of_types.values() if before_ms)
    parts = []
    if days:
        usual_ms, count = days.most_common(1)[0]
        others = {name: before_ms for name, before_ms in cutoffs.of_types.items() if before_ms not in (0, usual_ms)}
        parts = [f"{name} received before {iso_day(before_ms)}" for name, before_ms in others.items()]
        usual = [name for name, before_ms in cutoffs.of_types.items() if before_ms == usual_ms]
        names = "" if count == len(cutoffs.of_types) else "other types " if others else f"{', '.join(usual)} "
        parts.append(f"{names}received before {iso_day(usual_ms)}")
    if cutoffs.of_imported and set(days) == {cutoffs.of_imported}:
        parts.append("also imported ones")
    elif cutoffs.of_imported:
        parts.append(f"imported ones received before {iso_day(cutoffs.of_imported)}")
    return ", ".join(parts)


def iso_day(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d}"


def _days(days: int | None) -> str:
    return "off" if days is None else str(days)


def _start_ms(now: datetime, days: int | None) -> int:
    """Return the start of the UTC day `days` days ago, 0 for an unlimited period."""
    if days is None:
        return 0
    today_ms = int(now.timestamp()) * 1000 // DAY_MS * DAY_MS
    return max(today_ms - int(timedelta(days=days) / timedelta(milliseconds=1)), 0)
