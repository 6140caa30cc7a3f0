"""PostgreSQL backend for a site whose primary can change while it runs.

After a failover, the pool's idle connections lead to a server that is gone, or to one that only reads. Django would
take them from the pool one after the other, and one request would fail for each of them. So the first such connection
empties the pool. A commit succeeds only if the server confirmed it without a warning.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from types import TracebackType
from typing import Any

from django.db import OperationalError
from django.db.backends.postgresql import base
from django.db.utils import DatabaseErrorWrapper
from psycopg.errors import Diagnostic
from psycopg_pool import ConnectionPool, PoolTimeout

# The server refuses writes: it is a standby, or its administrator has demoted it.
_READ_ONLY = "25006"
_OPENED_AT = "_telemetry_opened_at"


class _Errors(DatabaseErrorWrapper):
    """Django's wrapper, which also marks the connection when the server refuses a write."""

    wrapper: "DatabaseWrapper"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            return
        if getattr(error, "sqlstate", None) == _READ_ONLY:
            self.wrapper.is_read_only = True
        super().__exit__(kind, error, trace)


class DatabaseWrapper(base.DatabaseWrapper):
    is_read_only = False

    def __init__(self, settings_dict: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        pool = settings_dict.get("OPTIONS", {}).get("pool")
        if pool:
            pool.setdefault("reconnect_failed", _connect_again)
        super().__init__(settings_dict, *args, **kwargs)

    @cached_property
    def wrap_database_errors(self) -> DatabaseErrorWrapper:
        return _Errors(self)

    def _configure_connection(self, connection: Any) -> bool:
        setattr(connection, _OPENED_AT, time.monotonic())
        return bool(super()._configure_connection(connection))  # type: ignore[misc]

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        self.is_read_only = False
        return connection

    def chunked_cursor(self) -> Any:
        """Return a server-side cursor within a transaction, otherwise one that reads all rows at once.

        Outside a transaction, PgBouncer in transaction mode may send each FETCH to another connection.
        """
        return self.cursor() if self.get_autocommit() else super().chunked_cursor()

    def close_if_unusable_or_obsolete(self) -> None:
        if self.is_read_only and not self.in_atomic_block:
            self.close()
        super().close_if_unusable_or_obsolete()

    def _close(self) -> None:
        connection, pool = self.connection, self.pool
        if connection is not None and self.is_read_only:
            connection.close()  # the pool discards a closed connection
        is_lost = connection is not None and connection.closed
        super()._close()  # type: ignore[misc]
        if is_lost and pool and getattr(connection, _OPENED_AT, 0.0) > _emptied_at.get(self.alias, 0.0):
            # Connections that other threads use now are older, so the pool closes them when they return.
            _emptied_at[self.alias] = time.monotonic()
            pool.drain()

    def _commit(self) -> None:
        """Commit. Raises OperationalError if the server warned, because the commit may then not be replicated.

        An administrator can cancel a commit that waits for the synchronous standby. PostgreSQL then reports success
        with a warning, and only the primary has the transaction.
        """
        if self.connection is None:
            return
        warnings: list[str] = []
        note = _collector(warnings)
        self.connection.add_notice_handler(note)
        try:
            super()._commit()  # type: ignore[misc]
        finally:
            self.connection.remove_notice_handler(note)
        if warnings:
            raise OperationalError(f"the commit was not confirmed: {warnings[0]}")


def _connect_again(pool: ConnectionPool[Any]) -> None:
    """Start the next attempts to connect while a thread waits for a connection.

    The pool gives up after `reconnect_timeout`, and starts again only for a thread that begins to wait afterwards.
    """
    if pool.get_stats()["requests_waiting"]:
        with suppress(PoolTimeout):
            pool.putconn(pool.getconn(timeout=0.001))


# The time of the last emptying of each pool, by alias. Several threads can notice one failover.
_emptied_at: dict[str, float] = {}


def _collector(warnings: list[str]) -> Callable[[Diagnostic], None]:
    def note(diagnostic: Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            warnings.append(diagnostic.message_primary or "a warning without words")

    return note
