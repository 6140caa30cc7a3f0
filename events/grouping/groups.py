"""The only writer of failure groups: adds failures to groups in the transaction of the event, and finds regressions.

A group is one row that counts every occurrence, with an hourly history (GroupHour) and its shares by UTC day and model,
version, mode, connection and facet of the metadata (GroupShare). `triage` writes the decisions of maintainers about it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import (
    BigIntegerField,
    Case,
    Count,
    Exists,
    F,
    Min,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Coalesce, Greatest, Least
from django.db.models.lookups import GreaterThanOrEqual, LessThan

from events import process_memory
from events.counting import arrivals, expected, facets, releases
from events.counting.buckets import DAY_MS, HOUR_MS, OTHER, bucket_of
from events.counting.releases import Relation
from events.counting.rollups import Counted
from events.counting.upserts import (
    ROWS_A_STATEMENT,
    Upsert,
    added,
    earliest,
    latest,
    lower,
    placeholders,
    select_in,
    upsert,
)
from events.grouping.fingerprints import ALGORITHM, Fingerprint
from events.grouping.rules import Membership
from events.models import Event, Facet, FailureGroup, FormerGroup, GroupHour, GroupShare, GroupStatus

# Anyone can make up a message. After this many new groups of one type on a UTC day, new messages go to one overflow
# group of the type. A message that arrives for the third time still gets its own group, from a second capacity.
MAX_NEW_A_DAY = 200
MAX_REPEATED_A_DAY = 200
OVERFLOW_TITLE = "Everything else of a day with too many new failures"
_OVERFLOW = "overflow-"
_MAX_KNOWN = 50_000

_GROUPS = Upsert(
    FailureGroup._meta.db_table,
    (
        "fingerprint", "algorithm", "event_type", "error_name", "title", "frame", "canonical", "noise", "accepted",
        "model_count", "version_count", "first_seen_ms", "last_seen_ms", "status", "note",
    ),
    "fingerprint",
    f"{added('accepted')}, {earliest('first_seen_ms')}, {latest('last_seen_ms')}",
    "fingerprint, accepted, status, fixed_in, decided_at_ms, unfixed_at_ms, advice_text, advice_url",
)  # fmt: skip
_HOURS = Upsert(
    GroupHour._meta.db_table,
    ("fingerprint", "hour_ms", "accepted"),
    "fingerprint, hour_ms",
    added("accepted"),
)
_SHARES = Upsert(
    GroupShare._meta.db_table,
    ("fingerprint", "facet", "name", "day_ms", "accepted"),
    "fingerprint, facet, name, day_ms",
    added("accepted"),
    "fingerprint, facet, name, day_ms, accepted",
)
_MODEL, _VERSION, _MODE, _CONNECTED = (
    facet.value for facet in (Facet.MODEL, Facet.VERSION, Facet.MODE, Facet.CONNECTED)
)
# The facets whose names a group counts.
_COUNTED_FACETS = (_MODEL, _VERSION)
# The `day_ms` of shares whose day is unknown.
UNKNOWN_DAY = 0


# The columns with the decision about a group, and with its regression.
_TRIAGE = (
    "status", "fixed_in", "muted_until_ms", "decided_at_ms", "decided_by_name", "note", "regressed_at_ms",
    "regressed_by",
)  # fmt: skip
_TRIAGE_NULLABLE = tuple(column for column in _TRIAGE if column not in ("status", "note"))
_ADVICE = ("advice_text", "advice_url", "advised_at_ms", "advised_by_name")
_ASSIGNMENT = ("assigned_to_id", "assigned_at_ms", "assigned_by_name")

# A resolved group is still failing after this number of events from releases that are newer than the decision.
LEAST_DOUBTFUL = 3

# `uncounted_before_ms` of a group that becomes expected: the end of the hour of its last event.
ALL_UNCOUNTED = F("last_seen_ms") - F("last_seen_ms") % HOUR_MS + HOUR_MS


class Failure(Counted, Protocol):
    """The fields of an event that a group uses."""

    @property
    def id(self) -> str: ...
    @property
    def error_name(self) -> str | None: ...
    @property
    def source(self) -> str: ...


class Advice(NamedTuple):
    """The advice to users of the group with the key `group`."""

    group: str
    text: str
    url: str | None


class Growth(NamedTuple):
    """A group that failures joined: its number of failures before and after, and its status before."""

    group: str
    events: Sequence[Failure]
    before: int
    after: int
    status: str


class Regression(NamedTuple):
    """A resolved group that `event` reopened, and the time of the decision to resolve it."""

    group: str
    event: Failure
    decided_at_ms: int


class StillFailing(NamedTuple):
    """A group that stays resolved in `fixed_in`, a version that is no release, although newer releases still fail.

    `event` is the one that proves it, and `decided_at_ms` the time of the decision to resolve the group.
    """

    group: str
    event: Failure
    decided_at_ms: int
    fixed_in: str


class Joined(NamedTuple):
    """What happened to the groups that failures joined. `advice` is that of each group that has any, by key."""

    advice: dict[str, Advice]
    growth: list[Growth]
    regressions: list[Regression | StillFailing]


class Added(NamedTuple):
    """The groups of added failures, as far as the caller needs them.

    By event id: `overflowed` is the overflow group that the failure joined instead of its own group, `advice` that of
    its group. `growth` and `regressions` tell what happened to the groups.
    """

    overflowed: dict[str, Membership]
    advice: dict[str, Advice]
    growth: list[Growth]
    regressions: list[Regression | StillFailing]


class Share(NamedTuple):
    fingerprint: str
    facet: str
    name: str
    day_ms: int


class _Counts:
    """Failures of one group, with their counts by hour, and by share and UTC day."""

    def __init__(self, fingerprint: Fingerprint, events: list[Failure]) -> None:
        self.fingerprint = fingerprint
        self.events = events
        alike = Counter([
            (event.received_at_ms // HOUR_MS, event.model, event.app_version, event.write_mode, event.connected)
            for event in events
        ])  # fmt: skip
        self.hours: Counter[int] = Counter()
        self.shares: Counter[Share] = Counter()
        key, event_type = fingerprint.key, events[0].event_type
        for (hour, model, version, write_mode, connected), n in alike.items():
            bucket = bucket_of(hour * HOUR_MS, event_type, model, version)
            self.hours[bucket.hour_ms] += n
            day_ms = bucket.hour_ms - bucket.hour_ms % DAY_MS
            self.shares[Share(key, _MODEL, bucket.model, day_ms)] += n
            self.shares[Share(key, _VERSION, bucket.app_version, day_ms)] += n
            self.shares[Share(key, _MODE, str(write_mode), day_ms)] += n
            self.shares[Share(key, _CONNECTED, str(connected), day_ms)] += n
        self.shares += _facet_shares(key, events)

    def as_row(self) -> tuple[object, ...]:
        moments = [event.received_at_ms for event in self.events]
        event_type, fingerprint = self.events[0].event_type, self.fingerprint
        facets = Counter(facet for facet, _ in {(share.facet, share.name) for share in self.shares})
        return (
            fingerprint.key, ALGORITHM, event_type, fingerprint.error_name, fingerprint.title, fingerprint.frame,
            fingerprint.canonical, fingerprint.noise, len(self.events), facets[_MODEL], facets[_VERSION], min(moments),
            max(moments), GroupStatus.OPEN.value, "",
        )  # fmt: skip


def _facet_shares(key: str, events: Iterable[Failure]) -> Counter[Share]:
    shares: Counter[Share] = Counter()
    for bucket, n in facets.buckets_of(facets.names_of(events)).items():
        shares[Share(key, bucket.facet, bucket.name, bucket.day_ms)] += n
    return shares


def add(failures: Sequence[tuple[Failure, Fingerprint]], released: Mapping[str, int]) -> Added:
    """Add newly inserted failures to their groups, inside the caller's transaction.

    `released` is the result of `releases.note`: earlier failures of these versions can now be regressions. The caller
    must update the overflow groups in the events.
    """
    overflowed = overflowing(failures, arrivals.repeated)
    joining = [(event, overflowed.get(event.id, fingerprint)) for event, fingerprint in failures]
    regressions = _find_regressions(released, {fingerprint.key for _, fingerprint in joining}) if released else []
    joined = join(joining)
    given = joined.advice
    return Added(
        {event_id: Membership(fingerprint, None) for event_id, fingerprint in overflowed.items()},
        {event.id: given[fingerprint.key] for event, fingerprint in joining if fingerprint.key in given}
        if given
        else {},
        joined.growth,
        [*regressions, *joined.regressions],
    )


def overflowing(
    failures: Sequence[tuple[Failure, Fingerprint]], repeated: Callable[[Mapping[str, int]], Collection[str]]
) -> dict[str, Fingerprint]:
    """Return the failures that exceed the capacity for new groups of their day: by event id, their overflow group.

    `repeated` receives the number of failures of each key without room. It returns the keys that arrived often enough
    for the second capacity.
    """
    full = _without_room(failures, repeated)
    if not full:
        return {}
    return {
        event.id: overflow_of(event.event_type)
        for event, fingerprint in failures
        if (fingerprint.key, event.received_at_ms // DAY_MS) in full
    }


def join(failures: Sequence[tuple[Failure, Fingerprint]], *, reopening: bool = True) -> Joined:
    """Count failures in the groups with these fingerprints, inside the caller's transaction.

    Without `reopening`, the failures are no new occurrences: they cause no regressions, and no growth is returned.
    """
    fingerprints: dict[str, Fingerprint] = {}
    events: defaultdict[str, list[Failure]] = defaultdict(list)
    for event, fingerprint in failures:
        fingerprints[fingerprint.key] = fingerprint
        events[fingerprint.key].append(event)
    if not fingerprints:
        return Joined({}, [], [])
    joined = {key: _Counts(fingerprint, events[key]) for key, fingerprint in fingerprints.items()}
    rows = upsert(_GROUPS, [counts.as_row() for counts in joined.values()])
    known_before = {key for key, accepted, *_ in rows if accepted > len(joined[key].events)}
    upsert(_HOURS, [(key, hour_ms, n) for key, counts in joined.items() for hour_ms, n in counts.hours.items()])
    _add_shares(joined, known_before)
    if expecting := [key for key, _, status, *_ in rows if status == GroupStatus.EXPECTED]:
        count = expected.add if reopening else expected.add_stored
        count((event, key) for key in expecting for event in joined[key].events)
    growth: list[Growth] = []
    regressions: list[Regression | StillFailing] = []
    if reopening:
        for key, accepted, status, fixed_in, decided_at_ms, unfixed_at_ms, *_ in rows:
            events_of = joined[key].events
            growth.append(Growth(key, events_of, accepted - len(events_of), accepted, status))
            if status == GroupStatus.RESOLVED:
                resolved = _Resolved(key, fixed_in, decided_at_ms or 0, is_unfixed=unfixed_at_ms is not None)
                regressions += _compare(events_of, resolved)
    keys = list(joined)
    transaction.on_commit(lambda: _learn(keys))
    return Joined({key: Advice(key, text, url) for key, *_, text, url in rows if text}, growth, regressions)


def subtract(failures: Iterable[tuple[Failure, str]]) -> None:
    """Subtract events from the groups with these keys, inside the caller's transaction; deletes empty groups.

    The events must already be deleted or moved, because the remaining events decide `first_seen` and `last_seen`.
    """
    events: defaultdict[str, list[Failure]] = defaultdict(list)
    for event, key in failures:
        events[key].append(event)
    locked = lock(events)
    keys = [group.pk for group in locked]
    left = {key: _Counts(Fingerprint(key, "", ""), events[key]) for key in keys}
    lower(_GROUPS, [counts.as_row() for counts in left.values()])
    lower(_HOURS, [(key, hour_ms, n) for key, counts in left.items() for hour_ms, n in counts.hours.items()])
    counted = {share: n for counts in left.values() for share, n in counts.shares.items()}
    if counted:
        days = [share.day_ms for share in counted]
        on_their_days = Q(day_ms=UNKNOWN_DAY) | Q(day_ms__range=(min(days), max(days)))
        shares = GroupShare.objects.filter(on_their_days, fingerprint__in=keys).values_list(*_SHARES.columns)
        stored = {Share(*share): n for *share, n in shares}
        lower(_SHARES, [(*share, n) for share, n in _taken(counted, stored).items()])
    expecting = [group.pk for group in locked if group.status == GroupStatus.EXPECTED]
    expected.subtract((event, key) for key in expecting for event in events[key])
    _delete_empty(keys)
    settle(keys)
    for group in locked:
        if group.unfixed_at_ms is not None:
            _verify_unfixed(_resolved(group), events[group.pk])
    _known.clear()


def move_facets(key: str, old: Failure, new: Failure) -> None:
    """Count a failure of the group by its new metadata instead of the old, inside the caller's transaction.

    The caller has locked the total of its type.
    """
    stored = _shares_of(key, key)
    lower(_SHARES, [(*share, n) for share, n in _taken(_facet_shares(key, [old]), stored).items()])
    upsert(_SHARES, [(*share, n) for share, n in _facet_shares(key, [new]).items()])
    _delete_empty([key])


def inherit(key: str, donor: FailureGroup) -> None:
    """Copy the decision about `donor`, the group that lost the events, to the one that received them.

    A decision of the receiving group stays. `donor` was read when the caller's transaction locked it. If the decision
    is that the failures are expected, the caller runs `triage.count_expected` later.
    """
    FailureGroup.objects.filter(pk=key, decided_at_ms=None, note="").update(
        **{column: getattr(donor, column) for column in _TRIAGE},
        unfixed_at_ms=donor.unfixed_at_ms,
        uncounted_before_ms=ALL_UNCOUNTED if donor.status == GroupStatus.EXPECTED else None,
    )


def disinherit(key: str, row: Mapping[str, Any]) -> None:
    """Undo `inherit`, unless the decision was changed since. `row` contains the columns of the donor."""
    inherited = {column: row[column] for column in _TRIAGE}
    is_undone = FailureGroup.objects.filter(pk=key, **_equal(inherited)).update(
        status=GroupStatus.OPEN,
        note="",
        uncounted_before_ms=None,
        unfixed_at_ms=None,
        **dict.fromkeys(_TRIAGE_NULLABLE),
    )
    if is_undone and row["status"] == GroupStatus.EXPECTED:
        expected.forget([key])


def inherit_advice(key: str, donor: FailureGroup) -> None:
    """Copy the advice of `donor` to the group that received its events, unless that group has advice."""
    if donor.advice_text:
        FailureGroup.objects.filter(pk=key, advice_text="").update(
            **{column: getattr(donor, column) for column in _ADVICE}
        )


def disinherit_advice(key: str, row: Mapping[str, Any]) -> None:
    """Undo `inherit_advice`, unless the advice was changed since. `row` contains the columns of the donor."""
    if row.get("advice_text"):  # a row from before advice existed has no such columns
        inherited = {column: row[column] for column in _ADVICE}
        FailureGroup.objects.filter(pk=key, **_equal(inherited)).update(
            advice_text="", advice_url=None, advised_at_ms=None, advised_by_name=None
        )


def inherit_assignment(key: str, donor: FailureGroup) -> None:
    """Assign the group that received the events of `donor` to the same account, unless it is assigned to one."""
    if donor.assigned_to_id is not None:
        FailureGroup.objects.filter(pk=key, assigned_to=None).update(
            **{column: getattr(donor, column) for column in _ASSIGNMENT}
        )


def disinherit_assignment(key: str, row: Mapping[str, Any]) -> None:
    """Undo `inherit_assignment`, unless the assignment was changed since. `row` contains the columns of the donor."""
    if row.get("assigned_to_id") is not None:  # a row from before assignments has no such columns
        inherited = {column: row[column] for column in _ASSIGNMENT}
        FailureGroup.objects.filter(pk=key, **_equal(inherited)).update(**dict.fromkeys(_ASSIGNMENT))


def inherit_issue(key: str, donor: FailureGroup) -> None:
    """Copy the issue of `donor` to the group that received its events, unless that group has an issue."""
    if donor.issue_url is not None:
        FailureGroup.objects.filter(pk=key, issue_url=None).update(issue_url=donor.issue_url)


def disinherit_issue(key: str, row: Mapping[str, Any]) -> None:
    """Undo `inherit_issue`, unless the issue was changed since. `row` contains the columns of the donor."""
    FailureGroup.objects.filter(pk=key, issue_url=row["issue_url"]).update(issue_url=None)


def _equal(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{column}__isnull" if value is None else column: value is None or value for column, value in values.items()
    }


def row_of(group: FailureGroup) -> dict[str, Any]:
    """Return the columns of a group, as `restore` needs them."""
    return {field.attname: getattr(group, field.attname) for field in FailureGroup._meta.concrete_fields}


def rows_of(keys: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the columns of the existing groups with these keys."""
    return {key: row_of(group) for key, group in FailureGroup.objects.in_bulk(list(keys)).items()}


