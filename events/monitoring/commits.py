"""Histograms of the commits of events: their time, their size, and the queue behind them.

A process-wide counter would differ between workers and restart at 0. So each process adds its measurements to rows that
all share. A commit must not become slower by being measured: measurements wait in memory, and at most once a second a
commit writes those of its predecessors, with one more statement in its own transaction. `writer.flush` writes them when
no event arrives. A killed process loses at most the measurements since the last write.
"""

import time
from bisect import bisect_left
from collections.abc import Callable

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

# Only the leader of a group commit uses these, and there is one at a time. So they need no lock.
_waiting: dict[Key, list[float]] = {}
_last_written = time.monotonic()
_requests_without_thread: Callable[[], int] = lambda: 0  # noqa: E731 (replaced by `watch`)
process_memory.register(_waiting.clear)


def watch(requests_without_thread: Callable[[], int]) -> None:
    """Let the server say how many requests wait for a thread. Without a server of ours there are none."""
    global _requests_without_thread
    _requests_without_thread = requests_without_thread


def note(*, seconds: float, events: int, queued: int) -> None:
    """Measure a successful commit. `queued` is the number of requests that wait for the next one."""
    _add(SECONDS, seconds)
    _add(EVENTS, events)
    _add(QUEUED, queued + _requests_without_thread())


def _add(measure: str, value: float) -> None:
    key = measure, bisect_left(BOUNDS[measure], value)
    sums = _waiting.get(key)
    if sums is None:
        _waiting[key] = [1, value]
    else:
        sums[0] += 1
        sums[1] += value


def are_due() -> bool:
    """Return whether measurements have waited long enough to be written."""
    return bool(_waiting) and time.monotonic() - _last_written >= WRITE_AFTER_SECONDS


def due() -> Measured:
    """Return the measurements that the current commit writes: none most of the time. They stay until `forget`."""
    if not are_due():
        return {}
    return {key: (int(count), float(total)) for key, (count, total) in _waiting.items()}


def forget() -> None:
    """Forget the measurements that `due` returned, after the commit that wrote them."""
    global _last_written
    _last_written = time.monotonic()
    _waiting.clear()


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
