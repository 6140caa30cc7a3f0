"""Copies missing sessions and failures between the old tables and the stream, in either direction. Idempotent."""

from collections.abc import Callable, Iterator, Sequence

from django.db import transaction
from django.db.models import QuerySet

from events.ingest import writer
from events.maintenance import retention
from events.querysets import SUCCESS
from events.reports import failures
from events.reports.failures import Criteria
from events.rows import EventRow, content_id
from legacy import old_tables, translate
from legacy.models import ClientLog, LegacyCount

CHUNK = 500

Record = Callable[[Sequence[EventRow]], list[writer.Recorded]]


def to_stream(record: Record, *, refused_too: bool = True) -> int:
    """Copy the rows of the old tables that the stream lacks; return how many events were added.

    `record` is `writer.record_many`, or `writer.record_within` under a lock. A repair skips failures that `/event`
    refuses by contract, because `/event` did not lose them. A switch of the mode copies them too, so that `/recent` and
    the failures page show the same failures before and after the switch.
    """
    added = sessions_to_stream(record, LegacyCount.objects.all())
    waiting = ClientLog.objects.filter(in_stream=False)
    if not refused_too:
        waiting = waiting.filter(refused_fields="")
    while rows := list(waiting.order_by("id")[:CHUNK]):
        outcomes = record([translate.event_from_row(row) for row in rows])
        ClientLog.objects.filter(pk__in=[row.pk for row in rows]).update(in_stream=True)
        added += sum(outcome.stored for outcome in outcomes)
    return added


def sessions_to_stream(record: Record, counted: QuerySet[LegacyCount]) -> int:
    """Copy the given sessions that the stream lacks; return how many successes were added."""
    added = 0
    while sessions := list(counted.filter(in_stream=False).order_by("session_id")[:CHUNK]):
        outcomes = record([translate.success_from_row(row) for row in sessions])
        LegacyCount.objects.filter(pk__in=[row.pk for row in sessions]).update(in_stream=True)
        added += sum(outcome.stored for outcome in outcomes)
    return added


def to_legacy(*, since_ms: int, texts_too: bool = True) -> int:
    """Copy events received since `since_ms` that the old tables lack; return how many rows were added.

    Without `texts_too`, the copies leave their texts to their events. Void successes are skipped. If a correction runs
    at the same time, it has written its own rows first, and this function does not change them.
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
            added += old_tables.keep_all(missing if texts_too else map(_without_texts, missing))
    return added


def make_up_for_gone() -> None:
    """Raise the old count to the stream's count, after all stored events were copied.

    The stream also counts events that were pruned or erased, so no session remains to copy. The caller has locked the
    total of successes, so neither a new success nor a correction changes a count between the two reads.
    """
    gone = old_tables.stream_count() - old_tables.count()
    at_ms = retention.whole_since_ms()
    for start in range(0, gone, CHUNK):
        old_tables.keep_all(
            LegacyCount(session_id=old_tables.nobody(), counted_at_ms=at_ms, in_stream=True)
            for _ in range(min(CHUNK, gone - start))
        )


def _missing_from_log(events: list[EventRow]) -> Iterator[ClientLog]:
    by_content = {content_id(event): event for event in events}
    known = set(ClientLog.objects.filter(event_id__in=by_content).values_list("event_id", flat=True))
    return (translate.row_from_event(event) for content, event in by_content.items() if content not in known)


def _without_texts(row: ClientLog) -> ClientLog:
    # A prune may keep an imported row and delete its event.
    return row if row.imported else old_tables.without_texts(row)
