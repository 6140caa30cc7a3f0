"""Readiness check: writes one row to the database."""

import logging
import threading
import time

from django.db import DatabaseError, InterfaceError, connection, transaction

from events import process_memory
from events.maintenance import disk
from events.models import ReadinessProbe

# The route is public, so a result is reused for this time.
_RESULT_SECONDS = 1.0
logger = logging.getLogger(__name__)

_lock = threading.Lock()
_result: tuple[float, str | None] = (float("-inf"), None)


def storage_fault(now_ms: int) -> str | None:
    """Return why the database cannot be written, None when it can. Commits one small row."""
    global _result
    if disk.room() is disk.Room.NONE:
        return "Storage unavailable: the disk is nearly full"
    checked_at, fault = _result
    if not _lock.acquire(blocking=checked_at == float("-inf")):
        return fault  # another thread is checking, which may take as long as the database timeout
    try:
        checked_at, fault = _result
        if time.monotonic() - checked_at < _RESULT_SECONDS:
            return fault
        try:
            with transaction.atomic():
                ReadinessProbe.objects.update_or_create(id=1, defaults={"written_at_ms": now_ms})
            fault = None
        except (DatabaseError, InterfaceError) as error:
            logger.error("Storage is unavailable: %s", error)
            fault = f"Storage unavailable: {_reason(error)}"
        _result = (time.monotonic(), fault)
        return fault
    finally:
        _lock.release()


def _reason(error: Exception) -> str:
    # Without an SQLSTATE the PostgreSQL server was not reached. The message then contains its address and user.
    if connection.vendor == "postgresql" and not getattr(error.__cause__, "sqlstate", None):
        return "the database does not answer"
    return str(error).partition("\n")[0] or type(error).__name__


@process_memory.register
def forget() -> None:
    """Check again at the next request."""
    global _result
    _result = (float("-inf"), None)
