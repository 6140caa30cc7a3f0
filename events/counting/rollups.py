"""The only writer of rollups: lifetime totals, hourly buckets, sums of past days, the tallies of a day, the baseline.

`facets` has the counts by facet. Every function here that moves or subtracts events does the same with them. Callers of
`add` also call `facets.add`, because they need its result.

Every function here runs inside a transaction of its caller. So a count and the events that it counts are committed
together or not at all.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Count, F, Min, Sum

from events import audit, clock, process_memory
from events.counting import facets
from events.counting.buckets import DAY_MS, HOUR_MS, OTHER, Bucket, FacetBucket, bucket_of, forget_names, rollups_of_day
from events.counting.buckets import Counted as Counted  # for the packages that count events
from events.counting.upserts import Upsert, added, latest, lower, upsert
from events.models import (
    AuditKind,
    CounterBaseline,
    DailyExpected,
    DailyRollup,
    Event,
    ExpectedRollup,
    HourlyRollup,
    IngestTally,
    LifetimeTotal,
    ModeRollup,
)
from events.querysets import SUCCESS

_FIELDS = ("received_at_ms", "event_type", "model", "app_version", "write_mode", "connected")
COUNTED = (*_FIELDS, "metadata_json")
_fields = attrgetter(*_FIELDS)


class ModeBucket(NamedTuple):
    """The key of the ModeRollup row that counts an event."""

    day_ms: int
    event_type: str
    write_mode: int
    connected: int


class DayBucket(NamedTuple):
    """The key of a DailyRollup or DailyExpected row."""

    day_ms: int
    event_type: str
    model: str
    app_version: str


class Difference(NamedTuple):
    """A difference between rollups and events. Empty model and version: the sum of that hour and type."""

    hour_ms: int
    event_type: str
    model: str | None
    app_version: str | None
    counted: int
    events: int

    def __str__(self) -> str:
        where = " ".join(filter(None, (self.event_type, self.model, self.app_version)))
        return f"{clock.iso(self.hour_ms)} {where}: {self.counted:,} counted, {self.events:,} events"


_MAX_DIFFERENCES = 1_000
# A commit can still add to the day before for a moment after midnight.
_SETTLED_MS = HOUR_MS
# The newest past days are summed again at each run. This repairs a sum that another server made while its clock was
# ahead.
_RENEWED_DAYS = 3


class EventsAreGone(Exception):
    """A day has fewer events than were counted, so its rollups cannot be rebuilt."""


def add(events: Iterable[Counted]) -> dict[str, int]:
    """Count newly inserted events: lifetime totals by type, hours by model and version, days by mode.

    Returns the number of merges of each type, if one of the events is a failure. It cannot change until the end of the
    transaction, which now has the lock of these types.
    """
    counted = Counter(map(_fields, events))
    types: Counter[str] = Counter()
    latest: dict[str, int] = {}
    alike: Counter[tuple[int, str, str, str]] = Counter()
    modes: Counter[ModeBucket] = Counter()
    for (received_at_ms, event_type, model, app_version, write_mode, connected), count in counted.items():
        types[event_type] += count
        latest[event_type] = max(latest.get(event_type, 0), received_at_ms)
        alike[received_at_ms - received_at_ms % HOUR_MS, event_type, model, app_version] += count
        modes[ModeBucket(received_at_ms - received_at_ms % DAY_MS, event_type, write_mode, connected)] += count
    buckets: Counter[Bucket] = Counter()
    for fields, count in alike.items():
        buckets[bucket_of(*fields)] += count
    lifetime = _LIFETIME if types.keys() <= {SUCCESS} else _LIFETIME_OF_FAILURES
    merges = dict(upsert(lifetime, [(name, count, 0, latest[name]) for name, count in types.items()]))
    _add_to_hours(buckets)
    upsert(_MODES, [(*bucket, count) for bucket, count in modes.items()])
    return merges


def note_merge(event_type: str) -> None:
    """Record that a group of this type was merged or split, in the caller's transaction, which has locked the type."""
    LifetimeTotal.objects.filter(event_type=event_type).update(merges=F("merges") + 1)


