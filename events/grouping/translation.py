"""Translates the rules of merges, and the addresses of groups, to the fingerprints of a new algorithm.

A rule follows the failures of its fingerprint: each of their new fingerprints gets the rule. If most failures with a
new fingerprint come from another group, that group decides, and the fingerprint gets no rule.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import NamedTuple

from django.db import transaction

from events.counting import rollups
from events.grouping import groups, rules
from events.grouping.fingerprints import ALGORITHM, Fingerprint
from events.models import EventType, FailureGroup, FormerGroup


class Rule(NamedTuple):
    """A translated rule: failures with `fingerprint` join `joined`. `origin` is the fingerprint of the stored rule."""

    fingerprint: str
    joined: str
    origin: str


class Translation(NamedTuple):
    """The rules by fingerprint. `successors` are the addresses: by the old group, the new one with most failures.

    `dropped` are the fingerprints of stored rules that no new rule continues.
    """

    rules: Mapping[str, Rule]
    dropped: Mapping[str, FormerGroup]
    successors: Mapping[str, str]

    def joined(self) -> dict[str, str]:
        """Return for each fingerprint with a rule the group that its failures join."""
        return rules.resolved({key: rule.joined for key, rule in self.rules.items()})


def translation(origins: Mapping[tuple[str, str], int]) -> Translation:
    """Return the rules and addresses for the current algorithm; changes nothing.

    `origins` counts the stored failures by their earlier and their current fingerprint. Without a failure, a rule keeps
    its fingerprint.
    """
    stored = {former.pk: former for former in FormerGroup.objects.merged().order_by("moved_at_ms", "pk")}
    # A group of the current algorithm only contains what was received since the upgrade, so it decides nothing.
    current = set(FailureGroup.objects.filter(algorithm=ALGORITHM).values_list("pk", flat=True))
    # What an interrupted run has translated already.
    addresses = dict(FormerGroup.objects.filter(is_merged=False).values_list("fingerprint", "joined"))
    becomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    sources: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for (old, new), n in origins.items():
        old = old if old in current else addresses.get(old, old)
        becomes[old][new] += n
        sources[new][old] += n
    main = {old: _largest(counts) for old, counts in becomes.items()}
    translated: dict[str, Rule] = {}
    for key, former in stored.items():
        joined = main.get(former.joined, former.joined)
        for new in sorted(becomes.get(key, {key: 0})):
            rivals = Counter({old: n for old, n in sources[new].items() if old != new or new not in current})
            if (
                new != joined
                and new not in translated
                and (not rivals or _largest(rivals) == key)
                and not _leads_to(joined, new, translated)
            ):
                translated[new] = Rule(new, joined, key)
    continued = {rule.origin for rule in translated.values()}
    vacated = {
        old: new for old, new in main.items() if old not in becomes[old] and old not in stored and old not in current
    }
    return Translation(
        translated,
        {key: former for key, former in stored.items() if key not in continued},
        vacated | {key: main[key] for key in stored if key in main and main[key] != key},
    )


def apply(found: Translation, fingerprints: Mapping[str, Fingerprint], at: datetime) -> None:
    """Store a translation. `fingerprints` describe the new fingerprints. Repeating it changes nothing more."""
    with transaction.atomic():
        rollups.lock(EventType.values)
        stored = FormerGroup.objects.merged().in_bulk()
        for rule in found.rules.values():
            if former := stored.get(rule.origin):
                _store(rule, former, fingerprints.get(rule.fingerprint), is_main=_is_main(rule, found))
        origins = {rule.origin for rule in found.rules.values()}
        for key in stored.keys() & (origins | found.dropped.keys()) - found.rules.keys():
            groups.drop_counts(key)
            row = FormerGroup.objects.filter(pk=key)
            if successor := found.successors.get(key):
                row.update(is_merged=False, joined=successor)
            else:
                row.delete()
        _store_addresses(found.successors, stored, at)
        for event_type in sorted({former.row["event_type"] for former in stored.values()}):
            rollups.note_merge(event_type)


def _store(rule: Rule, former: FormerGroup, described: Fingerprint | None, *, is_main: bool) -> None:
    if rule.fingerprint == former.pk:
        if rule.joined != former.joined:
            groups.drop_counts(former.pk)
            FormerGroup.objects.filter(pk=former.pk).update(joined=rule.joined)
        return
    row = former.row | {"fingerprint": rule.fingerprint, "algorithm": ALGORITHM}
    if described:
        row |= {"title": described.title, "frame": described.frame}
    FormerGroup.objects.update_or_create(
        fingerprint=rule.fingerprint,
        defaults={
            "joined": rule.joined,
            "is_merged": True,
            "gave_decision": former.gave_decision and is_main,
            "row": row,
            "moved_at_ms": former.moved_at_ms,
            "moved_by_name": former.moved_by_name,
        },
    )


def _store_addresses(successors: Mapping[str, str], merged: Collection[str], at: datetime) -> None:
    """Store where the events of groups go that will lose all of them. An address of an interrupted run stays."""
    rows = groups.rows_of(successors.keys() - set(merged))
    known = set(FormerGroup.objects.filter(pk__in=list(rows)).values_list("pk", flat=True))
    # The groups that receive events are no former groups any more, if an earlier algorithm made them so.
    FormerGroup.objects.filter(is_merged=False, pk__in=set(successors.values())).exclude(pk__in=known).delete()
    FormerGroup.objects.bulk_create(
        FormerGroup(
            fingerprint=key,
            joined=successors[key],
            is_merged=False,
            gave_decision=False,
            row=row,
            moved_at_ms=int(at.timestamp() * 1000),
        )
        for key, row in rows.items()
        if key not in known
    )


def _is_main(rule: Rule, found: Translation) -> bool:
    return found.successors.get(rule.origin, rule.origin) == rule.fingerprint


def _largest(counts: Mapping[str, int]) -> str:
    return max(counts, key=lambda key: (counts[key], key))


def _leads_to(start: str, end: str, translated: Mapping[str, Rule]) -> bool:
    while start in translated:
        start = translated[start].joined
    return start == end
