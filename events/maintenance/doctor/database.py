"""Findings about the database: whether it can be read, its size, its settings, its migrations and its integrity."""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from django.apps import apps
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.db.migrations.exceptions import InconsistentMigrationHistory
from django.db.migrations.loader import MigrationLoader

from events.maintenance.doctor import files
from events.maintenance.doctor.findings import Depth, Examination, Finding, age, size

SECONDS = {Depth.PAGE: 1, Depth.COMMAND: 2, Depth.FULL: None}
PROGRESS_STEPS = 20_000  # SQLite's virtual machine runs them in less than a millisecond
LEAST_POSTGRES = 15
LEAST_SQLITE = (3, 35, 0)  # RETURNING
LARGE_LOG = 256 * 1_024 * 1_024
MOST_FREE_PART = 0.5
LARGE_FREE = 256 * 1_024 * 1_024
SHOWN = 3
RECENT_MS = 2 * 86_400_000

# What a message of libpq contains, and how to say it without the address that stands beside it.
_POSTGRES_REASONS = {
    "connection refused": "the server refuses the connection",
    "timeout": "the server does not answer in time",
    "timed out": "the server does not answer in time",
    "couldn't get a connection": "the server does not answer in time",
    "name or service not known": "the name of the server cannot be resolved",
    "could not translate host name": "the name of the server cannot be resolved",
    "failed to resolve host": "the name of the server cannot be resolved",
    "no route to host": "there is no route to the server",
    "password authentication failed": "the server refuses the user or the password",
    "no password supplied": "the server requires a password",
    "no pg_hba.conf entry": "the server does not let this machine in (pg_hba.conf)",
    "no such file or directory": "no server listens on the socket",
    "role": "the server does not know the user, or does not let it in",
    "database": "the server does not have this database",
    "ssl": "the TLS connection to the server fails",
}
_SQLITE_REMEDIES = {
    "locked": "Another program has locked the file: a `sqlite3` shell, or a copy that runs. Stop it.",
    "malformed": "The file is damaged. Stop the site, and restore the newest backup: docs/runbook.md.",
    "not a database": "The file is damaged, or another file. Stop the site, and restore the newest backup.",
    "unable to open": "Run the command as the user of the site, and check the permissions of DATA_DIR and the file.",
    "readonly": "Run the command as the user of the site, and check the permissions of DATA_DIR and the file.",
    "disk i/o": "The disk fails, or is full. Check it, then restore the newest backup if the file is damaged.",
}


class Unreadable(Exception):
    """The database cannot be read. The arguments are the reason in words, and what to do."""


@contextmanager
def reading(depth: Depth) -> Iterator[None]:
    """Limit what runs inside to reads, and its time by `depth`. Nothing is left behind in the connection.

    With PostgreSQL, the limits are those of a transaction, because a pool may give the connection to others later.
    """
    seconds = SECONDS[depth]
    if connection.vendor == "postgresql":
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(
                    "SET TRANSACTION READ ONLY; SET LOCAL lock_timeout = 1000;"
                    f" SET LOCAL statement_timeout = {int((seconds or 0) * 1_000)}"
                )
            try:
                yield
            finally:
                transaction.set_rollback(True)
        return
    connection.ensure_connection()
    raw = connection.connection
    if seconds is None:
        yield
        return
    end = time.monotonic() + seconds
    raw.set_progress_handler(lambda: time.monotonic() > end, PROGRESS_STEPS)
    try:
        yield
    finally:
        raw.set_progress_handler(None, 0)


def probe() -> None:
    """Read one row of the database. Raises Unreadable."""
    if connection.vendor == "sqlite":
        _refuse_unusable_file()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1" if connection.vendor == "postgresql" else "SELECT count(*) FROM sqlite_master")
            cursor.fetchone()
    except DatabaseError as error:
        raise Unreadable(reason(error), remedy(error)) from None


def _refuse_unusable_file() -> None:
    path = file()
    if path is None:
        return
    if path.parent.is_dir() and not os.access(path.parent, os.X_OK):
        raise Unreadable(f"{files.me()} may not look into {path.parent}", "Run the command as the user of the site.")
    database = files.file_at(path)
    if database is None:
        raise Unreadable(
            f"{path} does not exist",
            "Check DATA_DIR and DATABASE_URL. For a new site, run `manage.py serve`, which creates the file. If the"
            " file was deleted, stop the site and restore the newest backup.",
        )
    if not database.size and not files.file_at(path.with_name(f"{path.name}-wal")):
        raise Unreadable(f"{path} is empty", "For a new site, run `manage.py serve`. Otherwise restore a backup.")
    log, index = (files.file_at(path.with_name(path.name + end)) for end in ("-wal", "-shm"))
    if log and not index and log.uid != os.geteuid():
        # SQLite would create the index with this user as its owner, and lock out the site.
        raise Unreadable(
            f"{log.path.name} has no index, and only its owner may create it",
            f"Run the command as {files.user(log.uid)}.",
        )


