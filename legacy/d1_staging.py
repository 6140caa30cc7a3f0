"""An export from D1, loaded beside the database before any of it is believed.

The SQL of an export is somebody's program. It runs in a scratch SQLite whose authorizer lets it create tables
and indexes and insert literals, with the functions `replace` and `char`, and nothing else.
"""

import errno
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

MAX_STATEMENT_BYTES = 4_194_304
MAX_STATEMENT_LINES = 2_000
# Ids and sessions come in no order: with SQLite's own 2 MB most pages of their indexes would be read and written again
# and again.
PAGES_KEPT_KIB = 32_768
# A statement of an export is done in a few thousand steps of SQLite's machine; an index takes a dozen for each
# row, and no row is shorter than that.
_STEPS_A_CALL = 100_000
_MAX_CALLS = 100
# Less than a write of SQLite's.
_NO_ROOM_BYTES = 1_048_576

TABLES = {
    "client_logs": (
        "id", "received_at_ms", "occurred_at", "event_type", "message", "error_name", "stack", "model", "write_mode",
        "connected", "app_version", "user_agent", "page_url", "log_lines_json", "origin", "ip_hash",
    ),
    "telemetry_events": (
        "id", "received_at_ms", "occurred_at", "event_type", "session_id", "message", "error_name", "stack", "model",
        "write_mode", "connected", "app_version", "log_lines_json", "metadata_json",
    ),
}  # fmt: skip

_SQLITE_MAGIC = b"SQLite format 3\0"
_TRANSACTION = re.compile(rb"\s*(BEGIN(\s+TRANSACTION)?|COMMIT|END(\s+TRANSACTION)?)\s*;\s*", re.IGNORECASE)
_SEQUENCE = "sqlite_sequence"
_SCHEMA = ("sqlite_master", "sqlite_schema")
# SQLite's action codes that Python gives no name, or only a newer one does.
_FUNCTION, _RECURSIVE = 31, 33
_WORDS = {
    sqlite3.SQLITE_ATTACH: "ATTACH",
    sqlite3.SQLITE_DETACH: "DETACH",
    sqlite3.SQLITE_PRAGMA: "PRAGMA",
    sqlite3.SQLITE_SELECT: "SELECT",
    sqlite3.SQLITE_CREATE_TRIGGER: "CREATE TRIGGER",
    sqlite3.SQLITE_CREATE_TEMP_TRIGGER: "CREATE TEMP TRIGGER",
    sqlite3.SQLITE_CREATE_VIEW: "CREATE VIEW",
    sqlite3.SQLITE_CREATE_TEMP_VIEW: "CREATE TEMP VIEW",
    sqlite3.SQLITE_CREATE_VTABLE: "CREATE VIRTUAL TABLE",
    sqlite3.SQLITE_UPDATE: "UPDATE",
    sqlite3.SQLITE_DELETE: "DELETE",
    sqlite3.SQLITE_DROP_TABLE: "DROP TABLE",
    sqlite3.SQLITE_ALTER_TABLE: "ALTER TABLE",
    _RECURSIVE: "a recursive query",
}


class RefusedFile(Exception):
    """The file is no export that can be imported; the words say where and why. Nothing was changed."""


