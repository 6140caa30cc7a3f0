"""THE deleter of events: made-up ones with their counts, old ones and those of a session without.

No total is ever lowered by a prune or an erasure. Another app that keeps rows about events has a say by its
AppConfig's `retention()`, which returns an Adjunct; so one that is taken away leaves no gap.
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
from events.grouping import groups
from events.models import AuditKind, Event, EventType, RetentionMark, Source
from events.querysets import SUCCESS, EventQuerySet, batches
from events.rows import EventRow, content_id

BATCH_EVENTS = 5_000
PRUNED_AT_ONCE = 500  # a commit beside it waits for one batch
_PAGES_A_STEP = 5_000
KEYS_SHOWN = 5
EVENTS = "events"


class Adjunct(Protocol):
    """What another app's `retention` module offers; counts are by what is counted, in words."""

    def count_old(self, before_ms: int, *, imported_too: bool) -> Counter[str]: ...
    def count_kept(self, before_ms: int, *, imported_too: bool) -> Counter[str]: ...
    def prune(self, before_ms: int, *, imported_too: bool, at_once: int) -> Iterator[tuple[str, int]]: ...
    def ids_of(self, session_id: str) -> list[str]: ...
    def trace(self, session_id: str, ids: Collection[str]) -> Counter[str]: ...
    def erase(self, session_id: str, ids: Collection[str]) -> None: ...
    def forget_made_up(self, sessions: Collection[str], ids: Collection[str]) -> None: ...


def _adjuncts() -> list[Adjunct]:
    offered = (getattr(config, "retention", None) for config in apps.get_app_configs())
    return [offer() for offer in offered if offer]


# --- made-up events --------------------------------------------------------------------------------------------


def delete_made_up() -> Iterator[int]:
    """Delete every made-up event and what it counted for, oldest first; yields how many each batch took.

    A batch is one transaction, so stopping between two leaves events and counts agreed.
    """
    after = (0, "")
    columns = ("id", "session_id", "error_name", "fingerprint", "source", "correction", *rollups.COUNTED)
    while True:
        with transaction.atomic():
            rollups.hold(EventType.values)  # before the events, as those who regroup them do
            # Without the place where the last batch ended, every batch would walk over all real events again.
            batch = list(
                Event.objects.made_up()
                .filter(received_at_ms__gte=after[0])
                .exclude(received_at_ms=after[0], id__lte=after[1])
                .order_by("received_at_ms", "id")
                .values_list(*columns, named=True)[:BATCH_EVENTS]
            )
            if not batch:
                releases.settle()
                buckets.settle()
                break
            ids = [event.id for event in batch]
            for adjunct in _adjuncts():
                adjunct.forget_made_up([event.session_id for event in batch if event.session_id is not None], ids)
            Event.objects.filter(id__in=ids).delete()
            void = [event for event in batch if event.correction is not None]
            rollups.subtract_made_up([event for event in batch if event.correction is None], void)
            corrections.forget(void)
            groups.subtract((event, event.fingerprint) for event in batch if event.fingerprint is not None)
        buckets.forget_names()
        after = (batch[-1].received_at_ms, batch[-1].id)
        yield len(batch)


# --- old events ------------------------------------------------------------------------------------------------


def whole_since_ms() -> int:
    """Return since when every event is stored that was counted; before that some may be pruned. 0 before any prune.

    Never later than the start of today: a mark from a clock that was ahead would hide all events until then.
    """
    mark_ms = RetentionMark.objects.values_list("whole_since_ms", flat=True).first() or 0
    return min(mark_ms, _start_of_today_ms())


def _start_of_today_ms() -> int:
    now_ms = clock.now_ms()
    return now_ms - now_ms % buckets.DAY_MS


def mend_mark() -> None:
    """Set a mark that lies in the future to the start of today."""
    today_ms = _start_of_today_ms()
    RetentionMark.objects.filter(whole_since_ms__gt=today_ms).update(whole_since_ms=today_ms)


def count_old(before_ms: int, *, imported_too: bool) -> Counter[str]:
    """Return how much a prune would delete, by what it is."""
    found = Counter({EVENTS: _old(before_ms, imported_too=imported_too).count()})
    for adjunct in _adjuncts():
        found += adjunct.count_old(before_ms, imported_too=imported_too)
    return found


def count_kept(before_ms: int, *, imported_too: bool) -> Counter[str]:
    """Return how much a prune leaves though it was received before that moment, by what it is."""
    kept = Counter[str]()
    if not imported_too:
        imported = Event.objects.filter(received_at_ms__lt=before_ms, source=Source.IMPORT)
        kept["imported events"] = imported.count()
    for adjunct in _adjuncts():
        kept += adjunct.count_kept(before_ms, imported_too=imported_too)
    return kept


def prune(before_ms: int, *, imported_too: bool, who: str, at: datetime, why: str) -> Iterator[tuple[str, int]]:
    """Delete what was received before a moment, the start of a UTC day, oldest first; every count stays.

    Yields what a batch deleted, and how much of it. Each batch is a short transaction, so it may be stopped at any
    moment and be run again for the rest. Made-up events stay: they go with their counts, and another way.
    """
    mend_mark()
    found = count_old(before_ms, imported_too=imported_too)
    if not found.total():
        return
    day = f"{datetime.fromtimestamp(before_ms / 1000, UTC):%Y-%m-%d}"
    words = f"Pruned what was received before {day}, {'imported ones too' if imported_too else 'imported ones aside'}"
    with transaction.atomic():
        # First of all, so that what has counts and no events any more is known for it, wherever this ends.
        RetentionMark.objects.get_or_create(id=1, defaults={"whole_since_ms": 0})
        before_ms = min(before_ms, _start_of_today_ms())
        RetentionMark.objects.filter(whole_since_ms__lt=before_ms).update(whole_since_ms=before_ms)
        audit.note(AuditKind.PRUNE, f"{words}: {in_words(found)}.", who=who, at=at, why=why)
    for adjunct in _adjuncts():
        yield from adjunct.prune(before_ms, imported_too=imported_too, at_once=PRUNED_AT_ONCE)
    for ids in batches(_old(before_ms, imported_too=imported_too), PRUNED_AT_ONCE):
        with transaction.atomic():
            rollups.hold(EventType.values)  # before the events, as those who regroup them do
            deleted, _ = Event.objects.filter(id__in=ids).delete()
        yield EVENTS, deleted


