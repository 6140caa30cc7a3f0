"""The decisions of maintainers about failure groups: resolved, muted, open, a note. The only writer of these columns.

Each decision is recorded in the audit log with its author. Only `groups` reopens a group automatically.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from events import audit
from events.models import AuditKind, FailureGroup, GroupStatus

ABOUT_CHARACTERS = 200
_UNDECIDED: dict[str, Any] = {"fixed_in": None, "muted_until_ms": None, "regressed_at_ms": None, "regressed_by": None}


def resolve(fingerprints: Sequence[str], *, fixed_in: str | None, user: Any, at: datetime) -> int:
    """Mark these groups as fixed in a version, or in the next one without a version; return their number."""
    where = f"in {fixed_in}" if fixed_in else "in the next version"
    return _decide(fingerprints, GroupStatus.RESOLVED, f"Resolved {where}.", user, at, fixed_in=fixed_in)


def mute(fingerprints: Sequence[str], *, until_ms: int | None, user: Any, at: datetime) -> int:
    """Mute these groups until a time (epoch ms), or for ever with None."""
    until = "for good" if until_ms is None else f"until {datetime.fromtimestamp(until_ms / 1000, at.tzinfo):%Y-%m-%d}"
    return _decide(fingerprints, GroupStatus.MUTED, f"Muted {until}.", user, at, muted_until_ms=until_ms)


def reopen(fingerprints: Sequence[str], *, user: Any, at: datetime) -> int:
    """Open these groups again."""
    return _decide(fingerprints, GroupStatus.OPEN, "Opened again.", user, at)


def annotate(fingerprint: str, note: str, *, user: Any, at: datetime) -> None:
    """Store a note about a group."""
    with transaction.atomic():
        for group in FailureGroup.objects.select_for_update().filter(pk=fingerprint):
            FailureGroup.objects.filter(pk=group.pk).update(note=note)
            _log(group, f"Noted: {note}" if note else "Took the note away.", user, at)


def _decide(
    fingerprints: Sequence[str], status: GroupStatus, words: str, user: Any, at: datetime, **decision: Any
) -> int:
    values = _UNDECIDED | decision
    with transaction.atomic():
        # Locked in the order in which ingest locks them.
        groups = list(FailureGroup.objects.select_for_update().filter(pk__in=fingerprints).order_by("pk"))
        FailureGroup.objects.filter(pk__in=[group.pk for group in groups]).update(
            status=status,
            decided_at_ms=int(at.timestamp() * 1000),
            decided_by_name=user.get_username(),
            **values,
        )
        for group in groups:
            _log(group, words, user, at)
    return len(groups)


def _log(group: FailureGroup, words: str, user: Any, at: datetime) -> None:
    audit.note(
        AuditKind.TRIAGE, words, who=user.get_username(), at=at, about=str(group)[:ABOUT_CHARACTERS], subject=group.pk
    )
