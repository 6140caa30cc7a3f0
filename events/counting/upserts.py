"""Adds to rows of counts or creates them: one upsert statement for many rows, the same on both databases."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import OperationalError, connection

ROWS_A_STATEMENT = 500
# SQLSTATEs of transactions that PostgreSQL aborts and that can be retried: serialization failure, deadlock.
_RETRIABLE = {"40001", "40P01"}
TRIES = 4


def may_be_retried(error: OperationalError) -> bool:
    """Return whether PostgreSQL aborted the transaction in favour of another one, so that it can be retried."""
    return getattr(error.__cause__, "sqlstate", None) in _RETRIABLE


def placeholders(rows: int, columns: int) -> str:
    """Return the placeholders of a VALUES clause with this many rows and columns."""
    row = "(" + ", ".join(["%s"] * columns) + ")"
    return ", ".join([row] * rows)


class Upsert(NamedTuple):
    """An upsert: the update of an existing row (`update`), and the columns to return (`returning`).

    In `update`, `kept` is the existing row and `excluded` the new one.
    """

    table: str
    columns: tuple[str, ...]
    key: str
    update: str
    returning: str = ""


def take(what: Upsert, counted: Mapping[Any, int]) -> None:
    """Lower the `accepted` of the rows with these keys, each a tuple in the order of the columns.

    This cannot be a negative upsert, because CHECK tests the new row before ON CONFLICT finds the existing one.
    """
    *key, _ = what.columns
    rows = sorted((*values, count) for values, count in counted.items() if count)
    change(what.table, key, f"accepted = kept.accepted - given.column{len(what.columns)}", rows)


def change(table: str, key: Sequence[str], setting: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Update the rows with these keys inside the caller's transaction. Each of `rows` begins with its key.

    In `setting`, `kept` is the existing row, and `given` the new values by number: `given.column2`. The caller must
    already have locked rows that other transactions change too, because PostgreSQL locks them in no defined order.
    """
    if not rows:  # Opening a cursor costs a fifth of a statement.
        return
    same = " AND ".join(f"kept.{name} = given.column{at}" for at, name in enumerate(key, start=1))
    with connection.cursor() as cursor:
        for start in range(0, len(rows), ROWS_A_STATEMENT):
            chunk = rows[start : start + ROWS_A_STATEMENT]
            cursor.execute(
                f"UPDATE {table} AS kept SET {setting}"  # noqa: S608 (our own names)
                f" FROM (VALUES {placeholders(len(chunk), len(chunk[0]))}) AS given WHERE {same}",
                [value for values in chunk for value in values],
            )


def upsert(what: Upsert, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Upsert the rows inside the caller's transaction, sorted by their columns; return the `returning` columns."""
    if not rows:
        return []
    rows.sort()  # every process uses the same order, which avoids deadlocks
    returned: list[tuple[Any, ...]] = []
    with connection.cursor() as cursor:
        for start in range(0, len(rows), ROWS_A_STATEMENT):
            chunk = rows[start : start + ROWS_A_STATEMENT]
            cursor.execute(_upsert_of(what, len(chunk)), [value for values in chunk for value in values])
            if what.returning:
                returned += cursor.fetchall()
    return returned


@lru_cache(256)
def _upsert_of(what: Upsert, count: int) -> str:
    return (
        f"INSERT INTO {what.table} AS kept ({', '.join(what.columns)})"  # noqa: S608 (our own names)
        f" VALUES {placeholders(count, len(what.columns))}"
        f" ON CONFLICT ({what.key}) DO UPDATE SET {what.update}"
        + (f" RETURNING {what.returning}" if what.returning else "")
    )
