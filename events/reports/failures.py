"""Lists of events, newest first, with keyset pagination and bounded searches. No count, no offset, no full scan."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from django.db.models import Case, IntegerField, QuerySet, SmallIntegerField, Value, When
from django.db.models.expressions import Combinable

from events import keyset
from events.counting.buckets import FACET_PREFIX
from events.counting.releases import NO_RELEASES
from events.keyset import Cursor
from events.models import Event, FailureGroup, FormerGroup
from events.querysets import EventQuerySet, FramePosition, NumberOf
from events.sourcemaps import resolve

# The most rows that one request scans for a filter without an index. The page then shows how far it searched.
SEARCH_ROWS = 20_000
SEARCH_PLACES = 20  # each is a condition on the stack
# The most rows in each direction that one request scans for the neighbour of an event.
NEAR_ROWS = SEARCH_ROWS // 2
# The most rows in each direction that one request reads to number an event.
COUNTED_ROWS = 1_000


@dataclass(frozen=True)
class Criteria:
    """Filters of events; None means any. [since_ms, until_ms) is by our clock.

    `text` matches anywhere in the texts of an event; with it, a stack that has one of `places` matches too. `phrases`
    are further texts, each with its places. `name` is the id of an event or of a session. `released` excludes the
    versions that are no releases. `facets` are pairs of a key of the metadata and its value. `without` are pairs of a
    column, or of FACET_PREFIX and a key, and a value that no event has. `expected` keeps only the events of expected
    groups, or leaves them out.
    """

    failures_only: bool = True
    event_type: str | None = None
    model: str | None = None
    app_version: str | None = None
    write_mode: int | None = None
    connected: int | None = None
    session_id: str | None = None
    text: str | None = None
    places: tuple[FramePosition, ...] = ()
    phrases: tuple[tuple[str, tuple[FramePosition, ...]], ...] = ()
    name: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    fingerprint: str | None = None
    released: bool = False
    facets: tuple[tuple[str, str], ...] = ()
    without: tuple[tuple[str, str], ...] = ()
    expected: bool | None = None

    def select(self) -> EventQuerySet[Event]:
        events = Event.objects.newest_first()
        if self.failures_only and self.fingerprint is None:  # a group has failures only; its index has no types
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
        if self.expected is not None:
            keys = FailureGroup.objects.expected().values("pk")
            events = events.of_groups(keys) if self.expected else events.of_no_group(keys)
        if self.name is not None:
            events = events.named(self.name)
        for key, value in self.facets:
            events = events.with_facet(key, value)
        for column, value in self.without:
            if column.startswith(FACET_PREFIX):
                events = events.without_facet(column.removeprefix(FACET_PREFIX), value)
            else:
                events = events.exclude(**{column: value})
        for phrase, places in ((self.text, self.places), *self.phrases):
            if phrase:
                events = events.mentioning(phrase, places)
        return events

    def resolved(self, *, may_be_named: bool = True) -> "Criteria":
        """Return equivalent criteria that are faster to search, with the original places that the `text` names.

        A `text` that is the id of an event or session moves to `name`, unless the caller knows that it is none. For
        another text, `places` are the frames whose original function or source file contains it. While no group is
        expected, every event or none matches `expected`.
        """
        criteria = self
        if self.expected is not None and not FailureGroup.objects.expected().exists():
            criteria = replace(criteria, expected=None, until_ms=0 if self.expected else self.until_ms)
        if self.phrases:
            criteria = replace(criteria, phrases=tuple((phrase, _places(phrase)) for phrase, _ in self.phrases))
        if self.text is None:
            return criteria
        if may_be_named and Event.objects.named(self.text).exists():
            return replace(criteria, text=None, name=self.text)
        return replace(criteria, places=_places(self.text))

    @property
    def is_indexed(self) -> bool:
        """Whether an index alone selects the rows, so that the search needs no bound."""
        unindexed = (
            self.model, self.app_version, self.write_mode, self.connected, self.text, self.released or None,
            self.phrases or None, self.facets or None, self.without or None, self.expected,
        )  # fmt: skip
        by_key = (self.session_id, self.name)  # few rows each; a group can have any number
        return any(value is not None for value in by_key) or all(value is None for value in unindexed)

    @property
    def is_narrowed(self) -> bool:
        """Whether there is any filter besides the failures or a group."""
        return self != Criteria(failures_only=self.failures_only, fingerprint=self.fingerprint)


def _places(text: str) -> tuple[FramePosition, ...]:
    return tuple(resolve.mentioning(text, newest=SEARCH_ROWS, limit=SEARCH_PLACES))


def current_group(fingerprint: str) -> str:
    """Return the group that has the events of this group now: another one, if this one no longer exists."""
    if FailureGroup.objects.filter(pk=fingerprint).exists():
        return fingerprint
    return FormerGroup.objects.successor(fingerprint)


class EventPage(NamedTuple):
    """`older` is the cursor of the next page, None at the end.

    `searched_to_ms` is set when the search reached its bound before the page was full.
    """

    events: list[Event]
    older: Cursor | None
    searched_to_ms: int | None


def page(criteria: Criteria, *, limit: int, after: Cursor | None = None, may_be_named: bool = True) -> EventPage:
    """Return up to `limit` events that match the criteria, newest first, after a cursor.

    A page may have fewer events and still a next page: without an index, each request scans SEARCH_ROWS rows.
    `may_be_named` as in `Criteria.resolved`.
    """
    criteria = criteria.resolved(may_be_named=may_be_named)
    selected, bound = _bounded(criteria, after, rows=SEARCH_ROWS)
    events, older = keyset.page(selected, limit)
    return EventPage(events, older or bound, bound.value if bound and not older else None)


def rows(
    criteria: Criteria, columns: tuple[str, ...], *, size: int, limit: int | None = None
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield every event that matches the criteria as a tuple of columns, newest first, in chunks of `size`.

    Each chunk is a separate query, so that a slow reader keeps no transaction open. A `limit` yields the first rows
    that one query finds: up to `limit`, and without an index only among the newest SEARCH_ROWS rows.
    """
    criteria = criteria.resolved()
    after: Cursor | None = None
    selected, bound = _bounded(criteria, None, rows=SEARCH_ROWS)
    while True:
        annotated = with_expected(selected) if "expected" in columns else selected
        chunk = list(annotated.values_list("received_at_ms", "id", *columns)[: limit or size])
        if chunk:
            yield [row[2:] for row in chunk]
        is_full = len(chunk) == size
        after = Cursor(*chunk[-1][:2]) if is_full else bound
        if after is None or limit is not None:
            return
        if is_full:  # the bound stays: a search for it reads all rows up to it
            selected = _ordered(criteria, after, is_newer=False)
            selected = selected if bound is None else keyset.until(selected, bound)
        else:
            selected, bound = _bounded(criteria, after, rows=SEARCH_ROWS)


