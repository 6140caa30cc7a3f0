"""Merges of failure groups by maintainers, and their undo. The only writer of FormerGroup.

A merge moves every event of a group to another group, with its counts, and stores the rule that later failures follow.
A split deletes the rule and moves the events back. Both are one transaction with their entries in the audit log.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Case, F, TextField, Value, When
from django.db.models.functions import Coalesce

from events import audit
from events.counting import rollups
from events.grouping import groups
from events.grouping.fingerprints import Fingerprint
from events.grouping.triage import ABOUT_CHARACTERS
from events.models import AuditKind, Event, FailureGroup, FormerGroup
from events.querysets import EventQuerySet, batches

BATCH_EVENTS = 5_000  # bounds the memory
_COLUMNS = ("id", "error_name", "merged_from", *rollups.COUNTED)


class CannotMerge(Exception):
    """The two groups cannot be merged, or this one cannot be split off; the message says why. Nothing was changed."""


def merge(key: str, into: str, *, user: Any, at: datetime) -> FailureGroup:
    """Merge a group into another one, or into the group that this one was merged into; return the receiving group.

    The receiving group keeps its decision. Without one, it takes over the decision about the larger group. Raises
    CannotMerge.
    """
    with transaction.atomic():
        group, target = _locked(key, into)
        target_title, title = str(target)[:ABOUT_CHARACTERS], str(group)[:ABOUT_CHARACTERS]
        if gave_decision := passes_decision(group, target):
            groups.inherit(target.pk, group)
        FormerGroup.objects.filter(pk=key).delete()  # an address of an earlier algorithm
        FormerGroup.objects.create(
            fingerprint=key,
            joined=target.pk,
            is_merged=True,
            gave_decision=gave_decision,
            row=groups.row_of(group),
            moved_at_ms=int(at.timestamp() * 1000),
            moved_by_name=user.get_username(),
        )
        _move(Event.objects.of_group(key), key, Fingerprint(target.pk, target.title, target.frame))
        groups.dissolve(key, target.pk)
        rollups.note_merge(group.event_type)
        audit.note(
            AuditKind.TRIAGE, f"Merged “{title}” ({key}) into this group.", who=user.get_username(), at=at,
            about=target_title, subject=target.pk,
        )  # fmt: skip
    return FailureGroup.objects.get(pk=target.pk)


def passes_decision(group: FailureGroup, target: FailureGroup) -> bool:
    """Return whether the target takes over the decision about the group: it has none, and it has fewer events."""
    is_decided, is_target_decided = (one.decided_at_ms is not None or one.note != "" for one in (group, target))
    return is_decided and not is_target_decided and group.accepted > target.accepted


def split(key: str, *, user: Any, at: datetime) -> FailureGroup:
    """Undo the merge of a group: it gets back its events, counts and decision, with its later events.

    Groups that were merged into it before belong to it again. Raises CannotMerge.
    """
    with transaction.atomic():
        former = FormerGroup.objects.merged().filter(pk=key).first()
        if former is None:
            raise CannotMerge("This group is not merged into another one. Somebody may have split it off already.")
        rollups.lock([former.row["event_type"]])
        whole = FormerGroup.objects.successor(key)
        former = FormerGroup.objects.merged().filter(pk=key).first()
        if former is None:
            raise CannotMerge("This group is not merged into another one. Somebody may have split it off already.")
        groups.lock([whole])
        if FailureGroup.objects.filter(pk=key).exists():
            raise CannotMerge("The failures are being regrouped. Run manage.py regroup_failures to its end first.")
        parts = [part.pk for part in FormerGroup.objects.merged().within(key)]
        groups.restore(former.row, whole)
        title, frame = former.row["title"], former.row["frame"]
        _move(
            Event.objects.of_group(whole).filter(merged_from__in=[key, *parts]), whole, Fingerprint(key, title, frame)
        )
        groups.settle(FailureGroup.objects.filter(pk=key, accepted__gt=0).values_list("pk", flat=True))
        if former.gave_decision:
            groups.disinherit(former.joined, former.row)
        FormerGroup.objects.filter(pk=key).delete()
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


def forget_demo() -> None:
    """Delete the former groups whose failures were all demo data, after these were deleted.

    The caller has locked the totals of every type. No other deletion removes a group.
    """
    for former in FormerGroup.objects.order_by("pk"):
        if not FailureGroup.objects.filter(pk__in=[former.pk, FormerGroup.objects.successor(former.pk)]).exists():
            FormerGroup.objects.filter(pk=former.pk).delete()
            rollups.note_merge(former.row["event_type"])


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
    if not FailureGroup.objects.filter(pk=into).exists():
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
