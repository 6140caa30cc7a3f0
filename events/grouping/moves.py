"""Moves stored failures to the groups of their current fingerprints, with their counts and decisions.

Decisions are kept: a group without its own decision inherits the one of the group that most of its events come from.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.db import transaction

from events.counting import rollups
from events.grouping import groups, rules, triage
from events.grouping.fingerprints import Fingerprint
from events.grouping.rules import Membership, Rules
from events.models import Event, FailureGroup, FormerGroup

# The columns that a move needs.
COLUMNS = ("id", "error_name", "message", "stack", "fingerprint", "merged_from", *rollups.COUNTED)


def changed(events: Iterable[Any], stored: Rules) -> dict[str, Membership]:
    """Return, by event id, the new group of each failure that belongs to another group by the stored rules."""
    current = ((event, rules.membership_of(event, stored)) for event in events)
    return {event.id: now for event, now in current if not _is_in(event, now)}


def _is_in(event: Any, membership: Membership) -> bool:
    return bool(event.fingerprint == membership.group.key and event.merged_from == membership.merged_from)


def heirs(moves: Mapping[tuple[str | None, str], int]) -> dict[str, str]:
    """Return for each new group the group whose decision it inherits: the one that most of its events come from.

    Events that are already in the new group count for the new group. So an interrupted run leads to the same result.
    """
    # in_bulk reads in parts: one query could have more parameters than SQLite accepts.
    own = FailureGroup.objects.only("accepted").in_bulk({new for _, new in moves})
    most: dict[str, tuple[int, str | None]] = {new: (group.accepted, None) for new, group in own.items()}
    for (old, new), n in sorted(moves.items(), key=str):
        # A decision about an overflow group does not apply to a single failure.
        donor = None if old is None or groups.is_overflow(old) else old
        if new not in most or n > most[new][0]:
            most[new] = (n, donor)
    return {new: donor for new, (_, donor) in most.items() if donor is not None}


def move(ids: Collection[str], heirs: Mapping[str, str], repeated: Collection[str]) -> int:
    """Move failures to the groups of their fingerprints in one transaction; return how many moved.

    `heirs` is the result of `heirs()`. A group with one of the `repeated` keys can use the second capacity of its day.
    """
    with transaction.atomic():
        types = Event.objects.filter(pk__in=ids).values_list("event_type", flat=True)
        # The lock that ingest and merges take: no other process moves or deletes these events, or changes their rules.
        rollups.lock(set(types))
        stored = list(Event.objects.filter(pk__in=ids).values_list(*COLUMNS, named=True))
        current = rules.read()
        memberships = changed(stored, current)
        # The group of some failures is correct, and only their own fingerprint has changed.
        changing = [event for event in stored if event.id in memberships]
        batch = [event for event in changing if event.fingerprint != memberships[event.id].group.key]
        staying = {event.id for event in changing} - {event.id for event in batch}
        set_groups({event_id: memberships[event_id] for event_id in staying})
        fingerprints = {event.id: memberships[event.id].group for event in batch}
        new_keys = {fingerprint.key for fingerprint in fingerprints.values()}
        donors = {heirs[key] for key in new_keys if key in heirs}
        concerned = {event.fingerprint for event in batch if event.fingerprint} | new_keys
        before = {group.pk: group for group in groups.lock(concerned | donors)}
        # Failures of an overflow group stay in it if their day still has no room.
        overflowed = groups.overflowing([(event, fingerprints[event.id]) for event in batch], lambda _: repeated)
        moving = [
            (event, overflowed.get(event.id) or fingerprints[event.id])
            for event in batch
            if event.id not in overflowed or event.fingerprint != overflowed[event.id].key
        ]
        groups.join(moving, reopening=False)
        for key in sorted({fingerprint.key for _, fingerprint in moving} & heirs.keys()):
            if donor := before.get(heirs[key]):
                groups.inherit(key, donor)
                groups.inherit_advice(key, donor)
                groups.inherit_assignment(key, donor)
                groups.inherit_issue(key, donor)
        set_groups(
            {
                event.id: Membership(fingerprint, None) if event.id in overflowed else memberships[event.id]
                for event, fingerprint in moving
            }
        )
        groups.subtract((event, event.fingerprint) for event, _ in moving if event.fingerprint)
        groups.describe(_own(moving, memberships, set(current.merged.values())))
        _keep_rows(before)
    return len(moving)


def _own(
    moving: Iterable[tuple[Any, Fingerprint]], memberships: Mapping[str, Membership], targets: Collection[str]
) -> list[Fingerprint]:
    """Return the fingerprints of these groups that receive merged failures, from failures that are their own."""
    found = {
        fingerprint.key: fingerprint
        for event, fingerprint in moving
        if fingerprint.key in targets and memberships[event.id].merged_from is None
    }
    return list(found.values())


def _keep_rows(before: Mapping[str, Any]) -> None:
    """Keep the last decisions about the groups that lost all their events, with their addresses."""
    for key in sorted(before.keys() - groups.existing(list(before))):
        FormerGroup.objects.filter(pk=key, is_merged=False).update(row=groups.row_of(before[key]))


def set_groups(memberships: Mapping[str, Membership]) -> None:
    """Write the group of stored failures, by event id, in the caller's transaction."""
    ids: defaultdict[tuple[str, str | None], list[str]] = defaultdict(list)
    for event_id, membership in memberships.items():
        ids[membership.group.key, membership.merged_from].append(event_id)
    for (key, merged_from), chunk in sorted(ids.items(), key=str):
        Event.objects.filter(pk__in=chunk).update(fingerprint=key, merged_from=merged_from)


def rejoin(ids: Collection[str]) -> None:
    """Move failures to their groups after their texts changed, in the caller's transaction.

    The caller has locked the totals of their types.
    """
    events = list(Event.objects.filter(pk__in=ids).values_list(*COLUMNS, named=True))
    if memberships := changed(events, rules.read()):
        moves = Counter(
            (event.fingerprint, memberships[event.id].group.key) for event in events if event.id in memberships
        )
        move(list(memberships), heirs(moves), ())
        # A new group can inherit the decision that it is expected. The event is stored already, so an error is logged.
        transaction.on_commit(triage.count_expected, robust=True)