# --- merges ------------------------------------------------------------------------------------------------------


def dissolve(key: str, whole: str) -> None:
    """Delete a group after its events joined the group `whole`, in the caller's transaction.

    The hours and shares of its events that are no longer stored stay, and are added to those of `whole`. If both groups
    are expected, the expected counts of these events stay too; otherwise they are failures again.
    """
    if not FailureGroup.objects.filter(pk=whole, status=GroupStatus.EXPECTED).exists():
        expected.forget([key])
    hours = GroupHour.objects.filter(fingerprint=key).values_list("hour_ms", "accepted")
    upsert(_HOURS, [(whole, hour_ms, n) for hour_ms, n in hours])
    upsert(_SHARES, [(*share, n) for share, n in _shares_of(key, whole).items()])
    for rest in FailureGroup.objects.filter(pk=key):
        FailureGroup.objects.filter(pk=whole).update(
            accepted=F("accepted") + rest.accepted,
            first_seen_ms=Least(F("first_seen_ms"), rest.first_seen_ms),
            last_seen_ms=Greatest(F("last_seen_ms"), rest.last_seen_ms),
        )
        rest.delete()
    settle([whole])
    _known.clear()


def restore(row: Mapping[str, Any], whole: str) -> None:
    """Undo `dissolve`: create the group with these columns again; the stored events are still in `whole`."""
    key = row["fingerprint"]
    hours = dict(GroupHour.objects.filter(fingerprint=key).values_list("hour_ms", "accepted"))
    rest = sum(hours.values())
    counts = {"accepted": rest, "model_count": 0, "version_count": 0, "uncounted_before_ms": None}
    FailureGroup.objects.create(**{**row, **counts, **_outdated(row)})
    if row["status"] != GroupStatus.EXPECTED:
        expected.forget([key])
    if not rest:
        return
    lower(_HOURS, [(whole, hour_ms, n) for hour_ms, n in hours.items()])
    taken = _taken(_shares_of(key, whole), _shares_of(whole, whole))
    lower(_SHARES, [(*share, n) for share, n in taken.items()])
    FailureGroup.objects.filter(pk=whole).update(accepted=F("accepted") - rest)
    _delete_empty([whole])
    settle([whole, key])


