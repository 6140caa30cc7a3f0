"""What was not stored, counted by UTC day and reason: in memory first, with the next commit on disk.

A refusal must cost less than an event, or refusing would be the way to bring the site down. So it is one
addition here; `ingest` writes what has gathered in its next transaction, or `flush` does when no event comes.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from enum import StrEnum


class Outcome(StrEnum):
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


# These are stored: duplicates, and failures whose long texts were left out for want of disk.
STORED = frozenset({Outcome.DUPLICATE, Outcome.LEFT_OUT})
# The outcomes that refuse an event: a wrong host may come with any request, and a wrong ADMIN_TOKEN came with a read.
OF_EVENTS = frozenset(Outcome) - STORED - {Outcome.HOST, Outcome.ADMIN_TOKEN}

FLUSH_AFTER_SECONDS = 5.0

_lock = threading.Lock()
_last_taken = time.monotonic()
_waiting: Counter[tuple[date, str]] = Counter()


def note(outcome: str, at_ms: int, count: int = 1) -> None:
    """Count a request or batch item that was not stored.

    An outcome is one of Outcome, or a text of another app. An app must have few of them: each is a row for each day.
    """
    day = datetime.fromtimestamp(at_ms / 1000, UTC).date()
    with _lock:
        _waiting[day, str(outcome)] += count


@contextmanager
def taken() -> Iterator[dict[tuple[date, str], int]]:
    """Hand over what has gathered; when the block fails, it is put back and nothing is lost."""
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
    """Tell whether what has gathered should be written though no event takes it along."""
    return bool(_waiting) and time.monotonic() - _last_taken >= FLUSH_AFTER_SECONDS


def forget() -> None:
    """Forget what has gathered; for tests, whose database begins empty."""
    with _lock:
        _waiting.clear()
