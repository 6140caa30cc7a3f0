"""Reads of events as lists, newest first and always bounded: no count, no offset, no scan without an end."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from events.counting.releases import NO_RELEASES
from events.models import Event
from events.querysets import EventQuerySet

# How many rows one request looks at for a filter that no index serves; then it says how far it got.
SEARCH_ROWS = 20_000


class EventCursor(NamedTuple):
    """A place between two rows of `newest_first()`: everything after this event."""

    received_at_ms: int
    event_id: str

    def __str__(self) -> str:
        return f"{self.received_at_ms}.{self.event_id}"

    @classmethod
    def parse(cls, raw: str) -> "EventCursor":
        """Read what `str()` wrote; raises ValueError."""
        received_at_ms, _, event_id = raw.partition(".")
        if not received_at_ms.isascii() or not received_at_ms.isdigit() or len(received_at_ms) > 15 or not event_id:
            raise ValueError("not a position")
        return cls(int(received_at_ms), event_id)


@dataclass(frozen=True)
class Criteria:
    """What a reader asks for; None is "any". `since_ms` and `until_ms` are half-open, by our clock.

    `text` stands anywhere in what an event tells; `name` is the id of an event or of a session. `released`
    leaves out the versions that are no release.
    """

    failures_only: bool = True
    event_type: str | None = None
    model: str | None = None
    app_version: str | None = None
    write_mode: int | None = None
    connected: int | None = None
    session_id: str | None = None
    text: str | None = None
    name: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    fingerprint: str | None = None
    released: bool = False

    def select(self) -> EventQuerySet[Event]:
        events = Event.objects.newest_first()
        if self.failures_only:
            events = events.failures()
        exact = {
            "event_type": self.event_type,
            "model": self.model,
            "app_version": self.app_version,
            "write_mode": self.write_mode,
            "connected": self.connected,
            "received_at_ms__gte": self.since_ms,
            "received_at_ms__lt": self.until_ms,
            "fingerprint": self.fingerprint,
        }
        events = events.filter(**{column: value for column, value in exact.items() if value is not None})
        if self.session_id is not None:
            events = events.of_sessions(self.session_id)
        if self.released:
            events = events.exclude(app_version__in=NO_RELEASES)
        if self.name is not None:
            events = events.named(self.name)
        return events.mentioning(self.text) if self.text else events

    def resolved(self) -> "Criteria":
        """Return the same criteria, with a text that someone pasted taken as the id or session that it is."""
        if self.text is None or not Event.objects.named(self.text).exists():
            return self
        return replace(self, text=None, name=self.text)

    @property
    def is_indexed(self) -> bool:
        """Whether an index alone finds the rows, so that a search needs no other bound."""
        others = (self.model, self.app_version, self.write_mode, self.connected, self.text, self.released or None)
        by_key = (self.session_id, self.name)  # a handful of rows; a group may hold any number
        return any(value is not None for value in by_key) or all(value is None for value in others)


class EventPage(NamedTuple):
    """`older` is where the next page begins, None at the end.

    `searched_to_ms` is set when the search ended at its bound and not because the page was full.
    """

    events: list[Event]
    older: EventCursor | None
    searched_to_ms: int | None


def page(criteria: Criteria, *, limit: int, after: EventCursor | None = None) -> EventPage:
    """Return up to `limit` events that meet the criteria, newest first, after a position.

    A page may hold fewer and still have an `older` one: a filter that no index serves looks at
    SEARCH_ROWS rows at a time.
    """
    criteria = criteria.resolved()
    selected, bound = _bounded(criteria, after)
    events = list(selected[: limit + 1])
    if len(events) > limit:
        last = events[limit - 1]
        return EventPage(events[:limit], EventCursor(last.received_at_ms, last.id), None)
    return EventPage(events, bound, bound.received_at_ms if bound else None)


def rows(criteria: Criteria, columns: tuple[str, ...], *, size: int) -> Iterator[list[tuple[Any, ...]]]:
    """Yield every event that meets the criteria as a tuple of columns, newest first, `size` at a time.

    Each step is a query of its own, so that no snapshot is held open however slowly the reader takes them.
    """
    criteria = criteria.resolved()
    after: EventCursor | None = None
    while True:
        selected, bound = _bounded(criteria, after)
        found = list(selected.values_list("received_at_ms", "id", *columns)[:size])
        if found:
            yield [row[2:] for row in found]
        after = EventCursor(*found[-1][:2]) if len(found) == size else bound
        if after is None:
            return


def named(text: str) -> list[Event]:
    """Return the event with this id, or the newest two of the session with this name; most texts name neither."""
    return list(Event.objects.named(text).newest_first()[:2])


def neighbours(event: Event) -> tuple[Event | None, Event | None]:
    """Return the events just newer and just older than this one, among failures if it is one."""
    events = Event.objects.all() if event.event_type == "flash_success" else Event.objects.failures()
    newer = events.newer_than(event.received_at_ms, event.id).order_by("received_at_ms", "id").first()
    return newer, events.newest_first().older_than(event.received_at_ms, event.id).first()


def as_json(event: Event) -> dict[str, Any]:
    """Return the plan's columns by name, log lines and metadata parsed; what is no JSON stays text."""
    columns = {field.attname: getattr(event, field.attname) for field in Event._meta.concrete_fields}
    for ours in ("source", "fingerprint", "correction"):
        del columns[ours]
    return columns | {
        "log_lines_json": _parsed(event.log_lines_json),
        "metadata_json": _parsed(event.metadata_json),
    }


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _bounded(criteria: Criteria, after: EventCursor | None) -> tuple[EventQuerySet[Event], EventCursor | None]:
    """Return what meets the criteria after a position, and how far this goes where no index leads."""
    events = criteria.select()
    if after is not None:
        events = events.older_than(*after)
    bound = None if criteria.is_indexed else _search_bound(criteria, after)
    if bound is not None:
        events = events.down_to(*bound)
    return events, bound


def _search_bound(criteria: Criteria, after: EventCursor | None) -> EventCursor | None:
    """Return the last of the next SEARCH_ROWS rows that an index finds, None when there are fewer."""
    wide = Criteria(
        failures_only=criteria.failures_only,
        event_type=criteria.event_type,
        fingerprint=criteria.fingerprint,
        since_ms=criteria.since_ms,
        until_ms=criteria.until_ms,
    ).select()
    if after is not None:
        wide = wide.older_than(*after)
    last = wide.values_list("received_at_ms", "id")[SEARCH_ROWS - 1 : SEARCH_ROWS]
    return EventCursor(*last[0]) if last else None
