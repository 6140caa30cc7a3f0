"""Loads an untrusted export from D1 into a scratch database.

The SQL of an export is untrusted code. Its CREATE statements run in an empty database in memory, and the import uses
only the resulting names and types of columns. Its INSERT statements run in a scratch database, on plain tables without
defaults, constraints, indexes or generated columns. They may contain literals and the functions `replace` and `char`.
So the work of a statement is bounded by its own length.
"""

import errno
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

MAX_STATEMENT_BYTES = 4_194_304
MAX_STATEMENT_LINES = 2_000
# The limit for a statement without its literals, because SQLite compiles some expressions in quadratic time. A row with
# a hundred columns needs 5,000 bytes.
MAX_CODE_BYTES = 8_192
# Each CREATE takes time proportional to the number of earlier ones.
MAX_CREATES = 500
# `replace` may return this many times the length of the statement in total. An export only uses it to restore line
# breaks. Four nested calls return the text of a statement four times.
MAX_GROWTH = 4
# An export replaces `\n`, `\r`, or a placeholder of up to 14 characters. With a longer pattern, `replace` could compare
# many characters at each position of the text.
MAX_PATTERN = 16
# Ids and sessions are in random order. With its default cache of 2 MB, SQLite would read and write most index pages
# repeatedly.
PAGES_KEPT_KIB = 32_768
# The limit of steps of SQLite's virtual machine for a statement: only a statement with a loop needs more.
_STEPS_A_CALL = 1_000
_MAX_CALLS = 100
# With less free space, an error of SQLite means that the disk is full.
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
# No group is possessive, because Python before 3.11.5 matches such groups wrongly. A comment can match in only one way,
# so that a failed match takes linear time.
_COMMENT = rb"/\*[^*]*+\*++(?:[^/*][^*]*+\*++)*/"
_CREATE = re.compile(rb"(?:\s++|--[^\n]*+\n|" + _COMMENT + rb")*CREATE\b", re.IGNORECASE | re.DOTALL)
# SQL tokens with an opening and a closing delimiter: text literals, quoted names and comments.
_QUOTED = rb"""'[^']*+'|"[^"]*+"|`[^`]*+`|\[[^\]]*+\]|--[^\n]*+(?:\n|\Z)|""" + _COMMENT
_PIECE = re.compile(rb"(?:'[^']*+')+|" + _QUOTED, re.DOTALL)
# The part of a line before an unclosed token, and the semicolon at its end, which ends the statement.
_CLOSED = re.compile(rb"(?:[^'\"`\[;/-]++|" + _QUOTED + rb"|-(?!-)|/(?!\*)|;(?!\s*+\Z))*(?P<end>;\s*+\Z)?", re.DOTALL)
_SEQUENCE = "sqlite_sequence"
_SCHEMA = ("sqlite_master", "sqlite_schema")
# SQLite's rules for type affinity: the first of these words that the type name contains decides.
_AFFINITIES = (
    ("INT", "INTEGER"), ("CHAR", "TEXT"), ("CLOB", "TEXT"), ("TEXT", "TEXT"), ("BLOB", "BLOB"), ("REAL", "REAL"),
    ("FLOA", "REAL"), ("DOUB", "REAL"),
)  # fmt: skip
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
    sqlite3.SQLITE_RECURSIVE: "a recursive query",
}


def without_nul(value: Any) -> Any:
    """Replace each NUL of a text by U+FFFD, because PostgreSQL cannot store NUL."""
    return value.replace("\0", "\ufffd") if value.__class__ is str and "\0" in value else value


class RefusedFile(Exception):
    """The file cannot be imported; the message says where and why. Nothing was changed."""


