"""The only module that deletes events: demo data with its counts, old events and the events of a session without.

A prune or an erasure never lowers a total. Another app that stores rows about events registers its own
deletions: `retention()` of its AppConfig returns `RetentionHooks`. So an app can be removed without a change here.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import reduce
from operator import or_
from typing import Any, NamedTuple, Protocol

from django.apps import apps
from django.db import connection, transaction
from django.db.models import CharField, JSONField, Q, Sum, TextField, Value
from django.db.models.functions import Cast, StrIndex
from django.db.models.lookups import GreaterThan

from events import audit, clock
from events.counting import buckets, corrections, releases, rollups
from events.grouping import groups, merges, splits, triage
from events.models import AuditKind, Event, EventType, ModeRollup, RetentionMark, Source
from events.querysets import SUCCESS, EventQuerySet, batches
from events.rows import EventRow, content_id

BATCH_EVENTS = 5_000
IMPORTED = "imported"
# The shares of groups are kept by day for this many days: somewhat longer than the longest span of a group's page.
SHARE_DAYS = 100
GROUPS_AT_ONCE = 50
PRUNED_AT_ONCE = 100  # Ingest waits while one batch runs.
KEYS_SHOWN = 5
EVENTS = "events"


class RetentionHooks(Protocol):
    """The interface of another app's `retention` module. The keys of the counters are names for people."""

    def count_old(self, cutoffs: "Cutoffs", *, at_most: int | None = None) -> Counter[str]: ...
    def count_kept(self, before_ms: int, *, imported_too: bool) -> Counter[str]: ...
    def prune(self, cutoffs: "Cutoffs", *, at_once: int) -> Iterator[tuple[str, int]]: ...
    def ids_of(self, session_id: str) -> list[str]: ...
    def trace(self, session_id: str, ids: Collection[str]) -> Counter[str]: ...
    def erase(self, session_id: str, ids: Collection[str]) -> None: ...
    def forget_demo(self, sessions: Collection[str], ids: Collection[str]) -> None: ...


def _hooks() -> list[RetentionHooks]:
    offered = (getattr(config, "retention", None) for config in apps.get_app_configs())
    return [offer() for offer in offered if offer]


# --- demo data -------------------------------------------------------------------------------------------------


def delete_demo() -> Iterator[int]:
    """Delete all demo events with their counts, oldest first; yields the size of each batch.

    Each batch is one transaction, so events and counts agree after an interruption.
    """
    columns = ("id", "session_id", "error_name", "fingerprint", "source", "correction", *rollups.COUNTED)
    for ids in batches(Event.objects.demo(), BATCH_EVENTS):
        with transaction.atomic():
            rollups.lock(EventType.values)  # before the events, in the lock order of regrouping
            batch = list(Event.objects.filter(id__in=ids).values_list(*columns, named=True))
            for hooks in _hooks():
                hooks.forget_demo([event.session_id for event in batch if event.session_id is not None], ids)
            Event.objects.filter(id__in=ids).delete()
            void = [event for event in batch if event.correction is not None]
            rollups.subtract_demo([event for event in batch if event.correction is None], void)
            corrections.forget(void)
            groups.subtract((event, event.fingerprint) for event in batch if event.fingerprint is not None)
        buckets.forget_names()
        yield len(batch)
    with transaction.atomic():
        rollups.lock(EventType.values)
        releases.settle()
        buckets.settle()
        merges.forget_demo()
        splits.forget_demo()


# --- old events ------------------------------------------------------------------------------------------------


class Cutoffs(NamedTuple):
    """The times before which events are deleted, by type and for imported events of any type.

    Each is the start of a UTC day in epoch milliseconds, or 0 to keep all.
    """

    of_types: Mapping[str, int]
    of_imported: int = 0

    @classmethod
    def at(cls, before_ms: int, *, imported_too: bool) -> "Cutoffs":
        return cls(dict.fromkeys(EventType.values, before_ms), before_ms if imported_too else 0)

    @property
    def of_copies(self) -> int:
        """Return the time before which copies of failures in other tables are deleted.

        A copy may need its event, so it is deleted as early as any event that it can belong to.
        """
        failures = (before_ms for name, before_ms in self.of_types.items() if name != SUCCESS)
        return max(self.of_imported, *failures)


class Estimate(NamedTuple):
    """A number of rows, which may be approximate."""

    rows: int
    is_exact: bool


