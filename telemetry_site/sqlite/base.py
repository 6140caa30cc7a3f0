"""Django's SQLite, which commits to the file that its name names, or says that it did not.

Whoever removes or replaces an open file leaves its connections writing where nobody reads: SQLite does not look in
WAL mode. So each commit looks, after it was made: what it says is stored can be found under the file's name.
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

_GONE = "the database file was removed or replaced"
_Identity = tuple[tuple[int, int] | None, ...]


class _Cursor(base.SQLiteCursorWrapper):
    def convert_query(self, query: str, *, param_names: list[str] | None = None) -> str:
        if param_names is None:
            return _converted(query)
        return str(super().convert_query(query, param_names=param_names))


@lru_cache(512)
def _converted(query: str) -> str:
    """Return a query with SQLite's placeholders: to find those of a batch takes a tenth as long as to store it."""
    return str(base.FORMAT_QMARK_REGEX.sub("?", query).replace("%%", "%"))


class DatabaseWrapper(base.DatabaseWrapper):
    # What serves makes no database: an empty one would only stand in the way of the one that is brought back.
    may_create: ClassVar[bool] = True
    # One more each time that a file was found gone: whoever opened before opens anew, and nobody does before all have
    # let go. SQLite would else read the new log by the index of the old one, which the process still holds.
    _times_gone: ClassVar[int] = 0
    _open: ClassVar["WeakSet[DatabaseWrapper]"] = WeakSet()
    _open_lock: ClassVar[threading.Lock] = threading.Lock()

    _opened: _Identity = ()
    _opened_at: int = 0

    def get_connection_params(self) -> dict[str, Any]:
        params: dict[str, Any] = super().get_connection_params()
        if not self.may_create and not self.is_in_memory_db():
            params["database"] = f"file:{quote(str(params['database']))}?mode=rw"
        return params

    def create_cursor(self, name: str | None = None) -> Any:
        return self.connection.cursor(factory=_Cursor)

    @async_unsafe
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        opened_at = self._refuse_beside_older()
        if not self.may_create and not self.is_in_memory_db():
            self._refuse_read_only()
        connection = super().get_new_connection(conn_params)
        self._opened = () if self.is_in_memory_db() else self._identity()
        self._opened_at = opened_at
        with self._open_lock:
            self._open.add(self)
        return connection

    def _close(self) -> None:
        with self._open_lock:  # the last to close takes the log away, and who opens meanwhile would think it gone
            super()._close()  # type: ignore[misc]
            self._open.discard(self)

    def is_usable(self) -> bool:
        """Tell Django to open anew after an error: it costs little, and heals what the error was about."""
        return False

    def close_if_unusable_or_obsolete(self) -> None:
        if self._opened_at != self._times_gone and self.connection is not None and not self.in_atomic_block:
            self.close()
        super().close_if_unusable_or_obsolete()

    def _commit(self) -> None:
        super()._commit()  # type: ignore[misc]
        if not self._opened:
            return
        found = self._identity()
        if _differs(self._opened, found):
            with self._open_lock:
                self._note_gone()
            raise OperationalError(_GONE)
        self._opened = found  # a new file has its -wal since its first commit

    def _refuse_beside_older(self) -> int:
        """Raise while any connection of this process is open on what is no longer there; return `_times_gone`."""
        with self._open_lock:
            for other in self._open:
                if other._opened and _differs(other._opened, other._identity()):
                    other._note_gone()
                if other._opened_at != self._times_gone:
                    raise OperationalError(_GONE)
            return self._times_gone

    def _note_gone(self) -> None:
        if self._opened_at == self._times_gone:  # else it was noted, for all that were open then
            DatabaseWrapper._times_gone += 1

    def _refuse_read_only(self) -> None:
        """Raise before SQLite opens what it may only read: all connections of a process would share that for good."""
        for path in self._paths():
            if os.path.exists(path) and not os.access(path, os.W_OK):
                raise OperationalError("attempt to write a readonly database")

    def _identity(self) -> _Identity:
        database, log, _ = self._paths()
        return _identity(database), _identity(log)

    def _paths(self) -> tuple[str, str, str]:
        database = str(self.settings_dict["NAME"])
        return database, f"{database}-wal", f"{database}-shm"


def _differs(opened: _Identity, found: _Identity) -> bool:
    return any(was not in (None, now) for was, now in zip(opened, found, strict=True))


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
