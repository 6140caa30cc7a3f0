"""Whether the database takes writes, found out by writing."""

import logging
import threading
import time

from django.db import DatabaseError, InterfaceError, connection, transaction

from events.maintenance import disk
from events.models import ReadinessProbe

# Anyone may ask, so one answer serves everyone for a moment.
_ANSWER_SECONDS = 1.0
logger = logging.getLogger(__name__)

_lock = threading.Lock()
_answer: tuple[float, str | None] = (float("-inf"), None)


def storage_fault(now_ms: int) -> str | None:
    """Return why the database cannot be written, in words; None when it can. Commits one small row."""
    global _answer
    if disk.room() is disk.Room.NONE:
        return "Storage unavailable: the disk is nearly full"
    asked_at, fault = _answer
    if not _lock.acquire(blocking=asked_at == float("-inf")):
        return fault  # somebody is finding out, which takes as long as the database makes it wait
    try:
        asked_at, fault = _answer
        if time.monotonic() - asked_at < _ANSWER_SECONDS:
            return fault
        try:
            with transaction.atomic():
                ReadinessProbe.objects.update_or_create(id=1, defaults={"written_at_ms": now_ms})
            fault = None
        except (DatabaseError, InterfaceError) as error:
            logger.error("Storage is unavailable: %s", error)
            fault = f"Storage unavailable: {_reason(error)}"
        _answer = (time.monotonic(), fault)
        return fault
    finally:
        _lock.release()


def _reason(error: Exception) -> str:
    # Without an SQLSTATE a PostgreSQL server was not reached, and the text names its address and user.
    if connection.vendor == "postgresql" and not getattr(error.__cause__, "sqlstate", None):
        return "the database does not answer"
    return str(error).partition("\n")[0] or type(error).__name__


def forget() -> None:
    """Forget the last answer; for tests, which change the database under it."""
    global _answer
    _answer = (float("-inf"), None)
