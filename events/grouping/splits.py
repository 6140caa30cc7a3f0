"""Splits of failure groups by place: one group can contain failures of two places in the original code.

A fingerprint does not depend on source maps, and all code of a built script can be in one line. So two crashes of one
minified line are one group. When maps show two original places, a maintainer can split one of them off. The rule of a
split names positions in built scripts, so failures of a later build join the first group again, until the maintainer
moves that place too.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from events import audit
from events.counting import rollups
from events.counting.upserts import Upsert, upsert
from events.grouping import groups, moves, rules
from events.grouping.fingerprints import Fingerprint, fingerprint_of
from events.grouping.triage import ABOUT_CHARACTERS
from events.models import AuditKind, Event, EventType, FailureGroup, PlaceRule
from events.querysets import batches

BATCH_EVENTS = 1_000  # bounds the memory: the stacks are read
MAX_POSITIONS = 1_000

_RULES = Upsert(
    PlaceRule._meta.db_table,
    ("fingerprint", "position", "joined", "frame"),
    "fingerprint, position",
    "joined = excluded.joined, frame = excluded.frame",
)


class CannotSplit(Exception):
    """The group cannot be split in this way; the message says why. Nothing was changed."""


def key_of(group: str, place: str) -> str:
    """Return the key of the group that a split of this place creates. A second split of the place uses it again."""
    return hashlib.blake2b(f"{group}\x1f{place}".encode(), digest_size=8).hexdigest()


def split_off(key: str, positions: Collection[str], *, place: str, frame: str, user: Any, at: datetime) -> FailureGroup:
    """Move the failures at these positions (`rules.position_in`) to the group of their place; return that group.

    `place` identifies the original place in every build, and `frame` describes it. Later failures at these positions
    join the new group too. Raises CannotSplit.
    """
    with transaction.atomic():
        group = _locked(key, positions)
        new_key = key_of(key, place)
        if new_key in rules.read().merged:
            raise CannotSplit("The group of this place was merged into another one. Split it off there first.")
        chosen = [
            (event.id, fingerprint_of(event).key, rules.position_in(event))
            for event in _events(Event.objects.of_group(key))
            if rules.position_in(event) in positions
        ]
        if not chosen:
            raise CannotSplit("No stored failure of this group is at this place any more.")
        if len(chosen) == group.accepted:
            raise CannotSplit("All failures of this group are at this place.")
        upsert(_RULES, sorted({(own, position, new_key, frame) for _, own, position in chosen}))
        moved = 0
        current = rules.read()
        for start in range(0, len(chosen), BATCH_EVENTS):
            moved += _move([event_id for event_id, *_ in chosen[start : start + BATCH_EVENTS]], key, current)
        rollups.note_merge(group.event_type)
        new_group = FailureGroup.objects.get(pk=new_key)
        _note(group, new_group, frame, moved, user, at)
    return new_group


def followed(event: Any, own: Fingerprint, stored: rules.Rules) -> rules.PlaceGroup | None:
    """Return the group that a split moved a failure to, if only its fingerprint has changed since, else None.

    `own` is its current fingerprint. After a change of the algorithm, no stored rule has it.
    """
    joined = event.merged_from or event.fingerprint
    if not stored.places or own.key == joined:
        return None
    positions = (place for (_, position), place in stored.places.items() if position == rules.position_in(event))
    return next((place for place in positions if place.key == joined), None)


def store(places: Mapping[tuple[str, str], rules.PlaceGroup]) -> None:
    """Store rules for new fingerprints, by fingerprint and position. Those for earlier fingerprints stay unused."""
    if places:
        with transaction.atomic():
            rollups.lock(EventType.values)
            upsert(_RULES, sorted((*key, *place) for key, place in places.items()))
            for event_type in EventType.values:
                rollups.note_merge(event_type)


def forget_demo() -> None:
    """Delete the rules of groups that no longer exist, after demo data was deleted."""
    for rule in PlaceRule.objects.order_by("pk"):
        if not FailureGroup.objects.filter(pk__in=[rule.fingerprint, rule.joined]).exists():
            PlaceRule.objects.filter(pk=rule.pk).delete()


def _locked(key: str, positions: Collection[str]) -> FailureGroup:
    event_type = FailureGroup.objects.filter(pk=key).values_list("event_type", flat=True).first()
    if event_type is None:
        raise CannotSplit("This group no longer exists. Somebody may have merged it.")
    if groups.is_overflow(key):
        raise CannotSplit("The overflow group of a type contains different failures, so it cannot be split by place.")
    if not 1 <= len(positions) <= MAX_POSITIONS:
        raise CannotSplit(f"A place can have 1 to {MAX_POSITIONS:,} positions. This one has {len(positions):,}.")
    rollups.lock([event_type])
    locked = groups.lock([key])
    if not locked:
        raise CannotSplit("This group no longer exists. Somebody may have merged it.")
    return locked[0]


def _events(events: Any) -> Iterable[Any]:
    for ids in batches(events, BATCH_EVENTS):
        yield from Event.objects.filter(pk__in=ids).values_list(*moves.COLUMNS, named=True)


def _move(ids: list[str], source: str, current: rules.Rules) -> int:
    events = list(Event.objects.filter(pk__in=ids).values_list(*moves.COLUMNS, named=True))
    memberships = moves.changed(events, current)
    moving = [event for event in events if event.id in memberships]
    groups.join([(event, memberships[event.id].group) for event in moving], reopening=False)
    moves.set_groups(memberships)
    groups.subtract((event, source) for event in moving)
    return len(moving)


def _note(group: FailureGroup, new_group: FailureGroup, frame: str, moved: int, user: Any, at: datetime) -> None:
    title = str(group)[:ABOUT_CHARACTERS]
    who = user.get_username()
    failures = f"{moved:,} failure{'' if moved == 1 else 's'}"
    words = f"Moved {failures} at {frame} to a group of their own ({new_group.pk})."
    audit.note(AuditKind.TRIAGE, words, who=who, at=at, about=title, subject=group.pk)
    words = f"Received {failures} at {frame} from “{title}” ({group.pk})."
    audit.note(AuditKind.TRIAGE, words, who=who, at=at, about=str(new_group)[:ABOUT_CHARACTERS], subject=new_group.pk)
