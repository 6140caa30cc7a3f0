"""Which of the oldest days to delete, so that the database holds no more than `RETENTION_BYTES`."""

from collections.abc import Iterator
from typing import NamedTuple

from events.counting.buckets import DAY_MS
from events.maintenance import database_file
from events.models import Event, Source

# Delete somewhat less than the estimate and measure again, because an estimate that is too high deletes too much.
_CAUTION = 0.8
# The limit is out of reach only if even events of this multiple of the estimated size would not suffice.
_DOUBT = 1.5


class Excess(NamedTuple):
    """How much the database holds beyond the limit, and the days to delete next, imported events included.

    `before_ms` is the end of the last of these days. `events` is their number without demo events.
    """

    bytes: int
    events: int
    before_ms: int
    is_reachable: bool


def excess(limit_bytes: int, today_ms: int) -> Excess | None:
    """Return the excess, None if there is none. Events of today stay, so the limit may be out of reach."""
    surplus = database_file.held_bytes() - limit_bytes
    if surplus <= 0:
        return None
    per_event = database_file.bytes_per_event()
    events = before_ms = 0
    for end_ms, count in _days_before(today_ms):
        events, before_ms = events + count, end_ms
        if events * per_event >= _CAUTION * surplus:
            break
    return Excess(surplus, events, before_ms, is_reachable=_DOUBT * events * per_event >= surplus)


def _days_before(today_ms: int) -> Iterator[tuple[int, int]]:
    """Yield the end of each UTC day with events, oldest first, and their number. Reads only indexes."""
    rows = Event.objects.order_by("received_at_ms")
    start_ms = 0
    while True:
        first_ms = rows.between(start_ms, today_ms).values_list("received_at_ms", flat=True).first()
        if first_ms is None:
            return
        start_ms, end_ms = first_ms, first_ms - first_ms % DAY_MS + DAY_MS
        of_day = rows.between(start_ms, end_ms)
        if count := of_day.count() - of_day.filter(source=Source.DEMO).count():
            yield end_ms, count
        start_ms = end_ms
