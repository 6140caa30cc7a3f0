"""Chooses the bucket that counts an event, and limits how many buckets a client can create with new names.

A name always has its own buckets if KNOWN_MODELS contains it or an earlier UTC day counted it. New names share the
remaining capacity of the day. Names beyond that capacity are counted under OTHER.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

from django.conf import settings
from django.db import transaction
from django.db.models import BooleanField, Case, Exists, Min, OuterRef, QuerySet, When

from events import clock, process_memory
from events.counting.upserts import Upsert, earliest, latest, upsert
from events.models import Facet, FacetRollup, HourlyRollup, KnownName

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

# The capacity of a UTC day. Known names use it first; a fifth is always reserved for new names.
MAX_MODELS_A_DAY = 50
MAX_VERSIONS_A_DAY = 200
MAX_VALUES_A_DAY = 50  # of each facet of the metadata
_LEFT_FOR_NEW = 5
# The maximum number of known names. Above it, recently used names take precedence, then the oldest ones.
MAX_KNOWN_MODELS = 500
MAX_KNOWN_VERSIONS = 2_000
MAX_KNOWN_VALUES = 500
_RECENT_MS = 90 * DAY_MS
OTHER = "(other)"
# Shares and known names of a facet of the metadata have this prefix, so that `f.model` is not the model.
FACET_PREFIX = "f."
# The name of all events without a facet. It has no rows: it is computed from all events.
NOT_TOLD = "(not told)"
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


class FacetBucket(NamedTuple):
    """The key of the FacetRollup row that counts an event. `facet` is `f.` and a name of FACETS."""

    day_ms: int
    event_type: str
    facet: str
    name: str


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
    @property
    def metadata_json(self) -> str: ...


def rollups_of_day(day_ms: int) -> QuerySet[HourlyRollup]:
    return HourlyRollup.objects.filter(hour_ms__gte=day_ms, hour_ms__lt=day_ms + DAY_MS)


class _Names:
    """The names of one facet that have their own buckets on one UTC day, as this process knows them."""

    def __init__(
        self, day_ms: int, facet: str, stored: Callable[[], QuerySet[Any, str]], capacity: int, max_known: int
    ) -> None:
        self._day_ms = day_ms
        self._facet = facet
        self._stored = stored  # the names of the day's rollups
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
        self._new.update(set(self._stored()) - self.earlier - {OTHER})


class _NamesOfDay(NamedTuple):
    models: _Names
    versions: _Names
    values: dict[str, _Names]  # by facet

    def of(self, facet: str) -> _Names | None:
        """Return the names of a facet. None: this process has placed no value of it on this day."""
        fixed = {Facet.MODEL.value: self.models, Facet.VERSION.value: self.versions}
        return fixed.get(facet) or self.values.get(facet)


_days: dict[int, _NamesOfDay] = {}
_names_lock = threading.Lock()
_REMEMBERED_DAYS = 400  # more days than an import interleaves


def bucket_of(received_at_ms: int, event_type: str, model: str, app_version: str) -> Bucket:
    """Return the hourly bucket that counts an event with these values."""
    with _names_lock:
        models, versions, _ = _day_of(received_at_ms)
        return Bucket(
            received_at_ms - received_at_ms % HOUR_MS, event_type, models.place(model), versions.place(app_version)
        )


def facet_bucket_of(day_ms: int, event_type: str, facet: str, name: str) -> FacetBucket:
    """Return the bucket that counts an event with this value of a facet."""
    with _names_lock:
        values = _day_of(day_ms).values
        if facet not in values:
            rows = FacetRollup.objects.filter(day_ms=day_ms, facet=facet).values_list("name", flat=True)
            values[facet] = _Names(day_ms, facet, rows.distinct().all, MAX_VALUES_A_DAY, MAX_KNOWN_VALUES)
        return FacetBucket(day_ms, event_type, facet, values[facet].place(name))


def note(events: Iterable[Counted], values: Iterable[FacetBucket] = ()) -> None:
    """Store the names of counted events, inside the caller's transaction. They are known from the next day on.

    `values` are the buckets that count the facets of these events.
    """
    rows: set[tuple[str, str, int, int]] = set()
    named = {(event.received_at_ms, event.model, event.app_version) for event in events}
    with _names_lock:
        for received_at_ms, model, app_version in named:
            models, versions, _ = _day_of(received_at_ms)
            day_ms = received_at_ms - received_at_ms % DAY_MS
            if model not in models.noted and models.place(model) != OTHER:
                rows.add((Facet.MODEL.value, model, day_ms, day_ms))
            if app_version not in versions.noted and versions.place(app_version) != OTHER:
                rows.add((Facet.VERSION.value, app_version, day_ms, day_ms))
        for bucket in values:
            names = _day_of(bucket.day_ms).of(bucket.facet)
            if names is None or bucket.name not in names.noted:
                rows.add((bucket.facet, bucket.name, bucket.day_ms, bucket.day_ms))
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
                names = day.of(facet)
                if names is None:
                    continue
                if other_ms == day_ms:
                    names.noted.add(name)
                elif other_ms > day_ms:
                    names.earlier.add(name)


def _day_of(received_at_ms: int) -> _NamesOfDay:
    day_ms = received_at_ms - received_at_ms % DAY_MS
    day = _days.get(day_ms)
    if day is None:
        day = _days[day_ms] = _NamesOfDay(
            _Names(day_ms, Facet.MODEL, _column_of_day("model", day_ms), MAX_MODELS_A_DAY, MAX_KNOWN_MODELS),
            _Names(
                day_ms, Facet.VERSION, _column_of_day("app_version", day_ms), MAX_VERSIONS_A_DAY, MAX_KNOWN_VERSIONS
            ),
            {},
        )
        while len(_days) > _REMEMBERED_DAYS:
            del _days[next(iter(_days))]
    return day


def _column_of_day(column: str, day_ms: int) -> Callable[[], QuerySet[HourlyRollup, str]]:
    return rollups_of_day(day_ms).values_list(column, flat=True).distinct().all


def settle() -> None:
    """Delete the known names without any counted event, after demo data was deleted."""
    for facet, column in ((Facet.MODEL, "model"), (Facet.VERSION, "app_version")):
        KnownName.objects.filter(facet=facet).exclude(name__in=_counted_names(column)).delete()
    KnownName.objects.filter(~_is_counted_value(), facet__startswith=FACET_PREFIX).delete()


def first_days() -> Iterator[tuple[str, int]]:
    """Return each facet of the metadata with the first UTC day on which ingest counted it."""
    names = KnownName.objects.filter(facet__startswith=FACET_PREFIX)
    return iter(names.values_list("facet").annotate(Min("first_day_ms")).order_by())


def _is_counted_value() -> Exists:
    rows = FacetRollup.objects.filter(facet=OuterRef("facet"), name=OuterRef("name"), accepted__gt=0)
    return Exists(rows)


def _counted_names(column: str) -> QuerySet[HourlyRollup, str]:
    return HourlyRollup.objects.filter(accepted__gt=0).values_list(column, flat=True)


@process_memory.register
def forget_names() -> None:
    """Clear the cache of names; the next event reads them again from the table."""
    with _names_lock:
        _days.clear()