def _outdated(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what changed since the columns of a group were kept: a deleted account, and a released version."""
    changed: dict[str, Any] = {}
    user_id, fixed_in = row.get("assigned_to_id"), row["fixed_in"]
    if user_id is not None and not User.objects.filter(pk=user_id).exists():
        changed["assigned_to_id"] = None
    if row.get("unfixed_at_ms") is not None and fixed_in is not None and releases.was_seen(fixed_in):
        changed["unfixed_at_ms"] = None
    return changed


def set_aside(failures: Iterable[tuple[Failure, str]]) -> None:
    """Count merged failures, which are deleted in this transaction, for these former groups. A split needs the counts.

    The group that they are in counts them already.
    """
    events: defaultdict[str, list[Failure]] = defaultdict(list)
    for event, key in failures:
        events[key].append(event)
    parts = {key: _Counts(Fingerprint(key, "", ""), events[key]) for key in events}
    upsert(_HOURS, [(key, hour_ms, n) for key, counts in parts.items() for hour_ms, n in counts.hours.items()])
    upsert(_SHARES, [(*share, n) for counts in parts.values() for share, n in counts.shares.items()])


def drop_counts(key: str) -> None:
    """Delete what `set_aside` counted for a former group. The group that it was merged into counts it too.

    Expected counts are in one of the two groups only, so they move.
    """
    expected.rename(key, FormerGroup.objects.successor(key))
    for model in (GroupHour, GroupShare):
        model.objects.filter(fingerprint=key).delete()


def describe(fingerprints: Iterable[Fingerprint]) -> None:
    """Correct the descriptions of groups that were created for failures with another fingerprint."""
    for fingerprint in fingerprints:
        FailureGroup.objects.filter(pk=fingerprint.key).update(**description_of(fingerprint))


def description_of(fingerprint: Fingerprint) -> dict[str, Any]:
    """Return the columns of a group that its fingerprint describes."""
    columns = fingerprint._asdict()
    del columns["key"]
    return columns


def _shares_of(key: str, owner: str) -> dict[Share, int]:
    """Return the shares of one group as those of `owner`."""
    rows = GroupShare.objects.filter(fingerprint=key).values_list("facet", "name", "day_ms", "accepted")
    return {Share(owner, facet, name, day_ms): n for facet, name, day_ms, n in rows}


def _taken(counts: Mapping[Share, int], stored: Mapping[Share, int]) -> Counter[Share]:
    """Return what to subtract from the stored shares for these counts.

    On a day with too many names, a share can be under its own name or under OTHER. Its day can be unknown.
    """
    taken: Counter[Share] = Counter()
    for share, n in counts.items():
        for place in _places(share):
            part = min(n, stored.get(place, 0) - taken[place])
            taken[place] += part
            n -= part
    return +taken


def _places(share: Share) -> list[Share]:
    """Return the rows that may have counted a failure, the likeliest first."""
    unnamed = share._replace(name=OTHER)
    return [share, unnamed, share._replace(day_ms=UNKNOWN_DAY), unnamed._replace(day_ms=UNKNOWN_DAY)]


def keys_with_days_before(before_ms: int) -> tuple[list[str], list[str]]:
    """Return the keys with shares of days before a time: of groups, and of former groups. Reads a whole index."""
    old = GroupShare.objects.filter(day_ms__gt=UNKNOWN_DAY, day_ms__lt=before_ms).order_by()
    keys = sorted(old.values_list("fingerprint", flat=True).distinct())
    living = existing(keys)
    return [key for key in keys if key in living], [key for key in keys if key not in living]


def forget_days(keys: Sequence[str], before_ms: int) -> None:
    """Add the shares of days before a time to those of unknown days, in the caller's transaction.

    The caller has locked the totals of every type. It passes former groups last and all at once: a split takes the
    shares of a former group from the unknown days of its group, if it does not find them on their days.
    """
    old = GroupShare.objects.filter(fingerprint__in=keys, day_ms__gt=UNKNOWN_DAY, day_ms__lt=before_ms).order_by()
    sums = old.values_list("fingerprint", "facet", "name").annotate(Sum("accepted"))
    upsert(_SHARES, [(*name, UNKNOWN_DAY, n) for *name, n in sums])
    old.delete()


def _delete_empty(keys: Sequence[str]) -> None:
    for model in (GroupHour, GroupShare, FailureGroup):
        model.objects.filter(fingerprint__in=keys, accepted=0).delete()


def renew(limit: int) -> int:
    """Mark up to `limit` groups of an older algorithm as groups of the current one; return their number."""
    with transaction.atomic():
        old = FailureGroup.objects.exclude(algorithm=ALGORITHM).values_list("pk", flat=True)
        locked = lock(old[:limit])
        FailureGroup.objects.filter(pk__in=[group.pk for group in locked]).update(algorithm=ALGORITHM)
    return len(locked)


def lock(keys: Iterable[str]) -> list[FailureGroup]:
    """Lock the groups with these keys in the common lock order; return the existing ones."""
    return list(FailureGroup.objects.select_for_update().filter(pk__in=list(keys)).order_by("pk"))


def is_overflow(key: str) -> bool:
    return key.startswith(_OVERFLOW)


def overflow_of(event_type: str) -> Fingerprint:
    return Fingerprint(_OVERFLOW + event_type, OVERFLOW_TITLE, "")


# --- new groups ------------------------------------------------------------------------------------------------

# A cache of the keys of existing groups, so that most failures need no query.
_known: set[str] = set()
process_memory.register(_known.clear)


def _without_room(
    failures: Sequence[tuple[Failure, Fingerprint]], repeated: Callable[[Mapping[str, int]], Collection[str]]
) -> set[tuple[str, int]]:
    """Return the keys, each with its UTC day, that have no group and exceed the day's capacity for new groups.

    Processes check the capacity without a lock, so a day can exceed it by a few groups.
    """
    unknown = {fingerprint.key for _, fingerprint in failures} - _known
    if unknown:
        unknown -= existing(list(unknown))
    full: set[tuple[str, int]] = set()
    room: dict[tuple[int, str], int] = {}
    for event, fingerprint in failures if unknown else ():
        day = event.received_at_ms // DAY_MS
        if fingerprint.key not in unknown or (fingerprint.key, day) in full:
            continue
        born = (day, event.event_type)
        if born not in room:
            room[born] = room_on(*born)
        if room[born] > 0:
            room[born] -= 1
            unknown.remove(fingerprint.key)
        else:
            full.add((fingerprint.key, day))
    if full:
        # A key contains its type, so each key of a day belongs to one capacity.
        days = [(fingerprint.key, event.received_at_ms // DAY_MS) for event, fingerprint in failures]
        born_of = {key_and_day: event.event_type for key_and_day, (event, _) in zip(days, failures, strict=True)}
        counts = Counter(key for key, day in days if (key, day) in full)
        again = repeated(counts)
        for key, day in sorted(full):
            born = (day, born_of[key, day])
            if key in again and room[born] + MAX_REPEATED_A_DAY > 0:
                room[born] -= 1
                full.remove((key, day))
    return full


# These two queries run for every new message. The ORM would need ten times as long to build them as the database needs
# to answer.


def existing(keys: list[str]) -> set[str]:
    query = f"SELECT fingerprint FROM {FailureGroup._meta.db_table} WHERE fingerprint"  # noqa: S608 (our own names)
    return {key for (key,) in select_in(query, keys)}


def room_on(day: int, event_type: str) -> int:
    """Return how many new groups of a type a UTC day can still have, without the second capacity."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT COUNT(*) FROM {FailureGroup._meta.db_table}"  # noqa: S608 (our own names)
            " WHERE first_seen_ms >= %s AND first_seen_ms < %s AND event_type = %s AND fingerprint <> %s"
            " AND algorithm = %s",  # groups of an older algorithm will be replaced
            [day * DAY_MS, (day + 1) * DAY_MS, event_type, overflow_of(event_type).key, ALGORITHM],
        )
        return MAX_NEW_A_DAY - int(cursor.fetchone()[0])


