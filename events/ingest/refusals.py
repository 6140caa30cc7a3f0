"""Counts requests and items that were not stored, by UTC day and reason. The next commit writes the counts.

A refusal must cost less than an event, or refused requests could overload the site. So a refusal only increments a
counter in memory. The writer stores the counters in its next transaction, or `flush` does when no event arrives.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from enum import StrEnum

from events import process_memory


class RefusalReason(StrEnum):
    DUPLICATE = "duplicate"
    INVALID_JSON = "invalid_json"
    INVALID_FIELDS = "invalid_fields"
    ORIGIN = "origin"
    TOKEN = "token"  # noqa: S105 (a name, no secret)
    TOO_LARGE = "too_large"
    MEDIA_TYPE = "media_type"
    RATE_LIMITED = "rate_limited"
    STORAGE = "storage"
    OVERLOADED = "overloaded"
    HOST = "host"
    ADMIN_TOKEN = "admin_token"  # noqa: S105 (a name, no secret)
    QUOTA = "quota"
    LEFT_OUT = "left_out"


# These outcomes did store an event: duplicates, and failures stored without long texts on a nearly full disk.
STORED = frozenset({RefusalReason.DUPLICATE, RefusalReason.LEFT_OUT})
# The outcomes that refuse an event. Any request can have a wrong host, and a wrong ADMIN_TOKEN belongs to a read.
OF_EVENTS = frozenset(RefusalReason) - STORED - {RefusalReason.HOST, RefusalReason.ADMIN_TOKEN}

FLUSH_AFTER_SECONDS = 5.0

_lock = threading.Lock()
_last_taken = time.monotonic()
_waiting: Counter[tuple[date, str]] = Counter()
process_memory.register(_waiting.clear)


def note(outcome: str, at_ms: int, count: int = 1) -> None:
    """Count a request or batch item that was not stored.

    The outcome is a RefusalReason, or a text that another app defines. An app must define few: each is one row per day.
    """
    day = datetime.fromtimestamp(at_ms / 1000, UTC).date()
    with _lock:
        _waiting[day, str(outcome)] += count


@contextmanager
def taken() -> Iterator[dict[tuple[date, str], int]]:
    """Yield the pending counts. If the block raises, they are put back."""
    global _last_taken
    with _lock:
        _last_taken = time.monotonic()
        counted = dict(_waiting)
        _waiting.clear()
    try:
        yield counted
    except BaseException:
        with _lock:
            _waiting.update(counted)
        raise


def are_due() -> bool:
    """Return whether pending counts have waited long enough to be written without an event."""
    return bool(_waiting) and time.monotonic() - _last_taken >= FLUSH_AFTER_SECONDS
