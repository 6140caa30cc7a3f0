"""Figures from rollups. Nothing here counts events row by row.

Days and hours are UTC, by our clock. A failure is any event except `flash_success` and the events of expected groups,
which are counted apart as `expected`. The failure rate is failures divided by successes and failures (0 to 1), and None
without any. The rate of flashes and that of connections have their own functions.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from django.db import connection
from django.db.models import Sum

from events import process_memory, replica
from events.counting import facets
from events.counting.buckets import DAY_MS, HOUR_MS, NOT_TOLD, OTHER
from events.counting.releases import NO_RELEASES
from events.models import (
    CounterBaseline,
    DailyExpected,
    DailyRollup,
    Event,
    EventType,
    ExpectedRollup,
    FacetRollup,
    FailureGroup,
    GroupShare,
    HourlyRollup,
    IngestTally,
    LifetimeTotal,
    ModeRollup,
)
from events.querysets import SUCCESS
from events.reports import intervals
from events.reports.failures import Criteria

BUCKETS = {"day": DAY_MS, "hour": HOUR_MS}
MAX_MS = 400_000 * DAY_MS  # beyond year 3000


class FlashCount(NamedTuple):
    """The public count and its two parts."""

    baseline: int
    accepted: int

    @property
    def total(self) -> int:
        return self.baseline + self.accepted


class Slice(NamedTuple):
    """The events of one model or one version."""

    name: str
    successes: int
    failures: int
    expected: int = 0

    @property
    def events(self) -> int:
        """Return the number of events that the failure rate is a share of."""
        return self.successes + self.failures

    @property
    def failure_rate(self) -> float | None:
        return failure_rate(self.successes, self.failures)

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the failure rate, (0, 1) without events."""
        return failure_rate_interval(self.successes, self.failures) or (0.0, 1.0)


class Cell(NamedTuple):
    """The events of one type, model and version. `expected` of them belong to expected groups."""

    event_type: str
    model: str
    app_version: str
    events: int
    expected: int = 0

    @property
    def is_released(self) -> bool:
        return self.app_version not in NO_RELEASES


class TimeBucket(NamedTuple):
    """One step of a time series. `counts` contains every event type, `expected` the expected ones of each type."""

    start_ms: int
    counts: dict[str, int]
    expected: dict[str, int]

    @property
    def successes(self) -> int:
        return self.counts[SUCCESS]

    @property
    def failures(self) -> int:
        return sum(self.unexpected.values()) - self.successes

    @property
    def unexpected(self) -> dict[str, int]:
        """Return the counts by type without the expected events."""
        return {name: count - self.expected[name] for name, count in self.counts.items()}


def failure_rate(successes: int, failures: int) -> float | None:
    return failures / (successes + failures) if successes + failures else None


def flash_failure_rate(by_type: Mapping[str, int]) -> float | None:
    """Return the share of flashes that failed. A flash is a `flash_success` or a `flash_error`."""
    return failure_rate(by_type[SUCCESS], by_type[EventType.FLASH_ERROR])


def connect_failure_rate(by_type: Mapping[str, int]) -> float | None:
    """Return the share of attempts that failed to connect: of flashes and `connect_error`."""
    return failure_rate(by_type[SUCCESS] + by_type[EventType.FLASH_ERROR], by_type[EventType.CONNECT_ERROR])


def failure_rate_interval(successes: int, failures: int) -> tuple[float, float] | None:
    """Return the 95 % interval of the failure rate with continuity correction, None without events.

    Rank by its lower bound: then 1 of 2, which may be chance, does not outrank 40 of 900.
    """
    events = successes + failures
    return intervals.corrected(failures, events, intervals.Z_95) if events else None


def flash_count() -> FlashCount:
    """Return the public count from one row. Source: LifetimeTotal.

    Raw SQL: the ORM takes four times as long to build the query as the database takes to run it. While nobody commits
    to an SQLite database, the count is read once.
    """
    global _kept_count
    mark = getattr(connection, "change_mark", lambda: None)()
    kept_mark, kept = _kept_count
    if mark is not None and mark == kept_mark:
        return kept
    with replica.cursor(LifetimeTotal) as cursor:
        cursor.execute(_FLASH_COUNT, [SUCCESS])
        row = cursor.fetchone()
    count = FlashCount(*row) if row else FlashCount(0, 0)
    _kept_count = mark, count  # the mark from before the query
    return count