def _learn(joined: Iterable[str]) -> None:
    if len(_known) > _MAX_KNOWN:
        _known.clear()
    _known.update(joined)


# --- counting ----------------------------------------------------------------------------------------------------


def _add_shares(joined: Mapping[str, _Counts], known_before: set[str]) -> None:
    added = {share: n for counts in joined.values() for share, n in counts.shares.items()}
    # The number of days that were just added for a name, None if the group has counted the name before.
    new_days: dict[tuple[str, str, str], int | None] = {}
    for *share, n in upsert(_SHARES, [(*share, n) for share, n in added.items()]):
        key, facet, name, _ = place = Share(*share)
        # New groups have counted their names already.
        if key in known_before and facet in _COUNTED_FACETS:
            # The row is new if its count equals what was just added.
            days = new_days.get((key, facet, name), 0)
            new_days[key, facet, name] = None if days is None or n != added[place] else days + 1
    new: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for key, facet in _without_other_days({name: days for name, days in new_days.items() if days is not None}):
        new[key][facet] += 1
    for key, names in sorted(new.items()):
        FailureGroup.objects.filter(pk=key).update(
            model_count=F("model_count") + names[_MODEL], version_count=F("version_count") + names[_VERSION]
        )


def _without_other_days(new_days: Mapping[tuple[str, str, str], int]) -> list[tuple[str, str]]:
    """Return the group and facet of each of these names that has only its new days: of names new to the group."""
    names = sorted(new_days)
    found: list[tuple[str, str]] = []
    for start in range(0, len(names), ROWS_A_STATEMENT):
        chunk = names[start : start + ROWS_A_STATEMENT]
        with connection.cursor() as cursor:
            cursor.execute(_days_of(len(chunk)), [value for name in chunk for value in name])
            found += [
                (key, facet) for key, facet, name, days in cursor.fetchall() if days == new_days[key, facet, name]
            ]
    return found