class Staged(NamedTuple):
    """A loaded export: `rows` counts what each known table holds, `left_out` names tables that are not ours."""

    connection: sqlite3.Connection
    rows: dict[str, int]
    left_out: list[str]

    def read(self, table: str, size: int) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows of a table, oldest received first, `size` at a time."""
        cursor = self.connection.execute(f"{_select(table)} ORDER BY received_at_ms, rowid")
        while rows := cursor.fetchmany(size):
            yield [dict(zip(TABLES[table], row, strict=True)) for row in rows]

    def baselines(self) -> Iterator[dict[str, Any]]:
        """Yield the rows that tell of a baseline, the old system's own first.

        It gave that row an id of the same name; the id of one that a client forged is an id like any other.
        """
        named = "{0} >= 'baseline-' AND {0} < 'baseline.'"  # a prefix, without a function
        own, anyone = named.format("id"), named.format("session_id")
        for row in self.connection.execute(
            f"{_select('telemetry_events')} WHERE {own} OR {anyone} ORDER BY NOT ({own}), received_at_ms, rowid"
        ):
            yield dict(zip(TABLES["telemetry_events"], row, strict=True))


def stage(file: Path, scratch: Path, progress: Callable[[int], None]) -> Staged:
    """Load an export, SQL or a SQLite file, into the new database `scratch`; raises RefusedFile, or OSError when
    the disk is full.

    `progress` is told how many bytes are read. Whatever the file holds, nothing outside `scratch` changes.
    """
    connection = sqlite3.connect(scratch, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute(f"PRAGMA cache_size=-{PAGES_KEPT_KIB}")
        # An export fills a database of about its own size; `replace` could make a disk full out of little.
        connection.execute(f"PRAGMA max_page_count={4_096 + file.stat().st_size // 512}")
        _bound(connection)
        with file.open("rb") as opened:
            is_sqlite = opened.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC
        if is_sqlite:
            _copy_database(file, connection)
            progress(file.stat().st_size)
        else:
            _run_sql(file, connection, progress)
        return _checked(connection)
    except BaseException as error:
        connection.close()
        if _is_full(error) and shutil.disk_usage(scratch.parent).free < _NO_ROOM_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
        if isinstance(error, sqlite3.Error):
            raise RefusedFile(f"It cannot be read into a database: {error}.") from None
        raise


def _is_full(error: BaseException) -> bool:
    """Tell whether SQLite had no room: on the disk, or in what a file of this size is given."""
    cause = error.__cause__ if isinstance(error, RefusedFile) else error
    return getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def _bound(connection: sqlite3.Connection) -> None:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_STATEMENT_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, MAX_STATEMENT_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 50)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.text_factory = partial(str, encoding="utf-8", errors="replace")  # SQLite keeps any bytes as text


def _select(table: str) -> str:
    return f"SELECT {', '.join(TABLES[table])} FROM {table}"  # noqa: S608 (our own names)


class _Gatekeeper:
    """What a statement of an export may do; `refused` names what it was stopped at."""

    def __init__(self, file_bytes: int) -> None:
        self.refused = ""
        self.calls = 0
        self.most_calls = _MAX_CALLS + file_bytes // _STEPS_A_CALL

    def authorize(self, action: int, first: str | None, second: str | None, *_: Any) -> int:
        if self._may(action, first, second):
            return sqlite3.SQLITE_OK
        self.refused = f"the function {second}" if action == _FUNCTION else _WORDS.get(action, "this statement")
        return sqlite3.SQLITE_DENY

    @staticmethod
    def _may(action: int, first: str | None, second: str | None) -> bool:
        if action in (sqlite3.SQLITE_CREATE_TABLE, sqlite3.SQLITE_CREATE_INDEX, sqlite3.SQLITE_REINDEX):
            return True
        if action in (sqlite3.SQLITE_INSERT, sqlite3.SQLITE_READ):
            return True
        if action == sqlite3.SQLITE_UPDATE:
            return first in _SCHEMA  # part of every CREATE
        if action == sqlite3.SQLITE_DELETE:
            return first == _SEQUENCE
        if action == _FUNCTION:
            return second in ("replace", "char")
        return action == sqlite3.SQLITE_PRAGMA and first == "defer_foreign_keys"

    def is_too_long(self) -> int:
        self.calls += 1
        return int(self.calls > self.most_calls)


def _run_sql(file: Path, connection: sqlite3.Connection, progress: Callable[[int], None]) -> None:
    gatekeeper = _Gatekeeper(file.stat().st_size)
    connection.execute("BEGIN")
    connection.set_authorizer(gatekeeper.authorize)
    connection.set_progress_handler(gatekeeper.is_too_long, _STEPS_A_CALL)
    read = 0
    for number, statement in enumerate(_statements(file), start=1):
        read += len(statement)
        if _TRANSACTION.fullmatch(statement):
            continue
        gatekeeper.calls = 0
        try:
            connection.execute(statement.decode())
        except UnicodeDecodeError:
            raise RefusedFile(f"Statement {number} is not UTF-8.") from None
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            raise RefusedFile(f"Statement {number}: {_why(gatekeeper, error)}.") from error
        if number % 1_000 == 0:
            progress(read)
    connection.set_authorizer(None)
    connection.set_progress_handler(None, 0)
    connection.execute("COMMIT")
    progress(read)


def _why(gatekeeper: _Gatekeeper, error: Exception) -> str:
    if gatekeeper.refused:
        return f"{gatekeeper.refused} has no place in an export and is not run"
    if gatekeeper.calls > gatekeeper.most_calls:
        return "it takes longer than any statement of an export"
    return str(error).rstrip(".")


def _statements(file: Path) -> Iterator[bytes]:
    waiting: list[bytes] = []
    size = 0
    with file.open("rb") as lines:
        while line := lines.readline(MAX_STATEMENT_BYTES + 1):
            waiting.append(line)
            size += len(line)
            if size > MAX_STATEMENT_BYTES or len(waiting) > MAX_STATEMENT_LINES:
                raise RefusedFile(
                    f"A statement is longer than {MAX_STATEMENT_BYTES:,} bytes or {MAX_STATEMENT_LINES:,} lines."
                )
            if line.rstrip().endswith(b";"):
                statement = b"".join(waiting)
                if sqlite3.complete_statement(statement.decode(errors="replace").replace("\0", " ")):
                    yield statement
                    waiting, size = [], 0
    if b"".join(waiting).strip():
        raise RefusedFile("The file ends in the middle of a statement: the export is not whole.")


def _copy_database(file: Path, connection: sqlite3.Connection) -> None:
    """Copy the known tables out of a SQLite file that is opened for reading alone."""
    source = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)
    try:
        source.execute("PRAGMA trusted_schema=OFF")
        _bound(source)
        source.set_authorizer(_read_only)
        for table, columns in TABLES.items():
            kind = source.execute("SELECT type, sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
            if kind is None:
                continue
            if kind[0] != "table" or re.match(r"\s*CREATE\s+VIRTUAL", kind[1] or "", re.IGNORECASE):
                raise RefusedFile(f"{table} is no plain table in this file.")
            connection.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
            connection.execute("BEGIN")
            connection.executemany(
                f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})",  # noqa: S608
                source.execute(f"{_select(table)} ORDER BY rowid"),
            )
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise RefusedFile(f"The SQLite file cannot be read: {error}.") from error
    finally:
        source.close()


def _read_only(action: int, *_: Any) -> int:
    may = action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ)
    return sqlite3.SQLITE_OK if may else sqlite3.SQLITE_DENY


def _checked(connection: sqlite3.Connection) -> Staged:
    found = [
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        if not name.startswith("sqlite_")
    ]
    known = [table for table in TABLES if table in found]
    if not known:
        raise RefusedFile(f"It holds neither {' nor '.join(TABLES)}: this is no export of the old Worker.")
    rows = {}
    for table in known:
        columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        missing = [column for column in TABLES[table] if column not in columns]
        if missing:
            raise RefusedFile(f"{table} lacks the column {', '.join(missing)}.")
        twice = f"SELECT 1 FROM {table} WHERE id IS NOT NULL GROUP BY id HAVING COUNT(*) > 1 LIMIT 1"  # noqa: S608
        if connection.execute(twice).fetchone():
            raise RefusedFile(f"Two rows of {table} have the same id.")
        connection.execute(f"CREATE INDEX staged_{table} ON {table} (received_at_ms)")
        connection.execute(f"{_select(table)} ORDER BY received_at_ms, rowid LIMIT 0")
        rows[table] = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]  # noqa: S608
    connection.set_authorizer(_read_only_and_notes)
    return Staged(connection, rows, [table for table in found if table not in known])


def _read_only_and_notes(action: int, first: str | None, *_: Any) -> int:
    # A column of a hostile table may be computed by any function: reading it must not run one.
    return sqlite3.SQLITE_DENY if action == _FUNCTION else sqlite3.SQLITE_OK
