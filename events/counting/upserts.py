"""Adds to rows of counts or creates them: one upsert statement for many rows, the same on both databases."""

import time
from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

from django.db import OperationalError, connection

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

ROWS_A_STATEMENT = 500
# SQLSTATEs of transactions that PostgreSQL aborts and that can be retried: serialization failure, deadlock.
_RETRIABLE = {"40001", "40P01"}
TRIES = 4


def retried(transaction: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Decorate a function that is one transaction: repeat it when PostgreSQL aborts it in favour of another one."""

    @wraps(transaction)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        for attempt in range(1, TRIES):
            try:
                return transaction(*args, **kwargs)
            except OperationalError as error:
                if getattr(error.__cause__, "sqlstate", None) not in _RETRIABLE:
                    raise
                time.sleep(0.01 * attempt)
        return transaction(*args, **kwargs)

    return run


def placeholders(rows: int, columns: int) -> str:
    """Return the placeholders of a VALUES clause with this many rows and columns."""
    row = "(" + ", ".join(["%s"] * columns) + ")"
    return ", ".join([row] * rows)


def select_in(query: str, values: Sequence[Any], *before: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a query that ends with a column, for these values of the column.

    `before` are the parameters in front. The ORM would need ten times as long to build these frequent queries.
    """
    rows: list[tuple[Any, ...]] = []
    if not values:  # Opening a cursor costs a fifth of a statement.
        return rows
    with connection.cursor() as cursor:
        for start in range(0, len(values), ROWS_A_STATEMENT):
            chunk = values[start : start + ROWS_A_STATEMENT]
            cursor.execute(f"{query} IN {placeholders(1, len(chunk))}", [*before, *chunk])
            rows += cursor.fetchall()
    return rows


class Upsert(NamedTuple):
    """An upsert: the update of an existing row (`update`), and the columns to return (`returning`).

    In `update`, `kept` is the existing row and `excluded` the new one.
    """

    table: str
    columns: tuple[str, ...]
    key: str
    update: str
    returning: str = ""


def added(column: str) -> str:
    """Return the update that adds the new count to the existing one."""
    return f"{column} = kept.{column} + excluded.{column}"


def earliest(column: str) -> str:
    return f"{column} = CASE WHEN excluded.{column} < kept.{column} THEN excluded.{column} ELSE kept.{column} END"


def latest(column: str) -> str:
    return f"{column} = CASE WHEN excluded.{column} > kept.{column} THEN excluded.{column} ELSE kept.{column} END"


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


def lower(what: Upsert, rows: list[tuple[Any, ...]]) -> None:
    """Subtract the `accepted` of these rows from the existing ones, which the caller has locked.

    Each row must exist: otherwise it would be inserted. The counts are positive, because CHECK tests a row before
    ON CONFLICT finds the existing one.
    """
    upsert(what._replace(update="accepted = kept.accepted - excluded.accepted", returning=""), rows)


@lru_cache(256)
def _upsert_of(what: Upsert, count: int) -> str:
    return (
        f"INSERT INTO {what.table} AS kept ({', '.join(what.columns)})"  # noqa: S608 (our own names)
        f" VALUES {placeholders(count, len(what.columns))}"
        f" ON CONFLICT ({what.key}) DO UPDATE SET {what.update}"
        + (f" RETURNING {what.returning}" if what.returning else "")
    )
