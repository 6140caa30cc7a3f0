"""The daily quota: how many bytes of accepted events a client may send per UTC day (`DAILY_BYTES_PER_CLIENT`).

A client is identified by the keyed hash of its address, which stays in memory until the end of the day. Each process
counts locally, so an event needs no access to Redis. With Redis, a process periodically adds its count to the shared
count and reads what the other processes added. The step is a sixteenth of the limit, divided by the number of
processes. So all processes together exceed the limit by at most a sixteenth.
"""

import threading

from django.conf import settings
from django.http import HttpRequest

from events import process_memory
from events.counting.buckets import DAY_MS
from events.ingest import guards

# Bounds the memory: above this number of clients, the oldest entries are evicted first.
MOST_CLIENTS = 100_000
_PARTS = 16
_SHARED_SECONDS = 2 * 86_400

_lock = threading.Lock()
_day = 0
# By client: the bytes that this process knows of, and how many of them are not yet in the shared count.
_brought: dict[str, tuple[int, int]] = {}
process_memory.register(_brought.clear)


def seconds_over(request: HttpRequest, now_ms: int) -> int | None:
    """Return the seconds until the next UTC day if the client has used up its quota of this day, else None."""
    limit = settings.DAILY_BYTES_PER_CLIENT
    if limit is None or not _brought or now_ms // DAY_MS != _day:
        return None
    known, _ = _brought.get(guards.client_hash(request), (0, 0))
    return (DAY_MS - now_ms % DAY_MS) // 1000 + 1 if known >= limit else None


def count(request: HttpRequest, size: int, now_ms: int) -> None:
    """Count the bytes of a client's accepted events."""
    global _day
    limit = settings.DAILY_BYTES_PER_CLIENT
    if limit is None or not size:
        return
    client = guards.client_hash(request)
    with _lock:
        if now_ms // DAY_MS != _day:
            _day = now_ms // DAY_MS
            _brought.clear()
        known, unshared = _brought.get(client, (0, 0))
        _brought[client] = (known + size, unshared + size)
        if len(_brought) > MOST_CLIENTS:
            del _brought[next(iter(_brought))]
    if settings.CACHE_URL and unshared + size >= limit // (_PARTS * settings.WORKERS):
        _share(client, now_ms // DAY_MS)


def _share(client: str, day: int) -> None:
    """Add this process's count to the shared count, and read what the other processes counted."""
    with _lock:
        known, unshared = _brought.get(client, (0, 0))
        _brought[client] = (known, 0)
    total = guards.add_up(f"bytes:{day}:{client}", unshared, _SHARED_SECONDS)
    with _lock:
        known, meanwhile = _brought.get(client, (0, 0))
        if total is None:
            _brought[client] = (known, unshared + meanwhile)
        else:
            _brought[client] = (max(known, total + meanwhile), meanwhile)
