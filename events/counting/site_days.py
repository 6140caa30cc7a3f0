"""The only writer of `events_siteday`: one row per day with the last server start and the size of the database.

A row also has the proxy headers of the last page of the day, for commands, which have no request.

The rows also show whether the clock can be trusted. With a clock that is far ahead, a prune would delete everything.
So a prune first needs a confirmation of the time: an event or a server start that is at most a day old. A confirmation
that was made under the same wrong clock does not count:

- events count if the clocks of most of their clients agree with ours to a year;
- a start counts if no gap of more than a year comes before it.

Nobody watches the scheduled retention, so it requires more (`confirm_clock`): the limits are days instead of a year. A
quiet site has neither events nor starts, so an earlier confirmation of the last two days counts as well.
"""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import NamedTuple

from django.db import connection, transaction

from events import process_memory
from events.counting.upserts import Upsert, upsert
from events.models import Event, SiteDay, Source

DAYS_KEPT = 400
GROWTH_DAYS = 7
SIGN_IS_FRESH = timedelta(days=1)
CLOCKS_AGREE = timedelta(days=366)
CLOCKS_AGREE_CLOSELY = timedelta(days=7)
CONFIRMATION_IS_FRESH = timedelta(days=2)
# Check this many of the newest events. Most must agree, because one client with a wrong clock proves nothing.
EVENTS_ASKED = 100


def note_start(now: datetime) -> None:
    """Record that the server starts now."""
    _note(now.date(), _ms(now), "started_at_ms = excluded.started_at_ms")


def note_size(day: date) -> None:
    """Record the size of the database, unless the day already has a row."""
    if not SiteDay.objects.filter(seen_on=day).exists():
        _note(day, None, "started_at_ms = kept.started_at_ms")


class NotedHeaders(NamedTuple):
    seen_on: date
    headers: str


_noted: NotedHeaders | None = None  # what this process recorded last


def note_proxy_headers(day: date, headers: str) -> None:
    """Record which proxy headers a page of this day had, unless the same was recorded last."""
    global _noted
    noted = NotedHeaders(day, headers)
    if noted != _noted:
        if not SiteDay.objects.filter(seen_on=day, proxy_headers=headers).exists():
            upsert(_HEADERS, [(day.isoformat(), database_bytes(), headers)])
        _noted = noted


@process_memory.register
def forget() -> None:
    global _noted
    _noted = None


def last_proxy_headers() -> NotedHeaders | None:
    rows = SiteDay.objects.filter(proxy_headers__isnull=False).order_by("-seen_on")
    row = rows.values_list("seen_on", "proxy_headers").first()
    return NotedHeaders(row[0], row[1] or "") if row else None


def _note(day: date, started_at_ms: int | None, update: str) -> None:
    with transaction.atomic():
        upsert(_DAY._replace(update=update), [(day.isoformat(), started_at_ms, database_bytes())])
        # Keep a number of rows instead of a time span, because a wrong clock would delete all rows.
        kept = SiteDay.objects.order_by("-seen_on").values_list("seen_on", flat=True)[:DAYS_KEPT]
        SiteDay.objects.filter(seen_on__lt=min(kept)).delete()