class Staged(NamedTuple):
    """A loaded export: `rows` counts the rows of each known table, `left_out` lists unknown tables."""

    connection: sqlite3.Connection
    rows: dict[str, int]
    left_out: list[str]

    def read(self, table: str, size: int) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows of a table, oldest received first, `size` at a time."""
        cursor = self.connection.execute(f"{_select(table)} ORDER BY received_at_ms, rowid")
        while rows := cursor.fetchmany(size):
            yield [dict(zip(TABLES[table], row, strict=True)) for row in rows]

    def baselines(self) -> Iterator[dict[str, Any]]:
        """Yield the rows with a baseline, the genuine one first.

        The id of the genuine row begins with `baseline-`. A client could forge a session with this prefix, but no id.
        """
        named = "{0} >= 'baseline-' AND {0} < 'baseline.'"  # LIKE is a function, which the authorizer denies.
        own, anyone = named.format("id"), named.format("session_id")
        for row in self.connection.execute(
            f"{_select('telemetry_events')} WHERE {own} OR {anyone} ORDER BY NOT ({own}), received_at_ms, rowid"
        ):
            yield dict(zip(TABLES["telemetry_events"], row, strict=True))


def stage(file: Path, scratch: Path, progress: Callable[[int], None]) -> Staged:
    """Load an export, SQL or a SQLite file, into the new database `scratch`.

    `progress` receives the number of bytes read. The file cannot change anything outside `scratch`. Raises RefusedFile,
    or OSError when the disk is full.
    """
    connection = sqlite3.connect(scratch, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute(f"PRAGMA cache_size=-{PAGES_KEPT_KIB}")
        # An export fills a database of about its own size. Without a limit, `replace` could fill the disk.
        connection.execute(f"PRAGMA max_page_count={4_096 + file.stat().st_size // 512}")
        _set_limits(connection)
        with file.open("rb") as opened:
            is_sqlite = opened.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC
        if is_sqlite:
            _copy_database(file, connection)
            progress(file.stat().st_size)
        else:
            _run_sql(file, connection, progress)
        return _check(connection)
    except BaseException as error:
        connection.close()
        if _is_full(error) and shutil.disk_usage(scratch.parent).free < _NO_ROOM_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
        if isinstance(error, sqlite3.Error):
            raise RefusedFile(f"It cannot be read into a database: {error}.") from None
        raise


def _is_full(error: BaseException) -> bool:
    """Return whether SQLite ran out of space: on the disk, or within the page limit."""
    cause = error.__cause__ if isinstance(error, RefusedFile) else error
    return getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def _set_limits(connection: sqlite3.Connection) -> None:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_STATEMENT_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, MAX_STATEMENT_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 50)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.text_factory = partial(str, encoding="utf-8", errors="replace")  # SQLite does not check the encoding.


def _select(table: str) -> str:
    return f"SELECT {', '.join(TABLES[table])} FROM {table}"  # noqa: S608 (our own names)


class _Gatekeeper:
    """Runs the statements of an export under limits.

    `rows` is the scratch database, `schema` the database in memory for CREATE statements. `plain` has no limits: it
    runs SQLite's own `replace`. `refused` names the operation that a statement was refused. `produced` counts the
    characters that `replace` returned, `may_produce` is their limit.
    """

    def __init__(self, rows: sqlite3.Connection) -> None:
        self.rows = rows
        self.schema = sqlite3.connect(":memory:", isolation_level=None)
        self.plain = sqlite3.connect(":memory:")
        self.plain.text_factory = rows.text_factory
        self.refused = ""
        self.calls = self.creates = self.produced = self.may_produce = 0
        _set_limits(self.schema)
        # Make SQLite create `sqlite_sequence`, the table of AUTOINCREMENT counters, because an export changes its rows.
        self.rows.execute("CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT)")
        self.rows.execute("DROP TABLE counted")
        self.rows.create_function("replace", 3, self.replace, deterministic=True)
        self.install_limits()

    def install_limits(self) -> None:
        self.rows.set_authorizer(partial(self.authorize, self.may_insert))
        self.schema.set_authorizer(partial(self.authorize, self.may_create))
        for connection in (self.rows, self.schema):
            connection.set_progress_handler(self.is_too_long, _STEPS_A_CALL)

    def remove_limits(self) -> None:
        for connection in (self.rows, self.schema):
            connection.set_authorizer(None)
            connection.set_progress_handler(None, 0)

    def close(self) -> None:
        self.remove_limits()
        self.schema.close()
        self.plain.close()

    def run(self, statement: bytes) -> None:
        """Run one statement; raises sqlite3.Error, or RefusedFile with a message."""
        self.calls = self.produced = 0
        self.refused = ""
        self.may_produce = MAX_GROWTH * len(statement)
        if len(statement) > MAX_CODE_BYTES and _code_bytes(statement) > MAX_CODE_BYTES:
            raise RefusedFile(f"it has more than {MAX_CODE_BYTES:,} bytes outside its texts")
        sql, texts = _with_nul_as_parameters(statement)
        if _CREATE.match(statement):
            self.create(sql)
        elif self.rows.execute(sql, texts).description is not None:
            raise RefusedFile("it returns rows, which no statement of an export does")

    def create(self, sql: str) -> None:
        """Run a CREATE statement in memory, and create a plain table in the scratch database for each new table."""
        self.creates += 1
        if self.creates > MAX_CREATES:
            raise RefusedFile(f"it exceeds the limit of {MAX_CREATES} CREATE statements")
        self.schema.execute(sql)
        self.remove_limits()
        existing = {name for (name,) in self.rows.execute("SELECT name FROM sqlite_master")}
        for (table,) in self.schema.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
            if table not in existing and not table.startswith("sqlite_"):
                columns = self.schema.execute("SELECT name, type, hidden FROM pragma_table_xinfo(?)", (table,))
                self.rows.execute(f"CREATE TABLE {_name(table)} ({', '.join(_plain_column(*c) for c in columns)})")
        self.install_limits()

    def replace(self, text: Any, pattern: Any, by: Any) -> Any:
        """Do the same as SQLite's `replace`, with limits on the output and on the comparisons."""
        is_plain = text.__class__ is pattern.__class__ is by.__class__ is str and pattern[:1] not in ("", "\0")
        whole, sought, other = (text, pattern, by) if is_plain else self.as_texts(text, pattern, by)
        if len(sought) > MAX_PATTERN:
            self.refused = f"the function replace with a pattern of more than {MAX_PATTERN} characters"
            raise ValueError(self.refused)
        matches = whole.count(sought) if sought else 0
        self.produced += len(whole) + matches * (len(other) - len(sought))
        if self.produced > self.may_produce:
            raise ValueError("it produces far more text than it contains")
        if is_plain:
            return text.replace(pattern, by)
        return self.plain.execute("SELECT replace(?, ?, ?)", (text, pattern, by)).fetchone()[0]

    def as_texts(self, *values: Any) -> tuple[str, ...]:
        """Return values as SQLite converts them to text."""
        columns = "CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT)"
        return tuple(text or "" for text in self.plain.execute(f"SELECT {columns}", values).fetchone())

    def authorize(
        self, may: Callable[[int, str | None, str | None], bool], action: int, first: str | None, second: str | None,
        *_: Any,
    ) -> int:  # fmt: skip
        if may(action, first, second):
            return sqlite3.SQLITE_OK
        self.refused = (
            f"the function {second}" if action == sqlite3.SQLITE_FUNCTION else _WORDS.get(action, "this statement")
        )
        return sqlite3.SQLITE_DENY

    @staticmethod
    def may_create(action: int, first: str | None, _: str | None) -> bool:
        if action in (sqlite3.SQLITE_CREATE_TABLE, sqlite3.SQLITE_CREATE_INDEX, sqlite3.SQLITE_REINDEX):
            return True
        if action in (sqlite3.SQLITE_INSERT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION):
            return True  # These tables have no rows.
        return action == sqlite3.SQLITE_UPDATE and first in _SCHEMA

    @staticmethod
    def may_insert(action: int, first: str | None, second: str | None) -> bool:
        if action == sqlite3.SQLITE_INSERT:
            return first not in _SCHEMA
        if action == sqlite3.SQLITE_DELETE:
            return first == _SEQUENCE
        if action == sqlite3.SQLITE_FUNCTION:
            # `char` returns at most one character per argument.
            return second in ("replace", "char")
        return action == sqlite3.SQLITE_PRAGMA and first == "defer_foreign_keys"

    def is_too_long(self) -> int:
        self.calls += 1
        return int(self.calls > _MAX_CALLS)

    def reason_of(self, error: Exception) -> str:
        """Return the reason why a statement failed."""
        if self.produced > self.may_produce:
            return "it produces far more text than it contains"
        if self.refused:
            return f"{self.refused} is not allowed in an export and is not run"
        if self.calls > _MAX_CALLS:
            return "it takes longer than any statement of an export"
        if str(error).startswith("user-defined function"):
            return "it passes a value that is not text to the function replace"
        return str(error).rstrip(".")