def lock(event_types: Iterable[str], *, adding: Collection[str] = ()) -> None:
    """Lock the totals of these types. Every writer that counts, moves or deletes events of a type waits for this lock.

    `adding` are the types that the caller adds events of. A total of these that does not exist yet is created, so that
    it is locked in its place of the common order: another transaction may be creating it.
    """
    if not connection.features.has_select_for_update:
        return  # a transaction of SQLite locks the whole database
    for is_added, names in groupby(sorted({*event_types, *adding}), key=lambda name: name in adding):
        if is_added:
            upsert(_LIFETIME, [(name, 0, 0, 0) for name in names])
        else:
            list(LifetimeTotal.objects.select_for_update().filter(event_type__in=list(names)).order_by("event_type"))


def mode_bucket_of(event: Counted) -> ModeBucket:
    day_ms = event.received_at_ms - event.received_at_ms % DAY_MS
    return ModeBucket(day_ms, event.event_type, event.write_mode, event.connected)


def move(old: Counted, new: Counted) -> Counter[FacetBucket]:
    """Move one event to other buckets when its fields become known. No total changes; `received_at_ms` is the same.

    Returns the new buckets of its facets.
    """
    before, after = (
        bucket_of(event.received_at_ms, event.event_type, event.model, event.app_version) for event in (old, new)
    )
    if before != after:
        _take_from_hours({before: 1})
        _add_to_hours({after: 1})
    mode_before, mode_after = mode_bucket_of(old), mode_bucket_of(new)
    if mode_before != mode_after:
        lower(_MODES, [(*mode_before, 1)])
        upsert(_MODES, [(*mode_after, 1)])
    drop_sums(DailyRollup, [before.hour_ms])  # `reports.metrics` keeps all counts of a day as long as it has sums
    return facets.move(old, new)


def void(events: Sequence[Counted]) -> None:
    """Subtract successes that became void from every count; `add` counts them again.

    A row that falls to 0 stays, so a model or version keeps its bucket for an undo.
    """
    types = Counter(event.event_type for event in events)
    for event_type, count in sorted(types.items()):
        LifetimeTotal.objects.filter(event_type=event_type).update(accepted=F("accepted") - count)
    _take_from_buckets(events)
    facets.subtract(events)


def subtract_demo(events: Sequence[Counted], void: Sequence[Counted]) -> None:
    """Subtract deleted demo events from every count. `void` are the void ones, which no count includes."""
    types = Counter(event.event_type for event in events)
    until_ms = max((event.received_at_ms for event in (*events, *void)), default=0)
    for event_type in sorted({event.event_type for event in (*events, *void)}):
        total = LifetimeTotal.objects.filter(event_type=event_type)
        total.update(accepted=F("accepted") - types[event_type])
        total.filter(last_received_at_ms__lte=until_ms).update(last_received_at_ms=_last_received_at_ms(event_type))
    hours, days = _take_from_buckets(events)
    hours |= {event.received_at_ms - event.received_at_ms % HOUR_MS for event in void}
    days |= {mode_bucket_of(event).day_ms for event in void}
    HourlyRollup.objects.filter(hour_ms__in=hours, accepted=0).delete()
    ModeRollup.objects.filter(day_ms__in=days, accepted=0).delete()
    facets.subtract_demo(events, days)


def _take_from_buckets(events: Sequence[Counted]) -> tuple[set[int], set[int]]:
    """Lower the hours and the days of these events, and return both. The caller has locked the totals.

    The rows show which of the events were counted under `(other)`.
    """
    counted: Counter[Bucket] = Counter()
    modes: Counter[ModeBucket] = Counter()
    for event in events:
        hour_ms = event.received_at_ms - event.received_at_ms % HOUR_MS
        counted[Bucket(hour_ms, event.event_type, event.model, event.app_version)] += 1
        modes[mode_bucket_of(event)] += 1
    hours = {bucket.hour_ms for bucket in counted}
    rows = HourlyRollup.objects.filter(hour_ms__in=hours)
    stored = {Bucket(*key): count for *key, count in rows.values_list(*Bucket._fields, "accepted")}
    taken: Counter[Bucket] = Counter()
    for bucket, count in counted.items():
        for place in _places(bucket):
            part = min(count, stored.get(place, 0) - taken[place])
            taken[place] += part
            count -= part
    _take_from_hours({bucket: count for bucket, count in taken.items() if count})
    lower(_MODES, [(*bucket, count) for bucket, count in modes.items()])
    return hours, {bucket.day_ms for bucket in modes}


def _add_to_hours(buckets: Mapping[Bucket, int]) -> None:
    upsert(_HOURLY, [(*bucket, count) for bucket, count in buckets.items()])
    drop_sums(DailyRollup, (bucket.hour_ms for bucket in buckets))