def in_words(counts: Counter[str]) -> str:
    """Return what was counted as `events 1,200, rows of the old log 3`; "nothing" where nothing was."""
    return ", ".join(f"{what} {count:,}" for what, count in counts.items() if count) or "nothing"


def _old(before_ms: int, *, imported_too: bool) -> EventQuerySet[Event]:
    kept = [Source.DEMO] if imported_too else [Source.DEMO, Source.IMPORT]
    return Event.objects.filter(received_at_ms__lt=before_ms).exclude(source__in=kept)


# --- one session -----------------------------------------------------------------------------------------------


def trace(session_id: str) -> Counter[str]:
    """Return what is stored of a session, by what it is; changes nothing."""
    return _found(session_id, *_ids_of(session_id))


def was_imported(session_id: str) -> bool:
    """Tell whether something of a session came by an import, which would bring it again."""
    return Event.objects.filter(id__in=_ids_of(session_id)[0], source=Source.IMPORT).exists()


def erase(session_id: str, *, who: str, at: datetime, why: str) -> Counter[str]:
    """Delete what is stored of a session, in one transaction, and return how much of what it was.

    Every count stays, and the audit log does not name the session.
    """
    with _overwriting(), transaction.atomic(durable=True):
        rollups.hold(EventType.values)
        ids, names = _ids_of(session_id)
        found = _found(session_id, ids, names)
        if found.total():
            for adjunct in _adjuncts():
                adjunct.erase(session_id, names)
            Event.objects.filter(id__in=ids).delete()
            audit.note(AuditKind.ERASURE, f"Erased a session: {in_words(found)}.", who=who, at=at, why=why)
    return found


class Mention(NamedTuple):
    """A table that has words in a text: how many rows, and the first of their keys."""

    table: str
    rows: int
    keys: list[str]


def mentions(words: str) -> Iterator[Mention]:
    """Yield every table that has these words in a text. It reads all rows."""
    tables = connection.introspection.table_names()
    for model in apps.get_models(include_auto_created=True):
        fields = model._meta.concrete_fields
        texts = [field.name for field in fields if isinstance(field, (CharField, JSONField, TextField))]
        if model._meta.proxy or model._meta.db_table not in tables or not texts:
            continue
        places = [StrIndex(Cast(name, TextField()), Value(words)) for name in texts]
        found = model._base_manager.filter(reduce(or_, (Q(GreaterThan(place, 0)) for place in places)))
        if rows := found.count():
            keys = found.order_by("pk").values_list("pk", flat=True)[:KEYS_SHOWN]
            yield Mention(model._meta.db_table, rows, [str(key) for key in keys])
    if connection.vendor == "sqlite":  # a session may be called like a column
        with connection.cursor() as cursor:
            cursor.execute("SELECT name FROM sqlite_master WHERE instr(sql, %s) ORDER BY name", [words])
            if names := [str(name) for (name,) in cursor.fetchall()]:
                yield Mention("sqlite_master", len(names), names[:KEYS_SHOWN])


def _found(session_id: str, ids: list[str], names: list[str]) -> Counter[str]:
    found = Counter({EVENTS: len(ids)})
    for adjunct in _adjuncts():
        found += adjunct.trace(session_id, names)
    return found


def _ids_of(session_id: str) -> tuple[list[str], list[str]]:
    """Return the ids of a session's events, and beside them those that their contents have without a session.

    Under such an id stands the twin that came by an old route. An import keeps a session's second failure of one type
    by its content, and the session in its metadata. An adjunct can know the ids of other twins.
    """
    of_session = [EventRow(*row) for row in Event.objects.of_sessions(session_id).values_list(*EventRow._fields)]
    contents = [content_id(event) for event in of_session if event.event_type != SUCCESS]
    contents += [event_id for adjunct in _adjuncts() for event_id in adjunct.ids_of(session_id)]
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
    """Have SQLite overwrite with zeros what is deleted; not every build does it by itself."""
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


# --- the file --------------------------------------------------------------------------------------------------


def empty_log() -> bool:
    """Bring SQLite's write-ahead log into the file and empty it; tells whether no reader was in the way."""
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        return True
    with connection.cursor() as cursor:
        is_busy, *_ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not is_busy


def write_anew() -> None:
    """Have SQLite write its file anew, so that no free place in it holds anything; nobody else writes meanwhile."""
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("VACUUM")


def free_pages() -> Iterator[int]:
    """Give the pages that deleted events left back to the file system, a few at a time; yields how many are left.

    SQLite alone needs it, and only a file that began with `auto_vacuum=INCREMENTAL` can do it. PostgreSQL's
    autovacuum does the like by itself. Inside a caller's transaction nothing happens: it would be committed.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        return
    left = _free_page_count()
    while left:
        # `execute` would step once, and so free one page; `executescript` runs the statement to its end.
        connection.connection.executescript(f"PRAGMA incremental_vacuum({_PAGES_A_STEP})")
        before, left = left, _free_page_count()
        if left >= before:  # another connection makes them as fast, or the file cannot
            return
        yield left


def _free_page_count() -> int:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA freelist_count")
        return int(cursor.fetchone()[0])
