"""Histograms of the commits of events: their time, their size, and the queue behind them.

A process-wide counter would differ between workers and restart at 0. So each process adds its measurements to rows that
all share. A commit must not become slower by being measured: measurements wait in memory, and at most once a second a
commit writes those of its predecessors, with one more statement in its own transaction. `writer.flush` writes them when
no event arrives. A killed process loses at most the measurements since the last write.
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from events import process_memory
from events.counting.upserts import Upsert, added, upsert
from events.models import CommitBucket

SECONDS, EVENTS, QUEUED = "seconds", "events", "queued"
# The upper bounds of the buckets. Each value over the last bound is in the bucket "+Inf".
BOUNDS: dict[str, list[float]] = {
    SECONDS: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    EVENTS: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000],
    QUEUED: [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512],
}
INFINITE = "+Inf"
WRITE_AFTER_SECONDS = 1.0

Key = tuple[str, int]  # the measure, and the place of the bucket among its bounds
Measured = dict[Key, tuple[int, float]]  # the count and the sum of each bucket

_lock = threading.Lock()
_waiting: Measured = {}
_last_taken = time.monotonic()
_requests_without_thread: Callable[[], int] = lambda: 0  # noqa: E731 (replaced by `watch`)
process_memory.register(_waiting.clear)


def watch(requests_without_thread: Callable[[], int]) -> None:
    """Let the server say how many requests wait for a thread. Without a server of ours there are none."""
    global _requests_without_thread
    _requests_without_thread = requests_without_thread


def note(*, seconds: float, events: int, queued: int) -> None:
    """Measure a successful commit. `queued` is the number of requests that wait for the next one."""
    values = (SECONDS, seconds), (EVENTS, float(events)), (QUEUED, float(queued + _requests_without_thread()))
    with _lock:
        for measure, value in values:
            key = measure, bisect_left(BOUNDS[measure], value)
            count, total = _waiting.get(key, (0, 0.0))
            _waiting[key] = count + 1, total + value


def are_due() -> bool:
    """Return whether measurements have waited long enough to be written."""
    return bool(_waiting) and time.monotonic() - _last_taken >= WRITE_AFTER_SECONDS


@contextmanager
def taken() -> Iterator[Measured]:
    """Yield the measurements that are due. If the block raises, they are put back."""
    global _last_taken
    if not are_due():
        yield {}
        return
    with _lock:
        _last_taken = time.monotonic()
        measured = dict(_waiting)
        _waiting.clear()
    try:
        yield measured
    except BaseException:
        with _lock:
            for key, (count, total) in measured.items():
                later = _waiting.get(key, (0, 0.0))
                _waiting[key] = count + later[0], total + later[1]
        raise


def write(measured: Measured) -> None:
    """Add the measurements to the rows, inside the caller's transaction."""
    upsert(_BUCKET, [(measure, _bound(measure, place), *sums) for (measure, place), sums in measured.items()])


def _bound(measure: str, place: int) -> str:
    bounds = BOUNDS[measure]
    return f"{bounds[place]:g}" if place < len(bounds) else INFINITE


_BUCKET = Upsert(
    CommitBucket._meta.db_table,
    ("measure", "bound", "count", "total"),
    "measure, bound",
    f"{added('count')}, {added('total')}",
)
