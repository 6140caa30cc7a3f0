"""The only writer of events: idempotency, and the rollups in the same transaction. `group_commit` has the queue."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import cache
from typing import Any, NamedTuple

from django.db import DatabaseError, connection, transaction
from django.db.backends.utils import CursorWrapper

from events import clock
from events.alerts import outbox
from events.counting import buckets, corrections, facets, releases, rollups
from events.counting.buckets import FacetBucket
from events.counting.upserts import placeholders, retried, select_in
from events.grouping import advice, groups, moves, rules
from events.grouping.groups import Advice
from events.grouping.rules import Membership
from events.ingest import refusals, refused_hosts
from events.ingest.group_commit import UNAVAILABLE, Queue, Recorded, StorageUnavailable, Submission
from events.models import Event, EventType, Source
from events.monitoring import commits
from events.querysets import SUCCESS
from events.rows import EventRow, content_id, has_long_texts, is_left_out, left_out_content

logger = logging.getLogger(__name__)

# SQLite caches compiled statements per connection. Larger statements fill memory and are no faster.
_ROWS_A_STATEMENT = 50
# Events from these sources are complete: no later report can add to them.
COMPLETE_SOURCES = {Source.EVENT.value, Source.IMPORT.value}
# The responses to events from this source deliver advice; those of other routes have no place for it.
_DELIVERING = Source.EVENT.value


def record(event: EventRow, *, alongside: Callable[[], object] | None = None) -> Recorded:
    """Store one event, or find the stored duplicate; returns after the commit.

    `alongside` runs in the same transaction, as `Submission` says. Raises StorageUnavailable.
    """
    return record_many([event], alongside=alongside)[0]


def record_many(events: Sequence[EventRow], *, alongside: Callable[[], object] | None = None) -> list[Recorded]:
    """Store events in one transaction; returns outcomes in the order of `events`. Raises StorageUnavailable."""
    submission = submit(events, alongside=alongside)
    return wait(submission)


def submit(events: Sequence[EventRow], *, alongside: Callable[[], object] | None = None) -> Submission:
    """Queue events for the next commit. The caller must `wait` for the submission before it answers anybody."""
    submission = Submission(events, alongside)
    _queue.submit(submission)
    return submission


def wait(submission: Submission) -> list[Recorded]:
    """Return the outcomes of submitted events after their commit. Raises StorageUnavailable."""
    return _queue.wait(submission)


def record_within(events: Sequence[EventRow]) -> list[Recorded]:
    """Store events in the caller's transaction, which already holds the locks; returns outcomes in order."""
    submission = Submission(events)
    _write([submission], {})
    return submission.outcomes


def note_refusal(outcome: str) -> None:
    """Count a refusal. Write the counts to the database when they are due, even without an event."""
    refusals.note(outcome, clock.now_ms())
    if outcome != refusals.RefusalReason.STORAGE and refusals.are_due():  # a write would fail now
        with suppress(StorageUnavailable):  # the counts stay in memory until the next try
            flush_refusals()


def flush_refusals() -> None:
    """Write the counts of refused requests when no event has arrived to take them along."""
    record_many([])


def flush_if_due() -> None:
    """Write the counts of refused requests and the measured commits that have waited long enough.

    The server calls it regularly: the last of them would otherwise wait for the next request.
    """
    if refusals.are_due() or commits.are_due():
        record_many([])


@retried
def _commit_together(batch: list[Submission]) -> None:
    with (
        refusals.taken() as tallies,
        refused_hosts.taken() as hosts,
        transaction.atomic(durable=True),
    ):
        _write(batch, tallies)
        refused_hosts.write(hosts)
        if measured := commits.due():
            commits.write(measured)
    if measured:
        commits.forget()


_queue = Queue(_commit_together)


