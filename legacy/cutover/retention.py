"""Applies a prune or an erasure to the old tables; implements `events.maintenance.retention.RetentionHooks`.

A prune deletes rows of the old log, but no sessions of the old counter, because these contain no texts. An erasure
renames a session of the old counter to a keyed hash, so that it still counts.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from events.maintenance.retention import Cutoffs
from events.querysets import batches
from legacy import old_tables, translate
from legacy.cutover import modes
from legacy.models import ClientLog, LegacyCount, ParityRun

LOG_ROWS = "rows of the old log"
COUNTED = "sessions of the old counter"
EXAMPLES = "examples of a comparison"
# The last two keys are in comparisons by the rule of earlier releases.
EXAMPLE_KEYS = ("examples_missing", "examples_event_only", "examples_only_old", "examples_only_new")


def count_old(cutoffs: Cutoffs, *, at_most: int | None = None) -> Counter[str]:
    return Counter({LOG_ROWS: 0 if _are_tables_dropped() else _prunable(cutoffs)[:at_most].count()})


def count_kept(before_ms: int, *, imported_too: bool) -> Counter[str]:
    if _are_tables_dropped():
        return Counter()
    rows = ClientLog.objects.filter(received_at_ms__lt=before_ms)
    kept = Counter({"rows of the old log that the stream lacks": rows.filter(in_stream=False).count()})
    if not imported_too:
        kept["imported rows of the old log"] = rows.filter(in_stream=True, imported=True).count()
    return kept


def prune(cutoffs: Cutoffs, *, at_once: int) -> Iterator[tuple[str, int]]:
    """Delete rows received before their time, except rows that the stream lacks, because no total counts them yet."""
    if _are_tables_dropped():
        return
    old_tables.mark_rows_in_stream(at_once=at_once)
    for ids in batches(_prunable(cutoffs), at_once):
        with transaction.atomic():
            deleted, _ = ClientLog.objects.filter(pk__in=ids).delete()
        yield LOG_ROWS, deleted


def ids_of(session_id: str) -> list[str]:
    """Return the ids of a session's failures that arrived by `/client-log`."""
    if _are_tables_dropped():
        return []
    keys = [translate.session_key(event_type, session_id) for event_type in translate.FAILURES]
    return list(ClientLog.objects.filter(session_key__in=keys).values_list("event_id", flat=True))


def trace(session_id: str, ids: Collection[str]) -> Counter[str]:
    counts = Counter({EXAMPLES: sum(removed for _, _, removed in _runs_naming(session_id, ids))})
    if not _are_tables_dropped():
        counts[LOG_ROWS] = _rows_of(ids).count()
        counts[COUNTED] = LegacyCount.objects.filter(pk=session_id).count()
    return counts


def erase(session_id: str, ids: Collection[str]) -> None:
    for run, finding, _ in _runs_naming(session_id, ids):
        ParityRun.objects.filter(pk=run.pk).update(finding=finding)
    if not _are_tables_dropped():
        _rows_of(ids).delete()
        old_tables.anonymise_session(session_id)


def forget_demo(sessions: Collection[str], ids: Collection[str]) -> None:
    """Delete the copies of demo events that a switch of the mode made."""
    if not _are_tables_dropped():
        LegacyCount.objects.filter(pk__in=sessions).delete()
        _rows_of(ids).delete()


def _are_tables_dropped() -> bool:
    return modes.in_force().tables_dropped


def _prunable(cutoffs: Cutoffs) -> QuerySet[ClientLog]:
    """Return the rows received before their cutoff. `of_copies` is the later of the two cutoffs."""
    rows = ClientLog.objects.filter(received_at_ms__lt=cutoffs.of_copies, in_stream=True)
    return rows.filter(Q(imported=False) | Q(received_at_ms__lt=cutoffs.of_imported))


def _rows_of(ids: Collection[str]) -> QuerySet[ClientLog]:
    return ClientLog.objects.filter(Q(pk__in=ids) | Q(event_id__in=ids))


def _runs_naming(session_id: str, ids: Collection[str]) -> Iterator[tuple[ParityRun, dict[str, Any], int]]:
    """Yield each comparison with examples of the session, its finding without them, and their number.

    The id of an example is a session, an event's id, or the id of a row in the old log.
    """
    names = {session_id, *ids}
    if not _are_tables_dropped():
        names.update(_rows_of(ids).values_list("pk", flat=True))
    for run in ParityRun.objects.iterator(100):
        kept = {
            side: [example for example in run.finding[side] if example["id"] not in names]
            for side in EXAMPLE_KEYS
            if side in run.finding
        }
        removed = sum(len(run.finding[side]) - len(examples) for side, examples in kept.items())
        if removed:
            yield run, run.finding | kept, removed
