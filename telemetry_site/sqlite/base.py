"""SQLite backend that detects a removed or replaced database file.

After the file or its -wal is removed or replaced, open connections keep writing to the old inode. SQLite does not
notice this in WAL mode. So each commit compares the inodes afterwards, and fails when they have changed. A commit that
succeeds is therefore in the file under its name.
"""

import os
import threading
from functools import lru_cache
from typing import Any, ClassVar
from urllib.parse import quote
from weakref import WeakSet

from django.db import OperationalError
from django.db.backends.sqlite3 import base
from django.utils.asyncio import async_unsafe

_REPLACED = "the database file was removed or replaced"
_Inodes = tuple[tuple[int, int] | None, ...]


class _Cursor(base.SQLiteCursorWrapper):
    def convert_query(self, query: str, *, param_names: list[str] | None = None) -> str:
        if param_names is None:
            return _converted(query)
        return str(super().convert_query(query, param_names=param_names))


@lru_cache(512)
def _converted(query: str) -> str:
    """Return a query with SQLite's placeholders. For a batch the conversion takes a tenth of the time of the insert."""
    return str(base.FORMAT_QMARK_REGEX.sub("?", query).replace("%%", "%"))


class DatabaseWrapper(base.DatabaseWrapper):
    # A running server never creates a database: an empty file would block the restore of the real one.
    may_create: ClassVar[bool] = True
    # Generation counter, incremented when a file was replaced. Connections of an older generation must all close before
    # a new one opens: otherwise SQLite reads the new -wal with the old -shm index, which the process still maps.
    _generation: ClassVar[int] = 0
    _open: ClassVar["WeakSet[DatabaseWrapper]"] = WeakSet()
    _open_lock: ClassVar[threading.Lock] = threading.Lock()

    _own_inodes: _Inodes = ()
    _own_generation: int = 0

    def get_connection_params(self) -> dict[str, Any]:
        params: dict[str, Any] = super().get_connection_params()
        if not self.may_create and not self.is_in_memory_db():
            params["database"] = f"file:{quote(str(params['database']))}?mode=rw"
        return params

    def create_cursor(self, name: str | None = None) -> Any:
        return self.connection.cursor(factory=_Cursor)

    @async_unsafe
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        generation = self._refuse_beside_older()
        if not self.may_create and not self.is_in_memory_db():
            self._refuse_read_only()
        connection = super().get_new_connection(conn_params)
        self._own_inodes = () if self.is_in_memory_db() else self._inodes()
        self._own_generation = generation
        with self._open_lock:
            self._open.add(self)
        return connection

    def _close(self) -> None:
        with self._open_lock:  # the last connection to close deletes the -wal file; another must not open meanwhile
            super()._close()  # type: ignore[misc]
            self._open.discard(self)

    def is_usable(self) -> bool:
        """Return False, so that Django reconnects after every error. A new connection is cheap."""
        return False

    def close_if_unusable_or_obsolete(self) -> None:
        if self._own_generation != self._generation and self.connection is not None and not self.in_atomic_block:
            self.close()
        super().close_if_unusable_or_obsolete()

    def _commit(self) -> None:
        super()._commit()  # type: ignore[misc]
        if not self._own_inodes:
            return
        current = self._inodes()
        if _differ(self._own_inodes, current):
            with self._open_lock:
                self._start_generation()
            raise OperationalError(_REPLACED)
        self._own_inodes = current  # the first commit to a new file creates the -wal

    def _refuse_beside_older(self) -> int:
        """Raise while this process has a connection to a replaced file. Return the current generation."""
        with self._open_lock:
            for other in self._open:
                if other._own_inodes and _differ(other._own_inodes, other._inodes()):
                    other._start_generation()
                if other._own_generation != self._generation:
                    raise OperationalError(_REPLACED)
            return self._generation

    def _start_generation(self) -> None:
        if self._own_generation == self._generation:  # otherwise another connection has already done it
            DatabaseWrapper._generation += 1

    def _refuse_read_only(self) -> None:
        """Raise for a read-only file. After opening it once, all connections of the process would stay read-only."""
        for path in self._paths():
            if os.path.exists(path) and not os.access(path, os.W_OK):
                raise OperationalError("attempt to write a readonly database")

    def _inodes(self) -> _Inodes:
        database, log, _ = self._paths()
        return _inode(database), _inode(log)

    def _paths(self) -> tuple[str, str, str]:
        database = str(self.settings_dict["NAME"])
        return database, f"{database}-wal", f"{database}-shm"


def _differ(own: _Inodes, current: _Inodes) -> bool:
    return any(before not in (None, after) for before, after in zip(own, current, strict=True))


def _inode(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