# The count that was read last, and the `change_mark` of the database before that.
_kept_count: tuple[object, FlashCount] = (None, FlashCount(0, 0))
_FLASH_COUNT = f"SELECT baseline, accepted FROM {LifetimeTotal._meta.db_table} WHERE event_type = %s"  # noqa: S608


class LifetimeFigures(NamedTuple):
    """The public count, and when the newest event was received, by our clock. None without events."""

    flashes: FlashCount
    last_received_at_ms: int | None


def lifetime_figures(now_ms: int) -> LifetimeFigures:
    """Return the public count and the time of the newest event. Source: LifetimeTotal.

    A stored time in the future comes from a wrong clock. Read the newest event up to `now_ms` instead.
    """
    rows = LifetimeTotal.objects.values_list("event_type", "baseline", "accepted", "last_received_at_ms")
    count, last_ms = FlashCount(0, 0), 0
    for event_type, baseline, accepted, received_at_ms in rows:
        last_ms = max(last_ms, received_at_ms)
        if event_type == SUCCESS:
            count = FlashCount(baseline, accepted)
    if last_ms > now_ms:
        earlier = Event.objects.filter(received_at_ms__lte=now_ms).newest_first()
        last_ms = earlier.values_list("received_at_ms", flat=True).first() or now_ms
    return LifetimeFigures(count, last_ms or None)


def first_hour_ms() -> int | None:
    """Return the start of the first counted hour, None without events. Source: HourlyRollup."""
    return HourlyRollup.objects.order_by("hour_ms").values_list("hour_ms", flat=True).first()


def baseline_history(limit: int = 20) -> list[CounterBaseline]:
    """Return the newest changes of the baseline, newest first."""
    return list(CounterBaseline.objects.order_by("-id")[:limit])


def day_start_ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)


def last_days(days: int, today: date) -> tuple[int, int]:
    """Return [start, end) in epoch milliseconds of the last `days` UTC days, including today."""
    return day_start_ms(today - timedelta(days=days - 1)), day_start_ms(today + timedelta(days=1))


# The criteria that rollups can answer.
_COUNTED_BY = (
    "failures_only", "event_type", "model", "app_version", "since_ms", "until_ms", "released", "expected",
)  # fmt: skip


def count(criteria: Criteria) -> int | None:
    """Return how many events that match the criteria were ever accepted, None when the rollups cannot answer.

    Rollups have type, model, version and whole hours, or one failure group alone. They cannot answer for a name when
    `(other)` contains events that may have it. Source: as `by_day` for whole days, else as `by_hour`; FailureGroup.
    """
    group = Criteria(failures_only=criteria.failures_only, fingerprint=criteria.fingerprint)
    if criteria.fingerprint is not None and criteria == group:
        return FailureGroup.objects.filter(pk=criteria.fingerprint).values_list("accepted", flat=True).first() or 0
    answerable = replace(Criteria(), **{name: getattr(criteria, name) for name in _COUNTED_BY})
    start_ms, end_ms = criteria.since_ms or 0, MAX_MS if criteria.until_ms is None else criteria.until_ms
    if criteria != answerable or start_ms % HOUR_MS or end_ms % HOUR_MS:
        return None
    events = expected = 0
    for cell in _cells(start_ms, end_ms):
        if cell.event_type != (criteria.event_type or cell.event_type) or (
            criteria.failures_only and cell.event_type == SUCCESS
        ):
            continue
        has_version = criteria.app_version is not None or criteria.released
        if (criteria.model is not None and cell.model == OTHER) or (has_version and cell.app_version == OTHER):
            return None
        if (
            cell.model == (criteria.model or cell.model)
            and cell.app_version == (criteria.app_version or cell.app_version)
            and (cell.is_released or not criteria.released)
        ):
            events += cell.events
            expected += cell.expected
    return {None: events, True: expected, False: events - expected}[criteria.expected]


