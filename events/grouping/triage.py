"""The decisions of maintainers about failure groups: resolved, muted, expected, open, a note, who works on it. The only
writer of these columns, and of dismissed suggestions.

Each decision is recorded in the audit log with its author. Only `groups` reopens a group automatically, and marks a
resolved one as still failing.

The decision *expected* applies to all stored events of a group. It sets the status first, so that ingest counts new
events as expected. Then `count_expected` counts the stored ones, the newest first, in short transactions.
`uncounted_before_ms` is its progress, so it can be interrupted at any time and continued by any process.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet

from events import audit
from events.counting import expected, rollups
from events.grouping import groups
from events.models import AuditKind, DismissedMerge, FailureGroup, GroupHour, GroupStatus

ABOUT_CHARACTERS = 200
MAX_NOTE = 2_000
NOT_EXPECTED = "The overflow group of a type cannot be expected, because it holds different failures."
NOTED = "Noted: "
COUNTED_AT_ONCE = 2_000  # Ingest waits while one batch is counted.
_GROUPS_AT_ONCE = 50


class Author(Protocol):
    """Who decides: an account, or the token of a script. The audit log records the name."""

    def get_username(self) -> str: ...


class Decision(NamedTuple):
    """A status, with the version of a fix if it is resolved, or the end of the mute (epoch ms) if it is muted.

    None as version means the next one, and None as end means for ever.
    """

    status: GroupStatus
    fixed_in: str | None = None
    until_ms: int | None = None

    def is_made(self, group: FailureGroup) -> bool:
        """Return whether this is the current decision about a group. A regression ends a decision."""
        return (self.status, self.fixed_in, self.until_ms) == (
            group.status, group.fixed_in, group.muted_until_ms,
        ) and group.regressed_at_ms is None  # fmt: skip

    def __str__(self) -> str:
        match self.status:
            case GroupStatus.RESOLVED:
                return f"Resolved in {self.fixed_in}." if self.fixed_in else "Resolved in the next version."
            case GroupStatus.MUTED:
                return "Muted for good." if self.until_ms is None else f"Muted until {_day(self.until_ms)}."
            case GroupStatus.EXPECTED:
                return "Marked as expected."
            case GroupStatus.OPEN:
                return "Opened again."


def _day(epoch_ms: int) -> str:
    return f"{datetime.fromtimestamp(epoch_ms / 1000, UTC):%Y-%m-%d}"


def resolve(fingerprints: Sequence[str], *, fixed_in: str | None, user: Author, at: datetime) -> int:
    """Mark these groups as fixed in a version, or in the next one without a version; return their number.

    The version may be one that no event has reported (`releases.was_reported`): the fix is not released yet.
    """
    return _decide(fingerprints, Decision(GroupStatus.RESOLVED, fixed_in=fixed_in), user, at)


def mute(fingerprints: Sequence[str], *, until_ms: int | None, user: Author, at: datetime) -> int:
    """Mute these groups until a time (epoch ms), or for ever with None."""
    return _decide(fingerprints, Decision(GroupStatus.MUTED, until_ms=until_ms), user, at)


def expect(fingerprints: Sequence[str], *, user: Author, at: datetime) -> int:
    """Mark these groups as expected: their events are no failures, back to the oldest stored one.

    Leaves out overflow groups, which hold different failures.
    """
    keys = [key for key in fingerprints if not groups.is_overflow(key)]
    number = _decide(keys, Decision(GroupStatus.EXPECTED), user, at)
    count_expected()
    return number


def reopen(fingerprints: Sequence[str], *, user: Author, at: datetime) -> int:
    """Open these groups again."""
    return _decide(fingerprints, Decision(GroupStatus.OPEN), user, at)


def decide_once(fingerprint: str, decision: Decision, *, note: str | None, user: Author, at: datetime) -> bool:
    """Decide about one group, and store a note unless it is None; return whether something changed.

    A script may repeat its request. So a decision or a note that the group already has is not recorded again. The
    caller refuses the decision *expected* about an overflow group. Raises FailureGroup.DoesNotExist.
    """
    with transaction.atomic():
        locked = _lock([fingerprint])
        if not locked:
            raise FailureGroup.DoesNotExist
        [group] = locked
        is_new = not decision.is_made(group)
        if is_new:
            _store(locked, decision, user, at)
        has_new_note = note is not None and note != group.note
        if has_new_note:
            _annotate(group, note or "", user, at)
    if decision.status == GroupStatus.EXPECTED:
        count_expected()
    return is_new or has_new_note


def assignable() -> QuerySet[User]:
    """Return the accounts that can be assigned: active staff with permission to see groups, by name."""
    people = User.objects.with_perm("events.view_event")  # active ones, and superusers
    return people.filter(is_staff=True).order_by("username")


def assign(fingerprints: Sequence[str], *, person: User | None, user: Author, at: datetime) -> int:
    """Assign these groups to an account of `assignable`, or to nobody with None; return the number of groups.

    Their status stays. Groups that are assigned so already stay as they are, without an entry in the audit log.
    """
    assignment = (
        {"assigned_to": None, "assigned_at_ms": None, "assigned_by_name": None}
        if person is None
        else {
            "assigned_to": person,
            "assigned_at_ms": int(at.timestamp() * 1000),
            "assigned_by_name": user.get_username(),
        }
    )
    with transaction.atomic():
        locked = _lock(fingerprints)
        # A deleted account leaves the time of the assignment.
        changing = [
            group
            for group in locked
            if group.assigned_to_id != (person and person.pk) or (person is None and group.assigned_at_ms is not None)
        ]
        names: dict[int | None, str] = dict(
            User.objects.filter(pk__in={group.assigned_to_id for group in changing}).values_list("pk", "username")
        )
        FailureGroup.objects.filter(pk__in=[group.pk for group in changing]).update(**assignment)
        for group in changing:
            former = names.get(group.assigned_to_id)
            instead = f" instead of {former}" if former else ""
            taken = f"No longer assigned to {former or 'a deleted account'}."
            _log(group, f"Assigned to {person.get_username()}{instead}." if person else taken, user, at)
    return len(locked)


def annotate(fingerprint: str, note: str, *, user: Author, at: datetime) -> None:
    """Store a note about a group."""
    with transaction.atomic():
        for group in FailureGroup.objects.select_for_update().filter(pk=fingerprint):
            _annotate(group, note, user, at)


def _annotate(group: FailureGroup, note: str, user: Author, at: datetime) -> None:
    FailureGroup.objects.filter(pk=group.pk).update(note=note)
    _log(group, f"{NOTED}{note}" if note else "Took the note away.", user, at)


def dismiss_merge(fingerprint: str, other: str, *, user: Author, at: datetime) -> bool:
    """Dismiss the suggestion to merge two groups; return whether it was new. Both pages stop suggesting it."""
    with transaction.atomic():
        groups = list(FailureGroup.objects.select_for_update().filter(pk__in=[fingerprint, other]).order_by("pk"))
        if len(groups) < 2:
            return False
        lesser, greater = groups
        _, is_new = DismissedMerge.objects.get_or_create(
            fingerprint=min(lesser.pk, greater.pk),
            other=max(lesser.pk, greater.pk),
            defaults={"dismissed_at_ms": int(at.timestamp() * 1000), "dismissed_by_name": user.get_username()},
        )
        if is_new:
            for group, the_other in ((lesser, greater), (greater, lesser)):
                title = str(the_other)[:ABOUT_CHARACTERS]
                _log(group, f"Dismissed the suggestion to merge with “{title}” ({the_other.pk}).", user, at)
    return is_new


def _decide(fingerprints: Sequence[str], decision: Decision, user: Author, at: datetime) -> int:
    with transaction.atomic():
        locked = _lock(fingerprints)
        _store(locked, decision, user, at)
    return len(locked)


def _store(locked: Sequence[FailureGroup], decision: Decision, user: Author, at: datetime) -> None:
    """Store a decision about locked groups in the caller's transaction. It ends regressions and failing fixes."""
    status = decision.status
    changing = [group.pk for group in locked if group.status != status]
    if status == GroupStatus.EXPECTED:
        FailureGroup.objects.filter(pk__in=changing).update(uncounted_before_ms=groups.ALL_UNCOUNTED)
    elif leaving := [group.pk for group in locked if group.status == GroupStatus.EXPECTED]:
        FailureGroup.objects.filter(pk__in=leaving).update(uncounted_before_ms=None)
        expected.forget(leaving)
    FailureGroup.objects.filter(pk__in=[group.pk for group in locked]).update(
        status=status,
        fixed_in=decision.fixed_in,
        muted_until_ms=decision.until_ms,
        regressed_at_ms=None,
        regressed_by=None,
        unfixed_at_ms=None,
        decided_at_ms=int(at.timestamp() * 1000),
        decided_by_name=user.get_username(),
    )
    for group in locked:
        _log(group, str(decision), user, at)


