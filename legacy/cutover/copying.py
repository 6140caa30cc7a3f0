"""Copies missing sessions and failures between the old tables and the stream, in either direction. Idempotent."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from events.ingest.group_commit import Recorded
from events.maintenance import retention
from events.querysets import SUCCESS
from events.reports import failures
from events.reports.failures import Criteria
from events.rows import EventRow, content_id
from legacy import old_tables, translate
from legacy.models import ClientLog, LegacyCount

CHUNK = 500

Record = Callable[[Sequence[EventRow]], list[Recorded]]


def to_stream(record: Record, *, refused_too: bool = True) -> int:
    """Copy the rows of the old tables that the stream lacks; return how many events were added.

    `record` is `writer.record_many`, or `writer.record_within` under a lock. A repair sets `refused_too=False`: it
    skips failures that `/event` refuses by contract, because `/event` did not lose them. A switch of the mode copies
    them too, so that `/recent` and the failures page show the same failures before and after the switch.
    """
    logs = ClientLog.objects.all() if refused_too else ClientLog.objects.filter(refused_fields="")
    added = sessions_to_stream(record, LegacyCount.objects.all())
    return added + _to_stream(record, logs, translate.event_from_row)


def sessions_to_stream(record: Record, sessions: QuerySet[LegacyCount]) -> int:
    """Copy the given sessions that the stream lacks; return how many successes were added."""
    return _to_stream(record, sessions, translate.success_from_row)


def _to_stream(record: Record, rows: QuerySet[Any], event_of: Callable[[Any], EventRow]) -> int:
    added = 0
    while chunk := list(rows.filter(in_stream=False).order_by("pk")[:CHUNK]):
        added += sum(outcome.stored for outcome in record([event_of(row) for row in chunk]))
        rows.filter(pk__in=[row.pk for row in chunk]).update(in_stream=True)
    return added


def to_legacy(*, since_ms: int, texts_too: bool = True) -> int:
    """Copy events received since `since_ms` that the old tables lack; return how many rows were added.

    Without `texts_too`, the copies have no texts and refer to their events. Void successes are skipped: a correction
    has written its own rows before, and this function does not change them.
    """
    added = 0
    successes = Criteria(event_type=SUCCESS, failures_only=False, since_ms=since_ms)
    for chunk in failures.rows(successes, ("session_id", "received_at_ms", "correction"), size=CHUNK):
        with transaction.atomic():
            added += old_tables.keep_all(
                LegacyCount(session_id=session_id, counted_at_ms=received_at_ms, in_stream=True)
                for session_id, received_at_ms, correction in chunk
                if correction is None
            )
    for chunk in failures.rows(Criteria(since_ms=since_ms), EventRow._fields, size=CHUNK):
        with transaction.atomic():
            missing = _missing_from_log([EventRow(*row) for row in chunk])
            added += old_tables.keep_all(missing if texts_too else map(old_tables.without_texts, missing))
    return added


def add_missing_sessions() -> None:
    """Raise the old count to the stream's count, after all stored events were copied.

    The stream also counts sessions whose events were pruned or erased. Such a session gets a row with a random name.
    The caller has locked the total of successes, so no count changes between the two reads.
    """
    missing = old_tables.stream_count() - old_tables.count()
    at_ms = retention.whole_since_ms()
    for start in range(0, missing, CHUNK):
        old_tables.keep_all(
            LegacyCount(session_id=old_tables.anonymous_name(), counted_at_ms=at_ms, in_stream=True)
            for _ in range(min(CHUNK, missing - start))
        )


def _missing_from_log(events: list[EventRow]) -> Iterator[ClientLog]:
    by_content = {content_id(event): event for event in events}
    known = set(ClientLog.objects.filter(event_id__in=by_content).values_list("event_id", flat=True))
    return (translate.row_from_event(event) for content, event in by_content.items() if content not in known)