def _take_from_hours(buckets: Mapping[Bucket, int]) -> None:
    lower(_HOURLY, [(*bucket, count) for bucket, count in buckets.items()])
    drop_sums(DailyRollup, (bucket.hour_ms for bucket in buckets))


def _places(bucket: Bucket) -> list[Bucket]:
    """Return the buckets that may have counted an event, the likeliest first."""
    return [
        bucket,
        bucket._replace(app_version=OTHER),
        bucket._replace(model=OTHER),
        bucket._replace(model=OTHER, app_version=OTHER),
    ]


def _last_received_at_ms(event_type: str) -> int:
    newest = Event.objects.of_type(event_type).newest_first().values_list("received_at_ms", flat=True).first()
    return newest or 0


# --- sums of past days -----------------------------------------------------------------------------------------------

Sums = type[DailyRollup] | type[DailyExpected]
_SUMS: tuple[Sums, ...] = (DailyRollup, DailyExpected)
# The UTC day to which this process adds events, and whose sums it has dropped.
_today_ms: dict[Sums, int] = {}
process_memory.register(_today_ms.clear)


def drop_sums(table: Sums, hours: Iterable[int]) -> None:
    """Delete the sums of the days of these hours, which change. Ingest adds to the current day, which has none."""
    days = {hour_ms - hour_ms % DAY_MS for hour_ms in hours}
    if days <= {_today_ms.get(table, 0)}:
        return
    table.objects.filter(day_ms__in=days).delete()
    now_ms = clock.now_ms()
    if now_ms - now_ms % DAY_MS in days:
        _today_ms[table] = now_ms - now_ms % DAY_MS


def sum_past_days(now_ms: int) -> int:
    """Sum the hours of each past UTC day that has no sums, and of the newest days again. Return the number of days.

    Each day is one transaction, which blocks the writers for a few milliseconds.
    """
    summed = set(DailyRollup.objects.values_list("day_ms", flat=True).distinct())
    summed -= _days_with_expected() - set(DailyExpected.objects.values_list("day_ms", flat=True).distinct())
    newest_ms = now_ms - _SETTLED_MS - (now_ms - _SETTLED_MS) % DAY_MS
    count = 0
    for day_ms in days_in_use(0, newest_ms):
        if day_ms not in summed or day_ms >= newest_ms - _RENEWED_DAYS * DAY_MS:
            with writers_blocked():
                for table in _SUMS:
                    rows: Any = table.objects
                    rows.filter(day_ms=day_ms).delete()
                    totals = _sums_of_hours(table, day_ms).items()
                    rows.bulk_create(table(**key._asdict(), accepted=total) for key, total in totals)
            count += 1
    return count


def _days_with_expected() -> set[int]:
    day_ms = F("hour_ms") - F("hour_ms") % DAY_MS
    rows = ExpectedRollup.objects.order_by().filter(accepted__gt=0).annotate(day_ms=day_ms)
    return set(rows.values_list("day_ms", flat=True).distinct())


def _sums_of_hours(table: Sums, day_ms: int) -> dict[DayBucket, int]:
    hours: Any = HourlyRollup if table is DailyRollup else ExpectedRollup
    rows = hours.objects.filter(hour_ms__gte=day_ms, hour_ms__lt=day_ms + DAY_MS, accepted__gt=0).order_by()
    keys = rows.values_list("event_type", "model", "app_version")
    return {DayBucket(day_ms, *key): total for *key, total in keys.annotate(total=Sum("accepted"))}


# --- verification ----------------------------------------------------------------------------------------------------


def days_in_use(start_ms: int, end_ms: int | None) -> Iterator[int]:
    """Yield the start of each UTC day in [start_ms, end_ms) with events or rollups, oldest first."""
    rollups = HourlyRollup.objects.order_by("hour_ms").values_list("hour_ms", flat=True)
    events = Event.objects.order_by("received_at_ms").values_list("received_at_ms", flat=True)
    while True:
        moments = (rollups.filter(hour_ms__gte=start_ms).first(), events.filter(received_at_ms__gte=start_ms).first())
        moment_ms = min((moment for moment in moments if moment is not None), default=None)
        if moment_ms is None or (end_ms is not None and moment_ms >= end_ms):
            return
        day_ms = moment_ms - moment_ms % DAY_MS
        yield day_ms
        start_ms = day_ms + DAY_MS


