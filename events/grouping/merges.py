"""Merges of failure groups by maintainers, their undo, and their translation to a new algorithm of fingerprints.

A merge moves every event of a group to another group, with its counts, and stores the rule that later failures follow.
A split deletes the rule and moves the events back. Both are one transaction with their entries in the audit log.

After a change of the algorithm, a rule follows the failures of its fingerprint: each of their new fingerprints gets the
rule. If most failures with a new fingerprint come from another group, that group decides, and it gets no rule.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Case, F, TextField, Value, When
from django.db.models.functions import Coalesce

from events import audit
from events.counting import expected, rollups
from events.grouping import advice, groups, rules, triage
from events.grouping.fingerprints import ALGORITHM, Fingerprint
from events.grouping.triage import ABOUT_CHARACTERS
from events.models import AuditKind, Event, EventType, FailureGroup, FormerGroup
from events.querysets import EventQuerySet, batches

BATCH_EVENTS = 5_000  # bounds the memory
_COLUMNS = ("id", "error_name", "fingerprint", "merged_from", *rollups.COUNTED)

_NOT_MERGED = "This group is not merged into another one. Somebody may have split it off already."
_REGROUPING = "The failures are being regrouped. Run manage.py regroup_failures to its end first."


class CannotMerge(Exception):
    """The two groups cannot be merged, or this one cannot be split off; the message says why. Nothing was changed."""


def merge(key: str, into: str, *, user: Any, at: datetime) -> FailureGroup:
    """Merge a group into another one, or into the group that this one was merged into; return the receiving group.

    The receiving group keeps its decision. Without one, it takes over the decision about the larger group. Without
    advice to users, it takes over the advice; if it is assigned to nobody, the assignment; without an issue, the issue.
    Raises CannotMerge.
    """
    with transaction.atomic():
        group, target = _locked(key, into)
        target_title, title = str(target)[:ABOUT_CHARACTERS], str(group)[:ABOUT_CHARACTERS]
        if gave_decision := passes_decision(group, target):
            groups.inherit(target.pk, group)
        groups.inherit_advice(target.pk, group)
        groups.inherit_assignment(target.pk, group)
        groups.inherit_issue(target.pk, group)
        FormerGroup.objects.filter(pk=key).delete()  # an address of an earlier algorithm
        FormerGroup.objects.create(
            fingerprint=key,
            joined=target.pk,
            is_merged=True,
            gave_decision=gave_decision,
            gave_issue=passes_issue(group, target),
            row=groups.row_of(group),
            moved_at_ms=int(at.timestamp() * 1000),
            moved_by_name=user.get_username(),
        )
        _move(Event.objects.of_group(key), key, Fingerprint(target.pk, target.title, target.frame))
        groups.dissolve(key, target.pk)
        rollups.note_merge(group.event_type)
        words = f"Merged “{title}” ({key}) into this group."
        if passes_advice(group, target):
            words += f" Its advice to users applies here now: “{group.advice_text}”"
        if passes_assignment(group, target):
            words += f" It is assigned to {group.assigned_to}, like the merged group."
        if passes_issue(group, target):
            words += f" It has the issue of the merged group: {group.issue_url}"
        audit.note(AuditKind.TRIAGE, words, who=user.get_username(), at=at, about=target_title, subject=target.pk)
    triage.count_expected()
    return FailureGroup.objects.get(pk=target.pk)


def successor_of(key: str) -> FailureGroup | None:
    """Return the group that has the events of a former group, None for any other group."""
    former = FormerGroup.objects.filter(pk=key).first()
    if former is None:
        return None
    # The new group may have had no room on a day with too many new failures.
    candidates = [FormerGroup.objects.successor(key), groups.overflow_of(former.row["event_type"]).key]
    existing = FailureGroup.objects.in_bulk(candidates)
    return next((existing[candidate] for candidate in candidates if candidate in existing), None)


def passes_decision(group: FailureGroup, target: FailureGroup) -> bool:
    """Return whether the target takes over the decision about the group: it has none, and it has fewer events."""
    is_decided, is_target_decided = (one.decided_at_ms is not None or one.note != "" for one in (group, target))
    return is_decided and not is_target_decided and group.accepted > target.accepted


def passes_advice(group: FailureGroup, target: FailureGroup) -> bool:
    """Return whether the target takes over the advice of the group: it has none, whatever the sizes."""
    return group.advice_text != "" and target.advice_text == ""


def passes_assignment(group: FailureGroup, target: FailureGroup) -> bool:
    """Return whether the target takes over the assignment of the group: it has none, whatever the sizes."""
    return group.assigned_to_id is not None and target.assigned_to_id is None


def passes_issue(group: FailureGroup, target: FailureGroup) -> bool:
    """Return whether the target takes over the issue of the group: it has none, whatever the sizes."""
    return group.issue_url is not None and target.issue_url is None


def split(key: str, *, user: Any, at: datetime) -> FailureGroup:
    """Undo the merge of a group: it gets back its events, counts and decision, with its later events.

    Groups that were merged into it before belong to it again. Raises CannotMerge.
    """
    with transaction.atomic():
        former = FormerGroup.objects.merged().filter(pk=key).first()
        if former is None:
            raise CannotMerge(_NOT_MERGED)
        rollups.lock([former.row["event_type"]])
        whole = FormerGroup.objects.successor(key)
        former = FormerGroup.objects.merged().filter(pk=key).first()
        if former is None:
            raise CannotMerge(_NOT_MERGED)
        groups.lock([whole])
        if FailureGroup.objects.filter(pk=key).exists():
            raise CannotMerge(_REGROUPING)
        parts = [part.pk for part in FormerGroup.objects.merged().within(key)]
        groups.restore(former.row, whole)
        title, frame = former.row["title"], former.row["frame"]
        _move(
            Event.objects.of_group(whole).filter(merged_from__in=[key, *parts]), whole, Fingerprint(key, title, frame)
        )
        groups.settle(FailureGroup.objects.filter(pk=key, accepted__gt=0).values_list("pk", flat=True))
        FormerGroup.objects.filter(pk=key).delete()
        if former.gave_decision:
            groups.disinherit(former.joined, former.row)
        groups.disinherit_advice(former.joined, former.row)
        groups.disinherit_assignment(former.joined, former.row)
        if former.gave_issue:
            groups.disinherit_issue(former.joined, former.row)
        rollups.note_merge(former.row["event_type"])
        _note_split(former, whole, user, at)
    return FailureGroup.objects.get(pk=key)


def set_aside(ids: Collection[str]) -> None:
    """Keep the counts of merged failures for a later split, in the transaction that deletes these events."""
    merged = Event.objects.filter(pk__in=ids, merged_from__isnull=False)
    events = list(merged.values_list(*_COLUMNS, named=True))
    if events:
        joined = dict(FormerGroup.objects.merged().values_list("fingerprint", "joined"))
        groups.set_aside((event, key) for event in events for key in _chain(event.merged_from, joined))
        expected.set_aside((event, event.fingerprint, event.merged_from) for event in events)


def forget_demo() -> None:
    """Delete the former groups whose failures were all demo data, after these were deleted, and deliveries of advice.

    The caller has locked the totals of every type. No other deletion removes a group.
    """
    for former in FormerGroup.objects.order_by("pk"):
        if not FailureGroup.objects.filter(pk__in=[former.pk, FormerGroup.objects.successor(former.pk)]).exists():
            FormerGroup.objects.filter(pk=former.pk).delete()
            rollups.note_merge(former.row["event_type"])
    advice.forget_deleted(FormerGroup.objects.values("pk"))


def _chain(key: str, joined: Mapping[str, str]) -> Iterator[str]:
    """Yield a former group, and the former groups that it belongs to."""
    while key in joined:
        yield key
        key = joined[key]


def _note_split(former: FormerGroup, whole: str, user: Any, at: datetime) -> None:
    title = former.row["title"][:ABOUT_CHARACTERS]
    target = FailureGroup.objects.filter(pk=whole).first()
    target_title = str(target)[:ABOUT_CHARACTERS] if target else whole
    day = datetime.fromtimestamp(former.moved_at_ms / 1000, at.tzinfo)
    words = f"Split off again from “{target_title}” ({whole}); merged on {day:%Y-%m-%d} by {former.moved_by_name}."
    who = user.get_username()
    audit.note(AuditKind.TRIAGE, words, who=who, at=at, about=title, subject=former.pk)
    words = f"Split off “{title}” ({former.pk}) again."
    audit.note(AuditKind.TRIAGE, words, who=who, at=at, about=target_title, subject=whole)


def _locked(key: str, into: str) -> tuple[FailureGroup, FailureGroup]:
    """Lock both groups in the common lock order. Raises CannotMerge."""
    event_type = FailureGroup.objects.filter(pk=key).values_list("event_type", flat=True).first()
    if event_type is not None:
        rollups.lock([event_type])
    merged = rules.read().merged
    if key in merged and event_type is not None:
        raise CannotMerge(_REGROUPING)
    if into in merged or not FailureGroup.objects.filter(pk=into).exists():
        into = FormerGroup.objects.successor(into)
    if key == into:
        raise CannotMerge("A group cannot be merged into itself.")
    found = {group.pk: group for group in groups.lock([key, into])}
    if key not in found:
        raise CannotMerge("This group no longer exists. Somebody may have merged it already.")
    if into not in found:
        raise CannotMerge("The other group no longer exists.")
    if groups.is_overflow(key) or groups.is_overflow(into):
        raise CannotMerge("The overflow group of a type contains different failures, so it cannot be merged.")
    if found[into].event_type != event_type:
        raise CannotMerge("Groups of different types cannot be merged.")
    return found[key], found[into]


def _move(events: EventQuerySet[Event], source: str, target: Fingerprint) -> None:
    """Move events, with their counts, from one group to another in the caller's transaction."""
    for ids in batches(events, BATCH_EVENTS):
        batch = list(Event.objects.filter(pk__in=ids).values_list(*_COLUMNS, named=True))
        groups.join([(event, target) for event in batch], reopening=False)
        Event.objects.filter(pk__in=ids).update(
            fingerprint=target.key,
            merged_from=Case(
                When(merged_from=target.key, then=None),
                default=Coalesce(F("merged_from"), Value(source)),
                output_field=TextField(),
            ),
        )
        groups.subtract((event, source) for event in batch)


# --- a new algorithm -----------------------------------------------------------------------------------------------


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


def translate(origins: Mapping[tuple[str, str], int]) -> Translation:
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


def store(found: Translation, fingerprints: Mapping[str, Fingerprint], at: datetime) -> None:
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
        row |= groups.description_of(described)
    FormerGroup.objects.update_or_create(
        fingerprint=rule.fingerprint,
        defaults={
            "joined": rule.joined,
            "is_merged": True,
            "gave_decision": former.gave_decision and is_main,
            "gave_issue": former.gave_issue and is_main,
            "row": row,
            "moved_at_ms": former.moved_at_ms,
            "moved_by_name": former.moved_by_name,
        },
    )


def _store_addresses(successors: Mapping[str, str], merged: Collection[str], at: datetime) -> None:
    """Store where the events of groups go that will lose all of them. An address of an interrupted run stays."""
    rows = groups.rows_of(successors.keys() - set(merged))
    known = dict(FormerGroup.objects.values_list("fingerprint", "is_merged"))
    # The groups that receive events are no former groups any more, if an earlier algorithm made them so.
    for key in {key for key, is_merged in known.items() if not is_merged} & set(successors.values()) - rows.keys():
        FormerGroup.objects.filter(pk=key).delete()
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
