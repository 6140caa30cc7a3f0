"""Queries and writes of the old system's two tables."""

import copy
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from django.db import connection, transaction
from django.db.models import Case, Exists, Expression, F, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce

from events.counting.buckets import DAY_MS
from events.ingest import guards
from events.keyset import in_batches
from events.models import Event
from events.querysets import batches
from events.reports import metrics
from events.rows import is_left_out
from legacy.models import ClientLog, LegacyCount

NOBODY = "erased-"


def count() -> int:
    """Return the old counter's total: the baseline and every session that is not void.

    Two counts, because each can use an index alone. One count with a condition would read every row.
    """
    with connection.cursor() as cursor:
        cursor.execute(_SESSIONS)
        (sessions,) = cursor.fetchone()
    return metrics.flash_count().baseline + int(sessions)


_TABLE = LegacyCount._meta.db_table
_SESSIONS = (
    f"SELECT (SELECT COUNT(*) FROM {_TABLE})"  # noqa: S608 (our own names)
    f" - (SELECT COUNT(*) FROM {_TABLE} WHERE correction IS NOT NULL)"
)


def stream_count() -> int:
    return metrics.flash_count().total


def nobody() -> str:
    """Return a random session id for a counted session that was erased or pruned."""
    return f"{NOBODY}{secrets.token_hex(12)}"


def erased(session_id: str) -> str:
    """Return the name of an erased session: a keyed hash, so that an import can recognise the session."""
    return erased_prefix() + guards.keyed_hash(f"erased session {session_id}")


def erased_prefix() -> str:
    """Return the prefix of these names. It changes with the site's secret key."""
    return f"{NOBODY}{guards.keyed_hash('erased sessions')[:8]}-"


def forget_session(session_id: str) -> None:
    """Rename an erased session, in the caller's transaction and before its events are deleted, so that it still counts.

    A success that arrived only by `/event` gets a row too, so that an import can recognise it.
    """
    row = LegacyCount.objects.filter(pk=session_id).first()
    success = Event.objects.successes().filter(session_id=session_id).first()
    name = erased(session_id)
    if LegacyCount.objects.filter(pk=name).exists():  # The session was erased, sent again and counted again.
        name = nobody()
    if row is not None:
        # If the stream has the event, the row must not be copied. A renamed session has not arrived, so parity does not
        # miss its event.
        in_stream = row.in_stream or success is not None
        # An undo of a correction must not delete the name by which an import recognises the session.
        LegacyCount.objects.filter(pk=session_id).update(
            session_id=name, in_stream=in_stream, arrived=False, added_by_correction=False
        )
    elif success is not None:
        keep(LegacyCount(session_id=name, counted_at_ms=success.received_at_ms, in_stream=True))


def erased_sessions() -> frozenset[str]:
    """Return the names of erased sessions."""
    return frozenset(LegacyCount.objects.filter(pk__startswith=erased_prefix()).values_list("pk", flat=True))


def known_without_event(start_ms: int, end_ms: int) -> int:
    """Return how many sessions of [start_ms, end_ms) are known here, and counted but no longer stored by the stream.
    Sessions with random names are not known."""
    rows = LegacyCount.objects.filter(
        counted_at_ms__gte=start_ms, counted_at_ms__lt=end_ms, in_stream=True, correction__isnull=True
    )
    events = Event.objects.successes().filter(session_id=OuterRef("pk"))
    is_known = Q(pk__startswith=erased_prefix()) | ~Q(pk__startswith=NOBODY)
    return rows.filter(is_known).exclude(Exists(events)).count()


def note_what_is_in_stream(*, at_once: int) -> None:
    """Mark rows as copied if the stream already has their events. After a prune of these, nothing would show that.

    In `separate`, a client may send the same event by `/event` and by an old route.
    """
    _note_waiting(LegacyCount, "session_id", _sessions_in_stream, at_once)
    _note_waiting(ClientLog, "event_id", _ids_in_stream, at_once)


def _note_waiting(
    table: type[ClientLog | LegacyCount],
    name: str,
    in_stream: Callable[[Collection[str]], Iterable[str | None]],
    at_once: int,
) -> None:
    after = ""
    rows = table._default_manager.filter(in_stream=False).order_by("pk").values_list("pk", name)
    while some := dict(rows.filter(pk__gt=after)[:at_once]):
        there = set(in_stream(some.values()))
        keys = [key for key, value in some.items() if value in there]
        table._default_manager.filter(pk__in=keys).update(in_stream=True)
        after = list(some)[-1]