def compare(day_ms: int) -> list[Difference]:
    """Return the differences between a UTC day's rollups and events: the first thousand, sums of hours first.

    Compares by hour and type, and also by model and version if nothing of the day is counted under `(other)`.
    """
    with snapshot():
        return _differences(day_ms)


def compare_totals() -> list[tuple[str, int, int]]:
    """Return each type whose lifetime total differs from the sum of its hours: the type, the total, the sum."""
    with snapshot():
        totals = dict(LifetimeTotal.objects.values_list("event_type", "accepted"))
        sums = _sums_by_type()
    return [
        (name, totals.get(name, 0), sums.get(name, 0))
        for name in sorted(totals | sums)
        if totals.get(name, 0) != sums.get(name, 0)
    ]


def rebuild(day_ms: int) -> None:
    """Rebuild a UTC day's rollups from its events. Raises EventsAreGone instead of lowering a count.

    Raises lifetime totals that are below the sum of their hours, and never lowers them.
    """
    try:
        with writers_blocked():
            by_type = [difference for difference in _differences(day_ms) if difference.model is None]
            gone = sum(max(0, difference.counted - difference.events) for difference in by_type)
            if gone:
                raise EventsAreGone(f"{gone:,} of the events that were counted are gone, and their counts would go too")
            rollups_of_day(day_ms).delete()
            forget_names()
            buckets: Counter[Bucket] = Counter()
            for group, count in _groups(day_ms):
                buckets[bucket_of(*group)] += count
            _add_to_hours(buckets)
            DailyExpected.objects.filter(day_ms=day_ms).delete()
            ModeRollup.objects.filter(day_ms=day_ms).delete()
            upsert(_MODES, [(*bucket, count) for bucket, count in _modes(day_ms).items()])
            facets.rebuild(day_ms)
            for event_type, counted in _sums_by_type().items():
                LifetimeTotal.objects.get_or_create(event_type=event_type)
                LifetimeTotal.objects.filter(event_type=event_type, accepted__lt=counted).update(accepted=counted)
    finally:
        forget_names()


def add_tallies(tallies: Mapping[tuple[date, str], int]) -> None:
    """Add the counts of refusals and duplicates, by UTC day and outcome."""
    upsert(_TALLY, [(seen_on.isoformat(), outcome, count) for (seen_on, outcome), count in tallies.items()])


def set_baseline(value: int, *, note: str, user: Any, user_name: str, at: datetime) -> CounterBaseline:
    """Set a new baseline, with the user, the time and the reason; earlier rows stay.

    `user` is the signed-in maintainer, or None for a command; `user_name` stays when the user is deleted.
    """
    with transaction.atomic():
        LifetimeTotal.objects.update_or_create(event_type=SUCCESS, defaults={"baseline": value})
        audit.note(AuditKind.BASELINE, f"Set the baseline to {value:,}.", who=user_name, at=at, why=note)
        return CounterBaseline.objects.create(value=value, note=note, set_by=user, set_by_name=user_name, set_at=at)


@contextmanager
def writers_blocked() -> Iterator[None]:
    """Block every writer of events, so that events and counts can be compared."""
    with transaction.atomic():  # On SQLite the transaction is enough, because it begins IMMEDIATE.
        if connection.vendor == "postgresql":
            tables = ", ".join(model._meta.db_table for model in (LifetimeTotal, HourlyRollup))
            with connection.cursor() as cursor:
                cursor.execute(f"LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE")
        yield


@contextmanager
def snapshot() -> Iterator[None]:
    """Let all queries see one state of the database, without blocking a writer. For reads only.

    Writers change events and counts in one transaction, so both agree in each state. In a transaction of the caller,
    that transaction decides.
    """
    if connection.in_atomic_block:
        yield
    elif connection.vendor == "postgresql":
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield
    else:
        database: Any = connection  # the setting is read when it connects, then the attribute counts
        database.ensure_connection()
        usual, database.transaction_mode = database.transaction_mode, "DEFERRED"
        try:
            with transaction.atomic():
                yield
        finally:
            database.transaction_mode = usual


