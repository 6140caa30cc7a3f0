"""Queries and writes of the old system's two tables."""

import copy
import secrets
from collections.abc import Iterable, Iterator
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

# The names of erased, pruned and otherwise anonymous sessions begin with it.
ANONYMOUS_PREFIX = "erased-"


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


def anonymous_name() -> str:
    """Return a random session id for a counted session that was erased or pruned."""
    return f"{ANONYMOUS_PREFIX}{secrets.token_hex(12)}"


def erased_name(session_id: str) -> str:
    """Return the name under which an erased session counts: a keyed hash, so that an import recognises the session."""
    return erased_prefix() + guards.keyed_hash(f"erased session {session_id}")


def erased_prefix() -> str:
    """Return the prefix of `erased_name`. It changes with the site's secret key."""
    return f"{ANONYMOUS_PREFIX}{guards.keyed_hash('erased sessions')[:8]}-"


def anonymise_session(session_id: str) -> None:
    """Rename a session that is being erased, so that it still counts.

    The caller has opened a transaction, and deletes the events of the session afterwards. A success that arrived only
    by `/event` gets a row too, so that an import recognises it.
    """
    row = LegacyCount.objects.filter(pk=session_id).first()
    success = Event.objects.successes().filter(session_id=session_id).first()
    name = erased_name(session_id)
    if LegacyCount.objects.filter(pk=name).exists():  # The session was erased before, and then sent and counted again.
        name = anonymous_name()
    if row is not None:
        # `in_stream`: a switch must not copy the row if the stream has the event.
        # `arrived`: parity must not expect the event of a renamed session.
        # `added_by_correction`: an undo of a correction must not delete the row.
        in_stream = row.in_stream or success is not None
        LegacyCount.objects.filter(pk=session_id).update(
            session_id=name, in_stream=in_stream, arrived=False, added_by_correction=False
        )
    elif success is not None:
        keep(LegacyCount(session_id=name, counted_at_ms=success.received_at_ms, in_stream=True))


def erased_names() -> frozenset[str]:
    """Return the `erased_name` of every erased session."""
    return frozenset(LegacyCount.objects.filter(pk__startswith=erased_prefix()).values_list("pk", flat=True))


def count_recognisable_without_event(start_ms: int, end_ms: int) -> int:
    """Return how many sessions of [start_ms, end_ms) the stream counted but no longer stores, and an import recognises.

    An import does not recognise sessions with random names.
    """
    rows = LegacyCount.objects.filter(
        counted_at_ms__gte=start_ms, counted_at_ms__lt=end_ms, in_stream=True, correction__isnull=True
    )
    events = Event.objects.successes().filter(session_id=OuterRef("pk"))
    is_recognisable = Q(pk__startswith=erased_prefix()) | ~Q(pk__startswith=ANONYMOUS_PREFIX)
    return rows.filter(is_recognisable).exclude(Exists(events)).count()


def mark_rows_in_stream(*, at_once: int) -> None:
    """Set `in_stream` of the rows whose events the stream has. Call it before a prune deletes these events.

    In `separate`, a client may send the same event by `/event` and by an old route. `in_stream` of its row is False.
    """
    success = Event.objects.successes().filter(session_id=OuterRef("session_id"))
    failure = Event.objects.filter(pk=OuterRef("event_id"))
    _mark_rows_in_stream(LegacyCount.objects.filter(in_stream=False), Exists(success), at_once)
    _mark_rows_in_stream(ClientLog.objects.filter(in_stream=False), Exists(failure), at_once)


def _mark_rows_in_stream(rows: QuerySet[Any], has_event: Exists, at_once: int) -> None:
    after = ""
    while chunk := list(rows.filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)[:at_once]):
        rows.filter(has_event, pk__in=chunk).update(in_stream=True)
        after = chunk[-1]


def keep(row: ClientLog | LegacyCount) -> bool:
    """Insert a row unless its key exists; return whether it was new. A retry has the same key."""
    return keep_all([row]) == 1


def keep_all(rows: Iterable[ClientLog | LegacyCount]) -> int:
    """Insert the rows of one table whose keys do not exist yet; return their number."""
    rows = sorted(rows, key=lambda row: row.pk)  # All processes use the same order, which avoids deadlocks.
    if not rows:
        return 0
    # bulk_create would take more time per row than the rest of an import.
    table = type(rows[0])
    columns = [field.attname for field in table._meta.concrete_fields]
    marks = "(" + ", ".join(["%s"] * len(columns)) + ")"
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table._meta.db_table} ({', '.join(columns)})"  # noqa: S608 (our own names)
            f" VALUES {', '.join([marks] * len(rows))} ON CONFLICT DO NOTHING",
            [getattr(row, column) for row in rows for column in columns],
        )
        return int(cursor.rowcount)


# --- texts that are stored only in the events ----------------------------------------------------------------------


def without_texts_of_event(row: ClientLog) -> ClientLog:
    """Return the row without its texts if its event has them, else unchanged.

    A row whose event arrived on an earlier day keeps its texts. A prune deletes whole days, so it could delete that
    event before the row.
    """
    if row.stack is None and row.log_lines_json == "[]":
        return row
    day_ms = row.received_at_ms - row.received_at_ms % DAY_MS
    events = Event.objects.filter(pk=row.pk, received_at_ms__gte=day_ms)
    for texts in events.values_list("stack", "log_lines_json"):
        # If the row left out its texts on a full disk, the event has at least as much text: both have one content id.
        if texts == (row.stack, row.log_lines_json) or is_left_out(row.log_lines_json):
            return without_texts(row)
    return row


def without_texts(row: ClientLog) -> ClientLog:
    """Return a copy of the row without texts, which refers to the event with its id; an imported row is unchanged.

    A prune may keep an imported row and delete its event.
    """
    if row.imported:
        return row
    row = copy.copy(row)
    row.stack, row.log_lines_json, row.text_in_stream = None, "[]", True
    return row


def fill_in_texts(*, since_ms: int, at_once: int) -> None:
    """Copy the texts of events into the rows without texts, of those received since `since_ms`."""
    rows = ClientLog.objects.filter(text_in_stream=True)
    for ids in batches(rows.filter(received_at_ms__gte=since_ms), at_once):
        with transaction.atomic():
            rows.filter(pk__in=ids).update(**_WHOLE)


def whole(rows: QuerySet[Any], columns: Iterable[str]) -> QuerySet[Any, tuple[Any, ...]]:
    """Return these columns of an old table's rows, with the texts that only their events have."""
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
    """Yield the whole old log as tuples of columns, newest first, in chunks of `size`.

    Each chunk is a separate query, so that a slow reader keeps no transaction open.
    """
    rows = whole(ClientLog.objects.order_by("-received_at_ms", "-id"), ("received_at_ms", "id", *columns))
    for chunk in in_batches(rows, size):
        yield [row[2:] for row in chunk]


def recent(limit: int) -> list[ClientLog]:
    """Return the newest rows of the old log, newest first."""
    rows = whole(ClientLog.objects.order_by("-received_at_ms", "-id"), _LOG_COLUMNS)
    return [ClientLog.from_db(None, _LOG_COLUMNS, row) for row in rows[:limit]]
