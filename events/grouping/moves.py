"""Moves stored failures to the groups of their present fingerprints, with their counts and decisions.

What people decided is kept: a group that has no decision of its own takes that of the group which most of its events
come from.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from django.db import transaction

from events.counting import rollups
from events.counting.upserts import change
from events.grouping import groups
from events.grouping.fingerprints import Fingerprint, fingerprint
from events.models import Event, FailureGroup

# What a move must know of a failure.
COLUMNS = ("id", "error_name", "message", "stack", "fingerprint", *rollups.COUNTED)


def mark_of(event: Any) -> Fingerprint:
    """Return what a failure, read with COLUMNS, is known by."""
    return fingerprint(event.event_type, event.error_name, event.message, event.stack)


def heirs(moves: Mapping[tuple[str | None, str], int]) -> dict[str, str]:
    """Return from which group each new one takes what was decided: the one that most of its events come from.

    The events that it has already speak for itself. So after an interruption the decision is still that of the most.
    """
    own = dict(FailureGroup.objects.filter(pk__in={new for _, new in moves}).values_list("pk", "accepted"))
    most: dict[str, tuple[int, str | None]] = {new: (n, None) for new, n in own.items()}
    for (old, new), n in sorted(moves.items(), key=str):
        # What was decided about everything else of a day says nothing about one failure.
        donor = None if old is None or groups.is_overflow(old) else old
        if new not in most or n > most[new][0]:
            most[new] = (n, donor)
    return {new: donor for new, (_, donor) in most.items() if donor is not None}


def move(marks: Mapping[str, Fingerprint], heirs: Mapping[str, str], repeated: Collection[str]) -> int:
    """Move failures, by their ids, to the groups of these marks, in one transaction; return how many moved.

    `heirs` is what `heirs()` returned. A group with one of the `repeated` keys has the second capacity of its day.
    """
    with transaction.atomic():
        types = Event.objects.filter(pk__in=list(marks)).values_list("event_type", flat=True)
        rollups.hold(set(types))  # as ingest does: now nobody else moves or takes away these events
        batch = [
            event
            for event in Event.objects.filter(pk__in=list(marks)).values_list(*COLUMNS, named=True)
            if event.fingerprint != marks[event.id].key
        ]
        donors = {heirs[mark.key] for mark in marks.values() if mark.key in heirs}
        concerned = {event.fingerprint for event in batch if event.fingerprint} | {mark.key for mark in marks.values()}
        before = {group.pk: group for group in groups.hold(concerned | donors)}
        # Those that overflowed stay where they are when there still is no room.
        overflowed = groups.overflowing([(event, marks[event.id]) for event in batch], lambda _: repeated)
        moving = [
            (event, overflowed.get(event.id) or marks[event.id])
            for event in batch
            if event.id not in overflowed or event.fingerprint != overflowed[event.id].key
        ]
        groups.join(moving, reopening=False)
        for key in sorted({mark.key for _, mark in moving} & heirs.keys()):
            if donor := before.get(heirs[key]):
                groups.inherit(key, donor)
        change(
            Event._meta.db_table,
            ("id",),
            "fingerprint = given.column2",
            sorted((event.id, mark.key) for event, mark in moving),
        )
        groups.subtract((event, event.fingerprint) for event, _ in moving if event.fingerprint)
    return len(moving)


def rejoin(ids: Collection[str]) -> None:
    """Move failures to their groups after their texts changed, in the caller's transaction.

    The caller holds the totals of their types.
    """
    marks: dict[str, Fingerprint] = {}
    moves: Counter[tuple[str | None, str]] = Counter()
    for event in Event.objects.filter(pk__in=ids).values_list(*COLUMNS, named=True):
        mark = mark_of(event)
        if mark.key != event.fingerprint:
            marks[event.id] = mark
            moves[event.fingerprint, mark.key] += 1
    if marks:
        move(marks, heirs(moves), ())