def matches(criteria: Criteria) -> tuple[int, bool]:
    """Return how many events match the criteria, and whether these are all.

    Counts at most SEARCH_ROWS events; without an index, those that match among the newest SEARCH_ROWS rows.
    """
    selected, bound = _bounded(criteria.resolved(), None, rows=SEARCH_ROWS)
    if bound is not None:
        return selected.order_by().count(), False
    number = selected.order_by()[: SEARCH_ROWS + 1].count()
    return min(number, SEARCH_ROWS), number <= SEARCH_ROWS


def with_expected(events: QuerySet[Event]) -> QuerySet[Any]:
    """Annotate events with `expected`: 1 for those of expected groups, else 0."""
    is_expected = When(fingerprint__in=FailureGroup.objects.expected().values("pk"), then=1)
    return events.annotate(expected=Case(is_expected, default=0, output_field=SmallIntegerField()))


def is_expected(event: Event) -> bool:
    return FailureGroup.objects.expected().filter(pk=event.fingerprint).exists()


def named(text: str) -> list[Event]:
    """Return the event with this id, or the newest two events of the session with this id."""
    return list(Event.objects.named(text).newest_first()[:2])


def neighbours(criteria: Criteria, event: Event) -> tuple[Event | None, Event | None]:
    """Return the next newer and the next older event that match the criteria.

    Without an index, each search scans NEAR_ROWS rows: None can also mean that no match is near.
    """
    criteria = criteria.resolved()
    cursor = Cursor(event.received_at_ms, event.id)
    newer, _ = _bounded(criteria, cursor, is_newer=True, rows=NEAR_ROWS)
    older, _ = _bounded(criteria, cursor, rows=NEAR_ROWS)
    return newer.first(), older.first()


class ListPosition(NamedTuple):
    """The place of an event in a list: its number, where 1 is the newest event, and the length of the list.

    `number` is None if too many events are newer. `total` is a lower bound unless `is_total_exact`.
    """

    number: int | None
    total: int
    is_total_exact: bool


