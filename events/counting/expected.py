"""The only writer of ExpectedRollup: the counts of the events of expected groups, which readers subtract from failures.

Rows exist exactly for the groups whose status is `expected`. A former group that was merged into an expected one keeps
the rows of its events that are no longer stored, so that a split can give them back.

Every function here runs inside a transaction of its caller, which has locked the totals of the types. An event is
counted here under the names that its HourlyRollup row has, so no count here is larger than the one that it is
subtracted from.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from django.db import transaction
from django.db.models import Count, F, QuerySet, Sum

from events import clock
from events.counting import rollups
from events.counting.buckets import DAY_MS, HOUR_MS, OTHER, Bucket, Counted, bucket_of, rollups_of_day
from events.counting.rollups import EventsAreGone
from events.counting.upserts import Upsert, added, lower, upsert
from events.models import (
    DailyExpected,
    Event,
    EventType,
    ExpectedRollup,
    FailureGroup,
    FormerGroup,
    GroupStatus,
    HourlyRollup,
)
from events.querysets import EventQuerySet


class ExpectedBucket(NamedTuple):
    """The key of the ExpectedRollup row that counts an event. The type depends on the fingerprint."""

    hour_ms: int
    fingerprint: str
    event_type: str
    model: str
    app_version: str
    write_mode: int
    connected: int


class ExpectedDifference(NamedTuple):
    """A difference between ExpectedRollup and the stored events, or the rollups; `what` names the events."""

    hour_ms: int
    what: str
    counted: int
    events: int

    def __str__(self) -> str:
        return f"{clock.iso(self.hour_ms)} expected, {self.what}: {self.counted:,} counted, {self.events:,} events"


_ROWS = Upsert(
    ExpectedRollup._meta.db_table,
    (*ExpectedBucket._fields, "accepted"),
    "hour_ms, fingerprint, model, app_version, write_mode, connected",
    added("accepted"),
)
_MAX_DIFFERENCES = 1_000


def add(events: Iterable[tuple[Counted, str]]) -> None:
    """Count new events that joined these expected groups. Their rollups were counted in the same transaction."""
    buckets: Counter[ExpectedBucket] = Counter()
    for bucket, n in _alike(events).items():
        names = bucket_of(bucket.hour_ms, bucket.event_type, bucket.model, bucket.app_version)
        buckets[bucket._replace(model=names.model, app_version=names.app_version)] += n
    _insert(buckets)


def add_stored(events: Iterable[tuple[Counted, str]]) -> None:
    """Count stored events that moved to these expected groups. Their earlier groups can count them still."""
    _insert(_named(_alike(events), are_moving=True))


def subtract(events: Iterable[tuple[Counted, str]]) -> None:
    """Subtract events that left these expected groups. An event that is not counted yet changes nothing."""
    _take(_alike(events))


def set_aside(events: Iterable[tuple[Counted, str, str]]) -> None:
    """Move the counts of merged events, which are deleted in this transaction, from their group to a former group.

    Shape: the event, its group, and the former group that a split gives the counts back to.
    """
    by_former: defaultdict[str, list[tuple[Counted, str]]] = defaultdict(list)
    for event, key, former in events:
        by_former[former].append((event, key))
    for former, of_former in sorted(by_former.items()):
        moved: Counter[ExpectedBucket] = Counter()
        for bucket, n in _take(_alike(of_former)).items():
            moved[bucket._replace(fingerprint=former)] += n
        _insert(moved)


def rename(key: str, into: str) -> None:
    """Count the rows of a former group for the group that it was merged into."""
    if key == into:
        return
    rows = ExpectedRollup.objects.filter(fingerprint=key)
    _insert({bucket._replace(fingerprint=into): n for bucket, n in _stored(rows).items()})
    rows.delete()  # in the same hours


def forget(keys: Collection[str]) -> None:
    """Delete the counts of groups that are no longer expected, and of the groups that were merged into them."""
    _delete(ExpectedRollup.objects.filter(fingerprint__in=[*keys, *_merged_into(keys)]))


def recount(key: str, start_ms: int, end_ms: int) -> None:
    """Count the stored events of an expected group again, for the hours of [start_ms, end_ms)."""
    _delete(ExpectedRollup.objects.filter(fingerprint=key, hour_ms__gte=start_ms, hour_ms__lt=end_ms))
    _insert(_named(_by_bucket(Event.objects.of_group(key).between(start_ms, end_ms))))


def compare(day_ms: int) -> list[ExpectedDifference]:
    """Return the differences between the counts of a UTC day and the stored events of expected groups: up to 1,000.

    Compares by group, hour, mode and connection, and also by model and version if nothing of the day is counted under
    `(other)`. Also compares with the rollups, which count these events too.
    """
    with rollups.snapshot():
        return _differences(day_ms)[:_MAX_DIFFERENCES]


def rebuild(day_ms: int) -> None:
    """Rebuild the counts of a UTC day from the stored events. Raises EventsAreGone instead of lowering a count."""
    with transaction.atomic():
        rollups.lock(EventType.values)
        rows, unexpected = _by_whole_group(day_ms)
        events = _by_bucket(_events_of(day_ms))
        counted, stored = Counter[tuple[int, str]](), Counter[tuple[int, str]]()
        for sums, buckets in ((counted, rows), (stored, events)):
            for bucket, n in buckets.items():
                sums[bucket.hour_ms, bucket.fingerprint] += n
        gone = (counted - stored).total()
        if gone:
            _delete(_rows_of(day_ms).filter(fingerprint__in=unexpected))
        else:
            _delete(_rows_of(day_ms))
            for key in sorted({bucket.fingerprint for bucket in events}):
                recount(key, day_ms, day_ms + DAY_MS)
    if gone:
        raise EventsAreGone(f"{gone:,} of the expected events that were counted are gone")


def _alike(events: Iterable[tuple[Counted, str]]) -> Counter[ExpectedBucket]:
    counted: Counter[ExpectedBucket] = Counter()
    for event, key in events:
        hour_ms = event.received_at_ms - event.received_at_ms % HOUR_MS
        names = (event.model, event.app_version, event.write_mode, event.connected)
        counted[ExpectedBucket(hour_ms, key, event.event_type, *names)] += 1
    return counted


def _merged_into(keys: Iterable[str]) -> set[str]:
    merged = FormerGroup.objects.merged()
    return {former.pk for key in keys for former in merged.within(key)}


def _insert(buckets: Mapping[ExpectedBucket, int]) -> None:
    upsert(_ROWS, [(*bucket, n) for bucket, n in buckets.items()])
    rollups.drop_sums(DailyExpected, (bucket.hour_ms for bucket in buckets))


def _delete(rows: QuerySet[ExpectedRollup]) -> None:
    rollups.drop_sums(DailyExpected, rows.order_by().values_list("hour_ms", flat=True).distinct())
    rows.delete()


def _take(counted: Mapping[ExpectedBucket, int]) -> Counter[ExpectedBucket]:
    """Lower the rows of these events, and delete the empty ones; return by how much each row was lowered."""
    if not counted:
        return Counter()
    keys, hours = {bucket.fingerprint for bucket in counted}, [bucket.hour_ms for bucket in counted]
    rows = ExpectedRollup.objects.filter(fingerprint__in=keys, hour_ms__gte=min(hours), hour_ms__lte=max(hours))
    stored = _stored(rows)
    taken: Counter[ExpectedBucket] = Counter()
    for bucket, n in sorted(counted.items()):
        for place in _places(bucket):
            part = min(n, stored.get(place, 0) - taken[place])
            taken[place] += part
            n -= part
    taken = +taken
    lower(_ROWS, [(*bucket, n) for bucket, n in taken.items()])
    rollups.drop_sums(DailyExpected, (bucket.hour_ms for bucket in taken))
    if taken:
        rows.filter(accepted=0).delete()
    return taken


def _named(counted: Mapping[ExpectedBucket, int], *, are_moving: bool = False) -> Mapping[ExpectedBucket, int]:
    """Return the counts under the names that HourlyRollup has room for.

    On a day with too many names, an event can be counted under its own name or under OTHER. Other expected groups fill
    the room too, except for events that are moving between groups.
    """
    if not counted:
        return counted
    hours = [bucket.hour_ms for bucket in counted]
    span = {"hour_ms__gte": min(hours), "hour_ms__lte": max(hours)}
    hourly = HourlyRollup.objects.filter(**span).values_list(*Bucket._fields, "accepted")
    room: Counter[Bucket] = Counter({Bucket(*place): n for *place, n in hourly})
    if not any(OTHER in (place.model, place.app_version) for place in room):
        return counted
    if not are_moving:
        rows = ExpectedRollup.objects.filter(**span).order_by().values_list(*Bucket._fields)
        room.subtract({Bucket(*place): n for *place, n in rows.annotate(total=Sum("accepted"))})
    named: Counter[ExpectedBucket] = Counter()
    for bucket, n in sorted(counted.items()):
        for place in _places(bucket):
            hourly_place = Bucket(place.hour_ms, place.event_type, place.model, place.app_version)
            part = min(n, max(room[hourly_place], 0))
            named[place] += part
            room[hourly_place] -= part
            n -= part
        named[bucket] += n  # the rollups lack these events
    return +named


def _places(bucket: ExpectedBucket) -> list[ExpectedBucket]:
    """Return the buckets that may count an event, the likeliest first."""
    return list(
        dict.fromkeys(
            bucket._replace(model=model, app_version=version)
            for model in (bucket.model, OTHER)
            for version in (bucket.app_version, OTHER)
        )
    )


def _stored(rows: QuerySet[ExpectedRollup]) -> dict[ExpectedBucket, int]:
    return {ExpectedBucket(*key): n for *key, n in rows.values_list(*ExpectedBucket._fields, "accepted")}


def _by_bucket(events: EventQuerySet[Event]) -> Counter[ExpectedBucket]:
    hour_ms = F("received_at_ms") - F("received_at_ms") % HOUR_MS
    grouped = events.order_by().annotate(hour_ms=hour_ms).values_list(*ExpectedBucket._fields)
    return Counter({ExpectedBucket(*key): n for *key, n in grouped.annotate(n=Count("*"))})


# --- verification ------------------------------------------------------------------------------------------------


def _rows_of(day_ms: int) -> QuerySet[ExpectedRollup]:
    return ExpectedRollup.objects.filter(hour_ms__gte=day_ms, hour_ms__lt=day_ms + DAY_MS)


def _events_of(day_ms: int) -> EventQuerySet[Event]:
    groups = FailureGroup.objects.filter(status=GroupStatus.EXPECTED)
    return Event.objects.between(day_ms, day_ms + DAY_MS).filter(fingerprint__in=groups.values("pk"))


def _by_whole_group(day_ms: int) -> tuple[Counter[ExpectedBucket], list[str]]:
    """Return the rows of a day, those of former groups under their current one, and the keys that may have no rows."""
    stored = _stored(_rows_of(day_ms))
    groups = FailureGroup.objects.filter(status=GroupStatus.EXPECTED).values_list("pk", flat=True)
    expected = set(groups)
    keys = {bucket.fingerprint for bucket in stored}
    whole = {key: key if key in expected else FormerGroup.objects.successor(key) for key in keys}
    rows: Counter[ExpectedBucket] = Counter()
    for bucket, n in stored.items():
        if whole[bucket.fingerprint] in expected:
            rows[bucket._replace(fingerprint=whole[bucket.fingerprint])] += n
    return rows, sorted(key for key, current in whole.items() if current not in expected)


def _differences(day_ms: int) -> list[ExpectedDifference]:
    rows, unexpected = _by_whole_group(day_ms)
    events = _by_bucket(_events_of(day_ms))
    hourly = Counter({Bucket(*key): n for *key, n in rollups_of_day(day_ms).values_list(*Bucket._fields, "accepted")})
    if any(OTHER in (bucket.model, bucket.app_version) for bucket in hourly):
        rows, events = _without_names(rows), _without_names(events)
    found = [
        ExpectedDifference(bucket.hour_ms, _in_words(bucket), rows[bucket], events[bucket])
        for bucket in sorted(rows | events)
        if rows[bucket] != events[bucket]
    ]
    for row in _rows_of(day_ms).filter(fingerprint__in=unexpected).order_by("hour_ms", "fingerprint", "pk"):
        found.append(ExpectedDifference(row.hour_ms, f"{row.fingerprint}, which is not expected", row.accepted, 0))
    counted: Counter[Bucket] = Counter()
    for bucket, n in _stored(_rows_of(day_ms)).items():
        counted[Bucket(bucket.hour_ms, bucket.event_type, bucket.model, bucket.app_version)] += n
    for place, n in sorted((counted - hourly).items()):
        what = f"{place.event_type} {place.model} {place.app_version}, more than the rollups"
        found.append(ExpectedDifference(place.hour_ms, what, n + hourly[place], hourly[place]))
    return found


def _without_names(buckets: Mapping[ExpectedBucket, int]) -> Counter[ExpectedBucket]:
    sums: Counter[ExpectedBucket] = Counter()
    for bucket, n in buckets.items():
        sums[bucket._replace(model="", app_version="")] += n
    return sums


def _in_words(bucket: ExpectedBucket) -> str:
    parts = [
        bucket.fingerprint, bucket.model, bucket.app_version, f"write_mode {bucket.write_mode}",
        f"connected {bucket.connected}",
    ]  # fmt: skip
    return " ".join(filter(None, parts))