class _Slice(NamedTuple):
    """The events of one type before a time: either the imported ones, or all others except demo events.

    Counts read only indexes, so they are fast for millions of events.
    """

    event_type: str
    is_imported: bool
    before_ms: int

    def events(self, start_ms: int, end_ms: int) -> EventQuerySet[Event]:
        rows = Event.objects.of_type(self.event_type).between(start_ms, min(end_ms, self.before_ms))
        return rows.filter(source=Source.IMPORT) if self.is_imported else rows.exclude(source__in=_KEPT)

    def number(self, start_ms: int, end_ms: int) -> int:
        rows = Event.objects.of_type(self.event_type).between(start_ms, min(end_ms, self.before_ms))
        if self.is_imported:
            return rows.filter(source=Source.IMPORT).count()
        return (rows.count() - sum(rows.filter(source=source).count() for source in _KEPT)) if rows.exists() else 0

    def estimate(self, at_most: int) -> "Estimate":
        """Count up to `at_most` rows. Beyond that, take the number from the counts by day."""
        rows = Event.objects.of_type(self.event_type).between(0, self.before_ms)
        # A limited count selects a column; with the id, which no index contains, it would read every row.
        times = rows.values("received_at_ms")
        if self.is_imported:
            count = times.filter(source=Source.IMPORT)[:at_most].count()
            return Estimate(count, count < at_most)
        kept = sum(times.filter(source=source)[:at_most].count() for source in _KEPT)
        count = times[:at_most].count()
        if count < at_most:
            return Estimate(count - kept, True)
        first_ms = _first_ms(rows.order_by("received_at_ms")) or 0
        days = ModeRollup.objects.filter(day_ms__gte=first_ms - first_ms % buckets.DAY_MS, day_ms__lt=self.before_ms)
        accepted = days.filter(event_type=self.event_type).aggregate(sum=Sum("accepted"))["sum"] or 0
        return Estimate(max(max(accepted, count) - kept, 0), False)

    def days(self) -> Iterator[tuple[int, int]]:
        """Yield the start and the end of each UTC day with events, oldest first. Days with only others are skipped."""
        start_ms = 0
        rows = Event.objects.of_type(self.event_type).order_by("received_at_ms")
        if self.is_imported:
            rows = rows.filter(source=Source.IMPORT)
        while (first_ms := _first_ms(rows.between(start_ms, self.before_ms))) is not None:
            end_ms = first_ms - first_ms % buckets.DAY_MS + buckets.DAY_MS
            if self.number(first_ms, end_ms):
                yield first_ms, end_ms
            start_ms = end_ms


_KEPT = (Source.DEMO, Source.IMPORT)


def _slices(cutoffs: Cutoffs) -> list[_Slice]:
    slices = [_Slice(name, False, before_ms) for name, before_ms in cutoffs.of_types.items()]
    slices += [_Slice(name, True, cutoffs.of_imported) for name in EventType.values]
    return [part for part in slices if part.before_ms > 0]


def _first_ms(rows: EventQuerySet[Event]) -> int | None:
    return rows.values_list("received_at_ms", flat=True).first()


def whole_since_ms(event_types: Collection[str] = ()) -> int:
    """Return the time from which all counted events of these types are stored; earlier ones may be pruned.

    0 before any prune. Without types: that of all events and their copies. Never later than the start of today, because
    a mark from a wrong clock would hide all events until then.
    """
    mark = RetentionMark.objects.first()
    if mark is None:
        return 0
    mark_ms = max(_mark_of(mark, name) for name in event_types) if event_types else mark.whole_since_ms
    return min(mark_ms, _start_of_today_ms())


def _mark_of(mark: RetentionMark, event_type: str) -> int:
    return int((mark.of_types or {}).get(event_type, mark.whole_since_ms))


def _start_of_today_ms() -> int:
    now_ms = clock.now_ms()
    return now_ms - now_ms % buckets.DAY_MS


def mend_mark() -> None:
    """Set a mark in the future to the start of today."""
    with transaction.atomic():
        mark = RetentionMark.objects.select_for_update().first()
        if mark is not None:
            _raise_mark(mark, {}, 0)


def _raise_mark(mark: RetentionMark, of_types: Mapping[str, int], of_copies: int) -> None:
    """Raise the retention mark to the cutoffs of the coming deletion, but never beyond the start of today."""
    today_ms = _start_of_today_ms()
    whole_ms = max(mark.whole_since_ms, of_copies, *of_types.values(), 0)
    marks = {name: max(_mark_of(mark, name), of_types.get(name, 0)) for name in EventType.values}
    RetentionMark.objects.filter(id=mark.id).update(
        whole_since_ms=min(whole_ms, today_ms), of_types={name: min(ms, today_ms) for name, ms in marks.items()}
    )


def count_old(before_ms: int, *, imported_too: bool) -> Counter[str]:
    """Return the number of rows that a prune would delete, by kind."""
    cutoffs = Cutoffs.at(before_ms, imported_too=imported_too)
    return Counter({EVENTS: count_by_type(cutoffs).total()}) + count_copies(cutoffs)