def _cells(start_ms: int, end_ms: int) -> Iterator[Cell]:
    """Yield the cells of whole hours: those of the whole days, and those of the hours before and after them."""
    first_ms, last_ms = start_ms + -start_ms % DAY_MS, end_ms - end_ms % DAY_MS
    hours = [(start_ms, first_ms), (last_ms, end_ms)]
    if first_ms < last_ms:
        yield from by_day(first_ms, last_ms).cells
    elif first_ms > last_ms:
        hours = [(start_ms, end_ms)]
    for bounds in hours:
        if bounds[0] < bounds[1]:
            yield from figures_of(by_hour(*bounds)).cells


def totals_by_type(start_ms: int, end_ms: int) -> dict[str, int]:
    """Return the number of events per type in [start_ms, end_ms), including zeros. Source: HourlyRollup."""
    sums = _rollups(start_ms, end_ms).values_list("event_type").annotate(total=Sum("accepted"))
    return dict.fromkeys(EventType.values, 0) | dict(sums)


def expected_by_type(start_ms: int, end_ms: int) -> dict[str, int]:
    """Return the number of expected events per type in [start_ms, end_ms), including zeros. Source: ExpectedRollup."""
    sums = _expected(start_ms, end_ms).values_list("event_type").annotate(total=Sum("accepted"))
    return dict.fromkeys(EventType.values, 0) | dict(sums)


class Count(NamedTuple):
    """The events of one type, model and version in one hour or day. `expected` of them belong to expected groups."""

    start_ms: int
    event_type: str
    model: str
    app_version: str
    events: int
    expected: int


class Step(NamedTuple):
    """The events of one type and version in one step of time. `expected` of them belong to expected groups."""

    start_ms: int
    event_type: str
    app_version: str
    events: int
    expected: int


class Figures(NamedTuple):
    """The counts of a span, summed in two ways: over the models, and over the time."""

    steps: list[Step]
    cells: list[Cell]


class FacetCount(NamedTuple):
    """The events of one type with one value of a facet. The type is "" for those of expected groups."""

    facet: str
    name: str
    event_type: str
    events: int


class ModeCount(NamedTuple):
    """The events of one type with one write mode and with or without a radio."""

    event_type: str
    write_mode: int
    connected: int
    events: int


class DayFigures(NamedTuple):
    """The counts of whole days. Rows of `facets` and `modes` with the same names add up."""

    steps: list[Step]
    cells: list[Cell]
    facets: list[FacetCount]
    modes: list[ModeCount]


def by_hour(start_ms: int, end_ms: int) -> list[Count]:
    """Return the counts per hour, type, model and version in [start_ms, end_ms), in no order.

    Source: HourlyRollup, ExpectedRollup. Raises ValueError when a bound is not the start of an hour, or none is between
    them.
    """
    _check_bounds(start_ms, end_ms, "hour")
    with replica.cursor(HourlyRollup) as cursor:
        cursor.execute(_HOURS, [start_ms, end_ms] * 2)
        # A count that the totals have lost must not make a failure rate negative.
        return [Count._make((*row[:-1], min(row[-2:]))) for row in cursor.fetchall()]


def by_day(start_ms: int, end_ms: int) -> DayFigures:
    """Return the figures of the UTC days of [start_ms, end_ms), by day and in no order.

    Beyond 50 models or 200 versions a day, the rest of that day is counted as `(other)`. Raises ValueError when a bound
    is not the start of a day, or none is between them.

    Source: DailyRollup and DailyExpected; HourlyRollup and ExpectedRollup for days without sums; ModeRollup;
    FacetRollup; GroupShare for the facets of expected groups.

    This process keeps the figures of the days with sums, because 90 days have thousands of rows. It reads them again
    when their state has changed.
    """
    _check_bounds(start_ms, end_ms, "day")
    span = start_ms, end_ms
    known = _summed.get(span)
    found = _read_days(span, with_sums=known is None)
    if known is not None and known.state != found.summed.state:
        known, found = None, _read_days(span, with_sums=True)
    if known is None:
        if len(_summed) >= _MOST_SPANS:
            _summed.clear()
        known = _summed[span] = found.summed
    kept, rest, counts = known.figures, found.rest, figures_of(found.counts)
    return DayFigures(
        _together(kept.steps, counts.steps),
        _together(kept.cells, counts.cells),
        kept.facets + rest.facets,
        kept.modes + rest.modes,
    )


Row = TypeVar("Row", Step, Cell)