@lru_cache(256)
def _days_of(count: int) -> str:
    # Both engines call the columns of VALUES so. A subquery in SELECT makes both seek the index once for each row.
    table = GroupShare._meta.db_table
    return (
        "SELECT column1, column2, column3,"  # noqa: S608 (our own names)
        f" (SELECT COUNT(*) FROM {table} WHERE fingerprint = column1 AND facet = column2 AND name = column3)"
        f" FROM (VALUES {placeholders(count, 3)}) AS new_names"
    )


def settle(keys: Iterable[str]) -> None:
    """Recompute the first and last time, and the number of models and versions, of groups that lost events.

    If hours still count events that are no longer stored, these hours bound the old times.
    """
    stored = Event.objects.filter(fingerprint=OuterRef("pk"))
    hours = GroupHour.objects.filter(fingerprint=OuterRef("pk"))

    def moment(rows: QuerySet[Any], order: str) -> Subquery:
        return Subquery(rows.order_by(order).values(order.lstrip("-"))[:1], output_field=BigIntegerField())

    def count(facet: str) -> Subquery:
        shares = GroupShare.objects.filter(fingerprint=OuterRef("pk"), facet=facet).values("facet")
        names = shares.annotate(count=Count("name", distinct=True)).values("count")
        return Subquery(names, output_field=BigIntegerField())

    oldest, newest = moment(stored, "received_at_ms"), moment(stored, "-received_at_ms")
    first_hour, last_hour = moment(hours, "hour_ms"), moment(hours, "-hour_ms")
    FailureGroup.objects.filter(pk__in=keys).update(
        first_seen_ms=Case(
            When(LessThan(oldest, first_hour + HOUR_MS), then=oldest),
            default=Greatest(F("first_seen_ms"), first_hour),
        ),
        last_seen_ms=Case(
            When(GreaterThanOrEqual(newest, last_hour), then=newest),
            default=Least(F("last_seen_ms"), last_hour + HOUR_MS - 1),
        ),
        model_count=Coalesce(count(_MODEL), Value(0)),
        version_count=Coalesce(count(_VERSION), Value(0)),
    )