def _differences(day_ms: int) -> list[Difference]:
    stored = {Bucket(*key): count for *key, count in rollups_of_day(day_ms).values_list(*Bucket._fields, "accepted")}
    has_all_names = not any(OTHER in (bucket.model, bucket.app_version) for bucket in stored)
    counted: Counter[tuple[int, str]] = Counter()
    for bucket, count in stored.items():
        counted[bucket.hour_ms, bucket.event_type] += count
    events: Counter[tuple[int, str]] = Counter()
    by_name: list[Difference] = []
    for bucket, count in _groups(day_ms):
        events[bucket.hour_ms, bucket.event_type] += count
        stored_count = stored.pop(bucket, 0)
        if stored_count != count and len(by_name) < _MAX_DIFFERENCES:
            by_name.append(Difference(*bucket, stored_count, count))
    by_name += [Difference(*bucket, count, 0) for bucket, count in stored.items() if count]
    by_type = [
        Difference(hour_ms, event_type, None, None, counted[hour_ms, event_type], events[hour_ms, event_type])
        for hour_ms, event_type in sorted(counted | events)
        if counted[hour_ms, event_type] != events[hour_ms, event_type]
    ]
    by_facet = [
        Difference(day_ms, event_type, facet, name or "all values", counted, events)
        for event_type, facet, name, counted, events in facets.differences(day_ms)
    ]
    by_name = by_name if has_all_names else []
    return (by_type + by_name + _mode_differences(day_ms) + by_facet + [*_sum_differences(day_ms)])[:_MAX_DIFFERENCES]


def _sum_differences(day_ms: int) -> Iterator[Difference]:
    """Yield the differences between the sums of a day and its hours. Here `events` is the sum of the hours."""
    for table in _SUMS:
        rows = table.objects.filter(day_ms=day_ms).values_list(*DayBucket._fields, "accepted")
        stored = {DayBucket(*key): count for *key, count in rows}
        hours = _sums_of_hours(table, day_ms) if stored else {}
        for bucket in sorted(stored | hours):
            if stored.get(bucket, 0) != hours.get(bucket, 0):
                yield Difference(*bucket, stored.get(bucket, 0), hours.get(bucket, 0))


def _mode_differences(day_ms: int) -> list[Difference]:
    rows = ModeRollup.objects.filter(day_ms=day_ms)
    stored = {ModeBucket(*key): count for *key, count in rows.values_list(*ModeBucket._fields, "accepted")}
    events = _modes(day_ms)
    return [
        Difference(
            day_ms,
            bucket.event_type,
            f"write_mode {bucket.write_mode}",
            f"connected {bucket.connected}",
            stored.get(bucket, 0),
            events.get(bucket, 0),
        )
        for bucket in sorted(stored | events)
        if stored.get(bucket, 0) != events.get(bucket, 0)
    ]


def _modes(day_ms: int) -> dict[ModeBucket, int]:
    """Return the number of events per ModeRollup row of a day, without void events."""
    groups = Event.objects.counted().between(day_ms, day_ms + DAY_MS).values_list(*ModeBucket._fields[1:])
    return {ModeBucket(day_ms, *key): count for *key, count in groups.annotate(count=Count("*"))}


def _groups(day_ms: int) -> Iterator[tuple[Bucket, int]]:
    """Yield the events of a day without void ones, grouped by name, in the order of each name's first event."""
    groups = (
        Event.objects.counted()
        .between(day_ms, day_ms + DAY_MS)
        .annotate(hour_ms=F("received_at_ms") - F("received_at_ms") % HOUR_MS)
        .values_list(*Bucket._fields)
        .annotate(count=Count("*"), first_ms=Min("received_at_ms"))
        .order_by("first_ms", *Bucket._fields)
    )
    for *key, count, _ in groups.iterator(chunk_size=2_000):
        yield Bucket(*key), count


def _sums_by_type() -> dict[str, int]:
    return dict(HourlyRollup.objects.values_list("event_type").annotate(counted=Sum("accepted")))


_LIFETIME = Upsert(
    LifetimeTotal._meta.db_table,
    ("event_type", "accepted", "baseline", "last_received_at_ms"),
    "event_type",
    f"{added('accepted')}, {latest('last_received_at_ms')}",
)
_LIFETIME_OF_FAILURES = _LIFETIME._replace(returning="event_type, merges")
_HOURLY = Upsert(
    HourlyRollup._meta.db_table,
    (*Bucket._fields, "accepted"),
    ", ".join(Bucket._fields),
    added("accepted"),
)
_MODES = Upsert(
    ModeRollup._meta.db_table,
    (*ModeBucket._fields, "accepted"),
    ", ".join(ModeBucket._fields),
    added("accepted"),
)
_TALLY = Upsert(
    IngestTally._meta.db_table,
    ("seen_on", "outcome", "count"),
    "seen_on, outcome",
    added("count"),
)
