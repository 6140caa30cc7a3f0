"""Compares the failures of one group with the flashes outside it, by model, version, mode, connection and facet.

A flash is a `flash_success` or a `flash_error`. Both sides cover the same whole UTC days, by our clock. Versions are
compared in fewer days: between the first and the last day, within these, on which a flash of the version or a failure
of the group with the version was counted. Values of a facet are compared among the events that have the facet.
"""

import re
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

from django.db.models import F, QuerySet, Sum, TextField, Value

from events import replica
from events.counting import facets
from events.counting.buckets import DAY_MS, HOUR_MS, NOT_TOLD
from events.counting.releases import NO_RELEASES
from events.models import (
    Event,
    EventType,
    Facet,
    FailureGroup,
    GroupHour,
    GroupShare,
)
from events.reports import metrics
from events.reports.groups.ranking import last_day_from_ms
from events.reports.metrics import DayFigures

SPANS = {"1": "24 hours", "7": "7 days", "30": "30 days", "90": "90 days", "all": "all"}
DEFAULT_SPAN = "30"
# The bars of the span `all`: the shortest of these with at most so many bars.
MAX_BARS = 100
STEPS = {DAY_MS: "day", 7 * DAY_MS: "week", 28 * DAY_MS: "4 weeks", 364 * DAY_MS: "52 weeks"}
FLASHES = (EventType.FLASH_SUCCESS.value, EventType.FLASH_ERROR.value)
_MODEL, _VERSION = Facet.MODEL.value, Facet.VERSION.value
# A value stands out with this many failures, and with intervals this far apart: 98 % and 100 % differ, and help nobody.
_LEAST_EVENTS = 5
_LEAST_DISTANCE = 0.05
FINDINGS_SHOWN = 6
# Names that say nothing about a failure. They are listed last, and never stand out.
UNNAMED = {*NO_RELEASES, NOT_TOLD}
# The values of these facets explain themselves in a sentence.
_EXPLAINED = frozenset({Facet.MODEL.value, Facet.VERSION.value, "f.browser", "f.os"})
_IN_WORDS = {
    Facet.MODE.value: {"1": "write mode", "0": "mode without writing"},
    Facet.CONNECTED.value: {"1": "connected", "0": "not connected"},
}


# The words of an overflow group: from its newest failures, without the commonest words.
WORDS_OF = 2_000
WORDS_SHOWN = 20
_WORD = re.compile(r"[^\W\d_]{3,40}")
_COMMON_IN_ANY_TEXT = frozenset({
    "and", "are", "but", "can", "did", "for", "from", "has", "have", "that", "the", "this", "was", "were", "with",
})  # fmt: skip


class Axis(NamedTuple):
    """The time axis of a span: [start_ms, end_ms) in steps. The last step contains the current time."""

    start_ms: int
    end_ms: int
    step_ms: int
    unit: str