def _together(kept: Iterable[Row], rest: Iterable[Row]) -> list[Row]:
    """Return the sums of rows. A day can have the sums of its events and not those of its expected events."""
    found = {row[:-2]: row for row in kept}
    for row in rest:
        own = found.get(row[:-2])
        found[row[:-2]] = (
            row if own is None else row._replace(events=own.events + row.events, expected=own.expected + row.expected)
        )
    # As in `by_hour`.
    return [row if row.expected <= row.events else row._replace(expected=row.events) for row in found.values()]


class _Summed(NamedTuple):
    """The figures of those days of a span that have sums, and the state of these sums.

    The state is the sum and the greatest of the ids of the rows of each table. Rows are only added and deleted, and an
    id is never used again, so every change of them changes the state. A day loses its sums with every change of its
    other counts, so they are kept with the sums. The state also has the expected groups and the number of merges and
    splits, which decide which shares of groups are counted.
    """

    state: set[tuple[str, str, int, int]]
    figures: DayFigures


class _Days(NamedTuple):
    """What one statement reads: the days with sums, and the days without."""

    summed: _Summed
    counts: list[Count]
    rest: DayFigures  # its steps and cells are `counts`


_MOST_SPANS = 8
_summed: dict[tuple[int, int], _Summed] = {}
process_memory.register(_summed.clear)


def _read_days(span: tuple[int, int], *, with_sums: bool) -> _Days:
    """Read the state of the sums, the other days, and the figures of the sums if wanted, in one statement."""
    found = _Days(_Summed(set(), DayFigures([], [], [], [])), [], DayFigures([], [], [], []))
    kept, rest = found.summed.figures, found.rest
    counted = facets.counted_facets() or [""]
    sql = (_DAYS_WITH_SUMS if with_sums else _DAYS).format(facets=", ".join(["%s"] * len(counted)))
    with replica.cursor(DailyRollup) as cursor:
        cursor.execute(sql, [*span, *counted * (4 if with_sums else 2)])
        for kind, is_kept, day_ms, event_type, one, other, events, expected in cursor.fetchall():
            figures = kept if is_kept else rest
            match kind:
                case "state":
                    found.summed.state.add((one, other, events, expected))
                case "count":
                    found.counts.append(Count(day_ms, event_type, one, other, events, expected))
                case "step":
                    figures.steps.append(Step(day_ms, event_type, other, events, expected))
                case "cell":
                    figures.cells.append(Cell(event_type, one, other, events, expected))
                case "facet":
                    figures.facets.append(FacetCount(one, other, event_type, events))
                case "mode":
                    figures.modes.append(ModeCount(event_type, int(one), int(other), events))
    return found


def by_day_and_name(start_ms: int, end_ms: int) -> list[Count]:
    """Return the counts per day, type, model and version in [start_ms, end_ms). Source and errors: as `by_day`."""
    _check_bounds(start_ms, end_ms, "day")
    with replica.cursor(DailyRollup) as cursor:
        cursor.execute(_DAYS_AND_NAMES, [start_ms, end_ms])
        return [Count._make((*row[:-1], min(row[-2:]))) for row in cursor.fetchall()]


def figures_of(counts: Iterable[Count]) -> Figures:
    """Return the sums of these counts."""
    steps: Counter[tuple[int, str, str]] = Counter()
    cells: Counter[tuple[str, str, str]] = Counter()
    expected_of_steps, expected_of_cells = steps.copy(), cells.copy()
    for start_ms, event_type, model, version, events, expected in counts:
        step, cell = (start_ms, event_type, version), (event_type, model, version)
        steps[step] += events
        cells[cell] += events
        expected_of_steps[step] += expected
        expected_of_cells[cell] += expected
    return Figures(
        [Step(*step, events, expected_of_steps[step]) for step, events in steps.items()],
        [Cell(*cell, events, expected_of_cells[cell]) for cell, events in cells.items()],
    )


def _check_bounds(start_ms: int, end_ms: int, bucket: str) -> None:
    step = BUCKETS[bucket]
    if start_ms % step or end_ms % step or start_ms >= end_ms:
        raise ValueError(f"the bounds are not the starts of two {bucket}s")