def count_by_type(cutoffs: Cutoffs) -> Counter[str]:
    """Return the number of events that a prune would delete, by type; imported events count as IMPORTED."""
    counts = Counter[str]()
    for part in _slices(cutoffs):
        counts[IMPORTED if part.is_imported else part.event_type] += part.number(0, part.before_ms)
    return +counts


def estimate_by_type(cutoffs: Cutoffs, *, at_most: int) -> dict[str, Estimate]:
    """Return the same numbers as `count_by_type`, approximate beyond `at_most`: it is fast for any number of events."""
    estimates: dict[str, Estimate] = {}
    for part in _slices(cutoffs):
        kind = IMPORTED if part.is_imported else part.event_type
        before, its = estimates.get(kind, Estimate(0, True)), part.estimate(at_most)
        estimates[kind] = Estimate(before.rows + its.rows, before.is_exact and its.is_exact)
    return estimates


def count_copies(cutoffs: Cutoffs, *, at_most: int | None = None) -> Counter[str]:
    """Return the number of rows of other apps that a prune would delete, by kind; each is counted up to `at_most`."""
    return sum((hooks.count_old(cutoffs, at_most=at_most) for hooks in _hooks()), Counter())


def count_kept(before_ms: int, *, imported_too: bool) -> Counter[str]:
    """Return the number of rows before that time that a prune would keep, by kind."""
    kept = Counter[str]()
    if not imported_too:
        imported = Event.objects.filter(received_at_ms__lt=before_ms, source=Source.IMPORT)
        kept["imported events"] = imported.count()
    return sum((hooks.count_kept(before_ms, imported_too=imported_too) for hooks in _hooks()), kept)


def prune(before_ms: int, *, imported_too: bool, who: str, at: datetime, why: str) -> Iterator[tuple[str, int]]:
    """Delete all events received before a time (the start of a UTC day); see `prune_by_type`."""
    day = f"{datetime.fromtimestamp(before_ms / 1000, UTC):%Y-%m-%d}"
    words = f"Pruned events received before {day}, {'including' if imported_too else 'except'} imported ones"
    yield from prune_by_type(Cutoffs.at(before_ms, imported_too=imported_too), words, who=who, at=at, why=why)


def prune_by_type(cutoffs: Cutoffs, words: str, *, who: str, at: datetime, why: str) -> Iterator[tuple[str, int]]:
    """Delete the events before the cutoffs, each type oldest first; every count stays. `words` begin the audit entry.

    Yields the kind and the number of deleted rows of each batch. Each batch is a short transaction, so a prune can be
    stopped at any time and repeated. Demo events stay, because `delete_demo` deletes them with their counts.
    """
    mend_mark()
    triage.count_expected()  # an interrupted decision could not count the deleted events later
    slices = _slices(cutoffs)
    counts = [part.number(0, part.before_ms) for part in slices]
    copies = count_copies(cutoffs)
    if not sum(counts) + copies.total():
        return
    of_types: dict[str, int] = {}
    for part in [part for part, count in zip(slices, counts, strict=True) if count]:
        of_types[part.event_type] = max(of_types.get(part.event_type, 0), part.before_ms)
    with transaction.atomic():
        # Set the mark before the first deletion, so that it is correct if the prune is interrupted.
        RetentionMark.objects.get_or_create(id=1, defaults={"whole_since_ms": 0})
        mark = RetentionMark.objects.select_for_update().get(id=1)
        _raise_mark(mark, of_types, cutoffs.of_copies if copies.total() else 0)
        all_counts = Counter({EVENTS: sum(counts)}) + copies
        audit.note(AuditKind.PRUNE, f"{words}: {in_words(all_counts)}.", who=who, at=at, why=why)
    for hooks in _hooks():
        yield from hooks.prune(cutoffs, at_once=PRUNED_AT_ONCE)
    for part, count in zip(slices, counts, strict=True):
        for start_ms, end_ms in part.days() if count else ():
            for ids in batches(part.events(start_ms, end_ms), PRUNED_AT_ONCE):
                with transaction.atomic():
                    rollups.lock(EventType.values)  # before the events, in the lock order of regrouping
                    merges.set_aside(ids)
                    deleted, _ = Event.objects.filter(id__in=ids).delete()
                yield EVENTS, deleted


def forget_days_of_shares(now_ms: int) -> None:
    """Keep the shares of groups by day for SHARE_DAYS days only, which bounds their number. Their sums stay.

    Each batch is a short transaction. An interrupted run is continued by the next one.
    """
    before_ms = now_ms - now_ms % buckets.DAY_MS - SHARE_DAYS * buckets.DAY_MS
    living, former = groups.keys_with_days_before(before_ms)
    batches_of_keys = [living[start : start + GROUPS_AT_ONCE] for start in range(0, len(living), GROUPS_AT_ONCE)]
    for keys in [*batches_of_keys, former]:
        with transaction.atomic():
            rollups.lock(EventType.values)
            groups.forget_days(keys, before_ms)


