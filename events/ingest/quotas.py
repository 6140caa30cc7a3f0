"""How many bytes of accepted events a client may bring on a UTC day: `DAILY_BYTES_PER_CLIENT`.

A client is known by the keyed hash of its address, in memory, until its day is over. Each process counts for itself, so
an event costs no access to Redis. With Redis a process adds what a client brought to the shared count, and learns what
it brought to the others, after each sixteenth part of the limit, divided by the number of processes. So all processes
together let a client bring at most a sixteenth more.
"""

import threading

from django.conf import settings
from django.http import HttpRequest

from events.counting.buckets import DAY_MS
from events.ingest import guards
from events.ingest.refusals import Outcome

# Of more clients in a day, those that came first are forgotten first.
MOST_CLIENTS = 100_000
_PARTS = 16
_SHARED_SECONDS = 2 * 86_400

_lock = threading.Lock()
_day = 0
# By client: the bytes that this process knows of, and how many of them the shared count lacks.
_brought: dict[str, tuple[int, int]] = {}


def check(request: HttpRequest, now_ms: int) -> None:
    """Refuse a client that has used up its bytes of this UTC day, before any work is done for it."""
    limit = settings.DAILY_BYTES_PER_CLIENT
    if limit is None or not _brought or now_ms // DAY_MS != _day:
        return
    known, _ = _brought.get(guards.client_hash(request), (0, 0))
    if known >= limit:
        retry_after = str((DAY_MS - now_ms % DAY_MS) // 1000 + 1)
        raise guards.Refused(429, "Too many requests", Outcome.QUOTA, {"Retry-After": retry_after})


def count(request: HttpRequest, size: int, now_ms: int) -> None:
    """Count bytes that were accepted from a client."""
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
    """Add what this process counted of a client to the shared count, and take over what the others counted."""
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


def forget() -> None:
    """Forget what was brought; for tests, whose database begins empty."""
    with _lock:
        _brought.clear()