# One statement, so that an event stored meanwhile is not subtracted alone.
_HOURS = f"""
SELECT hour_ms, event_type, model, app_version, CAST(SUM(accepted) AS bigint), CAST(SUM(expected) AS bigint) FROM (
    SELECT hour_ms, event_type, model, app_version, accepted, 0 AS expected
    FROM {HourlyRollup._meta.db_table} WHERE hour_ms >= %s AND hour_ms < %s AND accepted > 0
    UNION ALL
    SELECT hour_ms, event_type, model, app_version, 0, accepted
    FROM {ExpectedRollup._meta.db_table} WHERE hour_ms >= %s AND hour_ms < %s AND accepted > 0
) AS counted GROUP BY hour_ms, event_type, model, app_version
"""  # noqa: S608 (our own names)


def _sql_of_days(sums: type[DailyRollup] | type[DailyExpected]) -> str:
    """Return the SQL of the sums of the days of `span`."""
    return f"""FROM {sums._meta.db_table}
    WHERE day_ms >= (SELECT first_ms FROM span) AND day_ms < (SELECT end_ms FROM span)"""  # noqa: S608 (our own names)


def _sql_of_hours(
    hours: type[HourlyRollup] | type[ExpectedRollup], sums: type[DailyRollup] | type[DailyExpected]
) -> str:
    """Return the SQL of the hours of those days that have no sums."""
    return f"""FROM days JOIN {hours._meta.db_table} ON hour_ms >= start_ms AND hour_ms < start_ms + {DAY_MS}
    WHERE accepted > 0 AND NOT EXISTS (SELECT 1 FROM {sums._meta.db_table} WHERE day_ms = start_ms)"""  # noqa: S608


# The start of each statement about days; its parameters are the bounds. It is one statement with what follows, so that
# a day whose sums are written or dropped meanwhile is read either by day or by hour. The span is limited to the days
# that have counts, because the caller may ask for all days.
_COUNTED = f"""
WITH RECURSIVE span (first_ms, end_ms) AS (
    SELECT CASE WHEN first_ms > start_ms THEN first_ms - first_ms %% {DAY_MS} ELSE start_ms END,
        CASE WHEN last_ms < end_ms - {DAY_MS} THEN last_ms - last_ms %% {DAY_MS} + {DAY_MS} ELSE end_ms END
    FROM (SELECT CAST(%s AS bigint) AS start_ms, CAST(%s AS bigint) AS end_ms,
        COALESCE((SELECT MIN(hour_ms) FROM {HourlyRollup._meta.db_table}), 0) AS first_ms,
        COALESCE((SELECT MAX(hour_ms) FROM {HourlyRollup._meta.db_table}), 0) AS last_ms) AS bounds
), starts (start_ms) AS (
    SELECT first_ms FROM span
    UNION ALL SELECT start_ms + {DAY_MS} FROM starts WHERE start_ms + {DAY_MS} < (SELECT end_ms FROM span)
), days AS (
    SELECT start_ms FROM starts WHERE start_ms < (SELECT end_ms FROM span)
), summed (day_ms, event_type, model, app_version, accepted, expected) AS (
    SELECT day_ms, event_type, model, app_version, accepted, 0 {_sql_of_days(DailyRollup)}
    UNION ALL
    SELECT day_ms, event_type, model, app_version, 0, accepted {_sql_of_days(DailyExpected)}
), rest (day_ms, event_type, model, app_version, accepted, expected) AS (
    SELECT start_ms, event_type, model, app_version, accepted, 0 {_sql_of_hours(HourlyRollup, DailyRollup)}
    UNION ALL
    SELECT start_ms, event_type, model, app_version, 0, accepted {_sql_of_hours(ExpectedRollup, DailyExpected)}
), counted AS (
    SELECT * FROM summed UNION ALL SELECT * FROM rest
)
"""  # noqa: S608 (our own names)
_TOTALS = "CAST(SUM(accepted) AS bigint), CAST(SUM(expected) AS bigint)"
_STATE = "CAST(COALESCE(SUM(id), 0) AS bigint), COALESCE(MAX(id), 0)"
_FACETS, _MODES, _SHARES = FacetRollup._meta.db_table, ModeRollup._meta.db_table, GroupShare._meta.db_table
_HAS_SUMS = f"EXISTS (SELECT 1 FROM {DailyRollup._meta.db_table} WHERE day_ms = start_ms)"  # noqa: S608 (our own names)
_HAS_BOTH_SUMS = f"{_HAS_SUMS} AND EXISTS (SELECT 1 FROM {DailyExpected._meta.db_table} WHERE day_ms = start_ms)"  # noqa: S608