def _run_sql(file: Path, connection: sqlite3.Connection, progress: Callable[[int], None]) -> None:
    connection.execute("BEGIN")
    gatekeeper = _Gatekeeper(connection)
    read = 0
    try:
        for number, statement in enumerate(_statements(file), start=1):
            read += len(statement)
            if _TRANSACTION.fullmatch(statement):
                continue
            try:
                gatekeeper.run(statement)
            except UnicodeDecodeError:
                raise RefusedFile(f"Statement {number} is not UTF-8.") from None
            except (sqlite3.Error, sqlite3.Warning, ValueError, RefusedFile) as error:
                raise RefusedFile(f"Statement {number}: {gatekeeper.reason_of(error)}.") from error
            if number % 1_000 == 0:
                progress(read)
    finally:
        gatekeeper.close()
    connection.execute("COMMIT")
    progress(read)


def _statements(file: Path) -> Iterator[bytes]:
    waiting: list[bytes] = []
    size = 0
    opened = b""
    with file.open("rb") as lines:
        while line := lines.readline(MAX_STATEMENT_BYTES + 1):
            waiting.append(line)
            size += len(line)
            if size > MAX_STATEMENT_BYTES or len(waiting) > MAX_STATEMENT_LINES:
                raise RefusedFile(
                    f"A statement is longer than {MAX_STATEMENT_BYTES:,} bytes or {MAX_STATEMENT_LINES:,} lines."
                )
            opened, is_end = _read_line(line, opened)
            if is_end:
                yield b"".join(waiting)
                waiting, size = [], 0
    if b"".join(waiting).strip():
        raise RefusedFile("The file ends in the middle of a statement: the export is incomplete.")


