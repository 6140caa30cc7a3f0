"""The rules that maintainers make about groups: which failures join another group than that of their fingerprint.

If a group was merged, all failures of its fingerprint join the other group. If it was split by place, those at some
positions of the built scripts join the group of that place. A split applies first, so its group can be merged too.

Each process has a cache of all rules. Every merge and every split adds one to the `merges` of its event type, in the
row that ingest locks and reads anyway, in the same transaction. So ingest knows whether its cache is current, without a
query, and no commit after a merge uses an older rule.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

from events import process_memory
from events.grouping.fingerprints import Fingerprint, fingerprint_of
from events.grouping.reading.frames import position_of
from events.grouping.reading.names import MASK, stable_name
from events.models import FormerGroup, LifetimeTotal, PlaceRule


class Membership(NamedTuple):
    """The group of a failure; `merged_from` is its own fingerprint, if a merge moved it to this group.

    After a split by place, that is the key of the group that was split off.
    """

    group: Fingerprint
    merged_from: str | None


class PlaceGroup(NamedTuple):
    """A group that was split off by place, and the original place that describes it."""

    key: str
    frame: str


class Rules:
    """`merged` maps each merged fingerprint to the group that its failures join.

    `places` maps fingerprints and positions (`position_in`) to the group that was split off.
    """

    def __init__(self, merged: Mapping[str, str], places: Mapping[tuple[str, str], PlaceGroup]) -> None:
        self.merged = merged
        self.places = places

    @cached_property
    def split(self) -> frozenset[str]:
        """The fingerprints with a rule about places."""
        return frozenset(fingerprint for fingerprint, _ in self.places)


_NO_RULES = Rules({}, {})
# By event type: the `merges` that the cached rules include.
_merges: dict[str, int] = {}
_cached = _NO_RULES


def membership_of(event: Any, rules: Rules | None = None) -> Membership:
    """Return the group of a failure with the columns of `Event`, by the given rules or by the cached ones."""
    rules = _cached if rules is None else rules
    own = placed(event, rules)
    joined = rules.merged.get(own.key)
    return Membership(own, None) if joined is None else Membership(own._replace(key=joined), own.key)


def placed(event: Any, rules: Rules) -> Fingerprint:
    """Return the fingerprint of a failure, with the key and the frame of the group of its place after a split."""
    own = fingerprint_of(event)
    if own.key in rules.split:
        group = rules.places.get((own.key, position_in(event)))
        if group is not None:
            return own._replace(key=group.key, frame=group.frame)
    return own


def position_in(event: Any) -> str:
    """Return the position at which a failure occurred in the built script: `file:line:column`, or "".

    If the name of the file has no hash, other versions have other code there. So the version is a part of the position.
    """
    position = position_of(event.stack, event.error_name or "") if event.stack else ""
    if not position or MASK in stable_name(position.rsplit(":", 2)[0]):
        return position
    return f"{position} of {event.app_version}"


def read() -> Rules:
    """Return the stored rules."""
    merged = resolved(dict(FormerGroup.objects.merged().values_list("fingerprint", "joined")))
    rows = PlaceRule.objects.values_list("fingerprint", "position", "joined", "frame")
    return Rules(merged, {(key, position): PlaceGroup(joined, frame) for key, position, joined, frame in rows})


def resolved(joined: Mapping[str, str]) -> dict[str, str]:
    """Return the last group of each chain of rules."""
    rules = {}
    for key, target in joined.items():
        passed = {key}
        while target in joined and target not in passed:
            passed.add(target)
            target = joined[target]
        rules[key] = target
    return rules


def are_outdated(merges: Mapping[str, int]) -> bool:
    """Return whether the cached rules lack a change, by the current `merges` of some types."""
    return any(_merges.get(event_type, 0) != number for event_type, number in merges.items())


def reload() -> None:
    """Read the rules again, inside the transaction that found them outdated."""
    global _cached, _merges
    # The numbers first: a rule that is committed in between is only read twice.
    merges = dict(LifetimeTotal.objects.values_list("event_type", "merges"))
    _cached = read()
    _merges = merges


@process_memory.register
def _forget() -> None:
    global _cached, _merges
    _cached, _merges = _NO_RULES, {}