def _lock(fingerprints: Sequence[str]) -> list[FailureGroup]:
    """Lock these groups in the order in which ingest locks them: first the totals of their types."""
    types = FailureGroup.objects.filter(pk__in=fingerprints).values_list("event_type", flat=True)
    rollups.lock(set(types))
    return groups.lock(fingerprints)


# --- stored events of expected groups ----------------------------------------------------------------------------


def uncounted() -> int:
    """Return the number of expected groups whose stored events are not all counted: an interrupted decision."""
    return _uncounted().count()


def count_expected() -> None:
    """Count the stored events of groups that became expected, until all are counted.

    Each batch is one transaction, and groups that another process changed or counted meanwhile are skipped.
    """
    while pending := list(_uncounted().order_by("pk")[:_GROUPS_AT_ONCE]):
        batch = list(_batch(pending))
        with transaction.atomic():
            rollups.lock({group.event_type for group, _ in batch})
            current = {group.pk: group for group in groups.lock([group.pk for group, _ in batch])}
            for group, start_ms in batch:
                now = current.get(group.pk)
                if (
                    now is not None
                    and now.status == GroupStatus.EXPECTED
                    and now.uncounted_before_ms == group.uncounted_before_ms
                ):
                    expected.recount(group.pk, start_ms, now.uncounted_before_ms or 0)
                    FailureGroup.objects.filter(pk=group.pk).update(uncounted_before_ms=start_ms or None)


def _uncounted() -> QuerySet[FailureGroup]:
    return FailureGroup.objects.filter(status=GroupStatus.EXPECTED, uncounted_before_ms__isnull=False)


def _batch(pending: Sequence[FailureGroup]) -> Iterator[tuple[FailureGroup, int]]:
    """Yield groups, each with the start of its hours to count, for about COUNTED_AT_ONCE events. 0 is all hours."""
    room = COUNTED_AT_ONCE
    for group in pending:
        hours = GroupHour.objects.filter(fingerprint=group.pk, hour_ms__lt=group.uncounted_before_ms)
        start_ms = 0
        for hour_ms, accepted in hours.order_by("-hour_ms").values_list("hour_ms", "accepted").iterator():
            room -= accepted
            if room <= 0:
                start_ms = hour_ms
                break
        yield group, start_ms
        if room <= 0:
            return


def _log(group: FailureGroup, words: str, user: Author, at: datetime) -> None:
    audit.note(
        AuditKind.TRIAGE, words, who=user.get_username(), at=at, about=str(group)[:ABOUT_CHARACTERS], subject=group.pk
    )