class Numbering(NamedTuple):
    """Expressions for a query that numbers an event: how many matching events are newer, and how many are older.

    A side that is bounded by its number of rows has more events than its expression counts.
    """

    newer: Combinable
    older: Combinable
    is_newer_bounded: bool
    is_older_bounded: bool

    def position(self, newer: int, older: int) -> ListPosition:
        """Return the position of the event from the values of the expressions."""
        is_newer_exact = not self.is_newer_bounded and newer <= COUNTED_ROWS
        is_older_exact = not self.is_older_bounded and older <= COUNTED_ROWS
        newer, older = min(newer, COUNTED_ROWS), min(older, COUNTED_ROWS)
        return ListPosition(newer + 1 if is_newer_exact else None, newer + 1 + older, is_newer_exact and is_older_exact)


def numbering(criteria: Criteria, event: Event, *, is_newest: bool = False) -> Numbering | None:
    """Return how to number an event among those that match the criteria, None if it does not match them.

    The expressions read at most COUNTED_ROWS rows each. A search for a text has no positions: it would read long texts.
    With `is_newest` the caller knows that the event is the newest match.
    """
    if criteria.text is not None or criteria.phrases:
        return None
    if criteria.is_narrowed and not is_newest and not criteria.select().filter(pk=event.pk).exists():
        return None
    newer: Combinable = Value(0, output_field=IntegerField())
    is_newer_bounded = False
    if not is_newest:
        newer, is_newer_bounded = _number_of(criteria, event, is_newer=True)
    older, is_older_bounded = _number_of(criteria, event, is_newer=False)
    return Numbering(newer, older, is_newer_bounded, is_older_bounded)


def position(criteria: Criteria, event: Event) -> ListPosition | None:
    """Return the position of an event among those that match the criteria. None as in `numbering`."""
    sides = numbering(criteria, event)
    if sides is None:
        return None
    counts = Event.objects.filter(pk=event.pk).values_list(sides.newer, sides.older)
    return next((sides.position(*found) for found in counts), None)


def of_session(event: Event) -> list[Event]:
    """Return the other events of the same session, oldest first: at most one of each type."""
    if event.session_id is None:
        return []
    others = Event.objects.of_sessions(event.session_id).exclude(pk=event.pk)
    return list(others.order_by("received_at_ms", "id"))


def as_json(event: Event) -> dict[str, Any]:
    """Return the public columns by name, with log lines and metadata parsed. Invalid JSON stays text."""
    columns = {field.attname: getattr(event, field.attname) for field in Event._meta.concrete_fields}
    for internal in ("source", "fingerprint", "merged_from", "correction"):
        del columns[internal]
    return columns | {
        "log_lines_json": _parsed(event.log_lines_json),
        "metadata_json": _parsed(event.metadata_json),
    }


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _bounded(
    criteria: Criteria, after: Cursor | None, *, rows: int, is_newer: bool = False
) -> tuple[EventQuerySet[Event], Cursor | None]:
    """Return the matching events after a cursor, and the bound of the search if no index serves it.

    The order is newest first. With `is_newer` it is oldest first, so "after" then means newer.
    """
    events = _ordered(criteria, after, is_newer=is_newer)
    bound = None if criteria.is_indexed else _search_bound(criteria, after, is_newer=is_newer, rows=rows)
    if bound is not None:
        events = keyset.until(events, bound)
    return events, bound


def _search_bound(criteria: Criteria, after: Cursor | None, *, is_newer: bool, rows: int) -> Cursor | None:
    """Return the cursor of the last of the next `rows` rows that an index selects, None if there are fewer."""
    indexed = Criteria(
        failures_only=criteria.failures_only,
        event_type=criteria.event_type,
        fingerprint=criteria.fingerprint,
        since_ms=criteria.since_ms,
        until_ms=criteria.until_ms,
    )
    last = _ordered(indexed, after, is_newer=is_newer).values_list("received_at_ms", "id")[rows - 1 : rows]
    return Cursor(*last[0]) if last else None


def _ordered(criteria: Criteria, after: Cursor | None, *, is_newer: bool) -> EventQuerySet[Event]:
    events = criteria.select()
    if is_newer:
        events = events.order_by("received_at_ms", "id")
    return events if after is None else keyset.after(events, after)


def _number_of(criteria: Criteria, event: Event, *, is_newer: bool) -> tuple[NumberOf, bool]:
    """Return the number of matching events that are newer or older than an event, and whether there may be more."""
    cursor = Cursor(event.received_at_ms, event.id)
    events, bound = _bounded(criteria, cursor, is_newer=is_newer, rows=COUNTED_ROWS)
    return NumberOf(events.order_by().values("pk")[: COUNTED_ROWS + 1]), bound is not None
