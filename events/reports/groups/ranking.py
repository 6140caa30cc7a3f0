"""Lists of failure groups: filters, sorting by any column, keyset pagination, and the figures of each row."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Self

from django.db.models import (
    BigIntegerField,
    Case,
    Exists,
    Expression,
    F,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Coalesce
from django.utils.crypto import constant_time_compare, salted_hmac

from events import keyset, process_memory
from events.counting.buckets import DAY_MS, FACET_PREFIX, HOUR_MS
from events.keyset import Cursor
from events.models import Event, Facet, FailureGroup, GroupHour, GroupShare, GroupStatus, Noise
from events.querysets import FailureGroupQuerySet

# The sort columns. Each has an index, except `day`: the last 24 hours are a sum over GroupHour.
COLUMNS = {
    "title": "title",
    "type": "event_type",
    "count": "accepted",
    "day": "last_day",
    "first": "first_seen_ms",
    "last": "last_seen_ms",
    "versions": "version_count",
    "models": "model_count",
    "status": "status",
}
TEXT_COLUMNS = ("title", "type", "status")
# The names of the annotations that `seen_until` adds for these columns.
MOMENTS = {"first_seen_ms": "first_ms", "last_seen_ms": "last_ms", "regressed_at_ms": "regressed_ms"}
# The filter value for groups that are assigned to no account. No account has this name.
NOBODY = "(nobody)"
LINE_DAYS = 30
NAMES_SHOWN = 3


class GroupCursor(NamedTuple):
    """A position in a list of groups: the two sort values of a group, and the time when the first page was read.

    `signature` binds them to the filters and the order of the list: see `Ranking.sign`.
    """

    now_ms: int
    signature: str
    value: str
    key: str

    def __str__(self) -> str:
        return f"{self.now_ms}.{self.signature}.{self.value}.{self.key}"

    @classmethod
    def parse(cls, raw: str) -> Self:
        """Parse the output of `str()`. Raises ValueError."""
        match = re.fullmatch(r"(?s)([0-9]{13})\.([0-9a-f]{16})\.(.*)\.([^.]+)", raw, re.ASCII)
        if match is None:
            raise ValueError("not a cursor")
        now_ms, *rest = match.groups()
        return cls(int(now_ms), *rest)


@dataclass(frozen=True)
class Ranking:
    """Filters and order of failure groups; None means any. `status` may also be `regression`, a kind of open group.

    `sort` is one of COLUMNS, with a minus sign for descending order. `now_ms` decides which groups are still muted, and
    where the last 24 hours and `new_within_ms` start. `facets` are pairs of a key of the metadata and its value.
    `assigned_to` is the name of an account, or NOBODY. The status `mine` means the groups of the account `viewer_id`
    that need work.

    `without` are pairs of the name of a filter and a value that no group has; a facet's name begins with FACET_PREFIX.
    A group contains all `texts`. It failed in the last `failed_within_ms` and in [failed_from_ms, failed_before_ms),
    by the hour.
    """

    now_ms: int
    status: str | None = None
    viewer_id: int | None = None
    assigned_to: str | None = None
    event_type: str | None = None
    model: str | None = None
    app_version: str | None = None
    write_mode: str | None = None
    connected: str | None = None
    fixed_in: str | None = None
    facets: tuple[tuple[str, str], ...] = ()
    texts: tuple[str, ...] = ()
    without: tuple[tuple[str, str], ...] = ()
    failed_within_ms: int | None = None
    failed_from_ms: int | None = None
    failed_before_ms: int | None = None
    new_within_ms: int | None = None
    is_noise: bool | None = None
    sort: str = "-last"

    def select(self) -> QuerySet[FailureGroup]:
        """Return the matching groups in order."""
        groups: FailureGroupQuerySet[Any] = seen_until(self.now_ms).filter(self._of_status(self.status))
        values = {
            "type": self.event_type,
            "model": self.model,
            "version": self.app_version,
            "mode": self.write_mode,
            "connected": self.connected,
            "fixed": self.fixed_in,
            "assigned": self.assigned_to,
            **{FACET_PREFIX + key: value for key, value in self.facets},
        }
        for name, value in values.items():
            if value is not None:
                groups = groups.filter(self._has(name, value))
        for name, value in self.without:
            groups = groups.exclude(self._has(name, value))
        if self.is_noise is not None:
            groups = groups.exclude(noise=Noise.NONE) if self.is_noise else groups.filter(noise=Noise.NONE)
        if self.new_within_ms is not None:
            groups = groups.filter(first_seen_ms__gte=self.now_ms - self.new_within_ms)
        for text in self.texts:
            groups = groups.mentioning(text)
        if any(bound is not None for bound in (self.failed_within_ms, self.failed_from_ms, self.failed_before_ms)):
            groups = groups.filter(Exists(self._hours()))
        if self._column == "last_day":
            groups = groups.annotate(last_day=_last_day(self.now_ms))
        sign = "-" if self.sort.startswith("-") else ""
        return groups.order_by(f"{sign}{self._column}", f"{sign}fingerprint")

    def _has(self, name: str, value: str) -> Q | Exists:
        """Return the condition that a group has this value of a filter."""
        match name:
            case "status":
                return self._of_status(value)
            case "type":
                return Q(event_type=value)
            case "fixed":
                return Q(fixed_in=value)
            case "assigned":
                return Q(assigned_to=None) if value == NOBODY else Q(assigned_to__username=value)
        # Seeks the index once for each group: it has many more shares, and no index by name.
        return Exists(GroupShare.objects.filter(fingerprint=OuterRef("pk"), facet=name, name=value))

    def _hours(self) -> QuerySet[GroupHour]:
        """Return the hours with failures of a group in the chosen span, which begins with a whole hour."""
        hours = GroupHour.objects.filter(fingerprint=OuterRef("pk"), accepted__gt=0)
        starts = [self.failed_from_ms or 0, self.now_ms - self.failed_within_ms if self.failed_within_ms else 0]
        start_ms = max(starts)
        hours = hours.filter(hour_ms__gte=start_ms - start_ms % HOUR_MS)
        return hours if self.failed_before_ms is None else hours.filter(hour_ms__lt=self.failed_before_ms)

    def _of_status(self, status: str | None) -> Q:
        if status != "mine":
            return is_status(status, self.now_ms)
        needs_work = is_status("open", self.now_ms) | is_status("still_failing", self.now_ms)
        return needs_work & Q(assigned_to__isnull=False, assigned_to=self.viewer_id)

    def sign(self, position: Cursor) -> GroupCursor:
        """Return the cursor of a position in this list. Only an equal ranking accepts it."""
        value, key = str(position.value), str(position.key)
        text = repr((astuple(self), value, key))
        return GroupCursor(self.now_ms, salted_hmac("events.groups-cursor", text).hexdigest()[:16], value, key)

    def position(self, cursor: GroupCursor) -> Cursor:
        """Return the position of a cursor. Raises ValueError if it belongs to another list, or was changed."""
        position = Cursor(cursor.value, cursor.key)
        if not constant_time_compare(str(self.sign(position)), str(cursor)):
            raise ValueError("not a cursor of this list")
        return position if self.sort.lstrip("-") in TEXT_COLUMNS else position._replace(value=int(cursor.value))

    @cached_property
    def _column(self) -> str:
        """Return the column to sort by: the indexed one, unless some of its times are in the future."""
        column = COLUMNS[self.sort.lstrip("-")]
        if column in MOMENTS and FailureGroup.objects.filter(**{f"{column}__gt": self.now_ms}).exists():
            return MOMENTS[column]
        return column


class RankedGroup(NamedTuple):
    """A row of the list: a group, its failures in the last 24 hours and per day, and its most common names.

    `is_unfixed`: it is resolved, but still failing. `names` are the most common values of the other facets that the
    page asked for, by facet.
    """

    group: FailureGroup
    status: str
    is_unfixed: bool
    last_day: int
    days: list[int]
    models: list[str]
    versions: list[str]
    names: Mapping[str, list[str]]


class GroupPage(NamedTuple):
    rows: list[RankedGroup]
    next: GroupCursor | None


def page(
    ranking: Ranking,
    *,
    limit: int,
    after: GroupCursor | None = None,
    facets: Collection[str] = (),
) -> GroupPage:
    """Return up to `limit` groups after a cursor. Raises ValueError for a cursor of another list.

    The rows have the names of these facets.

    A further page has the filters and the order as of the time of the first page. So a group without new events keeps
    its place while others fail and time passes.
    """
    position = None
    if after is not None:
        ranking = replace(ranking, now_ms=after.now_ms)
        position = ranking.position(after)
    groups, following = keyset.page(ranking.select().select_related("assigned_to"), limit, position)
    return GroupPage(list(_rows(groups, ranking.now_ms, facets)), following and ranking.sign(following))


def of_key(key: str, now_ms: int) -> RankedGroup | None:
    """Return the group with this key as a row of the list. None if there is none."""
    groups = seen_until(now_ms).select_related("assigned_to").filter(pk=key)
    return next(_rows(list(groups), now_ms), None)


class Neighbours(NamedTuple):
    """Expressions for a query: the keys of the groups before and after a group, NULL if there is none."""

    before: Subquery
    after: Subquery


def neighbours(ranking: Ranking, group: FailureGroup, last_day: int) -> Neighbours:
    """Return the neighbours of a group in the list, even when the filters exclude it.

    The group is annotated by `seen_until`; it has `last_day` failures in the last 24 hours.
    """
    groups = ranking.select()
    group.last_day = last_day  # the column of that order
    cursor = keyset.cursor_of(groups, group)
    before, after = (side(groups, cursor).values("pk")[:1] for side in (keyset.before, keyset.after))
    return Neighbours(Subquery(before), Subquery(after))


def chunks(ranking: Ranking, *, size: int, limit: int | None = None) -> Iterator[list[tuple[Any, ...]]]:
    """Yield every group of the list, or the first `limit`, as a tuple of EXPORTED, in chunks of `size`."""
    # Read all keys first: a group that fails during the export would move to another position.
    keys = list(ranking.select().values_list("pk", flat=True)[:limit])
    for start in range(0, len(keys), size):
        chunk = keys[start : start + size]
        seen: Any = seen_until(ranking.now_ms).select_related("assigned_to")
        groups = seen.annotate(last_day=_last_day(ranking.now_ms)).in_bulk(chunk)
        yield [_exported(groups[key], ranking.now_ms) for key in chunk if key in groups]


EXPORTED = (
    "fingerprint", "first_seen", "last_seen", "event_type", "error_name", "title", "frame", "events", "last_24_hours",
    "models", "versions", "status", "fixed_in", "still_failing", "assigned_to", "note", "issue_url",
)  # fmt: skip


def _exported(group: FailureGroup, now_ms: int) -> tuple[Any, ...]:
    return (
        group.fingerprint, group.first_ms, group.last_ms, group.event_type, group.error_name, group.title,
        group.frame, group.accepted, group.last_day, group.model_count, group.version_count,
        status_of(group, now_ms), group.fixed_in, int(is_unfixed(group)),
        group.assigned_to and group.assigned_to.get_username(), group.note, group.issue_url,
    )  # fmt: skip


def seen_until(now_ms: int) -> FailureGroupQuerySet[FailureGroup]:
    """Return every group, annotated with the times first seen, last seen and reopened, none of them after `now_ms`.

    A stored time can be in the future after a wrong clock or an import. The last time is then that of the newest stored
    event up to `now_ms`, else of the newest hour with failures, else `now_ms`. The other times become `now_ms`.
    """
    events = Event.objects.filter(fingerprint=OuterRef("pk"), received_at_ms__lte=now_ms)
    hours = GroupHour.objects.filter(fingerprint=OuterRef("pk"), hour_ms__lte=now_ms).order_by("-hour_ms")
    now = Value(now_ms, output_field=BigIntegerField())
    newest = Coalesce(
        Subquery(events.order_by("-received_at_ms").values("received_at_ms")[:1]),
        Subquery(hours.values("hour_ms")[:1]),
        now,
    )
    replacements: dict[str, Expression] = {"first_seen_ms": now, "last_seen_ms": newest, "regressed_at_ms": now}
    return FailureGroup.objects.annotate(
        **{
            MOMENTS[column]: Case(When(**{f"{column}__gt": now_ms}, then=moment), default=F(column))
            for column, moment in replacements.items()
        }
    )


def status_of(group: FailureGroup, now_ms: int) -> str:
    """Return the current status: GroupStatus or `regression`. An expired mute counts as open."""
    if group.status == GroupStatus.MUTED and (group.muted_until_ms or now_ms + 1) <= now_ms:
        return GroupStatus.OPEN.value
    if group.status == GroupStatus.OPEN and group.regressed_at_ms is not None:
        return "regression"
    return group.status


def is_unfixed(group: FailureGroup) -> bool:
    """Return whether a group is resolved, but still failing in releases that are newer than the decision."""
    return group.status == GroupStatus.RESOLVED and group.unfixed_at_ms is not None


def has_unfixed() -> bool:
    """Return whether there is a resolved group that is still failing."""
    return FailureGroup.objects.filter(status=GroupStatus.RESOLVED, unfixed_at_ms__isnull=False).exists()


def last_day_from_ms(now_ms: int) -> int:
    """Return the start of the last 24 hours, which include the current, incomplete hour."""
    return now_ms - now_ms % HOUR_MS - 23 * HOUR_MS


def is_status(status: str | None, now_ms: int) -> Q:
    """Return the condition that a group has this status at `now_ms`. None means any."""
    muted = Q(status=GroupStatus.MUTED) & (Q(muted_until_ms__isnull=True) | Q(muted_until_ms__gt=now_ms))
    open_ = Q(status=GroupStatus.OPEN) | Q(status=GroupStatus.MUTED, muted_until_ms__lte=now_ms)
    return {
        None: Q(),
        "open": open_,
        "regression": Q(status=GroupStatus.OPEN, regressed_at_ms__isnull=False),
        "resolved": Q(status=GroupStatus.RESOLVED),
        "still_failing": Q(status=GroupStatus.RESOLVED, unfixed_at_ms__isnull=False),
        "muted": muted,
        "expected": Q(status=GroupStatus.EXPECTED),
    }[status]


def failures_between(start_ms: int, end_ms: int) -> Coalesce:
    """Return an expression for a query of groups: the failures of each in the hours of [start_ms, end_ms)."""
    hours = GroupHour.objects.filter(fingerprint=OuterRef("pk"), hour_ms__gte=start_ms, hour_ms__lt=end_ms)
    total = hours.values("fingerprint").annotate(total=Sum("accepted")).values("total")
    return Coalesce(Subquery(total), Value(0), output_field=BigIntegerField())


def _last_day(now_ms: int) -> Coalesce:
    from_ms = last_day_from_ms(now_ms)
    return failures_between(from_ms, from_ms + DAY_MS)


def _rows(groups: Sequence[FailureGroup], now_ms: int, facets: Collection[str] = ()) -> Iterator[RankedGroup]:
    keys = [group.fingerprint for group in groups]
    today_ms, day_from_ms = now_ms - now_ms % DAY_MS, last_day_from_ms(now_ms)
    today, since_today, last_day = Counter[str](), Counter[str](), Counter[str]()
    hours = GroupHour.objects.filter(fingerprint__in=keys, hour_ms__gte=min(today_ms, day_from_ms))
    for key, hour_ms, n in hours.values_list("fingerprint", "hour_ms", "accepted"):
        # Hours after today come from a wrong clock or an import.
        today[key] += n if today_ms <= hour_ms < today_ms + DAY_MS else 0
        since_today[key] += n if today_ms <= hour_ms else 0
        last_day[key] += n if day_from_ms <= hour_ms < day_from_ms + DAY_MS else 0
    named = frozenset((Facet.MODEL.value, Facet.VERSION.value, *facets))
    before = {group.fingerprint: group.accepted - since_today[group.fingerprint] for group in groups}
    past = _past_of(before, today_ms, named)
    of_today = _sums_of_names(keys, named, since_ms=today_ms)
    names = _most_common({key: past[key].names + of_today.get(key, Counter()) for key in keys})
    for group in groups:
        key = group.fingerprint
        yield RankedGroup(
            group,
            status_of(group, now_ms),
            is_unfixed(group),
            last_day[key],
            [*past[key].days, today[key]],
            names.get((key, Facet.MODEL.value), []),
            names.get((key, Facet.VERSION.value), []),
            {facet: names.get((key, facet), []) for facet in facets},
        )


# The failures of a group by facet and name.
_Sums = dict[str, Counter[tuple[str, str]]]


class _Past(NamedTuple):
    """The `failures` of a group before the UTC day of `today_ms`: by name of these facets, and by day of its line."""

    today_ms: int
    failures: int
    facets: frozenset[str]
    names: Counter[tuple[str, str]]
    days: list[int]


_MOST_GROUPS = 1_000
_past: dict[str, _Past] = {}
process_memory.register(_past.clear)


def _past_of(failures: Mapping[str, int], today_ms: int, facets: frozenset[str]) -> dict[str, _Past]:
    """Return the past of groups. `failures` has the number of failures before today of each group.

    A large group has thousands of shares and hours, and ingest changes those of today alone. So this process keeps the
    sums of the other days until the number changes.
    """
    known = {key: _past[key] for key in failures if key in _past}
    kept = {key: past for key, past in known.items() if past[:2] == (today_ms, failures[key]) and facets <= past.facets}
    missing = [key for key in failures if key not in kept]
    if missing:
        names = _sums_of_names(missing, facets, until_ms=today_ms)
        days = _sums_of_days(missing, today_ms)
        found = {key: _Past(today_ms, failures[key], facets, names.get(key, Counter()), days[key]) for key in missing}
        if len(_past) + len(found) > _MOST_GROUPS:
            _past.clear()
        _past.update(found)
        kept |= found
    return kept


def _sums_of_days(keys: Collection[str], today_ms: int) -> dict[str, list[int]]:
    """Return the failures of groups on each past day of their lines."""
    first_ms = today_ms - (LINE_DAYS - 1) * DAY_MS
    sums = {key: [0] * (LINE_DAYS - 1) for key in keys}
    hours = GroupHour.objects.filter(fingerprint__in=keys, hour_ms__gte=first_ms, hour_ms__lt=today_ms).order_by()
    by_day = hours.values_list("fingerprint", F("hour_ms") - F("hour_ms") % DAY_MS).annotate(total=Sum("accepted"))
    for key, day_ms, total in by_day:
        sums[key][(day_ms - first_ms) // DAY_MS] = total
    return sums


def _sums_of_names(
    keys: Collection[str], facets: Collection[str], *, since_ms: int | None = None, until_ms: int | None = None
) -> _Sums:
    rows = GroupShare.objects.filter(fingerprint__in=keys, facet__in=facets).order_by()
    if since_ms is not None:
        rows = rows.filter(day_ms__gte=since_ms)
    if until_ms is not None:
        rows = rows.filter(day_ms__lt=until_ms)
    sums: _Sums = {}
    for key, facet, name, total in rows.values_list("fingerprint", "facet", "name").annotate(total=Sum("accepted")):
        sums.setdefault(key, Counter())[facet, name] = total
    return sums


def _most_common(sums: Mapping[str, Counter[tuple[str, str]]]) -> dict[tuple[str, str], list[str]]:
    names: dict[tuple[str, str], list[str]] = {}
    for key, counts in sums.items():
        for (facet, name), _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            shown = names.setdefault((key, facet), [])
            if len(shown) < NAMES_SHOWN:
                shown.append(name)
    return names
