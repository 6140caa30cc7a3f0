"""Sends the reads of staff to a standby of the database, and back to the primary when the standby cannot be used.

The router uses the replica only within `reading()`, never within a transaction, and only for tables of this app.
Sessions, users, tokens and all writes use the primary. The middleware of pages decides which requests read from the
replica.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from django.db import (
    DEFAULT_DB_ALIAS,
    DatabaseError,
    InterfaceError,
    InternalError,
    OperationalError,
    connections,
    router,
)
from django.db.backends.utils import CursorWrapper
from django.db.models import Model

from events import process_memory

ALIAS = "replica"
# A replica that is further behind is not used. After a POST, its sender reads from the primary for longer than this.
MAX_LAG_SECONDS = 10.0
# Circuit breaker: one thread checks the replica this often. A replica that failed is left alone for longer, because a
# check of a dead host takes a second.
_CHECK_SECONDS = 2.0
_REST_SECONDS = 10.0
# The replica is asked this often whether it has reached the position of the primary. Most replicas have at once.
_ATTEMPTS = 3
_ATTEMPT_SECONDS = 0.1
_FAILURES = (OperationalError, InterfaceError, InternalError)
# Permissions of a token change at once. A link to a saved view works at once for everybody. A visit is updated by the
# page that reads it.
_PRIMARY_ONLY = {"ingesttoken", "savedview", "visit"}

logger = logging.getLogger(__name__)


class Router:
    """Django's database router. A read is everything that does not lock or write rows."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        options = model._meta
        if not _is_reading.get() or options.app_label != "events" or options.model_name in _PRIMARY_ONLY:
            return DEFAULT_DB_ALIAS
        return DEFAULT_DB_ALIAS if connections[DEFAULT_DB_ALIAS].in_atomic_block else ALIAS

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return DEFAULT_DB_ALIAS

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool:
        return True  # both are the same database

    def allow_migrate(self, alias: str, app_label: str, **hints: Any) -> bool:
        return alias == DEFAULT_DB_ALIAS


def cursor(model: type[Model]) -> CursorWrapper:
    """Return a cursor for SQL that reads the table of a model, on the database that the ORM would read it from."""
    return connections[router.db_for_read(model)].cursor()


_is_reading: ContextVar[bool] = ContextVar("is_reading", default=False)


@contextmanager
def reading() -> Iterator[str | None]:
    """Let reads use the replica. Yield None, or the reason as a sentence if they use the primary."""
    fault = _current_fault()
    if fault is not None:
        yield fault
        return
    token = _is_reading.set(True)
    try:
        yield None
    finally:
        _is_reading.reset(token)
        connections[ALIAS].close_if_unusable_or_obsolete()


def can_have_failed(error: Exception) -> bool:
    """Return whether this is an error of a database while reads use the replica."""
    return _is_reading.get() and isinstance(error, _FAILURES)


@contextmanager
def given_up(error: Exception) -> Iterator[str]:
    """Let reads use the primary after this error. Yield the reason as a sentence. The next request checks the replica.

    A standby cancels a query that delays its replay for too long, so one error does not mean that it is down.
    """
    logger.warning("A read from the replica failed and is repeated on the primary: %s", error)
    forget()
    token = _is_reading.set(False)
    try:
        yield "The replica did not answer."
    finally:
        _is_reading.reset(token)


class _Check(NamedTuple):
    due_at: float
    fault: str | None


_NEVER = _Check(float("-inf"), "The replica has not been checked yet.")
_lock = threading.Lock()
_last = _NEVER


def _current_fault() -> str | None:
    """Return why the replica cannot be used, None if it can. One thread checks it, when a check is due."""
    global _last
    if time.monotonic() < _last.due_at or not _lock.acquire(blocking=_last is _NEVER):
        return _last.fault
    try:
        if time.monotonic() >= _last.due_at:  # no other thread has checked meanwhile
            fault = _fault()
            if fault != _last.fault:
                logger.warning(
                    "Reads of staff use the %s: %s", "primary" if fault else "replica", fault or "it is current"
                )
            _last = _Check(time.monotonic() + (_REST_SECONDS if fault else _CHECK_SECONDS), fault)
        return _last.fault
    finally:
        _lock.release()


# The position in the write-ahead log up to which a server has all changes.
_POSITION = "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END"
_SERVER = "(SELECT system_identifier FROM pg_control_system()), pg_is_in_recovery(), pg_postmaster_start_time()"


def _fault() -> str | None:
    replica = connections[ALIAS]
    try:
        with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
            cursor.execute(f"SELECT {_SERVER}, pg_current_wal_lsn(), clock_timestamp()")
            *primary, position, now = cursor.fetchone()
    except (DatabaseError, InterfaceError):
        return "The primary does not answer."
    try:
        with replica.cursor() as cursor:
            cursor.execute(f"SELECT {_SERVER}")
            standby = list(cursor.fetchone())
            if standby[0] != primary[0] or (not standby[1] and standby != primary):
                return "REPLICA_URL is not a standby of this database."
            for attempt in range(_ATTEMPTS):
                if attempt:
                    time.sleep(_ATTEMPT_SECONDS)
                cursor.execute(f"SELECT {_POSITION} >= %s::pg_lsn, pg_last_xact_replay_timestamp()", [position])
                is_current, replayed_at = cursor.fetchone()
                if is_current:
                    return None
    except (DatabaseError, InterfaceError) as error:
        logger.warning("The replica cannot be used: %s", error)
        return "The replica does not answer."
    finally:
        replica.close_if_unusable_or_obsolete()
    # The last change that the replica has applied. On a quiet site this can be long before its newest change, so a
    # replica that is only a moment behind can count as late until the next check.
    lag = (now - replayed_at).total_seconds() if replayed_at else float("inf")
    return None if lag <= MAX_LAG_SECONDS else "The replica is too far behind."


@process_memory.register
def forget() -> None:
    """Check again at the next request."""
    global _last
    _last = _NEVER
