"""Chooses the hourly bucket that counts an event, and limits how many buckets a client can create with new names.

A name always has its own buckets if KNOWN_MODELS contains it or an earlier UTC day counted it. New names share the
remaining capacity of the day. Names beyond that capacity are counted under OTHER.
"""

import threading
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from django.conf import settings
from django.db import transaction
from django.db.models import BooleanField, Case, QuerySet, When

from events import clock, process_memory
from events.counting.upserts import Upsert, earliest, latest, upsert
from events.models import Facet, HourlyRollup, KnownName

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

# The capacity of a UTC day. Known names use it first; a fifth is always reserved for new names.
MAX_MODELS_A_DAY = 50
MAX_VERSIONS_A_DAY = 200
_LEFT_FOR_NEW = 5
# The maximum number of known names. Above it, recently used names take precedence, then the oldest ones.
MAX_KNOWN_MODELS = 500
MAX_KNOWN_VERSIONS = 2_000
_RECENT_MS = 90 * DAY_MS
OTHER = "(other)"
# The name of a placeholder. It always has its own bucket, because the event moves out of it later.
UNKNOWN = "unknown"

_KNOWN_NAMES = Upsert(
    KnownName._meta.db_table,
    ("facet", "name", "first_day_ms", "last_day_ms"),
    "facet, name",
    f"{earliest('first_day_ms')}, {latest('last_day_ms')}",
)


class Bucket(NamedTuple):
    hour_ms: int
    event_type: str
    model: str
    app_version: str


class Counted(Protocol):
    """The fields of an event that the rollups and the releases count by."""

    @property
    def received_at_ms(self) -> int: ...
    @property
    def event_type(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def app_version(self) -> str: ...
    @property
    def write_mode(self) -> int: ...
    @property
    def connected(self) -> int: ...
    @property
    def session_id(self) -> str | None: ...


def rollups_of_day(day_ms: int) -> QuerySet[HourlyRollup]:
    return HourlyRollup.objects.filter(hour_ms__gte=day_ms, hour_ms__lt=day_ms + DAY_MS)


class _Names:
    """The names of one facet that have their own buckets on one UTC day, as this process knows them."""

    def __init__(self, day_ms: int, facet: Facet, column: str, capacity: int, max_known: int) -> None:
        self._day_ms = day_ms
        self._facet = facet
        self._column = column
        self._max_known = max_known
        self._refusals = 0
        # Names that KnownName already contains for this day.
        self.noted: set[str] = {UNKNOWN, OTHER}
        self.earlier: set[str] = {UNKNOWN}
        if facet == Facet.MODEL:
            self.earlier |= settings.KNOWN_MODELS
        self._read_earlier()
        self._most_new = max(capacity - len(self.earlier), capacity // _LEFT_FOR_NEW)
        self._new: set[str] = set()
        self._read_day()

    def place(self, name: str) -> str:
        if name in self.earlier or name in self._new:
            return name
        if len(self._new) < self._most_new:
            self._read_day()  # Another process may have added new names.
            if name in self._new or len(self._new) < self._most_new:
                self._new.add(name)
                return name
        # Another process may have stored an event of an earlier day. Only the 1st, 2nd, 4th, 8th … refusal reads the
        # table again, so a flood of names costs few queries.
        self._refusals += 1
        if self._refusals & (self._refusals - 1) == 0:
            self._read_earlier()
        return name if name in self.earlier else OTHER

    def _read_earlier(self) -> None:
        # Names with a day in the future, after a wrong clock, do not count as recent.
        days = (self._day_ms - _RECENT_MS, max(self._day_ms, clock.now_ms()))
        is_recent = Case(When(last_day_ms__range=days, then=True), default=False, output_field=BooleanField())
        names = KnownName.objects.filter(facet=self._facet, first_day_ms__lt=self._day_ms)
        ranked = names.order_by(is_recent.desc(), "first_day_ms", "name").values_list("name", flat=True)
        self.earlier.update(ranked[: self._max_known])

    def _read_day(self) -> None:
        names = rollups_of_day(self._day_ms).exclude(**{self._column: OTHER})
        self._new.update(set(names.values_list(self._column, flat=True).distinct()) - self.earlier)


class _NamesOfDay(NamedTuple):
    models: _Names
    versions: _Names


_days: dict[int, _NamesOfDay] = {}
_names_lock = threading.Lock()
_REMEMBERED_DAYS = 400  # more days than an import interleaves


def bucket_of(received_at_ms: int, event_type: str, model: str, app_version: str) -> Bucket:
    """Return the hourly bucket that counts an event with these values."""
    with _names_lock:
        models, versions = _day_of(received_at_ms)
        return Bucket(
            received_at_ms - received_at_ms % HOUR_MS, event_type, models.place(model), versions.place(app_version)
        )


def note(events: Iterable[Counted]) -> None:
    """Store the names of counted events, inside the caller's transaction. They are known from the next day on."""
    rows: set[tuple[str, str, int, int]] = set()
    named = {(event.received_at_ms, event.model, event.app_version) for event in events}
    with _names_lock:
        for received_at_ms, model, app_version in named:
            models, versions = _day_of(received_at_ms)
            day_ms = received_at_ms - received_at_ms % DAY_MS
            if model not in models.noted and models.place(model) != OTHER:
                rows.add((Facet.MODEL.value, model, day_ms, day_ms))
            if app_version not in versions.noted and versions.place(app_version) != OTHER:
                rows.add((Facet.VERSION.value, app_version, day_ms, day_ms))
    if rows:
        _write(rows)


def _write(rows: set[tuple[str, str, int, int]]) -> None:
    spans: dict[tuple[str, str], tuple[int, int]] = {}
    for facet, name, day_ms, _ in rows:
        first_ms, last_ms = spans.get((facet, name), (day_ms, day_ms))
        spans[facet, name] = (min(first_ms, day_ms), max(last_ms, day_ms))
    upsert(_KNOWN_NAMES, [(*key, *span) for key, span in spans.items()])
    transaction.on_commit(lambda: _learn(rows))


def _learn(rows: set[tuple[str, str, int, int]]) -> None:
    with _names_lock:
        for facet, name, day_ms, _ in rows:
            for other_ms, day in _days.items():
                names = day.models if facet == Facet.MODEL else day.versions
                if other_ms == day_ms:
                    names.noted.add(name)
                elif other_ms > day_ms:
                    names.earlier.add(name)


def _day_of(received_at_ms: int) -> _NamesOfDay:
    day_ms = received_at_ms - received_at_ms % DAY_MS
    day = _days.get(day_ms)
    if day is None:
        day = _days[day_ms] = _NamesOfDay(
            _Names(day_ms, Facet.MODEL, "model", MAX_MODELS_A_DAY, MAX_KNOWN_MODELS),
            _Names(day_ms, Facet.VERSION, "app_version", MAX_VERSIONS_A_DAY, MAX_KNOWN_VERSIONS),
        )
        while len(_days) > _REMEMBERED_DAYS:
            del _days[next(iter(_days))]
    return day


def settle() -> None:
    """Delete the known names without any counted event, after demo data was deleted."""
    for facet, column in ((Facet.MODEL, "model"), (Facet.VERSION, "app_version")):
        KnownName.objects.filter(facet=facet).exclude(name__in=_counted_names(column)).delete()


def _counted_names(column: str) -> QuerySet[HourlyRollup, str]:
    return HourlyRollup.objects.filter(accepted__gt=0).values_list(column, flat=True)


@process_memory.register
def forget_names() -> None:
    """Clear the cache of names; the next event reads them again from the table."""
    with _names_lock:
        _days.clear()