def axis_of(span: str, first_ms: int, now_ms: int) -> Axis:
    """Return the axis of one of SPANS. The first step of `all` contains the time at which the group was first seen."""
    if span == "1":
        end_ms = now_ms - now_ms % HOUR_MS + HOUR_MS
        return Axis(end_ms - DAY_MS, end_ms, HOUR_MS, "hour")
    end_ms = now_ms - now_ms % DAY_MS + DAY_MS
    if span != "all":
        return Axis(end_ms - int(span) * DAY_MS, end_ms, DAY_MS, STEPS[DAY_MS])
    whole_ms = end_ms - first_ms
    step_ms = next((step for step in STEPS if whole_ms <= MAX_BARS * step), max(STEPS))
    return Axis(end_ms - -(-whole_ms // step_ms) * step_ms, end_ms, step_ms, STEPS[step_ms])


class Word(NamedTuple):
    """A word, in lower case, and the number and the share (0 to 1) of the failures whose message contains it."""

    word: str
    failures: int
    share: float


@dataclass(frozen=True)
class Part:
    """One value of a facet: its failures in the group, and its other flashes, both with the totals of the facet.

    The shares are 0 to 1. The intervals are 95 % intervals of the shares, computed when they are first read: most
    values do not stand out at first sight.
    """

    name: str
    events: int
    total: int
    others: int
    others_total: int

    @property
    def of_group(self) -> float:
        return self.events / self.total

    @property
    def of_others(self) -> float | None:
        """Return None without any flash to compare with."""
        return self.others / self.others_total if self.others_total else None

    @cached_property
    def group_interval(self) -> tuple[float, float]:
        return metrics.failure_rate_interval(self.total - self.events, self.events) or (0.0, 1.0)

    @cached_property
    def others_interval(self) -> tuple[float, float]:
        return metrics.failure_rate_interval(self.others_total - self.others, self.others) or (0.0, 1.0)

    @cached_property
    def distance(self) -> float:
        """Return the gap between the intervals: 0 if they overlap, negative if the value is rarer in the group."""
        (low, high), (others_low, others_high) = self.group_interval, self.others_interval
        return max(low - others_high, 0.0) or min(high - others_low, 0.0)

    @property
    def is_named(self) -> bool:
        return self.name not in UNNAMED

    @property
    def is_striking(self) -> bool:
        """Return whether the value stands out. Intervals are at most as far apart as their shares."""
        may_be = self.is_named and self.events >= _LEAST_EVENTS
        return may_be and self.of_group - (self.of_others or 0) >= _LEAST_DISTANCE <= self.distance


class Finding(NamedTuple):
    """A value that stands out. `is_only` if the group has no other value of the facet; `others` are the flashes."""

    facet: str
    part: Part
    is_only: bool
    others: str

    @property
    def subject(self) -> str:
        facet, name = self.facet, self.part.name
        label = name if facet in _EXPLAINED else f"{facet.removeprefix('f.')} {name}"
        return _IN_WORDS.get(facet, {}).get(name, label)

    @property
    def of_group(self) -> str:
        return _percent(self.part.of_group)

    @property
    def of_others(self) -> str:
        return _percent(self.part.of_others or 0.0)

    @property
    def shortly(self) -> str:
        """Return the finding without the other flashes: `only UV-17R`, `Chrome 139 71 %`."""
        return f"only {self.subject}" if self.is_only else f"{self.subject} {self.of_group}"

    def __str__(self) -> str:
        if self.is_only:
            return f"only {self.subject} ({self.of_others} of {self.others})"
        return f"{self.subject}: {self.of_group} of these, {self.of_others} of {self.others}"


class Comparison(NamedTuple):
    """The parts of a group by facet, those that stand out most first, and what stands out.

    The compared days start at `start_ms`, None for all days. `events` are the group's failures of these days. If these
    are flashes, they are compared with the other ones, else with all.
    """

    start_ms: int | None
    is_flash: bool
    events: int
    parts: dict[str, list[Part]]
    findings: list[Finding]

    @property
    def others(self) -> str:
        return _others(is_flash=self.is_flash)

    @property
    def unnamed(self) -> list[str]:
        """Return the names of parts that are no single value."""
        return sorted({part.name for parts in self.parts.values() for part in parts if not part.is_named})


def compare(group: FailureGroup, start_ms: int | None, now_ms: int) -> Comparison:
    """Compare a group from the UTC day of `start_ms` to that of `now_ms`. Without a start, compare all days.

    Failures whose day is unknown count only without a start. A facet of the metadata is left out if no failure of the
    group has it. Source: GroupShare, and as `metrics.by_day`; without a start also GroupHour.
    """
    start_ms, end_ms = _days(start_ms, now_ms)
    return _compared(group, start_ms, end_ms, _side_of(group.pk, _shares(group.pk, start_ms, end_ms)))


def _days(start_ms: int | None, now_ms: int) -> tuple[int | None, int]:
    return None if start_ms is None else start_ms - start_ms % DAY_MS, now_ms - now_ms % DAY_MS + DAY_MS


def _compared(group: FailureGroup, start_ms: int | None, end_ms: int, own: "Side") -> Comparison:
    is_flash = group.event_type in FLASHES
    parts = {
        facet: sorted(found, key=lambda part: (not part.is_named, *_rank(part)))
        for facet, found in _parts(own, flashes_of(metrics.by_day(start_ms or 0, end_ms)), is_flash=is_flash).items()
    }
    return Comparison(start_ms, is_flash, own.total, parts, _findings(parts, is_flash=is_flash)[:FINDINGS_SHOWN])


def compare_in(span: str, group: FailureGroup, now_ms: int) -> Comparison:
    """Compare a group in one of SPANS, as its page does."""
    start_ms = None if span == "all" else axis_of(span, group.first_ms, now_ms).start_ms
    return compare(group, start_ms, now_ms)


class Course(NamedTuple):
    """A group in a span: its failures per step, oldest first; those of the last 24 hours; the comparison."""

    axis: Axis
    steps: list[int]
    last_day: int
    compared: Comparison


def course(span: str, group: FailureGroup, now_ms: int) -> Course:
    """Return the course of a group in one of SPANS. One query reads all counts of the group.

    Source: as `compare`, and GroupHour.
    """
    axis = axis_of(span, group.first_ms, now_ms)
    start_ms, end_ms = _days(None if span == "all" else axis.start_ms, now_ms)
    day_from_ms = last_day_from_ms(now_ms)
    hours = GroupHour.objects.filter(fingerprint=group.pk, hour_ms__gte=min(axis.start_ms, day_from_ms))
    no_name = Value("", output_field=TextField())
    rows = _shares(group.pk, start_ms, end_ms).union(
        hours.values_list(no_name, no_name, "hour_ms", "accepted"), all=True
    )
    steps, last_day = [0] * ((axis.end_ms - axis.start_ms) // axis.step_ms), 0
    shares = []
    for facet, name, at_ms, n in rows:
        if facet:
            shares.append((facet, name, at_ms, n))
            continue
        if axis.start_ms <= at_ms < axis.end_ms:
            steps[(at_ms - axis.start_ms) // axis.step_ms] += n
        if day_from_ms <= at_ms < day_from_ms + DAY_MS:
            last_day += n
    return Course(axis, steps, last_day, _compared(group, start_ms, end_ms, _side_of(group.pk, shares)))


class Spread(NamedTuple):
    """For whom a group fails: what stands out, most first, and all models and versions, most failures first."""

    findings: list[Finding]
    models: list[str]
    versions: list[str]


def spreads(groups: Mapping[str, str], start_ms: int, end_ms: int, flashes: "Side") -> dict[str, Spread]:
    """Return for whom these groups fail on the UTC days of [start_ms, end_ms), in one query.

    `groups` has the type of each fingerprint. `flashes` are those of the same days. What `flashes` does not count by,
    such as the mode, does not stand out. Source: GroupShare.
    """
    start_ms, end_ms = start_ms - start_ms % DAY_MS, end_ms + -end_ms % DAY_MS
    sides = {key: Side() for key in groups}
    compared = [facet for facet in flashes.names if flashes.names[facet]]
    if not groups or not compared:
        return {key: Spread([], [], []) for key in groups}
    of_groups: list[int | str] = [*groups, start_ms, end_ms]
    with replica.cursor(GroupShare) as cursor:
        sql = _SHARES.format(keys=_placeholders(groups), facets=_placeholders(compared))
        cursor.execute(sql, [*of_groups, *compared, *of_groups, _VERSION])
        for key, facet, name, n, first_ms, last_ms in cursor.fetchall():
            side = sides[key]
            if not facet:
                side.days[first_ms] += int(n)
                continue
            side.add(facet, name, int(n))
            if facet == _VERSION:
                side.versions[name].update((first_ms, last_ms))
    spread = {}
    for key, own in sides.items():
        is_flash = groups[key] in FLASHES
        findings = _findings(_parts(own, flashes, is_flash=is_flash), is_flash=is_flash)
        models, versions = ([name for name, _ in own.names[facet].most_common()] for facet in (_MODEL, _VERSION))
        spread[key] = Spread(findings, models, versions)
    return spread


# The sums of each name with its first and last day; then those of each day, with an empty facet.
_SHARES = f"""
SELECT fingerprint, facet, name, SUM(accepted), MIN(day_ms), MAX(day_ms) FROM {GroupShare._meta.db_table}
WHERE fingerprint IN ({{keys}}) AND day_ms >= %s AND day_ms < %s AND accepted > 0 AND facet IN ({{facets}})
GROUP BY fingerprint, facet, name
UNION ALL
SELECT fingerprint, '', '', SUM(accepted), day_ms, day_ms FROM {GroupShare._meta.db_table}
WHERE fingerprint IN ({{keys}}) AND day_ms >= %s AND day_ms < %s AND accepted > 0 AND facet = %s
GROUP BY fingerprint, day_ms
"""  # noqa: S608 (our own names)


def _placeholders(values: Collection[str]) -> str:
    return ", ".join(["%s"] * len(values))


def _parts(own: "Side", flashes: "Side", *, is_flash: bool) -> dict[str, list[Part]]:
    others = flashes.without(own) if is_flash else flashes
    parts = {}
    for facet in (*Facet.values, *(facet for facet in facets.counted_facets() if own.names[facet])):
        counts, other_counts = own.names[facet], others.names[facet]
        totals = counts.total(), other_counts.total()
        if facet == Facet.VERSION:
            found = list(_versions(own, others))
        else:
            found = [_part(name, n, other_counts[name], *totals) for name, n in counts.items()]
        if (rest := own.total - totals[0]) > 0 and facet not in Facet.values:
            found.append(_part(NOT_TOLD, rest, max(others.total - totals[1], 0), own.total, others.total))
        parts[facet] = found
    return parts


def _findings(parts: Mapping[str, list[Part]], *, is_flash: bool) -> list[Finding]:
    findings = [
        Finding(facet, part, len(facet_parts) == 1, _others(is_flash=is_flash))
        for facet, facet_parts in parts.items()
        for part in facet_parts
        if part.is_striking
    ]
    return sorted(findings, key=lambda finding: _rank(finding.part))


def _rank(part: Part) -> tuple[float, int, str]:
    return -part.distance, -part.events, part.name


def _others(*, is_flash: bool) -> str:
    return "other flashes" if is_flash else "flashes"


def common_words(fingerprint: str, since_ms: int) -> list[Word]:
    """Return the words of at least two messages, most common first: of the newest failures since then.

    Reads at most WORDS_OF failures.
    """
    newest = Event.objects.of_group(fingerprint).filter(received_at_ms__gte=since_ms).newest_first()
    messages = list(newest.values_list("message", flat=True)[:WORDS_OF])
    counts = Counter(word for message in messages for word in set(_WORD.findall(message.lower())))
    common = [(word, n) for word, n in counts.items() if n > 1 and word not in _COMMON_IN_ANY_TEXT]
    common.sort(key=lambda one: (-one[1], one[0]))
    return [Word(word, n, n / len(messages)) for word, n in common[:WORDS_SHOWN]]


# --- the two sides -------------------------------------------------------------------------------------------------


class Side:
    """The counts of one side of a comparison, by facet and name. Those of versions are also by UTC day.

    Of the days of a version, a comparison needs the first and the last one, and not their counts.
    """

    def __init__(self) -> None:
        self.names: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.versions: defaultdict[str, Counter[int]] = defaultdict(Counter)
        # The counts of all versions by UTC day.
        self.days: Counter[int] = Counter()

    @property
    def total(self) -> int:
        return self.names[Facet.MODEL].total()

    def add(self, facet: str, name: str, n: int) -> None:
        self.names[facet][name] += n

    def add_version(self, name: str, day_ms: int, n: int) -> None:
        self.names[Facet.VERSION][name] += n
        self.versions[name][day_ms] += n
        self.days[day_ms] += n

    def without(self, part: "Side") -> "Side":
        """Return this side without the counts of flashes that are a part of it. The days in use stay.

        Rebuilt rollups can have another name for a flash, so a count may be missing.
        """
        rest = Side()
        rest.versions = self.versions
        rest.days = self.days.copy()
        for facet, counts in self.names.items():
            rest.names[facet] = counts.copy()
        for facet, counts in part.names.items():
            for name, n in counts.items():
                rest.names[facet][name] = max(rest.names[facet][name] - n, 0)
        for day_ms, n in part.days.items():
            rest.days[day_ms] = max(rest.days[day_ms] - n, 0)
        return rest


class _Total:
    """Sums of counts between two days."""

    def __init__(self, counts: Mapping[int, int]) -> None:
        self._days = sorted(counts)
        self._sums = [0, *accumulate(counts[day_ms] for day_ms in self._days)]

    def between(self, first_ms: int, last_ms: int) -> int:
        return self._sums[bisect_right(self._days, last_ms)] - self._sums[bisect_left(self._days, first_ms)]


def _shares(key: str, start_ms: int | None, end_ms: int) -> QuerySet[GroupShare, Any]:
    """Return the shares of a group on the days of [start_ms, end_ms): facet, name, day and number."""
    rows = GroupShare.objects.filter(fingerprint=key, day_ms__lt=end_ms)
    if start_ms is not None:
        rows = rows.filter(day_ms__gte=start_ms)
    return rows.values_list("facet", "name", "day_ms", "accepted")


def _side_of(key: str, shares: Iterable[tuple[str, str, int, int]]) -> Side:
    side = Side()
    has_unknown_days = False
    for facet, name, day_ms, n in shares:
        if facet != Facet.VERSION:
            side.add(facet, name, n)
        elif day_ms:
            side.add_version(name, day_ms, n)
        else:
            side.add(facet, name, n)
            has_unknown_days = True
    if has_unknown_days:
        day = F("hour_ms") - F("hour_ms") % DAY_MS
        by_day = GroupHour.objects.filter(fingerprint=key).annotate(day=day).order_by().values_list("day")
        side.days = Counter(dict(by_day.annotate(Sum("accepted"))))
    return side


def flashes_of(found: DayFigures) -> Side:
    """Return the flashes of whole days."""
    side = Side()
    for step in found.steps:
        if step.event_type in FLASHES:
            side.add_version(step.app_version, step.start_ms, step.events)
    for cell in found.cells:
        if cell.event_type in FLASHES:
            side.add(_MODEL, cell.model, cell.events)
    for mode in found.modes:
        if mode.event_type in FLASHES:
            side.add(Facet.MODE.value, str(mode.write_mode), mode.events)
            side.add(Facet.CONNECTED.value, str(mode.connected), mode.events)
    for facet, name, event_type, n in found.facets:
        if event_type in FLASHES:
            side.add(facet, name, n)
    return side


def _versions(own: Side, others: Side) -> Iterable[Part]:
    """Yield the versions of the group, each compared in the days in which it was in use."""
    own_total, others_total = _Total(own.days), _Total(others.days)
    for name, n in own.names[Facet.VERSION].items():
        in_use = own.versions[name].keys() | others.versions[name].keys() or own.days.keys() | others.days.keys()
        span = (min(in_use, default=0), max(in_use, default=0))
        # Failures of unknown days can be outside the known ones.
        total = max(own_total.between(*span), n)
        yield _part(name, n, others.names[Facet.VERSION][name], total, others_total.between(*span))


def _part(name: str, events: int, others: int, total: int, others_total: int) -> Part:
    return Part(name, events, total, min(others, others_total), others_total)


def _percent(share: float) -> str:
    """Format a share for a sentence. Only a whole one is 100 %, and only an empty one 0 %."""
    percent = 100 * share
    if 0 < percent < 0.1:
        return "under 0.1 %"
    if percent < 1 or 99 < percent < 100:
        return f"{min(percent, 99.9):.1f} %" if percent else "0 %"
    return f"{percent:.0f} %"