def database_bytes() -> int:
    """Return the size of the database, without SQLite's write-ahead log."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_database_size(current_database())")
        else:
            cursor.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        return int(cursor.fetchone()[0])


def growth_per_day(today: date, bytes_now: int) -> float | None:
    """Return the growth in bytes per day over the last GROWTH_DAYS days; None if it is unknown."""
    rows = SiteDay.objects.filter(seen_on__gte=today - timedelta(days=GROWTH_DAYS), seen_on__lt=today)
    first = rows.order_by("seen_on").values_list("seen_on", "database_bytes").first()
    return None if first is None else (bytes_now - first[1]) / (today - first[0]).days


# --- can the clock be trusted? ---------------------------------------------------------------------------------


def doubt_of(now: datetime) -> str | None:
    """Return why the clock may be ahead, or None if an event or a start of the last day confirms it."""
    if _events_confirm(now, CLOCKS_AGREE) or _start_confirms(now, CLOCKS_AGREE):
        return None
    return f"no event and no start of the server in the last day confirms that it is {now:%Y-%m-%d}"


def close_doubt_of(now: datetime) -> str | None:
    """Return why the clock may be ahead, or None if an event, a start or an earlier confirmation shows it is not.

    A clock that jumps ahead by more than CONFIRMATION_IS_FRESH breaks the chain of confirmations. Then only events
    whose clients agree with our clock, or a start after a short gap, begin a new one.
    """
    fresh = (_ms(now - CONFIRMATION_IS_FRESH), _ms(now))
    if (
        SiteDay.objects.filter(clock_confirmed_ms__range=fresh).exists()
        or _events_confirm(now, CLOCKS_AGREE_CLOSELY)
        or _start_confirms(now, CLOCKS_AGREE_CLOSELY, since=_last_confirmed_day(now))
    ):
        return None
    return f"no event, no start of the server and no earlier check of the last days confirms that it is {now:%Y-%m-%d}"


def confirm_clock(now: datetime) -> str | None:
    """Return `close_doubt_of(now)`, and record it if there is no doubt. So daily calls confirm a quiet site."""
    doubt = close_doubt_of(now)
    if doubt is None:
        note_size(now.date())
        SiteDay.objects.filter(seen_on=now.date()).update(clock_confirmed_ms=_ms(now))
    return doubt


def _last_confirmed_day(now: datetime) -> date:
    confirmed = SiteDay.objects.filter(clock_confirmed_ms__lte=_ms(now), seen_on__lte=now.date())
    return confirmed.order_by("-seen_on").values_list("seen_on", flat=True).first() or date.min


def _events_confirm(now: datetime, tolerance: timedelta) -> bool:
    """Return whether the clients' clocks of most of the newest events confirm our time."""
    fresh = (
        Event.objects.between(_ms(now - SIGN_IS_FRESH), _ms(now) + 1)
        .filter(source__in=(Source.EVENT, Source.CLIENT_LOG))  # Other sources have no client time.
        .newest_first()
        .values_list("received_at_ms", "occurred_at")[:EVENTS_ASKED]
    )
    agreeing = [
        abs(datetime.fromtimestamp(received_at_ms / 1000, UTC) - datetime.fromisoformat(occurred_at)) <= tolerance
        for received_at_ms, occurred_at in fresh
    ]
    return 2 * sum(agreeing) > len(agreeing)


def _start_confirms(now: datetime, tolerance: timedelta, *, since: date = date.min) -> bool:
    """Return whether the server started in the last day, and no large gap shows that the clock jumped before.

    The clock was right on the day `since`, so gaps before it do not matter.
    """
    earlier_than_now = SiteDay.objects.filter(seen_on__range=(since, now.date()))
    if not earlier_than_now.filter(started_at_ms__range=(_ms(now - SIGN_IS_FRESH), _ms(now))).exists():
        return False
    days = list(earlier_than_now.order_by("seen_on").values_list("seen_on", flat=True))
    if since in days:
        return all(later - earlier <= tolerance for earlier, later in pairwise(days))
    first = datetime.combine(days[0], time(), UTC)
    before = Event.objects.filter(received_at_ms__lt=_ms(first)).exclude(source__in=(Source.IMPORT, Source.DEMO))
    newest_ms = before.order_by("-received_at_ms").values_list("received_at_ms", flat=True).first()
    if newest_ms is not None:
        days.insert(0, datetime.fromtimestamp(newest_ms / 1000, UTC).date())
    return all(later - earlier <= tolerance for earlier, later in pairwise(days))


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


_DAY = Upsert(SiteDay._meta.db_table, ("seen_on", "started_at_ms", "database_bytes"), "seen_on", "")
_HEADERS = Upsert(
    SiteDay._meta.db_table,
    ("seen_on", "database_bytes", "proxy_headers"),
    "seen_on",
    "proxy_headers = excluded.proxy_headers",
)