def _sessions_in_stream(sessions: Collection[str]) -> Iterable[str | None]:
    return Event.objects.successes().filter(session_id__in=sessions).values_list("session_id", flat=True)


def _ids_in_stream(ids: Collection[str]) -> Iterable[str]:
    return Event.objects.filter(pk__in=ids).values_list("pk", flat=True)


def keep(row: ClientLog | LegacyCount) -> bool:
    """Insert a row unless its key exists; return whether it was new. A retry has the same key."""
    return keep_all([row]) == 1


def keep_all(rows: Iterable[ClientLog | LegacyCount]) -> int:
    """Insert the rows of one table whose keys do not exist yet; return their number."""
    rows = sorted(rows, key=lambda row: row.pk)  # every process uses the same order, which avoids deadlocks
    return _insert(type(rows[0]), rows) if rows else 0


def _insert(table: type[ClientLog | LegacyCount], rows: list[ClientLog | LegacyCount]) -> int:
    # bulk_create would take more time per row than the rest of an import.
    columns = [field.attname for field in table._meta.concrete_fields]
    marks = "(" + ", ".join(["%s"] * len(columns)) + ")"
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table._meta.db_table} ({', '.join(columns)})"  # noqa: S608 (our own names)
            f" VALUES {', '.join([marks] * len(rows))} ON CONFLICT DO NOTHING",
            [getattr(row, column) for row in rows for column in columns],
        )
        return int(cursor.rowcount)


# --- texts that the stream holds -----------------------------------------------------------------------------------


def without_texts_of_event(row: ClientLog) -> ClientLog:
    """Return the row to store beside its event: without the texts, if the event has them.

    The event of an earlier day may be pruned before the row, so such a row keeps its texts. A prune deletes whole days.
    """
    if row.stack is None and row.log_lines_json == "[]":
        return row
    day_ms = row.received_at_ms - row.received_at_ms % DAY_MS
    events = Event.objects.filter(pk=row.pk, received_at_ms__gte=day_ms)
    for texts in events.values_list("stack", "log_lines_json"):
        # The content is the same, so the event has more text than a row whose texts were left out on a full disk.
        if texts == (row.stack, row.log_lines_json) or is_left_out(row.log_lines_json):
            return without_texts(row)
    return row


def without_texts(row: ClientLog) -> ClientLog:
    """Return a copy of the row that leaves its texts to the event with its id."""
    row = copy.copy(row)
    row.stack, row.log_lines_json, row.text_in_stream = None, "[]", True
    return row


def fill_in_texts(*, since_ms: int, at_once: int) -> None:
    """Write the texts into the rows received since then that leave them to their events."""
    rows = ClientLog.objects.filter(text_in_stream=True)
    for ids in batches(rows.filter(received_at_ms__gte=since_ms), at_once):
        with transaction.atomic():
            rows.filter(pk__in=ids).update(**_WHOLE)


def whole(rows: QuerySet[Any], columns: Iterable[str]) -> QuerySet[Any, tuple[Any, ...]]:
    """Return these columns of an old table's rows, including texts that are stored in the events."""
    return rows.values_list(*(_WHOLE.get(column, column) for column in columns))


def _text(column: str) -> Case:
    of_event = Subquery(Event.objects.filter(pk=OuterRef("pk")).values(column))
    return Case(When(text_in_stream=True, then=Coalesce(of_event, F(column))), default=F(column))


_WHOLE: dict[str, Expression] = {
    "stack": _text("stack"),
    "log_lines_json": _text("log_lines_json"),
    "text_in_stream": Value(False),
}
_LOG_COLUMNS = [field.attname for field in ClientLog._meta.concrete_fields]


# --- reads ---------------------------------------------------------------------------------------------------------


def log_chunks(columns: tuple[str, ...], *, size: int) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the whole old log as tuples of columns, newest first, `size` at a time.

    Each step is a separate query, so that a slow reader does not keep a snapshot open.
    """
    rows = whole(ClientLog.objects.order_by("-received_at_ms", "-id"), ("received_at_ms", "id", *columns))
    for chunk in in_batches(rows, size):
        yield [row[2:] for row in chunk]


def recent(limit: int) -> list[ClientLog]:
    """Return the newest rows of the old log, newest first."""
    rows = whole(ClientLog.objects.order_by("-received_at_ms", "-id"), _LOG_COLUMNS)
    return [ClientLog.from_db(None, _LOG_COLUMNS, row) for row in rows[:limit]]