def _sql_of_names(*, with_sums: bool) -> str:
    """Return the SQL of the modes and facets of the days with sums, or of those without.

    The last part are the facets of expected groups. Its days need the sums of expected events, too.
    """
    is_kept, number = ("", 1) if with_sums else ("NOT", 0)
    return f"""
SELECT 'mode', {number}, NULL, event_type, CAST(write_mode AS text), CAST(connected AS text),
    CAST(SUM(accepted) AS bigint), 0
FROM days JOIN {_MODES} ON day_ms = start_ms
WHERE accepted > 0 AND {is_kept} {_HAS_SUMS} GROUP BY event_type, write_mode, connected
UNION ALL
SELECT 'facet', {number}, NULL, event_type, facet, name, CAST(SUM(accepted) AS bigint), 0
FROM days JOIN {_FACETS} ON day_ms = start_ms
WHERE accepted > 0 AND facet IN ({{facets}}) AND {is_kept} {_HAS_SUMS} GROUP BY event_type, facet, name
UNION ALL
SELECT 'facet', {number}, NULL, '', facet, name, CAST(SUM(accepted) AS bigint), 0
FROM {_SHARES} WHERE fingerprint IN (SELECT fingerprint FROM {FailureGroup._meta.db_table} WHERE status = 'expected')
    AND facet IN ({{facets}}) AND accepted > 0
    AND day_ms IN (SELECT start_ms FROM days WHERE {is_kept} ({_HAS_BOTH_SUMS})) GROUP BY facet, name
"""  # noqa: S608 (our own names)


# The state of the sums; then the days without sums. The columns are kind, whether the day has sums, day, type, and four
# that depend on the kind.
_DAYS = f"""{_COUNTED}
SELECT 'state', 0, CAST(NULL AS bigint), '', 'events', '', {_STATE} {_sql_of_days(DailyRollup)}
UNION ALL
SELECT 'state', 0, NULL, '', 'expected', '', {_STATE} {_sql_of_days(DailyExpected)}
UNION ALL
SELECT 'state', 0, NULL, '', 'group', fingerprint, 0, 0 FROM {FailureGroup._meta.db_table} WHERE status = 'expected'
UNION ALL
SELECT 'state', 0, NULL, '', 'merges', event_type, merges, 0 FROM {LifetimeTotal._meta.db_table}
UNION ALL
SELECT 'count', 0, day_ms, event_type, model, app_version, {_TOTALS} FROM rest
GROUP BY day_ms, event_type, model, app_version
UNION ALL
{_sql_of_names(with_sums=False)}
"""  # noqa: S608 (our own names)
_DAYS_WITH_SUMS = f"""{_DAYS}
UNION ALL
SELECT 'step', 1, day_ms, event_type, NULL, app_version, {_TOTALS} FROM summed GROUP BY day_ms, event_type, app_version
UNION ALL
SELECT 'cell', 1, NULL, event_type, model, app_version, {_TOTALS} FROM summed GROUP BY event_type, model, app_version
UNION ALL
{_sql_of_names(with_sums=True)}
"""  # noqa: S608 (our own names)
_DAYS_AND_NAMES = f"""{_COUNTED}
SELECT day_ms, event_type, model, app_version, {_TOTALS} FROM counted GROUP BY day_ms, event_type, model, app_version
"""  # noqa: S608 (our own names)


def sums(start_ms: int, end_ms: int, *, released: bool = False) -> TimeBucket:
    """Return the counts by type of [start_ms, end_ms), bounds at whole hours, in one query.

    Source: as `by_day` for whole days, as `by_hour` for the rest.
    """
    first_day_ms = min(start_ms + -start_ms % DAY_MS, end_ms)
    last_day_ms = max(end_ms - end_ms % DAY_MS, first_day_ms)
    versions = sorted(NO_RELEASES) if released else []
    only = f"WHERE app_version NOT IN ({', '.join(['%s'] * len(versions))})" if versions else ""
    counted, expected = dict.fromkeys(EventType.values, 0), dict.fromkeys(EventType.values, 0)
    rest = [start_ms, first_day_ms, last_day_ms, end_ms]
    with replica.cursor(DailyRollup) as cursor:
        cursor.execute(_SUMS.format(only=only), [first_day_ms, last_day_ms, *rest, *rest, *versions])
        for event_type, total, part in cursor.fetchall():
            counted[event_type], expected[event_type] = int(total), min(int(part), int(total))
    return TimeBucket(start_ms, counted, expected)