def _write(batch: list[Submission], tallies: dict[tuple[date, str], int]) -> None:
    events = [event for submission in batch for event in submission.events]
    memberships = {event.id: rules.membership_of(event) for event in events if event.event_type != SUCCESS}
    inserted = _insert(events, memberships)
    stored: list[EventRow] = []
    duplicates: list[EventRow] = []
    for submission in batch:
        outcomes = []
        for event in submission.events:
            is_new = event.id in inserted
            inserted.discard(event.id)  # A second copy in the same commit is a duplicate.
            (stored if is_new else duplicates).append(event)
            outcomes.append(Recorded(is_new, event.id))
        submission.outcomes = outcomes
        if submission.alongside is not None:
            submission.alongside()
    # All processes take their locks in this order, each kind sorted, so that no deadlock can occur: events, the
    # lifetime totals of their types, hours, modes and facets of these types, completed events, known names, releases,
    # arrivals, groups with their hours, shares and expected counts, alerts, deliveries of advice, tallies, refused
    # hosts, measurements of commits.
    # Hours, modes, facets and groups belong to a type, so a writer locks the total of the type first. A version that
    # becomes a release can reopen groups of every type, so its transaction locks the totals of all types first. Only
    # `alongside` can break this order. PostgreSQL then aborts one transaction, and it is retried.
    completing = _incomplete([event for event in duplicates if event.source in COMPLETE_SOURCES])
    left_out = _left_out(duplicates)
    # Lock these types too: the hours of these successes and the groups of these failures can change.
    moving = {SUCCESS for event in completing if event.event_type == SUCCESS}
    moving |= {event.event_type for event in left_out.values()}
    # The metadata of these failures can complete the stored ones, which then have more facets.
    moving |= {event.event_type for event in completing if facets.values_in(event.metadata_json)}
    news = releases.news(stored)
    if news or releases.news(completing):
        rollups.lock(EventType.values, adding={event.event_type for event in stored})
    elif moving:
        rollups.lock(moving, adding={event.event_type for event in stored})
    if rules.are_outdated(rollups.add(stored)):
        _apply_rules(stored, memberships)
    values = facets.add(stored)
    completed = _complete(completing)
    _fill_in(left_out)
    buckets.note([*stored, *completed.successes], values + completed.values)
    released = releases.note([*news, *releases.news(completed.successes)])
    joining = [(event, memberships[event.id].group) for event in stored if event.id in memberships]
    added = groups.add(joining, released)
    if added.overflowed:
        moves.set_groups(added.overflowed)
    outbox.note_failures(added.growth, added.regressions)
    for old, new in completed.failures:
        groups.move_facets(old.fingerprint, old, new)
    if left_out:
        moves.rejoin(left_out)
        _note_filled_in(batch, left_out)
    _advise(batch, stored, duplicates, added.advice)
    if tallies or duplicates:
        rollups.add_tallies(Counter(tallies) + _tallied(duplicates))


def _apply_rules(stored: list[EventRow], memberships: dict[str, Membership]) -> None:
    """Correct the groups of stored failures after another process merged or split one. No group counts them yet."""
    rules.reload()
    failures = [event for event in stored if event.id in memberships]
    current = {event.id: rules.membership_of(event) for event in failures}
    changed = {event_id: now for event_id, now in current.items() if now != memberships[event_id]}
    memberships.update(changed)
    moves.set_groups(changed)


def _insert(events: list[EventRow], memberships: Mapping[str, Membership]) -> set[str]:
    """Insert the new events and return their ids.

    `ON CONFLICT DO NOTHING` has no target, because two keys can conflict. NOT NULL and CHECK still raise.
    """
    # Every process inserts in the same order. Otherwise two of them could deadlock on each other's sessions.
    # The sort is stable: of two events of one session in this commit, the first submission wins.
    ordered = sorted(events, key=lambda event: (event.event_type, event.session_id or "", event.session_id or event.id))
    inserted: set[str] = set()
    with connection.cursor() as cursor:
        for start in range(0, len(ordered), _ROWS_A_STATEMENT):
            inserted.update(_insert_chunk(cursor, ordered[start : start + _ROWS_A_STATEMENT], memberships))
    return inserted


