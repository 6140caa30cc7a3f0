"""Keyset pagination of querysets that are ordered by a column and then by a unique key, both in one direction.

A page starts after the row of a cursor. So no page counts rows, skips rows, or repeats a row when new ones arrive.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

from django.db.models import Q, QuerySet

Rows = TypeVar("Rows", bound=QuerySet[Any, Any])


class Cursor(NamedTuple):
    """The two sort values of a row."""

    value: Any
    key: Any

    def __str__(self) -> str:
        return f"{self.value}.{self.key}"

    @classmethod
    def parse(cls, raw: str, pattern: str = r"(?s)([0-9]{1,15})\.(.+)") -> "Cursor":
        """Parse the output of `str()`. Raises ValueError."""
        match = re.fullmatch(pattern, raw)
        if match is None:
            raise ValueError("not a cursor")
        return cls(*match.groups())


def page(rows: QuerySet[Any, Any], limit: int, cursor: Cursor | None = None) -> tuple[list[Any], Cursor | None]:
    """Return up to `limit` rows after a cursor, and the cursor of the next page, None at the end."""
    selected = list((rows if cursor is None else after(rows, cursor))[: limit + 1])
    return selected[:limit], cursor_of(rows, selected[limit - 1]) if len(selected) > limit else None


def in_batches(rows: QuerySet[Any, Any], size: int) -> Iterator[list[Any]]:
    """Yield all rows in lists of up to `size`. Each list is a query of its own, so no transaction stays open."""
    rest = rows
    while batch := list(rest[:size]):
        yield batch
        rest = after(rows, cursor_of(rows, batch[-1]))


def after(rows: Rows, cursor: Cursor) -> Rows:
    return rows.filter(_beyond(cursor, *_order(rows)))


def before(rows: Rows, cursor: Cursor) -> Rows:
    """Return the rows before a cursor, the nearest first."""
    return after(rows.order_by(*map(_opposite, _order(rows))), cursor)


def until(rows: Rows, cursor: Cursor) -> Rows:
    """Return the rows up to a cursor, including its own row."""
    return rows.filter(_beyond(cursor, *map(_opposite, _order(rows)), or_equal="e"))


def cursor_of(rows: QuerySet[Any, Any], row: Any) -> Cursor:
    """Return the cursor of a row. A tuple without names begins with the two sort values."""
    column, key = (name.lstrip("-") for name in _order(rows))
    return Cursor(getattr(row, column), getattr(row, key)) if hasattr(row, key) else Cursor(*row[:2])


def _order(rows: QuerySet[Any, Any]) -> list[str]:
    return [str(name) for name in rows.query.order_by]


def _opposite(name: str) -> str:
    return name[1:] if name.startswith("-") else f"-{name}"


def _beyond(cursor: Cursor, column: str, key: str, *, or_equal: str = "") -> Q:
    over = "lt" if column.startswith("-") else "gt"
    column, key = column.lstrip("-"), key.lstrip("-")
    # An index can use the plain bound on the column. The second condition orders rows of the same value.
    is_later = Q((f"{column}__{over}", cursor.value)) | Q((f"{key}__{over}{or_equal}", cursor.key))
    return Q((f"{column}__{over}e", cursor.value)) & is_later