def _read_line(line: bytes, opened: bytes) -> tuple[bytes, bool]:
    """Return the delimiter that would close the token that is open at the end of a line, and whether a statement ends.

    `opened` is that delimiter at the end of the previous line, or `b""`. `sqlite3.complete_statement` would read the
    statement from its beginning for each line.
    """
    start = line.find(opened) + len(opened)
    if start < len(opened):
        return opened, False
    match = cast("re.Match[bytes]", _CLOSED.match(line, start))  # It always matches, if only the empty string.
    rest = line[match.end() :]
    if not rest:
        return b"", match["end"] is not None
    return (b"*/" if rest.startswith(b"/*") else rest[:1].replace(b"[", b"]")), False


def _code_bytes(statement: bytes) -> int:
    """Return the length of a statement without its literals."""
    return len(_PIECE.sub(lambda match: b"" if match[0].startswith(b"'") else match[0], statement))


def _with_nul_as_parameters(statement: bytes) -> tuple[str, list[str]]:
    """Return the statement with a parameter for each literal that contains NUL, and the parameters.

    SQLite ends a statement at NUL. The old Worker stored NUL in texts, and an export contains it unescaped.
    """
    texts: list[str] = []
    if b"\0" not in statement:
        return statement.decode(), texts

    def parameter(match: re.Match[bytes]) -> bytes:
        literal = match[0]
        if not literal.startswith(b"'") or b"\0" not in literal:
            return literal
        texts.append(literal[1:-1].decode().replace("''", "'"))
        return b"?"

    sql = _PIECE.sub(parameter, statement).decode()
    if "\0" in sql:
        raise RefusedFile("it has a NUL character outside its texts")
    return sql, texts


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _plain_column(name: str, declared: str, hidden: int) -> str:
    """Return a plain column definition with the same name and type affinity, without constraints."""
    _refuse_generated(hidden)
    kinds = (kind for word, kind in _AFFINITIES if word in declared.upper())
    return f"{_name(name)} {next(kinds, 'NUMERIC') if declared else ''}"


def _refuse_generated(hidden: int) -> None:
    if hidden:
        raise RefusedFile("A generated column is not allowed in an export.")


def _copy_database(file: Path, connection: sqlite3.Connection) -> None:
    """Copy the known tables from a SQLite file that is opened read-only."""
    source = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)
    try:
        source.execute("PRAGMA trusted_schema=OFF")
        _set_limits(source)
        for table, columns in TABLES.items():
            source.set_authorizer(None)
            kind = source.execute("SELECT type, sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
            if kind is None:
                continue
            if kind[0] != "table" or re.match(r"\s*CREATE\s+VIRTUAL", kind[1] or "", re.IGNORECASE):
                raise RefusedFile(f"{table} is not a plain table in this file.")
            for (hidden,) in source.execute("SELECT hidden FROM pragma_table_xinfo(?)", (table,)):
                _refuse_generated(hidden)
            source.set_authorizer(_read_only)
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


def _check(connection: sqlite3.Connection) -> Staged:
    tables = [
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        if not name.startswith("sqlite_")
    ]
    known = [table for table in TABLES if table in tables]
    if not known:
        raise RefusedFile(f"It contains neither {' nor '.join(TABLES)}, so it is not an export of the old Worker.")
    rows = {}
    connection.create_function("without_nul", 1, without_nul, deterministic=True)
    for table in known:
        columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        missing = [column for column in TABLES[table] if column not in columns]
        if missing:
            raise RefusedFile(f"{table} lacks the column {', '.join(missing)}.")
        duplicates = f"SELECT 1 FROM {table} WHERE id IS NOT NULL GROUP BY without_nul(id) HAVING COUNT(*) > 1 LIMIT 1"  # noqa: S608
        if connection.execute(duplicates).fetchone():
            raise RefusedFile(f"Two rows of {table} have the same id.")
        connection.execute(f"CREATE INDEX staged_{table} ON {table} (received_at_ms)")
        connection.execute(f"{_select(table)} ORDER BY received_at_ms, rowid LIMIT 0")
        rows[table] = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]  # noqa: S608
    connection.set_authorizer(_deny_functions)
    return Staged(connection, rows, [table for table in tables if table not in known])


def _deny_functions(action: int, first: str | None, *_: Any) -> int:
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_FUNCTION else sqlite3.SQLITE_OK
