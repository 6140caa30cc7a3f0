"""Reads and writes of the old system's two tables."""

import secrets
from collections.abc import Iterable, Iterator
from typing import Any

from django.db import connection
from django.db.models import Q

from events import metrics
from legacy.models import ClientLog, LegacyCount

NOBODY = "erased-"


def count() -> int:
    """Return the old counter's total: the baseline and every session that it knows and that is not void.

    Two counts, because each reads an index alone; one count with a condition would read every row.
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
    """Return a session that means nobody, for what is counted and was erased or pruned."""
    return f"{NOBODY}{secrets.token_hex(12)}"


def keep(row: ClientLog | LegacyCount) -> bool:
    """Write a row unless its key is there; return whether it was new. A retry comes with the same key."""
    return keep_all([row]) == 1


def keep_all(rows: Iterable[ClientLog | LegacyCount]) -> int:
    """Write the rows of one table whose keys are not there yet; return how many that were."""
    rows = sorted(rows, key=lambda row: row.pk)  # one order everywhere, or two processes deadlock
    return _insert(type(rows[0]), rows) if rows else 0


def _insert(table: type[ClientLog | LegacyCount], rows: list[ClientLog | LegacyCount]) -> int:
    # bulk_create spends more time on each row than all the rest of an import.
    columns = [field.attname for field in table._meta.concrete_fields]
    marks = "(" + ", ".join(["%s"] * len(columns)) + ")"
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table._meta.db_table} ({', '.join(columns)})"  # noqa: S608 (our own names)
            f" VALUES {', '.join([marks] * len(rows))} ON CONFLICT DO NOTHING",
            [getattr(row, column) for row in rows for column in columns],
        )
        return int(cursor.rowcount)


def log_chunks(columns: tuple[str, ...], *, size: int) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the whole old log as tuples of columns, newest first, `size` at a time.

    Each step is a query of its own, so that no snapshot is held open however slowly the reader takes them.
    """
    rows = ClientLog.objects.order_by("-received_at_ms", "-id").values_list("received_at_ms", "id", *columns)
    found = list(rows[:size])
    while found:
        yield [row[2:] for row in found]
        received_at_ms, row_id = found[-1][:2]
        after = Q(received_at_ms__lte=received_at_ms) & (Q(received_at_ms__lt=received_at_ms) | Q(id__lt=row_id))
        found = list(rows.filter(after)[:size])


def recent(limit: int) -> list[ClientLog]:
    """Return the newest rows of the old log, newest first."""
    return list(ClientLog.objects.order_by("-received_at_ms", "-id")[:limit])