# --- resolved groups ---------------------------------------------------------------------------------------------


class _Resolved(NamedTuple):
    """What the decision about a resolved group says. `is_unfixed`: it is known to be still failing."""

    key: str
    fixed_in: str | None
    decided_at_ms: int
    is_unfixed: bool


def _resolved(group: FailureGroup) -> _Resolved:
    return _Resolved(group.pk, group.fixed_in, group.decided_at_ms or 0, is_unfixed=group.unfixed_at_ms is not None)


def _find_regressions(released: Mapping[str, int], joining: set[str]) -> list[Regression | StillFailing]:
    """Compare resolved groups with failures that arrived before their version became a release.

    `released` contains, by version, the start of the time range of such failures. The caller has locked the totals of
    all types. These groups and the `joining` ones are locked in one order, which is also the order of `triage`.
    """
    # From now on, the order of releases tells which failures are regressions.
    FailureGroup.objects.filter(fixed_in__in=released, unfixed_at_ms__isnull=False).update(unfixed_at_ms=None)
    # On a day with too many names, a version can be counted under OTHER.
    shares = GroupShare.objects.filter(fingerprint=OuterRef("pk"), facet=_VERSION, name__in=[*released, OTHER])
    concerned = set(
        FailureGroup.objects.filter(Exists(shares), status=GroupStatus.RESOLVED).values_list("pk", flat=True)
    )
    if not concerned:
        return []
    found: list[Regression | StillFailing] = []
    for group in lock(concerned | joining):
        if group.pk in concerned and group.status == GroupStatus.RESOLVED:
            since_ms = max(group.decided_at_ms or 0, min(released.values()))
            events = Event.objects.of_group(group.pk).filter(app_version__in=released, received_at_ms__gte=since_ms)
            firsts = events.order_by().values_list("app_version").annotate(Min("received_at_ms"))
            earliest = [
                events.filter(app_version=version, received_at_ms=first_ms).order_by("id")[0]
                for version, first_ms in firsts
            ]
            found += _compare(earliest, _resolved(group))
    return found


