"""The figures of releases over all days, from rollups. Nothing here counts events row by row.

A release is a version that `counting.releases` knows as one, so never `dev`, `unknown` or `(other)`. Its flashes are
its successes and its unexpected `flash_error` events, and its failure rate is the share of the latter. Failures of
other types are no flashes, so they are in no rate; they are counted apart. `expected` counts the events of expected
groups of any type, which are in no other figure. Days are UTC, by our clock.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any, NamedTuple, Self

from django.db.models import Max, Q, QuerySet

from events import clock, replica
from events.counting.buckets import DAY_MS
from events.models import DailyExpected, DailyRollup, EventType, ExpectedRollup, Facet, HourlyRollup, KnownName, Release
from events.querysets import SUCCESS
from events.reports.releases import mixes, verdicts
from events.reports.releases.mixes import Adjusted
from events.reports.releases.verdicts import Flashes, Verdict


class Figures(NamedTuple):
    """The counts of one release.

    `first_seen_ms` is the time at which the version became a release, `last_seen_ms` the start of the last hour with an
    event of it (or the first time, if that is later; None without counted events).
    """

    version: str
    first_seen_ms: int
    last_seen_ms: int | None
    flashes: Flashes
    other_failures: int
    expected: int


class Comparison(NamedTuple):
    """A release, the release that it is compared with (None for the first one), and the verdict."""

    release: Figures
    other: Figures | None
    verdict: Verdict


class Details(NamedTuple):
    """A comparison with the flashes of both releases by model and by UTC day (epoch milliseconds), without zeros.

    The keys of both mappings are the versions.
    """

    comparison: Comparison
    by_model: dict[str, dict[str, Flashes]]
    by_day: dict[str, dict[int, Flashes]]

    @property
    def mix_differs(self) -> bool:
        """Return whether the mixes of models of the two releases differ, see `mixes.differ`."""
        return mixes.differ(*self._mixes)

    @property
    def adjusted(self) -> Adjusted | None:
        """Return both rates with the same mix of models, None without a common model."""
        return mixes.adjusted(*self._mixes)

    @property
    def _mixes(self) -> tuple[dict[str, Flashes], dict[str, Flashes]]:
        release, other, _ = self.comparison
        return self.by_model[release.version], {} if other is None else self.by_model[other.version]


class _Counts(NamedTuple):
    """Counts of unexpected events by kind, and of the expected events of any type."""

    successes: int = 0
    failures: int = 0
    others: int = 0
    expected: int = 0

    def plus(self, event_type: str, events: int, expected: int) -> Self:
        kind = {SUCCESS: "successes", EventType.FLASH_ERROR: "failures"}.get(event_type, "others")
        added = self._replace(**{kind: getattr(self, kind) + events - expected})
        return added._replace(expected=self.expected + expected)


def newest(limit: int, now: datetime) -> list[Comparison]:
    """Return the newest releases, newest first, each compared with the release before it. Uses five queries."""
    now_ms = clock.epoch_ms(now)
    releases = list(_releases(now_ms)[: limit + 1])
    figures = _figures(releases, _sums([release.app_version for release in releases], (), now_ms))
    pairs = zip(figures, [*figures[1:], None], strict=False)
    return [_compared(release, other) for release, other in pairs][:limit]


def names(now: datetime) -> list[str]:
    """Return all releases, newest first."""
    return list(_releases(clock.epoch_ms(now)).values_list("app_version", flat=True))


def details(version: str, against: str | None, now: datetime) -> Details | None:
    """Compare a release with another one, or with the release before it. None if one of them is no release."""
    now_ms = clock.epoch_ms(now)
    wanted = {version} if against is None else {version, against}
    if any("\0" in name for name in wanted):  # PostgreSQL raises an error for NUL
        return None
    found = {release.app_version: release for release in _releases(now_ms).filter(app_version__in=wanted)}
    if set(found) != wanted:
        return None
    before = _before(found[version], now_ms)[:1] if against is None else [found[against]]
    releases = [found[version], *before]
    sums = _sums([release.app_version for release in releases], ("model", "start_ms"), now_ms)
    figures = _figures(releases, sums)
    by_model = {row.version: _flashes(sums.counts, row.version, 1) for row in figures}
    by_day = {row.version: _flashes(sums.counts, row.version, 2) for row in figures}
    return Details(_compared(figures[0], figures[1] if figures[1:] else None), by_model, by_day)


def as_json(compared: Comparison) -> dict[str, Any]:
    """Return an item of `GET /releases`. Times are ISO 8601, rates and bounds have four decimals."""
    release, verdict = compared.release, compared.verdict
    rate = release.flashes.failure_rate
    return {
        "version": release.version,
        "first_seen": clock.iso(release.first_seen_ms),
        "last_seen": None if release.last_seen_ms is None else clock.iso(release.last_seen_ms),
        "flashes": release.flashes.total,
        "successes": release.flashes.successes,
        "failures": release.flashes.failures,
        "expected": release.expected,
        "failure_rate": _rounded(rate),
        "interval": None if rate is None else _rounded_pair(release.flashes.interval),
        "verdict": verdict.name.value,
        "flashes_needed": verdict.flashes_needed,
    }


def comparison_as_json(compared: Comparison) -> dict[str, Any]:
    """Return the part of `GET /releases/{version}` about the other release."""
    verdict = compared.verdict
    return {
        "compared_with": None if compared.other is None else compared.other.version,
        "difference": _rounded(verdict.difference),
        "difference_interval": None if verdict.interval is None else _rounded_pair(verdict.interval),
        "alarming": verdict.is_alarming,
    }


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)


def _rounded_pair(interval: tuple[float, float]) -> list[float]:
    return [round(bound, 4) for bound in interval]


def _releases(now_ms: int) -> QuerySet[Release]:
    """Return the releases, newest first. A first time in the future comes from a wrong clock."""
    return Release.objects.filter(is_release=True, first_seen_ms__lte=now_ms).order_by("-first_seen_ms", "-app_version")


def _before(release: Release, now_ms: int) -> QuerySet[Release]:
    is_before = Q(first_seen_ms__lt=release.first_seen_ms)
    is_before |= Q(first_seen_ms=release.first_seen_ms, app_version__lt=release.app_version)
    return _releases(now_ms).filter(is_before)


def _compared(release: Figures, other: Figures | None) -> Comparison:
    return Comparison(release, other, verdicts.compare(release.flashes, other and other.flashes))


def _flashes(counts: dict[tuple[Any, ...], _Counts], version: str, column: int) -> dict[Any, Flashes]:
    """Return the flashes of a version by one column of the keys."""
    found: defaultdict[Any, Flashes] = defaultdict(lambda: Flashes(0, 0))
    for key, count in counts.items():
        if key[0] == version and count.successes + count.failures:
            sums = found[key[column]]
            found[key[column]] = Flashes(sums.successes + count.successes, sums.failures + count.failures)
    return dict(found)


def _figures(releases: Iterable[Release], sums: "_Sums") -> list[Figures]:
    totals: defaultdict[str, _Counts] = defaultdict(_Counts)
    for (version, *_), counts in sums.counts.items():
        totals[version] = _Counts(*(total + part for total, part in zip(totals[version], counts, strict=True)))
    figures = []
    for release in releases:
        counts = totals[release.app_version]
        last_ms = sums.last_hours_ms.get(release.app_version)
        figures.append(
            Figures(
                release.app_version,
                release.first_seen_ms,
                None if last_ms is None else max(last_ms, release.first_seen_ms),
                Flashes(counts.successes, counts.failures),
                counts.others,
                counts.expected,
            )
        )
    return figures


class _Sums(NamedTuple):
    """Counts whose keys start with the version, and the last hour with an event of each version."""

    counts: dict[tuple[Any, ...], _Counts]
    last_hours_ms: dict[str, int]


def _sums(versions: Sequence[str], columns: tuple[str, ...], now_ms: int) -> _Sums:
    """Return the counts of versions by these columns (`model`, `start_ms` of the day). Reads only their days in use."""
    if not versions:
        return _Sums({}, {})
    end_ms = now_ms - now_ms % DAY_MS + DAY_MS
    known = KnownName.objects.filter(facet=Facet.VERSION, name__in=versions, first_day_ms__lt=end_ms)
    days = {
        name: (first_ms, min(last_ms + DAY_MS, end_ms))
        for name, first_ms, last_ms in known.values_list("name", "first_day_ms", "last_day_ms")
    }
    if not days:
        return _Sums({}, {})
    span = (min(first_ms for first_ms, _ in days.values()), max(last_ms for _, last_ms in days.values()))
    # Read these first: an event that is stored between two reads must not be subtracted alone.
    expected = {tuple(key): total for *key, total in _read(_EXPECTED, versions, columns, *span)}
    counts: defaultdict[tuple[Any, ...], _Counts] = defaultdict(_Counts)
    for version, event_type, *key, total in _read(_EVENTS, versions, columns, *span):
        part = min(expected.get((version, event_type, *key), 0), total)
        counts[version, *key] = counts[version, *key].plus(event_type, total, part)
    is_last_day = [
        Q(app_version=name, hour_ms__gte=last_ms - DAY_MS, hour_ms__lt=last_ms) for name, (_, last_ms) in days.items()
    ]
    hours = HourlyRollup.objects.filter(reduce(or_, is_last_day), accepted__gt=0)
    return _Sums(dict(counts), dict(hours.values_list("app_version").annotate(Max("hour_ms")).order_by()))


def _read(
    sql: str, versions: Sequence[str], columns: tuple[str, ...], start_ms: int, end_ms: int
) -> list[tuple[Any, ...]]:
    slots = ", ".join(["%s"] * len(versions))
    keys = ", ".join(("app_version", "event_type", *columns))
    with replica.cursor(DailyRollup) as cursor:
        cursor.execute(sql.format(keys=keys, slots=slots), [start_ms, end_ms, start_ms, end_ms, *versions, *versions])
        return [(*key, int(total)) for *key, total in cursor.fetchall()]


def _sql(sums: type[DailyRollup] | type[DailyExpected], hours: type[HourlyRollup] | type[ExpectedRollup]) -> str:
    """Return one statement, so that a day whose sums are written or dropped meanwhile is read by day or by hour."""
    return f"""
WITH RECURSIVE days (start_ms) AS (
    SELECT CAST(%s AS bigint) UNION ALL SELECT start_ms + {DAY_MS} FROM days WHERE start_ms + {DAY_MS} < %s
)
SELECT {{keys}}, SUM(accepted) FROM (
    SELECT day_ms AS start_ms, event_type, model, app_version, accepted
    FROM {sums._meta.db_table} WHERE day_ms >= %s AND day_ms < %s AND app_version IN ({{slots}})
    UNION ALL
    SELECT start_ms, event_type, model, app_version, accepted
    FROM days JOIN {hours._meta.db_table} ON hour_ms >= start_ms AND hour_ms < start_ms + {DAY_MS}
    WHERE accepted > 0 AND app_version IN ({{slots}})
        AND NOT EXISTS (SELECT 1 FROM {sums._meta.db_table} WHERE day_ms = start_ms)
) AS counted GROUP BY {{keys}}
"""  # noqa: S608 (our own names)


_EVENTS, _EXPECTED = _sql(DailyRollup, HourlyRollup), _sql(DailyExpected, ExpectedRollup)
