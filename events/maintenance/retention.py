"""The only module that deletes events: demo data with its counts, old events and the events of a session without.

A prune or an erasure never lowers a total. Another app that stores rows about events registers its own
deletions: `retention()` of its AppConfig returns `RetentionHooks`. So an app can be removed without a change here.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import reduce
from operator import or_
from typing import Any, NamedTuple, Protocol

from django.apps import apps
from django.db import connection, transaction
from django.db.models import CharField, JSONField, Q, TextField, Value
from django.db.models.functions import Cast, StrIndex
from django.db.models.lookups import GreaterThan

from events import audit, clock
from events.counting import buckets, corrections, releases, rollups
from events.grouping import groups, merges, splits, triage
from events.models import AuditKind, Event, EventType, RetentionMark, Source
from events.querysets import SUCCESS, EventQuerySet, batches
from events.rows import EventRow, content_id

BATCH_EVENTS = 5_000
# The shares of groups are kept by day for this many days: somewhat longer than the longest span of a group's page.
SHARE_DAYS = 100
GROUPS_AT_ONCE = 50
PRUNED_AT_ONCE = 500  # Ingest waits while one batch runs.
_PAGES_A_STEP = 5_000
KEYS_SHOWN = 5
EVENTS = "events"


class RetentionHooks(Protocol):
    """The interface of another app's `retention` module. The keys of the counters are names for people."""

    def count_old(self, before_ms: int, *, imported_too: bool) -> Counter[str]: ...
    def count_kept(self, before_ms: int, *, imported_too: bool) -> Counter[str]: ...
    def prune(self, before_ms: int, *, imported_too: bool, at_once: int) -> Iterator[tuple[str, int]]: ...
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


def whole_since_ms() -> int:
    """Return the time from which all counted events are stored; earlier ones may be pruned. 0 before any prune.

    Never later than the start of today, because a mark from a wrong clock would hide all events until then.
    """
    mark_ms = RetentionMark.objects.values_list("whole_since_ms", flat=True).first() or 0
    return min(mark_ms, _start_of_today_ms())


def _start_of_today_ms() -> int:
    now_ms = clock.now_ms()
    return now_ms - now_ms % buckets.DAY_MS


def mend_mark() -> None:
    """Set a mark in the future to the start of today."""
    today_ms = _start_of_today_ms()
    RetentionMark.objects.filter(whole_since_ms__gt=today_ms).update(whole_since_ms=today_ms)


def count_old(before_ms: int, *, imported_too: bool) -> Counter[str]:
    """Return the number of rows that a prune would delete, by kind."""
    counts = Counter({EVENTS: _old(before_ms, imported_too=imported_too).count()})
    return sum((hooks.count_old(before_ms, imported_too=imported_too) for hooks in _hooks()), counts)


def count_kept(before_ms: int, *, imported_too: bool) -> Counter[str]:
    """Return the number of rows before that time that a prune would keep, by kind."""
    kept = Counter[str]()
    if not imported_too:
        imported = Event.objects.filter(received_at_ms__lt=before_ms, source=Source.IMPORT)
        kept["imported events"] = imported.count()
    return sum((hooks.count_kept(before_ms, imported_too=imported_too) for hooks in _hooks()), kept)


def prune(before_ms: int, *, imported_too: bool, who: str, at: datetime, why: str) -> Iterator[tuple[str, int]]:
    """Delete events received before a time (the start of a UTC day), oldest first; every count stays.

    Yields the kind and the number of deleted rows of each batch. Each batch is a short transaction, so a prune can be
    stopped at any time and repeated. Demo events stay, because `delete_demo` deletes them with their counts.
    """
    mend_mark()
    triage.count_expected()  # an interrupted decision could not count the deleted events later
    counts = count_old(before_ms, imported_too=imported_too)
    if not counts.total():
        return
    day = f"{datetime.fromtimestamp(before_ms / 1000, UTC):%Y-%m-%d}"
    words = f"Pruned events received before {day}, {'including' if imported_too else 'except'} imported ones"
    with transaction.atomic():
        # Set the mark before the first deletion, so that it is correct if the prune is interrupted.
        RetentionMark.objects.get_or_create(id=1, defaults={"whole_since_ms": 0})
        before_ms = min(before_ms, _start_of_today_ms())
        RetentionMark.objects.filter(whole_since_ms__lt=before_ms).update(whole_since_ms=before_ms)
        audit.note(AuditKind.PRUNE, f"{words}: {in_words(counts)}.", who=who, at=at, why=why)
    for hooks in _hooks():
        yield from hooks.prune(before_ms, imported_too=imported_too, at_once=PRUNED_AT_ONCE)
    for ids in batches(_old(before_ms, imported_too=imported_too), PRUNED_AT_ONCE):
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


def _old(before_ms: int, *, imported_too: bool) -> EventQuerySet[Event]:
    kept = [Source.DEMO] if imported_too else [Source.DEMO, Source.IMPORT]
    return Event.objects.filter(received_at_ms__lt=before_ms).exclude(source__in=kept)


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


# --- the database file -------------------------------------------------------------------------------------------


def empty_log() -> bool:
    """Checkpoint SQLite's write-ahead log and truncate it; returns False if a reader prevented that."""
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        return True
    with connection.cursor() as cursor:
        is_busy, *_ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not is_busy


def vacuum() -> None:
    """Run VACUUM on SQLite, so that free pages contain no old data. It blocks all other writers."""
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("VACUUM")


def free_pages() -> Iterator[int]:
    """Return the free pages of SQLite's file to the file system in steps; yields the number of remaining pages.

    This needs a file created with `auto_vacuum=INCREMENTAL`. PostgreSQL's autovacuum does the same on its own. Does
    nothing inside a transaction, because the pragma would commit it.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        return
    left = _free_page_count()
    while left:
        # `execute` would run one step and free one page; `executescript` runs the statement to its end.
        connection.connection.executescript(f"PRAGMA incremental_vacuum({_PAGES_A_STEP})")
        before, left = left, _free_page_count()
        if left >= before:  # Another connection frees pages as fast, or the file does not support it.
            return
        yield left


def _free_page_count() -> int:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA freelist_count")
        return int(cursor.fetchone()[0])