def _compare(events: Sequence[Failure], group: _Resolved) -> list[Regression | StillFailing]:
    """Compare the versions of these events of a resolved group with the version that should contain the fix.

    One event with the fix reopens the group. If the version with the fix is no release, it may be misspelt. Then
    LEAST_DOUBTFUL events from releases that are newer than the decision mark the group as still failing. Returns what
    happened: nothing, or one of the two.

    Events received before the decision do not count, even if they are stored after it.
    """
    resolved = FailureGroup.objects.filter(pk=group.key, status=GroupStatus.RESOLVED)
    relations: dict[str, Relation] = {}
    doubtful: list[Failure] = []
    for event in sorted(events, key=lambda event: (event.received_at_ms, event.id)):
        if event.received_at_ms < group.decided_at_ms:
            continue
        version = event.app_version
        if version not in relations:
            relations[version] = releases.relation(version, group.fixed_in, group.decided_at_ms)
        if relations[version] == Relation.FIXED:
            is_reopened = resolved.update(
                status=GroupStatus.OPEN,
                regressed_at_ms=event.received_at_ms,
                regressed_by=event.id,
                unfixed_at_ms=None,
            )
            return [Regression(group.key, event, group.decided_at_ms)] if is_reopened else []
        if relations[version] == Relation.DOUBTFUL:
            doubtful.append(event)
    if not doubtful or group.is_unfixed or group.fixed_in is None:
        return []
    third = _third_doubtful(group, doubtful)
    if third is None or not resolved.update(unfixed_at_ms=third.received_at_ms):
        return []
    return [StillFailing(group.key, third, group.decided_at_ms, group.fixed_in)]


def _verify_unfixed(group: _Resolved, lost: Iterable[Failure]) -> None:
    """Unmark a group as still failing if it has too few doubtful events without these, which it lost."""
    if any(event.received_at_ms >= group.decided_at_ms for event in lost) and not _third_doubtful(group, []):
        FailureGroup.objects.filter(pk=group.key).update(unfixed_at_ms=None)


def _third_doubtful(group: _Resolved, events: Sequence[Failure]) -> Failure | None:
    """Return the event that proves that a resolved group is still failing: the third doubtful one, stored or given.

    The query reads the index from the decision on. At most the first two doubtful events let it read all of it.
    """
    first = events[:LEAST_DOUBTFUL]
    stored = Event.objects.of_group(group.key).filter(
        received_at_ms__gte=group.decided_at_ms, app_version__in=releases.since(group.decided_at_ms)
    )
    others = stored.exclude(pk__in=[event.id for event in first]).order_by("received_at_ms", "id")[:LEAST_DOUBTFUL]
    found = sorted([*others, *first], key=lambda event: (event.received_at_ms, event.id))
    return found[LEAST_DOUBTFUL - 1] if len(found) >= LEAST_DOUBTFUL else None