def _insert_chunk(
    cursor: CursorWrapper, events: list[EventRow], memberships: Mapping[str, Membership]
) -> Iterable[str]:
    ids = [event.id for event in events]
    values: list[Any] = []
    for event in events:
        membership = memberships.get(event.id)
        values += event
        values += (membership.group.key, membership.merged_from) if membership else (None, None)
    # RETURNING makes SQLite write each row twice. Random ids cannot exist yet, so a SELECT afterwards proves the
    # insert. An id made from the content, or by another system, can exist already and needs RETURNING.
    is_returned = any(event.session_id is None or event.source == Source.IMPORT for event in events)
    cursor.execute(_insert_of(len(events), is_returned), values)
    if not is_returned:
        if cursor.rowcount in (0, len(events)):
            return ids[: cursor.rowcount]
        cursor.execute(f"SELECT id FROM {Event._meta.db_table} WHERE id IN {placeholders(1, len(ids))}", ids)  # noqa: S608
    return [event_id for (event_id,) in cursor.fetchall()]


@cache
def _insert_of(count: int, is_returned: bool) -> str:
    columns = (*EventRow._fields, "fingerprint", "merged_from")
    return (
        f"INSERT INTO {Event._meta.db_table} ({', '.join(columns)})"  # noqa: S608 (our own names)
        f" VALUES {placeholders(count, len(columns))} ON CONFLICT DO NOTHING{' RETURNING id' if is_returned else ''}"
    )


def _incomplete(duplicates: list[EventRow]) -> list[EventRow]:
    """Return the duplicates whose stored event may be incomplete: its route has fewer fields. Rarely any."""
    sessions = [event.session_id for event in duplicates if event.event_type == SUCCESS]
    query = f"SELECT session_id FROM {Event._meta.db_table} WHERE event_type = %s AND source = %s AND session_id"  # noqa: S608
    waiting = {session_id for (session_id,) in select_in(query, sessions, SUCCESS, Source.INCREMENT.value)}
    return [event for event in duplicates if event.session_id is None or event.session_id in waiting]


def _left_out(duplicates: list[EventRow]) -> dict[str, EventRow]:
    """Return the failures that contain texts left out on a nearly full disk, by the ids of the stored events."""
    whole = [event for event in duplicates if has_long_texts(event) and not is_left_out(event.log_lines_json)]
    if not whole:
        return {}
    stored: list[tuple[str, str]] = []
    with connection.cursor() as cursor:
        for start in range(0, len(whole), _ROWS_A_STATEMENT):
            chunk = whole[start : start + _ROWS_A_STATEMENT]
            slots = ", ".join(["%s"] * len(chunk))
            cursor.execute(
                f'SELECT id, log_lines_json FROM "{Event._meta.db_table}" WHERE SUBSTR(log_lines_json, 1, 1) = \'"\''  # noqa: S608
                f" AND (id IN ({slots}) OR event_type IN ({slots}) AND session_id IN ({slots}))",
                [getattr(event, column) for column in ("id", "event_type", "session_id") for event in chunk],
            )
            stored += cursor.fetchall()
    if not stored:
        return {}  # before any content is hashed
    by_content = {content_id(event): event for event in whole}
    contents = {event_id: left_out_content(log_lines_json) or "" for event_id, log_lines_json in stored}
    return {event_id: by_content[content] for event_id, content in contents.items() if content in by_content}


class _Completed(NamedTuple):
    """Completed events: the successes that count, with their new content; pairs of a failure before and after.

    `values` are the new buckets of their facets.
    """

    successes: list[EventRow]
    failures: list[tuple[Any, Any]]
    values: Counter[FacetBucket]


