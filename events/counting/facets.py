"""The only writer of FacetRollup: counts events by the facets of their metadata, such as browser or step.

The setting FACETS names the facets: keys at the top level of the metadata. An event has a facet if its value is a
string of 1 to 64 characters, an integer or a boolean. Any other value adds no row.

A change of FACETS changes no row. So a count to subtract may be missing: every subtraction stops at 0.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import Count, Min

from events import process_memory
from events.counting.buckets import DAY_MS, FACET_PREFIX, OTHER, Counted, FacetBucket, facet_bucket_of
from events.counting.upserts import Upsert, added, lower, upsert
from events.models import Event, FacetRollup
from events.querysets import MAX_VALUE

EMPTY_METADATA = ("{}", "[]")

# Characters that PostgreSQL refuses or UTF-8 cannot encode. The contract has replaced them, other writers may not have.
_UNSTORABLE = re.compile("[\ud800-\udfff\x00]")
_decode = json.JSONDecoder().raw_decode

FacetValues = tuple[tuple[str, str], ...]
"""The facets of an event: pairs of a facet (`f.NAME`) and a value."""

_MAX_CACHED = 2_500
_MAX_CACHED_CHARACTERS = 500


class FacetDifference(NamedTuple):
    """A difference between the rollups and the events of a day. `name` is None for the sum of a facet."""

    event_type: str
    facet: str
    name: str | None
    counted: int
    events: int


class _Reader:
    """Finds the values of these keys in metadata, and caches them for equal texts.

    The paths of a commit avoid calls and generators, because each event runs through them.
    """

    def __init__(self, keys: tuple[str, ...]) -> None:
        self.keys = [(key, FACET_PREFIX + key) for key in keys]
        self.quoted = [f'"{key}"' for key in keys]
        # Two generations: when the first one is full, it becomes the second, so the texts of the last commits stay.
        self.recent: dict[str, FacetValues] = {}
        self.earlier: dict[str, FacetValues] = {}

    def values_in(self, text: str) -> FacetValues:
        found = self.recent.get(text)
        if found is None:
            found = self.earlier.get(text)
            if found is None:
                found = self.values_of(self.parsed(text))
            self.remember(text, found)
        return found

    def remember(self, text: str, values: FacetValues) -> None:
        if len(text) <= _MAX_CACHED_CHARACTERS:
            if len(self.recent) >= _MAX_CACHED:
                self.earlier, self.recent = self.recent, {}
            self.recent[text] = values

    def parsed(self, text: str) -> Any:
        for quoted in self.quoted:
            if quoted in text:
                break
        else:
            if "\\u" not in text:  # An escape can hide a key from this search.
                return None
        try:
            value, end = _decode(text)  # `decode` takes twice as long, because it also accepts blanks around the value
        except (ValueError, RecursionError):
            return None
        return value if end == len(text) else None

    def values_of(self, metadata: Any) -> FacetValues:
        if metadata.__class__ is not dict:
            return ()
        found = []
        for key, facet in self.keys:
            value = metadata.get(key)
            if value is None:
                continue
            # The check of most values, without a call.
            if not (value.__class__ is str and 1 <= len(value) <= MAX_VALUE and value.isascii() and "\0" not in value):
                value = _cleaned(value)
                if value is None:
                    continue
            found.append((facet, value))
        return tuple(found)


def _cleaned(value: Any) -> str | None:
    if value.__class__ is str:
        text = value if value.isascii() and "\0" not in value else _UNSTORABLE.sub("\ufffd", value)
    elif value.__class__ is bool:
        text = "true" if value else "false"
    elif value.__class__ is int:
        text = str(value)
    else:
        return None
    return text if 1 <= len(text) <= MAX_VALUE else None


_readers: dict[tuple[str, ...], _Reader] = {}
process_memory.register(_readers.clear)


def _reader() -> _Reader:
    keys: tuple[str, ...] = settings.FACETS
    reader = _readers.get(keys)
    if reader is None:
        reader = _readers[keys] = _Reader(keys)
    return reader


def values_in(metadata_json: str) -> FacetValues:
    """Return the facets of metadata. Text that is not a JSON object has none."""
    return () if metadata_json in EMPTY_METADATA else _reader().values_in(metadata_json)


def remember_parsed(metadata_json: str, metadata: Any) -> None:
    """Cache the facets of metadata that the contract has just parsed, so that it is not parsed again."""
    reader = _reader()
    if metadata_json not in reader.recent:
        reader.remember(metadata_json, reader.values_of(metadata))


def names_of(events: Iterable[Counted]) -> Counter[FacetBucket]:
    """Return the number of events per value, under their own names."""
    reader = _reader()
    if not reader.keys:
        return Counter()
    recent = reader.recent
    alike: dict[tuple[int, str, FacetValues], int] = {}
    for event in events:
        text = event.metadata_json
        if text in EMPTY_METADATA:
            continue
        values = recent.get(text)
        if values is None:
            values = reader.values_in(text)
        if values:
            key = (event.received_at_ms // DAY_MS, event.event_type, values)
            alike[key] = alike.get(key, 0) + 1
    return _summed((day * DAY_MS, event_type, values, count) for (day, event_type, values), count in alike.items())


def _summed(rows: Iterable[tuple[int, str, FacetValues, int]]) -> Counter[FacetBucket]:
    counts: dict[tuple[int, str, str, str], int] = {}
    for day_ms, event_type, values, count in rows:
        for facet, name in values:
            key = (day_ms, event_type, facet, name)
            counts[key] = counts.get(key, 0) + count
    return Counter({FacetBucket(*key): count for key, count in counts.items()})


def buckets_of(counts: Mapping[FacetBucket, int]) -> Counter[FacetBucket]:
    """Return the counts by the buckets that count these values: beyond the capacity of a day, that is OTHER."""
    placed: Counter[FacetBucket] = Counter()
    for bucket, count in counts.items():
        placed[facet_bucket_of(*bucket)] += count
    return placed


def add(events: Iterable[Counted]) -> Counter[FacetBucket]:
    """Count newly inserted events, and return their buckets. The caller has locked the totals of their types."""
    return add_counts(names_of(events))


def add_counts(counts: Mapping[FacetBucket, int]) -> Counter[FacetBucket]:
    """Add counts by value, under their own names, and return their buckets."""
    placed = buckets_of(counts)
    upsert(_FACETS, [(*bucket, count) for bucket, count in placed.items()])
    return placed


def subtract(events: Iterable[Counted]) -> set[int]:
    """Subtract events from the counts, and return their days. The caller has locked the totals of their types."""
    counts = names_of(events)
    days = {bucket.day_ms for bucket in counts}
    rows = FacetRollup.objects.filter(day_ms__in=days)
    stored = {FacetBucket(*key): count for *key, count in rows.values_list(*FacetBucket._fields, "accepted")}
    taken: Counter[FacetBucket] = Counter()
    for bucket, count in counts.items():
        for place in (bucket, bucket._replace(name=OTHER)):
            part = min(count, stored.get(place, 0) - taken[place])
            taken[place] += part
            count -= part
    lower(_FACETS, [(*bucket, count) for bucket, count in taken.items() if count])
    return days


def subtract_demo(events: Iterable[Counted], days: Iterable[int]) -> None:
    """Subtract deleted demo events, and delete the rows of their days, and of `days`, that count nothing now."""
    FacetRollup.objects.filter(day_ms__in=subtract(events).union(days), accepted=0).delete()


def move(old: Counted, new: Counted) -> Counter[FacetBucket]:
    """Move one event to other values when its metadata becomes known, and return the buckets of the new ones."""
    if values_in(old.metadata_json) == values_in(new.metadata_json):
        return Counter()
    subtract([old])
    return add([new])


# --- verification ----------------------------------------------------------------------------------------------------


def differences(day_ms: int) -> list[FacetDifference]:
    """Return the differences between a UTC day's rollups and events, of the facets that the day counts.

    Compares by value if nothing of a facet is counted under OTHER, else the sum. On the first day of a facet, events
    from before it was added to FACETS are missing. This is no difference.
    """
    rows = FacetRollup.objects.filter(day_ms=day_ms, facet__in=counted_facets())
    counted = {FacetBucket(*key): count for *key, count in rows.values_list(*FacetBucket._fields, "accepted")}
    compared = {bucket.facet for bucket in counted}
    young = {facet for facet in compared if not FacetRollup.objects.filter(facet=facet, day_ms__lt=day_ms).exists()}
    capped = {bucket.facet for bucket in counted if bucket.name == OTHER}
    sums: dict[tuple[str, str, str | None], list[int]] = {}
    for side, counts in enumerate((counted, _stored(day_ms))):
        for bucket, count in counts.items():
            if bucket.facet in compared:
                name = None if bucket.facet in capped else bucket.name
                sums.setdefault((bucket.event_type, bucket.facet, name), [0, 0])[side] += count
    return [
        FacetDifference(*key, *both)
        for key, both in sorted(sums.items(), key=str)
        if both[0] > both[1] or (both[0] < both[1] and key[1] not in young)
    ]


def rebuild(day_ms: int) -> None:
    """Rebuild a UTC day's rows of the current facets from its events. Rows of other facets stay."""
    FacetRollup.objects.filter(day_ms=day_ms, facet__in=counted_facets()).delete()
    add_counts(_stored(day_ms))


def counted_facets() -> list[str]:
    """Return the facets that are counted now."""
    return [FACET_PREFIX + name for name in settings.FACETS]


def _stored(day_ms: int) -> Counter[FacetBucket]:
    """Return the number of stored events per value, without void events, in the order of each text's first event."""
    if not settings.FACETS:
        return Counter()
    groups = (
        Event.objects.counted()
        .between(day_ms, day_ms + DAY_MS)
        .exclude(metadata_json__in=EMPTY_METADATA)
        .values_list("event_type", "metadata_json")
        .annotate(count=Count("*"), first_ms=Min("received_at_ms"))
        .order_by("first_ms", "event_type", "metadata_json")
    )
    return _summed(
        (day_ms, event_type, values_in(text), count) for event_type, text, count, _ in groups.iterator(chunk_size=2_000)
    )


_FACETS = Upsert(
    FacetRollup._meta.db_table,
    (*FacetBucket._fields, "accepted"),
    ", ".join(FacetBucket._fields),
    added("accepted"),
)
