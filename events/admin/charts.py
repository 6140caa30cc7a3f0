"""Geometry of SVG charts for templates, in per cent of the plot, so that the text size does not depend on the width."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from math import ceil, floor, log10
from typing import NamedTuple

from events.counting import releases
from events.models import EventType, Release
from events.process_memory import Recent
from events.querysets import SUCCESS

GRID_LINES = 3
# In pixels: the room for a name on the time axis, and the width of a plot on a whole page or in a column.
CHARACTER_WIDTH, NAME_GAP = 7.7, 11.0
PAGE_WIDTH, COLUMN_WIDTH = 1_100, 340
# The steps of a scale of rates. The last one reaches 1 with four lines.
RATE_STEPS = (0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.25)
# The releases of a span are read again after this time.
READ_SECONDS = 10
_recent: Recent[list[Release]] = Recent(READ_SECONDS)


class Column(NamedTuple):
    """The data of one bar. `label` is below it, `title` its tooltip, `url` its link, `name` that of its table row."""

    label: str
    title: str
    counts: dict[str, int]
    url: str
    name: str = ""


class Segment(NamedTuple):
    event_type: str
    y: str
    height: str


class Bar(NamedTuple):
    x: str
    width: str
    middle: str
    title: str
    label: str
    anchor: str
    url: str
    segments: list[Segment]


class GridLine(NamedTuple):
    y: str
    label: str
    is_zero: bool


class StackedBars(NamedTuple):
    bars: list[Bar]
    grid: list[GridLine]


class Tick(NamedTuple):
    """A mark on the time axis, with a tooltip. Its name is shown on focus, and always if `has_room`."""

    x: str
    title: str
    name: str
    anchor: str
    has_room: bool


class Interval(NamedTuple):
    """A rate and its interval, in per cent of a scale that ends at the largest upper bound."""

    low: str
    width: str
    middle: str


class Difference(NamedTuple):
    """The interval of a difference on a scale that contains zero, in per cent of the width."""

    low: str
    width: str
    middle: str
    high: str
    zero: str


class Mark(NamedTuple):
    """One value of a line, with its tooltip. `from_x` and `from_y` are the place of the value before, "" without."""

    x: str
    y: str
    title: str
    from_x: str
    from_y: str


class AxisLabel(NamedTuple):
    x: str
    anchor: str
    text: str


class RateLines(NamedTuple):
    """Lines of rates (0 to 1) over days, with a common scale from zero."""

    lines: list[list[Mark]]
    grid: list[GridLine]
    labels: list[AxisLabel]


def first_seen_between(start_ms: int, end_ms: int, now: datetime) -> list[Release]:
    """Return the releases first seen in [start_ms, end_ms), oldest first. They can be READ_SECONDS old."""
    return _recent.get((start_ms, end_ms), now, lambda: releases.first_seen_between(start_ms, end_ms))


def release_ticks(start_ms: int, end_ms: int, now: datetime, width: int = PAGE_WIDTH) -> list[Tick]:
    """Return a tick for each release first seen in [start_ms, end_ms), on an axis of that span."""
    return ticks(first_seen_between(start_ms, end_ms, now), start_ms, end_ms, width)


def ticks(found: Sequence[Release], start_ms: int, end_ms: int, width: int = PAGE_WIDTH) -> list[Tick]:
    """Return a tick for each of these releases, oldest first. Of names that would overlap, the newest has room.

    `width` is that of the plot in pixels.
    """
    drawn, free_until = [], 100.0
    for release in reversed(found):
        at = datetime.fromtimestamp(release.first_seen_ms / 1000, UTC)
        x = 100 * (release.first_seen_ms - start_ms) / (end_ms - start_ms)
        room = 100 * (NAME_GAP + CHARACTER_WIDTH * len(release.app_version)) / width
        at_end = x + room > 100
        left = x - room if at_end else x
        has_room = left >= 0 and left + room <= free_until
        free_until = left if has_room else free_until
        title = f"{release.app_version} was first seen {at:%-d %b, %H:%M} UTC"
        drawn.append(Tick(_percent(x), title, release.app_version, "end" if at_end else "start", has_room))
    return drawn[::-1]


def intervals(rates: Sequence[tuple[float, tuple[float, float]]]) -> list[Interval]:
    """Return rates and their intervals on a common scale."""
    most = max((high for _, (_, high) in rates), default=0) or 1
    return [
        Interval(_percent(100 * low / most), _percent(100 * (high - low) / most), _percent(100 * rate / most))
        for rate, (low, high) in rates
    ]


def difference(value: float, interval: tuple[float, float]) -> Difference:
    """Return the interval of a difference, with zero on its scale and a sixth of the width free on each side."""
    low, high = interval
    start, end = min(low, 0.0), max(high, 0.0)
    span = (end - start) * 1.5 or 1.0

    def place(at: float) -> str:
        return _percent(100 * ((at - start) / span + 1 / 6))

    return Difference(place(low), _percent(100 * (high - low) / span), place(value), place(high), place(0.0))


def rate_lines(lines: Sequence[Sequence[tuple[float, str] | None]], labels: Sequence[str]) -> RateLines:
    """Return one line for each sequence of a rate and a tooltip by day, None for a day without a rate.

    `labels` has a text for each day. About seven of them are shown, counted from the last one.
    """
    rates = [point[0] for line in lines for point in line if point is not None]
    most = max(rates, default=0.0)
    step = next(step for step in RATE_STEPS if most <= GRID_LINES * step or step == RATE_STEPS[-1])
    steps = max(ceil(round(most / step, 9)), 1)
    top = steps * step
    days = len(labels)
    every = max(1, round(days / 7))

    def marks(line: Sequence[tuple[float, str] | None]) -> Iterator[Mark]:
        before = ("", "")
        for day, point in enumerate(line):
            if point is not None:
                place = (_percent(100 * (day + 0.5) / days), _percent(100 * (1 - point[0] / top)))
                yield Mark(*place, point[1], *before)
                before = place

    return RateLines(
        [list(marks(line)) for line in lines],
        [
            GridLine(_percent(100 - 100 * number / steps), f"{100 * number * step:.0f} %", number == 0)
            for number in range(steps + 1)
        ],
        [
            AxisLabel(
                _percent(100 * (day + 0.5) / days if days - 1 - day or days < 12 else 100),
                "middle" if days - 1 - day or days < 12 else "end",
                label,
            )
            for day, label in enumerate(labels)
            if (days - 1 - day) % every == 0
        ],
    )


def stacked_bars(columns: Sequence[Column], *, label_every: int) -> StackedBars:
    """Return bars with successes above and failures below a common zero line.

    Every `label_every`-th bar has a label, counted from the last one. Without events the chart is only a zero line.
    """
    return _bars(columns, label_every, {SUCCESS})


def bars(columns: Sequence[Column], *, label_every: int) -> StackedBars:
    """Return the same chart with all events above the zero line."""
    return _bars(columns, label_every, set(EventType.values))


def _bars(columns: Sequence[Column], label_every: int, above: set[str]) -> StackedBars:
    up = max((sum(column.counts[name] for name in above & column.counts.keys()) for column in columns), default=0)
    down = max((sum(column.counts[name] for name in column.counts.keys() - above) for column in columns), default=0)
    step = _round_step(max(up, down) / GRID_LINES)
    # Keep 6 % of space above and below the bars, so that they do not touch a label.
    top = max(up * 1.06, step)
    span = top + down * 1.06
    width = 100 / max(len(columns), 1)
    drawn = []
    for number, column in enumerate(columns):
        from_last = len(columns) - 1 - number
        fits = bool(from_last) or width > 8
        bar = Bar(
            x=_percent(number * width),
            width=_percent(width),
            middle=_percent((number + 0.5) * width if fits else 100),
            title=column.title,
            label=column.label if from_last % label_every == 0 else "",
            anchor="middle" if fits else "end",
            url=column.url,
            segments=list(_segments(column.counts, above, top, span)),
        )
        drawn.append(bar)
    lines = range(-floor(down / step), floor(top / step) + 1)
    grid = [GridLine(_percent(100 * (top - line * step) / span), f"{abs(line * step):,}", line == 0) for line in lines]
    return StackedBars(drawn, grid)


def _segments(counts: dict[str, int], above: set[str], top: float, span: float) -> Iterator[Segment]:
    upper = lower = 100 * top / span
    for event_type, count in counts.items():
        height = 100 * count / span
        if count and event_type in above:
            upper -= height
            yield Segment(event_type, _percent(upper), _percent(height))
        elif count:
            yield Segment(event_type, _percent(lower), _percent(height))
            lower += height


def sparkline(values: Sequence[float | None]) -> str:
    """Return the `points` of a polyline in a box of 100 × 100; None counts as zero. Return "" for zeros only."""
    heights = [value or 0 for value in values]
    most = max(heights, default=0)
    if not most or len(heights) < 2:
        return ""
    step = 100 / (len(heights) - 1)
    return " ".join(f"{number * step:.1f},{96 - 92 * height / most:.1f}" for number, height in enumerate(heights))


def _round_step(most: float) -> int:
    """Return the largest round integer up to `most`, at least 1."""
    power = 10 ** floor(log10(most)) if most >= 1 else 1
    round_numbers = (8, 6, 5, 4, 3, 2.5, 2, 1.5, 1)
    return next((int(step * power) for step in round_numbers if step * power <= most and step * power % 1 == 0), 1)


def _percent(value: float) -> str:
    return f"{value:.2f}%"
