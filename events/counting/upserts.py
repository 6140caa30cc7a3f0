"""Rows of counts, added to or made: one statement for many, the same on both engines."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import OperationalError, connection

ROWS_A_STATEMENT = 500
# PostgreSQL asks for another try: serialization failure, deadlock.
_RETRIABLE = {"40001", "40P01"}
TRIES = 4


def may_be_retried(error: OperationalError) -> bool:
    """Tell whether PostgreSQL ended a transaction in favour of another, so that the same may be tried again."""
    return getattr(error.__cause__, "sqlstate", None) in _RETRIABLE


def placeholders(rows: int, columns: int) -> str:
    """Return what stands behind VALUES for that many rows."""
    row = "(" + ", ".join(["%s"] * columns) + ")"
    return ", ".join([row] * rows)


class Upsert(NamedTuple):
    """What happens to a row that is there already (`update`), and what is told of each row (`returning`).

    In `update`, `kept` is the row of the table and `excluded` the one that comes.
    """

    table: str
    columns: tuple[str, ...]
    key: str
    update: str
    returning: str = ""


def take(what: Upsert, counted: Mapping[Any, int]) -> None:
    """Lower the `accepted` of the rows with these keys, each a tuple in the order of the columns.

    Not by a negative upsert: a CHECK looks at the row that comes before it knows of the one that is there.
    """
    *key, _ = what.columns
    rows = sorted((*values, count) for values, count in counted.items() if count)
    change(what.table, key, f"accepted = kept.accepted - given.column{len(what.columns)}", rows)


def change(table: str, key: Sequence[str], setting: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Change the rows with these keys, which stand first in each of `rows`, inside the caller's transaction.

    In `setting`, `kept` is the row of the table and `given` the one that comes, its columns by number: `given.column2`.
    Who changes many rows that others change too must hold them already: PostgreSQL takes them in an order of its own.
    """
    if not rows:  # a cursor alone costs as much as a fifth of a statement
        return
    same = " AND ".join(f"kept.{name} = given.column{at}" for at, name in enumerate(key, start=1))
    with connection.cursor() as cursor:
        for start in range(0, len(rows), ROWS_A_STATEMENT):
            some = rows[start : start + ROWS_A_STATEMENT]
            cursor.execute(
                f"UPDATE {table} AS kept SET {setting}"  # noqa: S608 (our own names)
                f" FROM (VALUES {placeholders(len(some), len(some[0]))}) AS given WHERE {same}",
                [value for values in some for value in values],
            )


def upsert(what: Upsert, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Write the rows, sorted by their columns, inside the caller's transaction; return what `returning` names."""
    if not rows:
        return []
    rows.sort()  # the same order everywhere, or two processes deadlock
    told: list[tuple[Any, ...]] = []
    with connection.cursor() as cursor:
        for start in range(0, len(rows), ROWS_A_STATEMENT):
            some = rows[start : start + ROWS_A_STATEMENT]
            cursor.execute(_upsert_of(what, len(some)), [value for values in some for value in values])
            if what.returning:
                told += cursor.fetchall()
    return told


@lru_cache(256)
def _upsert_of(what: Upsert, count: int) -> str:
    return (
        f"INSERT INTO {what.table} AS kept ({', '.join(what.columns)})"  # noqa: S608 (our own names)
        f" VALUES {placeholders(count, len(what.columns))}"
        f" ON CONFLICT ({what.key}) DO UPDATE SET {what.update}"
        + (f" RETURNING {what.returning}" if what.returning else "")
    )
