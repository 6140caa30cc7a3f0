"""Findings about the counts: totals against hours, hours against events, the clock, and the groups of failures."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from statistics import median

from django.db import connection
from django.db.models import Sum

from events import clock
from events.counting.buckets import DAY_MS, HOUR_MS
from events.maintenance import regrouping, retention
from events.maintenance.doctor.findings import Depth, Examination, Finding, age
from events.models import Event, EventType, HourlyRollup, LifetimeTotal, SiteDay, Source

MOST_COUNTED = 500_000  # events of a day; of a larger one, only an hour is counted
AHEAD_MS = 60_000
EVENTS_ASKED = 100  # most must agree, because one client with a wrong clock proves nothing
CLIENTS_MS = 30 * DAY_MS  # a client may send an event weeks later
WITH_CLOCK = (Source.EVENT, Source.CLIENT_LOG)
REBUILD = "Run `manage.py rebuild_rollups --check`, which lists the differences; without --check it repairs them."


def totals(examination: Examination) -> Iterator[Finding]:
    """Compare the lifetime totals with the sums of their hours: two sums of counts."""
    accepted = sum(LifetimeTotal.objects.values_list("accepted", flat=True))
    title = "Totals"
    if examination.depth is Depth.PAGE:
        yield Finding.fine("counts.totals", title, f"{accepted:,} events accepted; `manage.py doctor` compares them")
        return
    with connection.cursor() as cursor:
        cursor.execute(_TOTALS)
        differing = [(name, total, hours) for name, total, hours in cursor.fetchall() if total != hours]
    if differing:
        words = ", ".join(f"{name} {total:,} but {hours:,} in its hours" for name, total, hours in differing)
        yield Finding.wrong("counts.totals", title, words, REBUILD)
    else:
        yield Finding.fine("counts.totals", title, f"{accepted:,} events accepted, as many as in all hours")


def rows(examination: Examination) -> Iterator[Finding]:
    """Compare the hours of the newest complete day with its events."""
    if examination.depth is Depth.PAGE:
        return
    end_ms = examination.now_ms - examination.now_ms % DAY_MS
    start_ms, words = end_ms - DAY_MS, "of yesterday"
    day = HourlyRollup.objects.filter(hour_ms__gte=start_ms, hour_ms__lt=end_ms)
    counted = day.aggregate(sum=Sum("accepted"))["sum"] or 0
    if counted > MOST_COUNTED:
        start_ms, words = end_ms - HOUR_MS, "of the last hour of yesterday"
    if start_ms < retention.whole_since_ms():
        return
    hours, events = _counts(start_ms, end_ms)
    if hours == events:
        yield Finding.fine("counts.rows", "Rows", f"the {sum(events.values()):,} events {words} are all counted")
        return
    differing = ", ".join(
        f"{name} {events[name]:,} but {hours[name]:,} counted"
        for name in sorted(hours | events)
        if hours[name] != events[name]
    )
    yield Finding.wrong("counts.rows", "Rows", f"the events {words}: {differing}", REBUILD)


def _counts(start_ms: int, end_ms: int) -> tuple[Counter[str], Counter[str]]:
    """Return the counted events and the stored ones of a span by type. One statement sees one state of both tables."""
    span = (start_ms, end_ms)
    hours, events = Counter[str](), Counter[str]()
    with connection.cursor() as cursor:
        cursor.execute(_ROWS, [*span, *EventType.values, *span, *span])
        for kind, event_type, count in cursor.fetchall():
            (hours if kind == "hours" else events)[event_type] += int(count)
    return +hours, +events


def newest(examination: Examination) -> Iterator[Finding]:
    """Compare our clock with the newest events: the times at which they arrived, and those of their clients."""
    name, title, now_ms = "counts.clock", "Clock", examination.now_ms
    rows = Event.objects.newest_first().values_list("received_at_ms", "occurred_at", "source")[:EVENTS_ASKED]
    events = list(rows)
    if not events:
        yield Finding.fine(name, title, f"{_minute(now_ms)}; there is no event yet")
        return
    newest_ms = events[0][0]
    if newest_ms - now_ms > AHEAD_MS:
        yield Finding.wrong(
            name,
            title,
            f"{_minute(now_ms)}, but the newest event is from {_minute(newest_ms)}, {age(newest_ms - now_ms)} later",
            "The clock of this machine was wrong at one of the two times. Set it, for example with NTP.",
        )
        return
    text = f"{_minute(now_ms)}; the newest event is {age(now_ms - newest_ms)} old"
    of_clients = [_client_ms(occurred_at) - at_ms for at_ms, occurred_at, source in events if source in WITH_CLOCK]
    if of_clients and abs(median(of_clients)) > CLIENTS_MS:
        yield Finding.wrong(
            name,
            title,
            f"{text}, and most clients were {age(abs(int(median(of_clients))))} away from it",
            "Compare the time of this machine with another clock, and set it, for example with NTP.",
        )
    elif now_ms - newest_ms > DAY_MS and not _was_started(now_ms):
        yield Finding.look(
            name,
            title,
            f"{text}, so nothing of the last day confirms the clock",
            "Compare the time with another clock. If clients should send events, look at the refusals below.",
        )
    else:
        yield Finding.fine(name, title, text)


def _client_ms(occurred_at: str) -> int:
    return int(datetime.fromisoformat(occurred_at).timestamp() * 1000)


def _was_started(now_ms: int) -> bool:
    return SiteDay.objects.filter(started_at_ms__range=(now_ms - DAY_MS, now_ms)).exists()


def _minute(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def kept(examination: Examination) -> Iterator[Finding]:
    """Report since when events are complete."""
    oldest_ms = Event.objects.order_by("received_at_ms").values_list("received_at_ms", flat=True).first()
    if oldest_ms is None:
        return
    whole_ms = retention.whole_since_ms()
    words = f"; complete since {clock.iso(whole_ms)[:10]}" if whole_ms else "; nothing was deleted for its age"
    yield Finding.fine("counts.kept", "Events", f"the oldest one is {age(examination.now_ms - oldest_ms)} old{words}")


def groups(examination: Examination) -> Iterator[Finding]:
    if regrouping.is_due():
        yield Finding.look(
            "counts.groups",
            "Groups",
            "some failures are not in the group of the current rules",
            "Run `manage.py regroup_failures`. The site may run meanwhile.",
        )
    else:
        yield Finding.fine("counts.groups", "Groups", "every failure is in the group of the current rules")


_HOURS, _LIFETIME = HourlyRollup._meta.db_table, LifetimeTotal._meta.db_table
_EVENTS = Event._meta.db_table
_TOTALS = f"""
    SELECT t.event_type, t.accepted, COALESCE(h.hours, 0)
    FROM {_LIFETIME} t
    LEFT JOIN (SELECT event_type, SUM(accepted) AS hours FROM {_HOURS} GROUP BY event_type) h
    ON h.event_type = t.event_type
    ORDER BY t.event_type
"""  # noqa: S608 (our own names)
# The index of types and times covers the second part; void events are few, and have an index of their own.
_ROWS = f"""
    SELECT 'hours', event_type, SUM(accepted) FROM {_HOURS}
    WHERE hour_ms >= %s AND hour_ms < %s GROUP BY event_type
    UNION ALL
    SELECT 'events', event_type, COUNT(*) FROM {_EVENTS}
    WHERE event_type IN ({", ".join(["%s"] * len(EventType.values))}) AND received_at_ms >= %s AND received_at_ms < %s
    GROUP BY event_type
    UNION ALL
    SELECT 'events', event_type, -COUNT(*) FROM {_EVENTS}
    WHERE correction IS NOT NULL AND received_at_ms >= %s AND received_at_ms < %s GROUP BY event_type
"""  # noqa: S608 (our own names)