_SUMS = f"""{_COUNTED}
SELECT event_type, SUM(accepted), SUM(expected) FROM (
    SELECT event_type, app_version, accepted, expected FROM counted
    UNION ALL
    SELECT event_type, app_version, accepted, 0 FROM {HourlyRollup._meta.db_table}
    WHERE (hour_ms >= %s AND hour_ms < %s) OR (hour_ms >= %s AND hour_ms < %s)
    UNION ALL
    SELECT event_type, app_version, 0, accepted FROM {ExpectedRollup._meta.db_table}
    WHERE (hour_ms >= %s AND hour_ms < %s) OR (hour_ms >= %s AND hour_ms < %s)
) AS total {{only}} GROUP BY event_type
"""  # noqa: S608 (our own names)


def series(steps: Iterable[Step], start_ms: int, end_ms: int, step_ms: int) -> list[TimeBucket]:
    """Return one bucket per step of [start_ms, end_ms), oldest first. Empty buckets hold zeros."""
    zeros = dict.fromkeys(EventType.values, 0)
    buckets = [TimeBucket(start, zeros.copy(), zeros.copy()) for start in range(start_ms, end_ms, step_ms)]
    for at_ms, event_type, _, events, expected in steps:
        bucket = buckets[(at_ms - start_ms) // step_ms]
        bucket.counts[event_type] += events
        bucket.expected[event_type] += expected
    return buckets


def successes_by_day_and_model(start_ms: int, end_ms: int) -> list[tuple[int, str, int]]:
    """Return the start of the day, the model and the number of successes in [start_ms, end_ms), in no order.

    Source and errors: as `by_day`.
    """
    _check_bounds(start_ms, end_ms, "day")
    with replica.cursor(DailyRollup) as cursor:
        cursor.execute(_SUCCESSES, [start_ms, end_ms, SUCCESS])
        return [(day_ms, model, int(total)) for day_ms, model, total in cursor.fetchall()]


_SUCCESSES = f"""{_COUNTED}
SELECT day_ms, model, SUM(accepted) FROM counted WHERE event_type = %s GROUP BY day_ms, model
"""  # noqa: S608 (our own names)


def sliced(cells: Iterable[Cell], column: str) -> list[Slice]:
    """Return the successes, failures and expected events per `model` or `app_version`, the most events first."""
    names: dict[str, list[int]] = {}
    for cell in cells:
        counts = names.setdefault(getattr(cell, column), [0, 0, 0])
        counts[cell.event_type != SUCCESS] += cell.events - cell.expected
        counts[2] += cell.expected
    rows = (Slice(name, *counts) for name, counts in names.items())
    return sorted(rows, key=lambda row: (-row.events - row.expected, row.name))


def facet_slices(counted: Iterable[FacetCount], cells: Iterable[Cell]) -> dict[str, list[Slice]]:
    """Return the figures per value of each facet, the most events first.

    A facet that no success of these days has is left out: all its rates would be 1. NOT_TOLD has the rest of `cells`,
    which are all events of the same days.
    """
    names: dict[str, dict[str, list[int]]] = {}
    expected: list[FacetCount] = []
    for row in counted:
        if row.event_type:
            names.setdefault(row.facet, {}).setdefault(row.name, [0, 0, 0])[row.event_type != SUCCESS] += row.events
        else:
            expected.append(row)
    for row in expected:
        counts = names.get(row.facet, {}).get(row.name, [0, 0, 0])
        of_failures = min(row.events, counts[1])
        counts[1] -= of_failures
        counts[2] += of_failures
    totals = [0, 0, 0]
    for cell in cells:
        totals[cell.event_type != SUCCESS] += cell.events - cell.expected
        totals[2] += cell.expected
    found = {}
    for facet in facets.counted_facets():
        if not any(successes for successes, *_ in names.get(facet, {}).values()):
            continue
        # Events that were stored after the cells were read must not make the rest negative.
        rest = [max(total - sum(counts[at] for counts in names[facet].values()), 0) for at, total in enumerate(totals)]
        slices = [Slice(name, *counts) for name, counts in names[facet].items()]
        slices += [Slice(NOT_TOLD, *rest)] if any(rest) else []
        found[facet] = sorted(slices, key=lambda row: (-row.events - row.expected, row.name))
    return found


def timeseries(start_ms: int, end_ms: int, bucket: str) -> list[TimeBucket]:
    """Return one bucket per `day` or `hour` of [start_ms, end_ms), oldest first. Empty buckets hold zeros."""
    found = by_day(start_ms, end_ms) if bucket == "day" else figures_of(by_hour(start_ms, end_ms))
    return series(found.steps, start_ms, end_ms, BUCKETS[bucket])


class Names(NamedTuple):
    """The counted names, each in alphabetical order."""

    models: list[str]
    versions: list[str]
    facets: dict[str, list[str]]


def names(start_ms: int, end_ms: int) -> Names:
    """Return the models, the versions, and the values of each facet that were counted in [start_ms, end_ms).

    Source and errors: as `by_day`.
    """
    found = by_day(start_ms, end_ms)
    values: dict[str, set[str]] = {}
    for facet, name, event_type, _ in found.facets:
        if event_type and name != OTHER:
            values.setdefault(facet, set()).add(name)
    return Names(
        sorted({cell.model for cell in found.cells}),
        sorted({cell.app_version for cell in found.cells}),
        {facet: sorted(values[facet]) for facet in sorted(values)},
    )


def tallies(start: date, end: date) -> dict[str, int]:
    """Return the counts of the ingest outcomes on the days of [start, end). Source: IngestTally."""
    rows = IngestTally.objects.filter(seen_on__gte=start, seen_on__lt=end)
    return dict(rows.values_list("outcome").annotate(total=Sum("count")).order_by("outcome"))


def summary(days: int, today: date) -> dict[str, Any]:
    """Return the figures of `GET /metrics/summary`."""
    start_ms, end_ms = last_days(days, today)
    all_cells = by_day(start_ms, end_ms).cells
    by_type, expected_by_type = Counter[str](), Counter[str]()
    for cell in all_cells:
        by_type[cell.event_type] += cell.events
        expected_by_type[cell.event_type] += cell.expected
    successes, expected = by_type[SUCCESS], expected_by_type.total()
    failures = by_type.total() - successes - expected
    unexpected = {name: by_type[name] - expected_by_type[name] for name in EventType.values}
    return {
        "days": days,
        "from": (today - timedelta(days=days - 1)).isoformat(),
        "to": today.isoformat(),
        "totals": {
            "events": by_type.total(),
            "successes": successes,
            "failures": failures,
            "expected": expected,
        },
        "failure_rate": _rounded(failure_rate(successes, failures)),
        "flash_failure_rate": _rounded(flash_failure_rate(unexpected)),
        "connect_failure_rate": _rounded(connect_failure_rate(unexpected)),
        "by_type": {name: by_type[name] for name in EventType.values},
        "expected_by_type": {name: expected_by_type[name] for name in EventType.values},
        "by_model": list(_as_json(all_cells, "model")),
        "by_version": list(_as_json(all_cells, "app_version")),
    }


def _as_json(cells: list[Cell], column: str) -> Iterator[dict[str, Any]]:
    for row in sliced(cells, column):
        yield {
            column: row.name,
            "successes": row.successes,
            "failures": row.failures,
            "expected": row.expected,
            "failure_rate": _rounded(row.failure_rate),
        }


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 4)


def _rollups(start_ms: int, end_ms: int) -> Any:
    return _of_hours(HourlyRollup.objects, start_ms, end_ms)


def _expected(start_ms: int, end_ms: int) -> Any:
    return _of_hours(ExpectedRollup.objects, start_ms, end_ms)


def _of_hours(table: Any, start_ms: int, end_ms: int) -> Any:
    return table.filter(hour_ms__gte=start_ms, hour_ms__lt=end_ms, accepted__gt=0)
