"""Returns the space of deleted rows to the file system, in short steps between which ingest goes on.

SQLite keeps free pages in its file until `incremental_vacuum` moves them to the end and cuts them off. This needs a
file that was created with `auto_vacuum=INCREMENTAL`, as this site creates it. PostgreSQL reuses the space of deleted
rows after a VACUUM, and returns only what is free at the end of the table.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from django.db import connection

from events.counting import site_days
from events.maintenance import disk
from events.models import Event

T = TypeVar("T")

# Ingest waits while one step runs.
PAGES_A_STEP = 100
# The part of the time in which a background job holds the lock of the database.
BUSY_PART = 0.1
_CHECKPOINT_WAIT_MS = 20
_CHECKPOINT_TRIES = 20
_INCREMENTAL = 2


class Reclaimed(NamedTuple):
    """The bytes returned to the file system, and those that stay free inside the database for new rows.

    `cannot_shrink`: the SQLite file was created without `auto_vacuum`.
    """

    freed: int
    reusable: int
    cannot_shrink: bool = False

    def __str__(self) -> str:
        words = f"{disk.in_words(self.freed)} freed"
        if self.cannot_shrink and self.reusable:
            words += (
                f"; {disk.in_words(self.reusable)} stay in the file for new events, because it was created without"
                " auto_vacuum. To shrink it, stop the site and run `manage.py reclaim_space --vacuum`"
            )
        elif self.reusable:
            words += f"; about {disk.in_words(self.reusable)} inside the database are free for new events"
        return words


def gently(steps: Iterable[T]) -> Iterator[T]:
    """Yield each step of a long operation, and pause after it, so that the steps take BUSY_PART of the time."""
    began = time.monotonic()
    for step in steps:
        yield step
        time.sleep((time.monotonic() - began) * (1 / BUSY_PART - 1))
        began = time.monotonic()


def reclaim() -> Reclaimed:
    """Return all free space that can be returned. May run beside ingest, and beside another run."""
    if connection.vendor == "sqlite":
        return _reclaim_pages()
    before = site_days.database_bytes()
    if not connection.in_atomic_block:
        with connection.cursor() as cursor:
            # A manual VACUUM runs at full speed by default; autovacuum waits 2 ms for each bit of work.
            cursor.execute("SET vacuum_cost_delay = 2")
            try:
                cursor.execute(f"VACUUM (ANALYZE) {Event._meta.db_table}")
            finally:
                cursor.execute("RESET vacuum_cost_delay")
    after = site_days.database_bytes()
    return Reclaimed(max(before - after, 0), max(after - held_bytes(), 0))


def _reclaim_pages() -> Reclaimed:
    page_bytes = _pragma("page_size")
    left = _pragma("freelist_count")
    freed = 0
    for now_left in gently(free_pages(PAGES_A_STEP)):
        freed += max(left - now_left, 0)
        left = now_left
    for _ in range(_CHECKPOINT_TRIES):  # the file shrinks with the checkpoint
        if _truncate_log_without_waiting():
            break
        time.sleep(0.5)
    left = _pragma("freelist_count")
    return Reclaimed(freed * page_bytes, left * page_bytes, _pragma("auto_vacuum") != _INCREMENTAL)


def held_bytes() -> int:
    """Return the size of the database without the space that new rows can reuse. On PostgreSQL it is an estimate."""
    if connection.vendor == "sqlite":
        return (_pragma("page_count") - _pragma("freelist_count")) * _pragma("page_size")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_database_size(current_database()), pg_total_relation_size(oid), reltuples"
            " FROM pg_class WHERE oid = to_regclass(%s)",
            [Event._meta.db_table],
        )
        whole, table, rows = cursor.fetchone()
    if rows < 0:  # PostgreSQL has never counted them
        return int(whole)
    return int(whole - max(table - rows * bytes_per_event(), 0))


def bytes_per_event() -> float:
    """Return about how many bytes an event takes with its indexes, from the oldest and the newest events."""
    size = "pg_column_size" if connection.vendor == "postgresql" else "length"
    columns = [str(field.column) for field in Event._meta.concrete_fields]
    width = " + ".join(f"coalesce({size}({connection.ops.quote_name(column)}), 0)" for column in columns)
    table = Event._meta.db_table
    halves = [
        f"SELECT * FROM (SELECT {width} AS width FROM {table} ORDER BY received_at_ms {order} LIMIT {_SAMPLED}) AS {order}_half"  # noqa: S608,E501
        for order in ("ASC", "DESC")
    ]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT avg(width) FROM ({' UNION ALL '.join(halves)}) AS sampled")  # noqa: S608
        (average,) = cursor.fetchone()
    return float(average or 0) + _OVERHEAD_BYTES


_SAMPLED = 500
_OVERHEAD_BYTES = 300  # of a row and its entries in seven indexes


def empty_log() -> bool:
    """Checkpoint SQLite's write-ahead log and truncate it; returns False if a reader prevented that."""
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        return True
    with connection.cursor() as cursor:
        is_busy, *_ = cursor.execute("PRAGMA wal_checkpoint(truncate)").fetchone()
    return not is_busy


def _truncate_log_without_waiting() -> bool:
    """Empty the log as `empty_log`, but let no writer wait for a long reader, such as an export."""
    if connection.in_atomic_block:
        return True
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()  # copies the pages, and blocks nobody
        with _patience(_CHECKPOINT_WAIT_MS):
            return empty_log()


@contextmanager
def _patience(milliseconds: int) -> Iterator[None]:
    usual = _pragma("busy_timeout")
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA busy_timeout={milliseconds}")
        try:
            yield
        finally:
            cursor.execute(f"PRAGMA busy_timeout={usual}")


def vacuum() -> None:
    """Run VACUUM on SQLite, so that free pages contain no old data. It blocks all other writers.

    Afterwards the file can shrink in steps, even if it was created without `auto_vacuum`.
    """
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
            cursor.execute("VACUUM")


def free_pages(at_once: int = 5_000) -> Iterator[int]:
    """Return the free pages of SQLite's file to the file system in steps; yields the number of remaining pages.

    This needs a file created with `auto_vacuum=INCREMENTAL`. PostgreSQL's autovacuum does the same on its own. Does
    nothing inside a transaction, because the pragma would commit it.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        return
    left = _pragma("freelist_count")
    while left:
        # `execute` would run one step and free one page; `executescript` runs the statement to its end.
        connection.connection.executescript(f"PRAGMA incremental_vacuum({at_once})")
        before, left = left, _pragma("freelist_count")
        if left >= before:  # Another connection frees pages as fast, or the file does not support it.
            return
        yield left


def _pragma(name: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA {name}")
        return int(cursor.fetchone()[0])
