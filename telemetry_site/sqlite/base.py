"""SQLite backend that detects a removed or replaced database file.

After the file or its -wal is removed or replaced, open connections keep writing to the old inode. SQLite does not
notice this in WAL mode. So each commit compares the inodes afterwards, and fails when they have changed. A commit that
succeeds is therefore in the file under its name.
"""

import os
import threading
import time
from functools import lru_cache
from typing import Any, ClassVar
from urllib.parse import quote

from django.db import OperationalError
from django.db.backends.sqlite3 import base
from django.utils.asyncio import async_unsafe

_Inodes = tuple[tuple[int, int] | None, ...]
# A file system's clock can be this coarse. Two writes within one tick leave the same time.
_TICK_NS = 50_000_000


class _Cursor(base.SQLiteCursorWrapper):
    def convert_query(self, query: str, *, param_names: list[str] | None = None) -> str:
        if param_names is None:
            return _converted(query)
        return str(super().convert_query(query, param_names=param_names))


@lru_cache(512)
def _converted(query: str) -> str:
    """Return a query with SQLite's placeholders. For a batch the conversion takes a tenth of the time of the insert."""
    return str(base.FORMAT_QMARK_REGEX.sub("?", query).replace("%%", "%"))


class _File:
    """A database file, as all connections of this process to it see it.

    They share SQLite's index of the -wal. So after a replacement they must all close before another one opens:
    otherwise SQLite would read the new -wal with the old -shm index, which the process still maps.
    """

    def __init__(self, path: str) -> None:
        self.paths = (path, f"{path}-wal", f"{path}-shm")
        self.lock = threading.Lock()
        self.connections = 0
        self.is_replaced = False
        self._inodes: _Inodes = ()

    def opened(self) -> None:
        with self.lock:
            if not self.connections:
                self._inodes, self.is_replaced = self._current(), False
            self.connections += 1

    def verify(self) -> None:
        """Raise OperationalError if the file or its -wal was removed or replaced while it was open."""
        current = self._current()
        if any(before not in (None, now) for before, now in zip(self._inodes, current, strict=True)):
            self.is_replaced = True
        if self.is_replaced:
            raise OperationalError("the database file was removed or replaced")
        self._inodes = current  # the first commit to a new file creates the -wal

    def mark(self) -> tuple[int, ...] | None:
        """Return the identity, the size and the time of the -wal, or None if a later write could leave the same."""
        try:
            status = os.stat(self.paths[1])
        except OSError:
            return None
        is_old = time.time_ns() - status.st_mtime_ns > _TICK_NS
        return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns) if is_old else None

    def _current(self) -> _Inodes:
        database, log, _ = self.paths
        return _inode(database), _inode(log)


_files: dict[str, _File] = {}


class DatabaseWrapper(base.DatabaseWrapper):
    # A running server never creates a database: an empty file would block the restore of the real one.
    may_create: ClassVar[bool] = True

    _file: _File | None = None  # None without a connection, and in memory

    def get_connection_params(self) -> dict[str, Any]:
        params: dict[str, Any] = super().get_connection_params()
        if not self.may_create and not self.is_in_memory_db():
            params["database"] = f"file:{quote(str(params['database']))}?mode=rw"
        return params

    def create_cursor(self, name: str | None = None) -> Any:
        return self.connection.cursor(factory=_Cursor)

    @async_unsafe
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        if self.is_in_memory_db():
            return super().get_new_connection(conn_params)
        path = str(self.settings_dict["NAME"])
        file = _files.setdefault(path, _File(path))
        with file.lock:
            if file.connections:
                file.verify()
        if not self.may_create:
            _refuse_read_only(file)
        connection = super().get_new_connection(conn_params)
        file.opened()
        self._file = file
        return connection

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is None:
            super()._close()  # type: ignore[misc]
            return
        with file.lock:  # the last connection to close deletes the -wal file; another must not open meanwhile
            file.connections -= 1
            super()._close()  # type: ignore[misc]

    def change_mark(self) -> tuple[int, ...] | None:
        """Return a mark that is another one after any commit of any process. None: nothing is known of later commits.

        A value is current as long as the mark is the one from before it was read. Every commit
        writes to the -wal. A transaction of this connection may have changed rows already, so it gets None.
        """
        return None if self._file is None or self.in_atomic_block else self._file.mark()

    def is_usable(self) -> bool:
        """Return False, so that Django reconnects after every error. A new connection is cheap."""
        return False

    def close_if_unusable_or_obsolete(self) -> None:
        if self._file is not None and self._file.is_replaced and not self.in_atomic_block:
            self.close()
        super().close_if_unusable_or_obsolete()

    def _commit(self) -> None:
        super()._commit()  # type: ignore[misc]
        if self._file is not None:
            self._file.verify()


def _refuse_read_only(file: _File) -> None:
    """Raise for a read-only file. After opening it once, all connections of the process would stay read-only."""
    for path in file.paths:
        if os.path.exists(path) and not os.access(path, os.W_OK):
            raise OperationalError("attempt to write a readonly database")


def _inode(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