def _complete(duplicates: list[EventRow]) -> _Completed:
    """Complete events of routes with fewer fields with the content that only `/event` has. No total changes."""
    completed = _Completed([], [], Counter())
    by_session = {event.session_id: event for event in duplicates if event.event_type == SUCCESS}
    by_id = {event.id: event for event in duplicates if event.session_id is None}
    if by_session:
        _fill_placeholders(by_session, completed)
    if by_id:
        waiting = Event.objects.filter(id__in=by_id, source=Source.CLIENT_LOG)
        for stored in waiting.order_by("id").values_list("id", "fingerprint", *rollups.COUNTED, named=True):
            event = by_id[stored.id]
            new = stored._replace(metadata_json=_with_all_of(stored.metadata_json, event.metadata_json))
            is_first = waiting.filter(id=stored.id).update(metadata_json=new.metadata_json, source=event.source)
            if is_first and facets.values_in(new.metadata_json) != facets.values_in(stored.metadata_json):
                completed.values.update(facets.move(stored, new))
                if stored.fingerprint is not None:
                    completed.failures.append((stored, new))
    return completed


def _fill_in(left_out: Mapping[str, EventRow]) -> None:
    """Write the long texts of these events into the stored events with the given ids."""
    for event_id, event in sorted(left_out.items()):
        Event.objects.filter(pk=event_id).update(stack=event.stack, log_lines_json=event.log_lines_json)


def _note_filled_in(batch: list[Submission], left_out: Mapping[str, EventRow]) -> None:
    sources = {id(event) for event in left_out.values()}
    for submission in batch:
        submission.outcomes = [
            outcome._replace(filled_in=id(event) in sources)
            for event, outcome in zip(submission.events, submission.outcomes, strict=True)
        ]


def _advise(
    batch: list[Submission], stored: list[EventRow], duplicates: list[EventRow], given: Mapping[str, Advice]
) -> None:
    """Add the advice of their groups to the outcomes of failures, and count these deliveries.

    `given` is the advice of the stored failures by id. Only the routes of `Source.EVENT` deliver advice.
    """
    found = {id(event): given[event.id] for event in stored if event.id in given} if given else {}
    if again := [event for event in duplicates if event.event_type != SUCCESS and event.source == _DELIVERING]:
        found |= advice.of_stored(again)
    if not found:
        return
    deliveries: Counter[tuple[str, int]] = Counter()
    for submission in batch:
        for number, event in enumerate(submission.events):
            if id(event) in found and event.source == _DELIVERING:
                its = found[id(event)]
                submission.outcomes[number] = submission.outcomes[number]._replace(advice=its)
                deliveries[its.group, event.received_at_ms // buckets.DAY_MS] += 1
    if not deliveries:
        return
    try:
        with transaction.atomic():
            advice.count(deliveries)
    except UNAVAILABLE:
        raise
    except DatabaseError as error:  # An event and its advice are worth more than their statistics.
        logger.error("Deliveries of advice were not counted: %s", error)


def _with_all_of(stored: str, sent: str) -> str:
    """Return the stored metadata completed with those of `/event`. Stored values win."""
    if stored == "{}":
        return sent
    added = json.loads(sent)
    kept = json.loads(stored)
    metadata = (added if isinstance(added, dict) else {"metadata": added}) | kept
    return json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))


def _fill_placeholders(by_session: dict[str | None, EventRow], completed: _Completed) -> None:
    waiting = Event.objects.successes().filter(session_id__in=by_session, source=Source.INCREMENT)
    for placeholder in waiting.order_by("session_id"):
        event = by_session[placeholder.session_id]
        content = event._asdict()
        for kept in ("id", "received_at_ms", "event_type", "session_id"):
            del content[kept]
        if waiting.filter(pk=placeholder.pk).update(**content):  # No other process was faster.
            whole = event._replace(received_at_ms=placeholder.received_at_ms)
            if placeholder.correction is not None:  # No rollup counts it, but an undo needs the new names.
                corrections.move(placeholder.correction, placeholder, whole)
                continue
            completed.values.update(rollups.move(placeholder, whole))
            completed.successes.append(whole)


def _tallied(duplicates: list[EventRow]) -> Counter[tuple[date, str]]:
    return Counter(
        (datetime.fromtimestamp(event.received_at_ms / 1000, UTC).date(), refusals.RefusalReason.DUPLICATE.value)
        for event in duplicates
        if event.source not in (Source.IMPORT, Source.DEMO)
    )
