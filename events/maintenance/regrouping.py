"""Moves every stored failure to the group of its current fingerprint, and verifies the counts of the groups.

It is needed when the rules of `fingerprints` change, and for failures from before groups existed. Each batch is a short
transaction. So it can run while the site runs, can be stopped at any time, and can be repeated.

Decisions about groups are kept: see `moves.heirs`. Counts of events that are no longer stored stay in their old group.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple

from django.db.models import Count, F, Sum

from events import clock, keyset
from events.counting import arrivals, buckets, facets, rollups
from events.counting.buckets import DAY_MS, HOUR_MS, OTHER
from events.grouping import groups, merges, moves, rules, splits, triage
from events.grouping.fingerprints import ALGORITHM, Fingerprint
from events.grouping.merges import Translation
from events.grouping.rules import PlaceGroup
from events.maintenance import retention
from events.models import Event, Facet, FailureGroup, FormerGroup, GroupHour, GroupShare

BATCH_EVENTS = 500  # Ingest waits while one batch runs.


class Survey(NamedTuple):
    """The pending work.

    `moves` counts failures by their current group (None without one) and their new group. If a day has no room for all
    its new groups, failures stay in the overflow group or move to it. `parts` counts all failures in the same way, also
    those that stay. `fingerprints` describe the new groups. `translation` are the new rules of merges, and addresses.
    `places` are the new rules of splits, by fingerprint and position.
    """

    failures: int
    moves: Mapping[tuple[str | None, str], int]
    old_groups: int
    parts: Mapping[tuple[str | None, str], int]
    fingerprints: Mapping[str, Fingerprint]
    translation: Translation
    places: Mapping[tuple[str, str], PlaceGroup]


class Change(NamedTuple):
    """A group that will receive the failures of several groups, or whose failures will go to several groups.

    `parts` are these other groups, largest first: title and number of failures.
    """

    title: str
    failures: int
    parts: list[tuple[str, int]]


class GroupDifference(NamedTuple):
    """A group with two different counts; `what` names the second count."""

    fingerprint: str
    what: str
    counted: int
    actual: int


def is_due() -> bool:
    """Return whether failures without a group, or groups of an older algorithm, exist. Needs two index lookups."""
    ungrouped = Event.objects.failures().filter(fingerprint__isnull=True)
    return ungrouped.exists() or FailureGroup.objects.exclude(algorithm=ALGORITHM).exists()


def survey() -> Survey:
    """Count the pending moves of all stored failures; changes nothing."""
    seen: Counter[tuple[str | None, str | None, str]] = Counter()
    overflowed: Counter[tuple[int, str, str]] = Counter()
    fingerprints: dict[str, Fingerprint] = {}
    places: dict[tuple[str, str], PlaceGroup] = {}
    stored_rules = rules.read()
    for batch in _batches():
        for event in batch:
            own = rules.placed(event, stored_rules)
            if place := splits.followed(event, own, stored_rules):
                places[own.key, rules.position_in(event)] = place
                own = own._replace(key=place.key, frame=place.frame)
            fingerprints.setdefault(own.key, own)
            seen[event.fingerprint, event.merged_from, own.key] += 1
            if event.fingerprint and groups.is_overflow(event.fingerprint):
                overflowed[event.received_at_ms // DAY_MS, event.event_type, own.key] += 1
    origins: Counter[tuple[str, str]] = Counter()
    for (group, merged_from, own_key), n in seen.items():
        if group and not groups.is_overflow(group):
            origins[merged_from or group, own_key] += n
    found = merges.translate(origins)
    joined = found.joined()
    parts: Counter[tuple[str | None, str]] = Counter()
    for (group, _, own_key), n in seen.items():
        parts[group, joined.get(own_key, own_key)] += n
    existing = groups.existing(list({new for _, new in parts}))
    with_room = existing | _with_room(overflowed, existing)
    # A failure in the overflow group of a full day stays there, unless its own group exists now.
    due = {
        (old, new): n
        for (old, new), n in parts.items()
        if old != new and (old is None or not groups.is_overflow(old) or new in with_room)
    }
    old_groups = FailureGroup.objects.exclude(algorithm=ALGORITHM).count()
    return Survey(seen.total(), due, old_groups, parts, fingerprints, found, places)


def _with_room(overflowed: Mapping[tuple[int, str, str], int], existing: Collection[str]) -> set[str]:
    """Return the keys of failures in overflow groups that can have their own groups now, oldest first.

    `overflowed` counts the failures by UTC day, type and key.
    """
    room: dict[tuple[int, str], int] = {}
    found: set[str] = set()
    for (day, event_type, key), n in overflowed.items():
        if key in existing or key in found:
            continue
        if (day, event_type) not in room:
            room[day, event_type] = groups.room_on(day, event_type)
        capacity = groups.MAX_REPEATED_A_DAY if n >= arrivals.REPEATED else 0
        if room[day, event_type] + capacity > 0:
            room[day, event_type] -= 1
            found.add(key)
    return found


def merging(pending: Survey) -> list[Change]:
    """Return the groups that will receive the failures of several groups, largest first."""
    received: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for old, new, n in _between_groups(pending):
        received[new][old] += n
    for key in FailureGroup.objects.filter(algorithm=ALGORITHM).values_list("pk", flat=True):
        if key in received:
            received[key].pop(key, None)  # received since the upgrade
    return _changes({new: olds for new, olds in received.items() if len(olds) > 1}, pending)


def splitting(pending: Survey) -> list[Change]:
    """Return the groups whose failures will be in several groups, largest first."""
    sent: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for old, new, n in _between_groups(pending):
        sent[old][new] += n
    return _changes({old: news for old, news in sent.items() if len(news) > 1}, pending)


def _between_groups(pending: Survey) -> Iterator[tuple[str, str, int]]:
    for (old, new), n in pending.parts.items():
        if old is not None and not groups.is_overflow(old):
            yield old, new, n


def _changes(found: Mapping[str, Counter[str]], pending: Survey) -> list[Change]:
    titles = {key: fingerprint.title for key, fingerprint in pending.fingerprints.items()}
    titles |= dict(FailureGroup.objects.values_list("pk", "title"))
    changes = [
        Change(titles.get(key, key), parts.total(), [(titles.get(part, part), n) for part, n in parts.most_common()])
        for key, parts in sorted(found.items())
    ]
    return sorted(changes, key=lambda change: -change.failures)


def regroup(pending: Survey) -> Iterator[tuple[int, int]]:
    """Move every failure to its group, oldest first, after the rules of merges were translated.

    Yields after each batch the number of failures that it checked and the number that it moved.
    """
    heirs = moves.heirs(pending.moves)
    belonging = Counter[str]()
    for (_, new), n in pending.parts.items():
        belonging[new] += n
    repeated = {key for key, n in belonging.items() if n >= arrivals.REPEATED}
    merges.store(pending.translation, pending.fingerprints, clock.now())
    splits.store(pending.places)
    for batch in _batches():
        changed = moves.changed(batch, rules.read())
        yield len(batch), moves.move(list(changed), heirs, repeated) if changed else 0
    # The remaining old groups contain only events that are no longer stored, or fingerprints that did not change.
    while groups.renew(BATCH_EVENTS):
        pass
    triage.count_expected()  # groups that inherited the decision


def _batches() -> Iterator[list[Any]]:
    """Return all stored failures in batches, oldest first."""
    ordered = Event.objects.failures().order_by("received_at_ms", "id")
    return keyset.in_batches(ordered.values_list(*moves.COLUMNS, named=True), BATCH_EVENTS)


# --- verification ------------------------------------------------------------------------------------------------


def compare() -> list[GroupDifference]:
    """Return the differences between the counts of groups, their parts and the stored events.

    Stored events are counted from the hour of the oldest one, because earlier ones may have been pruned.
    """
    differences = _compare_sums() + _compare_facets()
    oldest_ms = Event.objects.failures().order_by("received_at_ms").values_list("received_at_ms", flat=True).first()
    if oldest_ms is not None:
        # A prune may keep imported events and delete the others of the same time.
        start_ms = max(oldest_ms - oldest_ms % HOUR_MS, retention.whole_since_ms())
        for day_ms, _ in groupby(_hours_from(start_ms), lambda hour_ms: hour_ms - hour_ms % DAY_MS):
            differences += _compare_hours(max(day_ms, start_ms), day_ms + DAY_MS)
    return differences


def _hours_from(start_ms: int) -> Iterable[int]:
    """Return the hours with counted or stored failures, oldest first."""
    counted = GroupHour.objects.filter(hour_ms__gte=start_ms).values_list("hour_ms", flat=True).distinct()
    hour = F("received_at_ms") - F("received_at_ms") % HOUR_MS
    stored = Event.objects.failures().filter(received_at_ms__gte=start_ms).order_by()
    return sorted({*counted, *stored.annotate(hour_ms=hour).values_list("hour_ms", flat=True).distinct()})


def _compare_sums() -> list[GroupDifference]:
    with rollups.writers_blocked():
        groups_by_key = {row.pop("pk"): row for row in FailureGroup.objects.values("pk", *_COUNTS)}
        hours = dict(GroupHour.objects.values_list("fingerprint").annotate(counted=Sum("accepted")))
        shares = {
            (key, facet): (n, names)
            for key, facet, n, names in GroupShare.objects.values_list("fingerprint", "facet").annotate(
                counted=Sum("accepted"), names=Count("name", distinct=True)
            )
        }
        merged = set(FormerGroup.objects.merged().values_list("pk", flat=True))
        days = {(key, day): n for key, day, n in _by_day(GroupHour.objects, F("hour_ms") - F("hour_ms") % DAY_MS)}
        shares_of_days = list(_by_day(GroupShare.objects.filter(day_ms__gt=0), F("day_ms"), "facet"))
    orphans = sorted(hours.keys() - groups_by_key.keys() - merged)
    differences = [GroupDifference(key, "hours without a group", 0, hours[key]) for key in orphans]
    for key, row in sorted(groups_by_key.items()):
        pairs = [("its hours", row["accepted"], hours.get(key, 0))]
        for facet in Facet.values:
            n, names = shares.get((key, facet), (0, 0))
            pairs.append((f"its shares by {facet}", row["accepted"], n))
            if f"{facet}_count" in row:
                pairs.append((f"its {facet}s", row[f"{facet}_count"], names))
        differences += [GroupDifference(key, what, counted, sum_) for what, counted, sum_ in pairs if counted != sum_]
    # The day of some shares is unknown, so a day can have fewer than its hours.
    differences += [
        GroupDifference(key, f"its shares by {facet} of {clock.iso(day_ms)[:10]}", days.get((key, day_ms), 0), n)
        for key, facet, day_ms, n in sorted(shares_of_days)
        if n > days.get((key, day_ms), 0)
    ]
    return differences


def _by_day(rows: Any, day: Any, *columns: str) -> Any:
    """Return sums by group, the other columns and UTC day."""
    sums = rows.order_by().annotate(day=day).values_list("fingerprint", *columns, "day")
    return sums.annotate(counted=Sum("accepted")).iterator()


def _compare_facets() -> list[GroupDifference]:
    """Compare the shares by facet with the stored events.

    Events that were pruned are in the shares alone. Events from before a name was added to FACETS are in no share.
    """
    with rollups.writers_blocked():
        accepted = dict(FailureGroup.objects.values_list("pk", "accepted"))
        stored: Counter[str] = Counter()
        events: Counter[tuple[str, str, str]] = Counter()
        recent: Counter[tuple[str, str, str]] = Counter()  # received after the first day of their facet
        since_ms = {facet: first_ms + DAY_MS for facet, first_ms in buckets.first_days()}
        rows = Event.objects.filter(fingerprint__isnull=False).annotate(day_ms=_DAY)
        for key, day_ms, metadata_json, n in rows.values_list("fingerprint", "day_ms", "metadata_json").annotate(
            count=Count("*")
        ):
            stored[str(key)] += n
            for facet, name in facets.values_in(metadata_json):
                events[str(key), facet, name] += n
                if facet in since_ms and day_ms >= since_ms[facet]:
                    recent[str(key), facet, name] += n
        shares = GroupShare.objects.filter(facet__in=facets.counted_facets(), fingerprint__in=accepted)
        counted: Counter[tuple[str, str, str]] = Counter()
        for key, facet, name, n in shares.values_list("fingerprint", "facet", "name", "accepted"):
            counted[key, facet, name] += n
    capped = {(key, facet) for key, facet, name in counted if name == OTHER}
    counted, events, recent = (_without_capped(counts, capped) for counts in (counted, events, recent))
    differences = []
    for key, facet, name in sorted(counted.keys() | recent.keys()):
        n = counted[key, facet, name]
        most = events[key, facet, name] if accepted.get(key) == stored[key] else accepted.get(key, 0)
        if not recent[key, facet, name] <= n <= most:
            what = f"its share of {facet} {name}"
            differences.append(GroupDifference(key, what, n, events[key, facet, name]))
    return differences


def _without_capped(
    counts: Counter[tuple[str, str, str]], capped: Collection[tuple[str, str]]
) -> Counter[tuple[str, str, str]]:
    """Sum the names of the facets of a group that were counted under OTHER."""
    summed: Counter[tuple[str, str, str]] = Counter()
    for (key, facet, name), n in counts.items():
        summed[key, facet, OTHER if (key, facet) in capped else name] += n
    return summed


def _compare_hours(start_ms: int, end_ms: int) -> list[GroupDifference]:
    with rollups.writers_blocked():
        stored = (
            Event.objects.between(start_ms, end_ms)
            .filter(fingerprint__isnull=False)
            .annotate(hour_ms=F("received_at_ms") - F("received_at_ms") % HOUR_MS)
            .values_list("fingerprint", "hour_ms")
            .order_by()
            .annotate(count=Count("*"))
        )
        events = {(str(key), hour_ms): n for key, hour_ms, n in stored}
        # The hours of a merged group count deleted events, which the hours of another group count too.
        merged = (
            FormerGroup.objects.merged().exclude(pk__in=FailureGroup.objects.values("pk")).values_list("pk", flat=True)
        )
        hours = GroupHour.objects.filter(hour_ms__gte=start_ms, hour_ms__lt=end_ms).exclude(fingerprint__in=merged)
        counts = {(key, hour_ms): n for key, hour_ms, n in hours.values_list("fingerprint", "hour_ms", "accepted")}
    return [
        GroupDifference(
            key, f"its events of {clock.iso(hour_ms)}", counts.get((key, hour_ms), 0), events.get((key, hour_ms), 0)
        )
        for key, hour_ms in sorted(counts.keys() | events.keys())
        if counts.get((key, hour_ms), 0) != events.get((key, hour_ms), 0)
    ]


_DAY = F("received_at_ms") - F("received_at_ms") % DAY_MS
_COUNTS = ("accepted", "model_count", "version_count")
