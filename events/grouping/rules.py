"""The rules that maintainers make when they merge groups: failures with one fingerprint join another group.

Each process has a cache of all rules. Every merge and every split adds one to the `merges` of its event type, in the
row that ingest locks and reads anyway, in the same transaction. So ingest knows whether its cache is current, without a
query, and no commit after a merge uses an older rule.
"""

from collections.abc import Mapping
from typing import NamedTuple

from events import process_memory
from events.grouping.fingerprints import Fingerprint
from events.models import FormerGroup, LifetimeTotal


class Membership(NamedTuple):
    """The group of a failure; `merged_from` is its own fingerprint, if a rule moved it to this group."""

    group: Fingerprint
    merged_from: str | None


# By event type: the `merges` that the cached rules include. By fingerprint: the group that its failures join.
_merges: dict[str, int] = {}
_cached: dict[str, str] = {}


def membership(own: Fingerprint, rules: Mapping[str, str] | None = None) -> Membership:
    """Return the group of a failure with this fingerprint, by the given rules or by the cached ones."""
    joined = (_cached if rules is None else rules).get(own.key)
    return Membership(own, None) if joined is None else Membership(own._replace(key=joined), own.key)


def read() -> dict[str, str]:
    """Return the stored rules: for each merged fingerprint, the group that its failures join."""
    return resolved(dict(FormerGroup.objects.merged().values_list("fingerprint", "joined")))


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
    _cached, _merges = {}, {}
