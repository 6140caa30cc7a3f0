"""Dumps of the SQLite file, made by `VACUUM INTO`. Readers and writers go on meanwhile."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.db import DatabaseError, connection

from events.maintenance.backups.databases import contents
from events.maintenance.backups.databases.contents import Contents
from events.maintenance.backups.files import folder
from events.maintenance.backups.files.folder import BackupFailed, Damaged

_MOST_PROBLEMS = 3
_STEPS = 20_000  # of SQLite's virtual machine


def needed_bytes() -> int:
    """Return the size of a dump of the site's database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT (page_count - freelist_count) * page_size FROM"
                       " pragma_page_count, pragma_freelist_count, pragma_page_size")  # fmt: skip
        return int(cursor.fetchone()[0])


def dump(target: Path, made_at_ms: int) -> Contents:
    """Write the site's database to a new file, and check it. Raises BackupFailed."""
    with connection.cursor() as cursor:
        try:
            before = _schema(cursor.execute(_SCHEMA).fetchall())
            with _flushed_often(target):
                cursor.execute("VACUUM INTO %s", [str(target)])
            after = _schema(cursor.execute(_SCHEMA).fetchall())
        except DatabaseError as error:
            raise BackupFailed(f"SQLite cannot copy the database: {error}.") from None
    folder.sync(target)
    check(target)
    with closing(_open(target)) as copy:
        copied = _schema(copy.execute(_SCHEMA).fetchall())
    if copied not in (before, after):
        raise BackupFailed("The copy does not have the tables of the database.")
    return read(target, made_at_ms)


@contextmanager
def _flushed_often(target: Path) -> Iterator[None]:
    """Write the copy to the disk in steps, as folder.SteadyWriter does."""
    flushed = 0
    with open(target, "xb", opener=folder.private) as file:  # SQLite accepts an empty file

        def flush() -> int:
            nonlocal flushed
            size = os.fstat(file.fileno()).st_size
            if size - flushed >= folder.FLUSHED_AT_ONCE:
                os.fsync(file.fileno())
                flushed = size
            return 0  # go on

        connection.connection.set_progress_handler(flush, _STEPS)
        try:
            yield
        finally:
            connection.connection.set_progress_handler(None, 0)


def check(file: Path) -> None:
    """Raise Damaged unless SQLite finds the file whole."""
    try:
        with closing(_open(file)) as copy:
            problems = [str(row[0]) for row in copy.execute(f"PRAGMA integrity_check({_MOST_PROBLEMS})")]
            if problems != ["ok"]:
                raise Damaged(f"{file.name} is damaged: {'; '.join(problems)}.")
            if row := copy.execute("PRAGMA foreign_key_check").fetchone():
                raise Damaged(f"{file.name} is damaged: a row of {row[0]} refers to a missing row of {row[2]}.")
    except sqlite3.DatabaseError as error:
        raise Damaged(f"{file.name} is damaged: {error}.") from None


def read(file: Path, made_at_ms: int) -> Contents:
    """Return the contents of a file, which stays unchanged byte for byte."""
    uri = f"file:{quote(str(file))}?mode=ro"
    with contents.using({"ENGINE": "django.db.backends.sqlite3", "NAME": uri, "OPTIONS": {}}):
        return contents.read(made_at_ms)


def restore(dump_file: Path, target: Path) -> None:
    """Write the database of a dump to `target`, and check it. Raises BackupFailed."""
    try:
        with open(target, "xb", opener=folder.private) as copy, dump_file.open("rb") as dumped:
            shutil.copyfileobj(dumped, folder.SteadyWriter(copy), 1 << 20)
        folder.sync(target)
    except OSError as error:
        raise BackupFailed(f"{target} cannot be written: {folder.in_words(error)}.") from None
    check(target)


def read_restored(target: Path, made_at_ms: int) -> Contents:
    """Return the contents of a restored file, opened as the site opens its database."""
    with contents.using({"NAME": target}):
        return contents.read(made_at_ms)


def _open(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)


_SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"


def _schema(rows: list[Any]) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in rows]