def file() -> Path | None:
    """Return the path of the SQLite database; None in memory and with PostgreSQL."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor != "sqlite" or ":memory:" in name or "mode=memory" in name:
        return None
    return Path(unquote(name.removeprefix("file:").partition("?")[0])) if name.startswith("file:") else Path(name)


def was_started_meanwhile() -> bool:
    """Return whether a server began to write to a file that was opened as unchanging."""
    path = file()
    is_fixed = "immutable=1" in str(connection.settings_dict["NAME"])
    return is_fixed and path is not None and path.with_name(f"{path.name}-wal").exists()


def reason(error: Exception) -> str:
    """Return why the database failed, without an address, a user, or a value of a row."""
    state = getattr(error.__cause__, "sqlstate", None)
    text = str(error).partition("\n")[0]
    if connection.vendor == "sqlite":
        return text or type(error).__name__
    if state and not state.startswith(("08", "28", "3D")):
        return f"PostgreSQL's error {state}"
    return next((words for part, words in _POSTGRES_REASONS.items() if part in str(error).lower()), "no connection")


def remedy(error: Exception) -> str:
    text = str(error).lower()
    if connection.vendor == "postgresql":
        return "Check DATABASE_URL, and that the server runs: docs/runbook.md, What to do on 503."
    return next((words for part, words in _SQLITE_REMEDIES.items() if part in text), "See docs/runbook.md.")


# --- checks --------------------------------------------------------------------------------------------------------


def state(examination: Examination) -> Iterator[Finding]:
    yield from _postgres() if connection.vendor == "postgresql" else _sqlite()


def _sqlite() -> Iterator[Finding]:
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info >= LEAST_SQLITE:
        yield Finding.fine("database.version", "SQLite", version)
    else:
        yield Finding.wrong("database.version", "SQLite", f"{version}, too old", "Install SQLite 3.35 or later.")
    pages, page_bytes, free, vacuum = (
        _pragma(name) for name in ("page_count", "page_size", "freelist_count", "auto_vacuum")
    )
    path = file()
    log = files.file_at(path.with_name(f"{path.name}-wal")) if path else None
    used, unused, log_bytes = pages * page_bytes, free * page_bytes, log.size if log else 0
    text = f"{size(used)}, of which {size(unused)} are free pages; write-ahead log {size(log_bytes)}"
    if log_bytes > LARGE_LOG:
        yield Finding.look(
            "database.size",
            "Size",
            f"{text}: a reader that never ends keeps the log from being emptied",
            "Close open `sqlite3` shells, or restart the site.",
        )
    elif unused > LARGE_FREE and unused > MOST_FREE_PART * used:
        yield Finding.look(
            "database.size", "Size", text, "Reclaim the free pages: the jobs of the site do it each night."
        )
    else:
        yield Finding.fine("database.size", "Size", text)
    if vacuum != 2:
        yield Finding.look(
            "database.vacuum",
            "Free pages",
            "the file was created without auto_vacuum, so free pages are used again but never returned to the disk",
            "Stop the site, and run: sqlite3 FILE 'PRAGMA auto_vacuum=INCREMENTAL; VACUUM'",
        )


def _pragma(name: str) -> int:
    return int(_one(f"PRAGMA {name}"))


def _one(query: str, *parameters: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        row = cursor.fetchone()
    return row[0] if row else None


def _postgres() -> Iterator[Finding]:
    number, version = int(_one("SHOW server_version_num")), _one("SHOW server_version")
    if number >= LEAST_POSTGRES * 10_000:
        yield Finding.fine("database.version", "PostgreSQL", version)
    else:
        yield Finding.wrong("database.version", "PostgreSQL", f"{version}, too old", "Upgrade to version 15 or later.")
    yield Finding.fine("database.size", "Size", size(_one("SELECT pg_database_size(current_database())")))
    if _one("SELECT pg_is_in_recovery()"):
        yield Finding.wrong(
            "database.role", "Role", "a standby, which refuses writes", "Set DATABASE_URL to the primary server."
        )
    else:
        yield Finding.fine("database.role", "Role", "primary server")
    unsafe = [name for name in ("fsync", "synchronous_commit", "full_page_writes") if _one(f"SHOW {name}") == "off"]
    if unsafe:
        yield Finding.wrong(
            "database.durability",
            "Durability",
            f"{' and '.join(unsafe)} off: acknowledged events can be lost when the machine stops",
            "Switch it on in postgresql.conf, and for the database and its user.",
        )
    else:
        yield Finding.fine("database.durability", "Durability", "a commit is on disk before it is acknowledged")
    most = int(_one("SHOW max_connections")) - int(_one("SHOW superuser_reserved_connections"))
    wanted = settings.WORKERS * (settings.THREADS + 14)
    text = f"the site may open {wanted}, the server allows {most}"
    if wanted > most:
        yield Finding.look(
            "database.connections", "Connections", text, "Lower WORKERS or THREADS, or raise max_connections."
        )
    else:
        yield Finding.fine("database.connections", "Connections", text)


def migrations(examination: Examination) -> Iterator[Finding]:
    title = "Migrations"
    loader = MigrationLoader(connection)
    known = loader.disk_migrations
    applied = loader.applied_migrations
    pending = sorted(
        f"{app}.{name}" for app, name in known.keys() - applied.keys() if (app, name) in loader.graph.nodes
    )
    ours = {app for app, _ in known}
    unknown = sorted(f"{app}.{name}" for app, name in applied.keys() - known.keys() if app in ours)
    try:
        loader.check_consistent_history(connection)
    except InconsistentMigrationHistory as error:
        yield Finding.wrong("database.migrations", title, str(error), "Restore a backup, and upgrade it step by step.")
        return
    if unknown:
        yield Finding.wrong(
            "database.migrations",
            title,
            f"the database is of a newer release: it has {_first(unknown)}",
            "Install the release that last ran on it, or restore the backup from before the upgrade.",
        )
    elif pending:
        yield Finding.wrong(
            "database.migrations",
            title,
            f"{len(pending)} pending: {_first(pending)}",
            "Make a backup, then restart the site: `manage.py serve` runs them.",
        )
    else:
        newest = max(name for app, name in applied if app == "events")
        yield Finding.fine(
            "database.migrations", title, f"all {len(applied)} applied; the newest of events is {newest}"
        )


def are_pending() -> bool:
    """Return whether a migration is pending, so that a table or a column may be missing."""
    loader = MigrationLoader(connection)
    return bool(loader.disk_migrations.keys() - loader.applied_migrations.keys())


def _first(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def integrity(examination: Examination) -> Iterator[Finding]:
    if connection.vendor == "postgresql":
        yield _postgres_integrity()
    elif examination.depth is Depth.PAGE:
        by_backup = _checked_by_backup(examination.now_ms)
        text = by_backup or "`manage.py doctor` checks the file; this page does not"
        yield Finding.fine("database.integrity", "Integrity", text)
    else:
        yield _sqlite_integrity(examination)


def _checked_by_backup(now_ms: int) -> str:
    """Return which recent backup checked the whole file, "" if none did."""
    backups = apps.get_model("events", "Backup").objects.filter(made_ms__gt=now_ms - RECENT_MS, problem="")
    made_ms = backups.order_by("-made_ms").values_list("made_ms", flat=True).first()
    return f"the backup of {age(now_ms - made_ms)} ago found no fault" if made_ms else ""


def _sqlite_integrity(examination: Examination) -> Finding:
    name, title, depth = "database.integrity", "Integrity", examination.depth
    pragma = "integrity_check" if depth is Depth.FULL else "quick_check"
    try:
        with _interrupted_after(SECONDS[depth]), connection.cursor() as cursor:
            cursor.execute(f"PRAGMA {pragma}({SHOWN})")
            faults = [row[0] for row in cursor.fetchall()]
            if faults == ["ok"] and depth is Depth.FULL:
                cursor.execute("PRAGMA foreign_key_check")
                faults = [f"a row of {row[0]} refers to no row of {row[2]}" for row in cursor.fetchmany(SHOWN)] or [
                    "ok"
                ]
    except DatabaseError as error:
        if "interrupted" not in str(error):
            raise
        text = f"{pragma} found nothing in {SECONDS[depth]} s, and was stopped"
        if by_backup := _checked_by_backup(examination.now_ms):
            return Finding.fine(name, title, f"{text}; {by_backup}")
        return Finding.look(name, title, text, "Run `manage.py doctor --full`, which has no limit.")
    if faults == ["ok"]:
        return Finding.fine(name, title, f"{pragma} found no fault")
    return Finding.wrong(
        name,
        title,
        f"{pragma}: {'; '.join(str(fault).replace('*** in database main ***', '') for fault in faults)}",
        "The file is damaged. Stop the site, and restore the newest backup: docs/runbook.md.",
    )


@contextmanager
def _interrupted_after(seconds: float | None) -> Iterator[None]:
    """Interrupt the statement inside after this time. To SQLite's progress handler, a check of a table is one step."""
    raw = connection.connection
    raw.set_progress_handler(None, 0)
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, raw.interrupt)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _postgres_integrity() -> Finding:
    name, title = "database.integrity", "Integrity"
    invalid = _one("SELECT count(*) FROM pg_index WHERE NOT indisvalid")
    failures = _one("SELECT checksum_failures FROM pg_stat_database WHERE datname = current_database()")
    if invalid:
        return Finding.wrong(name, title, f"{invalid} indexes are invalid", "Run REINDEX DATABASE CONCURRENTLY.")
    if failures:
        return Finding.wrong(
            name, title, f"{failures} pages had a wrong checksum", "The disk is damaged. Restore the newest backup."
        )
    sums = "every read checks the page" if failures is not None else "data checksums are off"
    return Finding.fine(name, title, f"no invalid index; {sums}")
