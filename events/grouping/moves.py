"""Moves stored failures to the groups of their current fingerprints, with their counts and decisions.

Decisions are kept: a group without its own decision inherits the one of the group that most of its events come from.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.db import transaction

from events.counting import rollups
from events.grouping import groups
from events.grouping.fingerprints import Fingerprint, fingerprint_of
from events.models import Event, FailureGroup

# The columns that a move needs.
COLUMNS = ("id", "error_name", "message", "stack", "fingerprint", *rollups.COUNTED)


def changed(events: Iterable[Any]) -> dict[str, Fingerprint]:
    """Return the fingerprints of the failures that belong to another group now, by event id."""
    return {event.id: new for event in events if (new := fingerprint_of(event)).key != event.fingerprint}


def heirs(moves: Mapping[tuple[str | None, str], int]) -> dict[str, str]:
    """Return for each new group the group whose decision it inherits: the one that most of its events come from.

    Events that are already in the new group count for the new group. So an interrupted run leads to the same result.
    """
    own = dict(FailureGroup.objects.filter(pk__in={new for _, new in moves}).values_list("pk", "accepted"))
    most: dict[str, tuple[int, str | None]] = {new: (n, None) for new, n in own.items()}
    for (old, new), n in sorted(moves.items(), key=str):
        # A decision about an overflow group does not apply to a single failure.
        donor = None if old is None or groups.is_overflow(old) else old
        if new not in most or n > most[new][0]:
            most[new] = (n, donor)
    return {new: donor for new, (_, donor) in most.items() if donor is not None}


def move(fingerprints: Mapping[str, Fingerprint], heirs: Mapping[str, str], repeated: Collection[str]) -> int:
    """Move failures, by id, to the groups of these fingerprints in one transaction; return how many moved.

    `heirs` is the result of `heirs()`. A group with one of the `repeated` keys can use the second capacity of its day.
    """
    with transaction.atomic():
        types = Event.objects.filter(pk__in=list(fingerprints)).values_list("event_type", flat=True)
        rollups.lock(set(types))  # the lock that ingest takes: no other process moves or deletes these events
        batch = [
            event
            for event in Event.objects.filter(pk__in=list(fingerprints)).values_list(*COLUMNS, named=True)
            if event.fingerprint != fingerprints[event.id].key
        ]
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
        set_groups({event.id: fingerprint.key for event, fingerprint in moving})
        groups.subtract((event, event.fingerprint) for event, _ in moving if event.fingerprint)
    return len(moving)


def set_groups(keys: Mapping[str, str]) -> None:
    """Write the group of stored failures, by event id, in the caller's transaction."""
    ids: defaultdict[str, list[str]] = defaultdict(list)
    for event_id, key in keys.items():
        ids[key].append(event_id)
    for key in sorted(ids):
        Event.objects.filter(pk__in=ids[key]).update(fingerprint=key)


def rejoin(ids: Collection[str]) -> None:
    """Move failures to their groups after their texts changed, in the caller's transaction.

    The caller has locked the totals of their types.
    """
    events = list(Event.objects.filter(pk__in=ids).values_list(*COLUMNS, named=True))
    if fingerprints := changed(events):
        moves = Counter((event.fingerprint, fingerprints[event.id].key) for event in events if event.id in fingerprints)
        move(fingerprints, heirs(moves), ())
