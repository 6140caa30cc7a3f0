"""The switch of the old routes from one mode to another.

It copies the rows that either side lacks under the lock of the mode's row, before it takes effect.
"""

from datetime import datetime
from typing import Any

from django.db import transaction

from events import audit, clock
from events.counting import rollups
from events.ingest import writer
from events.models import AuditKind
from events.querysets import SUCCESS
from legacy import old_tables
from legacy.cutover import copying, modes, old_counts
from legacy.models import Cutover, Mode, ModeInForce

# An event can be committed this long after its `received_at_ms`, so the last copy begins this much earlier.
_COMMIT_MS = 120_000


class CannotSwitch(Exception):
    """The switch is refused; the message names the missing condition."""


def refuse_without_tables(row: ModeInForce) -> None:
    """Raise CannotSwitch if the old tables were dropped."""
    if row.tables_dropped:
        raise CannotSwitch("The old tables were dropped, so the old routes stay gone.")


def to_mode(mode: Mode, *, reason: str, user: Any, user_name: str, at: datetime) -> Cutover:
    """Copy the rows that either side lacks, then switch to a mode; raises CannotSwitch.

    Short transactions copy most rows first, so ingest hardly waits. The transaction of the switch copies the rest, and
    raises the lower count to the higher one. So the public count never falls.
    """
    row = modes.in_force()
    refuse_without_tables(row)
    before = old_counts.public_count(Mode(row.mode))
    began_ms = clock.now_ms() - _COMMIT_MS
    to_stream = copying.to_stream(writer.record_many)
    # In `separate`, only the old tables are read, so their rows need the texts.
    texts_too = mode == Mode.SEPARATE
    to_legacy = copying.to_legacy(since_ms=0, texts_too=texts_too)
    if texts_too:
        old_tables.fill_in_texts(since_ms=0, at_once=copying.CHUNK)
    with transaction.atomic(durable=True):
        ModeInForce.objects.get_or_create(id=1, defaults={"mode": row.mode})
        ModeInForce.objects.select_for_update().get(id=1)
        to_stream += copying.to_stream(writer.record_within)
        # Block new successes until the commit, because the old tables would lack them.
        rollups.lock([SUCCESS])
        to_legacy += copying.to_legacy(since_ms=began_ms, texts_too=texts_too)
        if texts_too:
            old_tables.fill_in_texts(since_ms=began_ms, at_once=copying.CHUNK)
        copying.add_missing_sessions()
        ModeInForce.objects.filter(id=1).update(mode=mode)
        words = f"Switched the old routes from {row.mode} to {mode}."
        audit.note(AuditKind.MODE, words, who=user_name, at=at, why=reason)
        cutover = Cutover.objects.create(
            mode=mode,
            reason=reason,
            switched_by=user,
            switched_by_name=user_name,
            switched_at=at,
            count_before=before,
            count_after=old_counts.public_count(mode),
            copied_to_stream=to_stream,
            copied_to_legacy=to_legacy,
        )
    modes.forget()
    return cutover
