"""Which events of an import the site already stored, counted, refused or erased. An import counts no event twice."""

import json
from collections import Counter
from collections.abc import Collection
from functools import lru_cache
from typing import Any

from django.db import connection
from django.db.models import Count, Model

from events import clock
from events.counting.buckets import DAY_MS
from events.ingest import contract
from events.maintenance import retention
from events.models import AuditEntry, AuditKind, Event
from events.querysets import SUCCESS
from events.reports import metrics
from events.rows import EventRow, content_id, identified
from legacy import old_tables
from legacy.models import ClientLog, LegacyCount


class NoLongerStored:
    """Events that the stream counted but no longer stores: erased sessions, and the counts by UTC day and type.

    An import stores each event that it counts, so it does not change these numbers.
    """

    def __init__(self) -> None:
        self.whole_since_ms = 0
        self.state: tuple[int, int] | None = None
        self.erased: frozenset[str] = frozenset()
        self.days: dict[int, Counter[str]] = {}

    def refresh(self) -> None:
        """Detect a prune or an erasure that ran during the import. Call it after the query of the stored events."""
        self.whole_since_ms = retention.whole_since_ms()
        state = self.whole_since_ms, AuditEntry.objects.filter(kind=AuditKind.ERASURE).count()
        if self.state != state:
            self.state = state
            self.days.clear()
            self.erased = old_tables.erased_names()
        for day_ms in [day_ms for day_ms in self.days if day_ms < self.whole_since_ms]:
            del self.days[day_ms]  # A prune may still be running.

    def has_erased(self, session_id: str | None) -> bool:
        return bool(self.erased) and session_id is not None and old_tables.erased_name(session_id) in self.erased

    def why_uncertain(self, event: EventRow) -> str | None:
        """Return why the site may have counted the event already, or None if it cannot have.

        It checks the day before and the day after too: clocks differ, and a client may send an event again a day later.
        """
        day_ms = event.received_at_ms - event.received_at_ms % DAY_MS
        if not any(self._counts_of_day(day_ms + days * DAY_MS)[event.event_type] for days in (-1, 0, 1)):
            return None
        if event.received_at_ms < self.whole_since_ms:
            day = clock.iso(self.whole_since_ms)[:10]
            return f"received before {day}; older events are pruned, so it may have been counted already"
        return "received within a day of pruned or erased events, so it may have been counted already"

    def _counts_of_day(self, day_ms: int) -> Counter[str]:
        if day_ms not in self.days:
            end_ms = day_ms + DAY_MS
            counted = Counter(metrics.totals_by_type(day_ms, end_ms))
            if counted.total():
                by_type = Event.objects.counted().between(day_ms, end_ms).values_list("event_type")
                known = Counter(dict(by_type.annotate(count=Count("*"))))
                known[SUCCESS] += old_tables.count_recognisable_without_event(day_ms, end_ms)
                counted -= known
            self.days[day_ms] = counted
        return self.days[day_ms]


class Known:
    """Which events of a chunk are stored, counted, or seen earlier in this run.

    `seen` maps the names of events to their content ids. `stored` maps idempotency keys to content ids. `ids` are
    stored event ids. `sessions` maps the sessions of the old counter to `in_stream`. `logged` are the content ids of
    rows in the old log whose events the stream has or had.
    """

    def __init__(self, events: list[EventRow], seen: dict[str, str], no_longer_stored: NoLongerStored) -> None:
        self.seen = seen
        self.no_longer_stored = no_longer_stored
        names = {name for event in events for name in (event.id, _content(event))}
        self.ids = {event_id for (event_id,) in _rows(Event, "id", "id IN", names)}
        successes = {event.session_id for event in events if event.session_id and event.event_type == SUCCESS}
        where = f"event_type = '{SUCCESS}' AND session_id IN"
        self.received_at = dict(_rows(Event, "session_id, received_at_ms", where, successes))
        self.stored = {f"{SUCCESS} {session_id}": "" for session_id in self.received_at}
        sessions = {event.session_id for event in events if event.session_id and event.event_type != SUCCESS}
        if sessions:
            rows = Event.objects.failures().of_sessions(*sessions).values_list(*EventRow._fields)
            self.stored |= {_key(event): _content(event) for event in map(EventRow._make, rows)}
        self.sessions = dict(_rows(LegacyCount, "session_id, in_stream", "session_id IN", successes))
        contents = {content for event in events if (content := _content(event)) and content not in self.ids}
        self.logged = {content for (content,) in _rows(ClientLog, "event_id", "in_stream AND event_id IN", contents)}

    def storable(self, event: EventRow) -> EventRow:
        """Return the event, without its session if the stream already has another failure of this type and session."""
        if event.session_id is None or event.event_type == SUCCESS:
            return event
        first = self.seen.get(_key(event), self.stored.get(_key(event)))
        return event if first in (None, _content(event)) else _without_session(event)

    def has_seen(self, event: EventRow) -> bool:
        return any(name in self.seen for name in names_of(event))

    def has_stored(self, event: EventRow) -> bool:
        return _key(event) in self.stored or event.id in self.ids or _content(event) in self.ids

    def has_counted(self, event: EventRow) -> bool:
        """Return whether the old tables show that the stream counted the event, even if it is no longer stored."""
        if event.event_type == SUCCESS:
            return bool(self.sessions.get(event.session_id))
        return _content(event) in self.logged

    def why_refused(self, event: EventRow, session_id: str | None) -> str | None:
        """Return why the event must not be imported, or None if it may be."""
        if reason := self.seen.get(refusal_name(event)):
            return reason
        if self.no_longer_stored.has_erased(session_id):
            return "its session was erased here"
        if self.has_seen(event) or self.has_stored(event) or self.has_counted(event):
            return None
        return self.no_longer_stored.why_uncertain(event)

    def remember(self, event: EventRow) -> None:
        self.seen[_key(event)] = _content(event)
        if event.session_id is not None and event.event_type != SUCCESS:
            self.seen[f"twin {_content(event)}"] = _content(event)


def _rows(table: type[Model], columns: str, where: str, values: Collection[str | None]) -> list[tuple[Any, ...]]:
    """Return columns of the rows that match `where` for these values. The ORM would take longer than the query."""
    if not values:
        return []
    with connection.cursor() as cursor:
        marks = ", ".join(["%s"] * len(values))
        cursor.execute(f"SELECT {columns} FROM {table._meta.db_table} WHERE {where} ({marks})", list(values))  # noqa: S608
        return list(cursor.fetchall())


def _key(event: EventRow) -> str:
    """Return the idempotency key of an event: its session, or else its content id."""
    return event.id if event.session_id is None else f"{event.event_type} {event.session_id}"


@lru_cache(maxsize=2_000)  # Several functions need it for each event of a chunk.
def _content(event: EventRow) -> str:
    return "" if event.event_type == SUCCESS else content_id(event)


def names_of(event: EventRow) -> list[str]:
    """Return the names under which `seen` contains this event, or a copy of it with or without a session."""
    if event.event_type == SUCCESS:
        return [_key(event)]
    return [_key(event), _content(event)] if event.session_id is not None else [event.id, f"twin {event.id}"]


def refusal_name(event: EventRow) -> str:
    """Return the name under which `seen` contains the reason of a refusal. All copies of the event share it."""
    return f"refused {_content(event) or _key(event)}"


def _without_session(event: EventRow) -> EventRow:
    """Return a failure with a content id, and with its session in the metadata."""
    metadata = json.loads(event.metadata_json) | {"session_id": event.session_id, "d1_id": event.id}
    return identified(event._replace(session_id=None, metadata_json=contract.compact_json(metadata)))