def in_words(counts: Counter[str]) -> str:
    """Return counts as `events 1,200, imported events 3`, or "nothing"."""
    return ", ".join(f"{what} {count:,}" for what, count in counts.items() if count) or "nothing"


# --- one session -----------------------------------------------------------------------------------------------


def trace(session_id: str) -> Counter[str]:
    """Return the number of stored rows of a session, by kind; changes nothing."""
    return _stored_rows(session_id, *_ids_of(session_id))


def was_imported(session_id: str) -> bool:
    """Return whether an import stored an event of the session. Another import would store it again."""
    return Event.objects.filter(id__in=_ids_of(session_id)[0], source=Source.IMPORT).exists()


def erase(session_id: str, *, who: str, at: datetime, why: str) -> Counter[str]:
    """Delete all rows of a session in one transaction, and return their numbers by kind.

    Every count stays, and the audit log does not name the session.
    """
    triage.count_expected()
    with _overwriting(), transaction.atomic(durable=True):
        rollups.lock(EventType.values)
        ids, names = _ids_of(session_id)
        counts = _stored_rows(session_id, ids, names)
        if counts.total():
            for hooks in _hooks():
                hooks.erase(session_id, names)
            merges.set_aside(ids)
            Event.objects.filter(id__in=ids).delete()
            audit.note(AuditKind.ERASURE, f"Erased a session: {in_words(counts)}.", who=who, at=at, why=why)
    return counts


class Mention(NamedTuple):
    """A table with the words in a text column: the number of rows, and the first keys."""

    table: str
    rows: int
    keys: list[str]


def mentions(words: str) -> Iterator[Mention]:
    """Yield every table with these words in a text column. Reads all rows."""
    tables = connection.introspection.table_names()
    for model in apps.get_models(include_auto_created=True):
        fields = model._meta.concrete_fields
        texts = [field.name for field in fields if isinstance(field, (CharField, JSONField, TextField))]
        if model._meta.proxy or model._meta.db_table not in tables or not texts:
            continue
        places = [StrIndex(Cast(name, TextField()), Value(words)) for name in texts]
        rows = model._base_manager.filter(reduce(or_, (Q(GreaterThan(place, 0)) for place in places)))
        if count := rows.count():
            keys = rows.order_by("pk").values_list("pk", flat=True)[:KEYS_SHOWN]
            yield Mention(model._meta.db_table, count, [str(key) for key in keys])
    if connection.vendor == "sqlite":  # A session id may equal the name of a column.
        with connection.cursor() as cursor:
            cursor.execute("SELECT name FROM sqlite_master WHERE instr(sql, %s) ORDER BY name", [words])
            if names := [str(name) for (name,) in cursor.fetchall()]:
                yield Mention("sqlite_master", len(names), names[:KEYS_SHOWN])


def _stored_rows(session_id: str, ids: list[str], names: list[str]) -> Counter[str]:
    return sum((hooks.trace(session_id, names) for hooks in _hooks()), Counter({EVENTS: len(ids)}))


def _ids_of(session_id: str) -> tuple[list[str], list[str]]:
    """Return the ids of a session's events, and the same ids plus the content ids of its failures.

    A content id belongs to the copy of a failure that another route stored. An import stores a session's second failure
    of one type under its content id, with the session in its metadata. Other apps can know the ids of more copies.
    """
    of_session = [EventRow(*row) for row in Event.objects.of_sessions(session_id).values_list(*EventRow._fields)]
    contents = [content_id(event) for event in of_session if event.event_type != SUCCESS]
    contents += [event_id for hooks in _hooks() for event_id in hooks.ids_of(session_id)]
    quoted = json.dumps(session_id, ensure_ascii=False)
    mentions = Event.objects.filter(session_id__isnull=True, metadata_json__contains=quoted)
    others = [
        event_id
        for event_id, metadata in mentions.values_list("id", "metadata_json")
        if _session_in(metadata) == session_id
    ]
    others += Event.objects.filter(id__in=contents).values_list("id", flat=True)
    ids = list(dict.fromkeys([event.id for event in of_session] + others))
    return ids, list(dict.fromkeys(ids + contents))


def _session_in(metadata_json: str) -> Any:
    metadata = json.loads(metadata_json)
    return metadata.get("session_id") if isinstance(metadata, dict) else None


@contextmanager
def _overwriting() -> Iterator[None]:
    """Make SQLite overwrite deleted content with zeros; not every build does so by default."""
    if connection.vendor != "sqlite":
        yield
        return
    with connection.cursor() as cursor:
        usual = cursor.execute("PRAGMA secure_delete").fetchone()[0]
        cursor.execute("PRAGMA secure_delete=ON")
        try:
            yield
        finally:
            cursor.execute(f"PRAGMA secure_delete={usual}")
