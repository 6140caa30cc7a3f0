"""The only writer of `events_visit`: when a member of staff looked at the overview, and when before that.

Page views less than PAUSE apart count as one visit, so a reload still marks what is new since the last visit.
"""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError
from django.http import HttpRequest

from events.models import Visit

PAUSE = timedelta(minutes=30)
# Within a visit, the row is written at most once in this time.
WRITE_EVERY = timedelta(minutes=5)


def last_before(request: HttpRequest, now: datetime) -> int | None:
    """Return the end of the last visit before this one in epoch milliseconds, None for the first one; note this view.

    Scripts and prefetches are no visits.
    """
    now_ms = int(now.timestamp() * 1000)
    user_id: Any = request.user.pk
    row = Visit.objects.filter(user_id=user_id).first()
    visit = _after(row, user_id, now_ms)
    if _is_visit(request) and (row is None or visit.seen_ms != row.seen_ms):
        with suppress(DatabaseError):  # the page needs no write
            if row is None:
                Visit.objects.bulk_create([visit], ignore_conflicts=True)
            else:
                # Of two concurrent views, one writes. Both show the same marks.
                same = Visit.objects.filter(user_id=row.user_id, seen_ms=row.seen_ms)
                same.update(seen_ms=visit.seen_ms, before_ms=visit.before_ms)
    return visit.before_ms


def _after(row: Visit | None, user_id: Any, now_ms: int) -> Visit:
    """Return the row of a user after a view at `now_ms`, from the row before."""
    if row is None:
        return Visit(user_id=user_id, seen_ms=now_ms)
    since_ms = now_ms - row.seen_ms
    if abs(since_ms) < _ms(WRITE_EVERY):
        return row
    # A time in the future comes from a wrong clock, and begins no visit.
    before_ms = row.seen_ms if since_ms >= _ms(PAUSE) else row.before_ms
    return Visit(user_id=user_id, seen_ms=now_ms, before_ms=before_ms)


def _is_visit(request: HttpRequest) -> bool:
    headers = request.headers
    is_page = headers.get("Sec-Fetch-Dest", "document") == "document"
    is_prefetch = "prefetch" in headers.get("Sec-Purpose", headers.get("Purpose", ""))
    return request.method == "GET" and is_page and not is_prefetch and "X-Requested-With" not in headers


def _ms(span: timedelta) -> int:
    return int(span.total_seconds() * 1000)
