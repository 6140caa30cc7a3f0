"""Applies corrections of the public count to the old counter. Implements `events.counting.corrections.CorrectionHooks`.

In `separate`, `/count` counts the rows of LegacyCount, except void rows. A correction marks the rows of its sessions as
void, and adds a void row for each session without one. So `/increment` does not count these sessions again.
"""

from collections.abc import Sequence

from django.db.models import Exists, OuterRef, QuerySet

from events.counting.buckets import UNKNOWN
from events.counting.corrections import Selection
from events.ingest import writer
from events.models import Event, Source
from legacy import old_tables
from legacy.cutover import copying, modes
from legacy.models import LegacyCount


def count_waiting(selection: Selection) -> int:
    """Return how many of the selected sessions only the old counter has."""
    known = Event.objects.successes().filter(session_id=OuterRef("session_id"))
    return _waiting(selection).exclude(Exists(known)).count()


def bring(selection: Selection) -> None:
    """Copy these sessions to the stream, so that the correction can void them there."""
    copying.sessions_to_stream(writer.record_many, _waiting(selection))


def void(correction_id: int, sessions: Sequence[tuple[str, int]]) -> None:
    if modes.in_force().tables_dropped or not sessions:
        return
    old_tables.keep_all(
        LegacyCount(
            session_id=session_id,
            counted_at_ms=received_at_ms,
            in_stream=True,
            correction=correction_id,
            added_by_correction=True,
        )
        for session_id, received_at_ms in sessions
    )
    known = LegacyCount.objects.filter(pk__in=[session_id for session_id, _ in sessions])
    known.filter(correction__isnull=True).update(correction=correction_id, in_stream=True)


def restore(correction_id: int, sessions: Sequence[str] | None) -> None:
    """Let these sessions count again; without `sessions`, all remaining sessions of the correction."""
    if modes.in_force().tables_dropped:
        return
    rows = LegacyCount.objects.filter(correction=correction_id)
    if sessions is not None:
        rows = rows.filter(pk__in=sessions)
    rows.filter(added_by_correction=True).delete()
    rows.update(correction=None)


def _waiting(selection: Selection) -> QuerySet[LegacyCount]:
    """Return the sessions that the stream may lack, and that would match the selection after a copy to the stream."""
    placeholder = {"model": UNKNOWN, "app_version": UNKNOWN, "source": Source.INCREMENT}
    asked = {name: getattr(selection, name) for name in placeholder}
    if any(asked[name] not in (None, value) for name, value in placeholder.items()):
        return LegacyCount.objects.none()
    if modes.in_force().tables_dropped:
        return LegacyCount.objects.none()
    return LegacyCount.objects.filter(
        in_stream=False,
        correction__isnull=True,
        counted_at_ms__gte=selection.since_ms,
        counted_at_ms__lt=selection.until_ms,
    )
