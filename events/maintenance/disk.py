"""Checks the free disk space under DATA_DIR, and limits what the site stores when space is low.

Below `MIN_FREE_BYTES`, failures are stored without stack and log lines. Below a quarter of it, nothing is stored. With
PostgreSQL, the database is on another disk, and its administrator monitors it.
"""

import logging
import shutil
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from enum import Enum

from django.conf import settings

from events import process_memory
from events.maintenance.banners import Banner

logger = logging.getLogger(__name__)

# The check is one system call of a few microseconds, so it needs no background thread.
LOOK_SECONDS = 1.0
FULL_PART = 4


class Room(Enum):
    ENOUGH = "enough"
    LITTLE = "little"
    NONE = "none"


_WORDS = {
    Room.ENOUGH: "Enough disk space is free again",
    Room.LITTLE: "Disk space is low: failures are stored without stack and log lines",
    Room.NONE: "Disk is nearly full: nothing is stored",
}
_lock = threading.Lock()
_looked_at = float("-inf")
_room = Room.ENOUGH


def room() -> Room:
    """Return the state of the disk, checked at most once per LOOK_SECONDS; logs a change."""
    global _looked_at, _room
    if settings.MIN_FREE_BYTES is None:
        return Room.ENOUGH
    now = time.monotonic()
    if now - _looked_at < LOOK_SECONDS or not _lock.acquire(blocking=False):
        return _room
    try:
        _looked_at = now
        before, _room = _room, room_in(free_bytes(), settings.MIN_FREE_BYTES)
        if before is not _room:
            level = logging.INFO if _room is Room.ENOUGH else logging.WARNING
            logger.log(level, "%s (MIN_FREE_BYTES=%d)", _WORDS[_room], settings.MIN_FREE_BYTES)
        return _room
    finally:
        _lock.release()


def banners(now: datetime) -> Iterator[Banner]:
    """Warn while the disk has less than MIN_FREE_BYTES."""
    state = room()
    if state is Room.ENOUGH or settings.MIN_FREE_BYTES is None:
        return
    free, least = in_words(free_bytes()), in_words(settings.MIN_FREE_BYTES)
    is_full = state is Room.NONE
    effect = "Nothing is stored, and clients get 503." if is_full else "Failures lose their stack and log lines."
    yield Banner(
        f"The disk is {'nearly full' if is_full else 'filling up'}: {free} are free, less than {least}.",
        f"{effect} Free some space on it, or keep fewer events.",
        "events_retentionmark_changelist",
        "Retention",
    )


def free_bytes() -> int:
    return shutil.disk_usage(settings.DATA_DIR).free


def in_words(number: float) -> str:
    """Return a number of bytes with three digits and a binary unit, such as `61.0 MiB`."""
    size, units = abs(number), ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 999.5 and len(units) > 1:
        size /= 1024
        del units[0]
    digits = f"{size:.0f}" if units[0] == "B" or size >= 99.95 else f"{size:.1f}"
    return f"{'−' if number < 0 and float(digits) else ''}{digits} {units[0]}"


def room_in(free: int, least: int) -> Room:
    """Return the state of a disk with this many free bytes, for a limit of MIN_FREE_BYTES."""
    return Room.ENOUGH if free >= least else Room.LITTLE if FULL_PART * free >= least else Room.NONE


@process_memory.register
def forget() -> None:
    """Check again at the next request."""
    global _looked_at, _room
    _looked_at, _room = float("-inf"), Room.ENOUGH
