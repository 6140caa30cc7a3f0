"""The geometry of the charts: where each line, bar and label is."""

from datetime import UTC, datetime

import pytest

from events.admin import charts
from events.models import Release


def test_a_sparkline_reaches_from_near_the_bottom_to_near_the_top() -> None:
    assert charts.sparkline([0, 5, 10]) == "0.0,96.0 50.0,50.0 100.0,4.0"


def test_a_gap_in_a_sparkline_counts_as_zero() -> None:
    assert charts.sparkline([2, None, 1]) == "0.0,4.0 50.0,96.0 100.0,50.0"


def test_a_sparkline_without_movement_is_empty() -> None:
    assert [charts.sparkline(values) for values in ([], [3], [0, 0], [None, None])] == ["", "", "", ""]
    assert charts.sparkline([0, 3]) == "0.0,96.0 100.0,4.0"


def column(success: int, *, label: str = "Mon", url: str = "", **failures: int) -> charts.Column:
    return charts.Column(label, f"{label}: {success}", {"flash_success": success} | failures, url)


def test_successes_go_up_and_failures_down_from_one_zero_line() -> None:
    drawn = charts.stacked_bars(
        [column(10, url="/mon", flash_error=2, connect_error=3), column(0, flash_error=0), column(4, connect_error=1)],
        label_every=1,
    )
    assert [(bar.x, bar.width, bar.middle, bar.anchor, bar.url) for bar in drawn.bars] == [
        ("0.00%", "33.33%", "16.67%", "middle", "/mon"),
        ("33.33%", "33.33%", "50.00%", "middle", ""),
        ("66.67%", "33.33%", "83.33%", "middle", ""),
    ]
    # 10 up and 5 down, with 6 % of air at both ends, are 15.9 units.
    assert [bar.segments for bar in drawn.bars] == [
        [
            ("flash_success", "3.77%", "62.89%"),
            ("flash_error", "66.67%", "12.58%"),
            ("connect_error", "79.25%", "18.87%"),
        ],
        [],
        [("flash_success", "41.51%", "25.16%"), ("connect_error", "66.67%", "6.29%")],
    ]
    assert drawn.grid == [
        ("85.53%", "3", False),
        ("66.67%", "0", True),
        ("47.80%", "3", False),
        ("28.93%", "6", False),
        ("10.06%", "9", False),
    ]


def test_more_failures_than_successes_set_the_grid() -> None:
    drawn = charts.stacked_bars([column(0, flash_error=9), column(1)], label_every=1)
    assert [(line.label, line.is_zero) for line in drawn.grid] == [
        ("9", False), ("6", False), ("3", False), ("0", True), ("3", False),
    ]  # fmt: skip


def test_bars_of_one_kind_begin_at_the_zero_line() -> None:
    columns = [charts.Column("Mon", "Monday", {"flash_error": count}, "") for count in (8, 0, 4)]
    drawn = charts.bars(columns, label_every=1)
    assert [bar.segments for bar in drawn.bars] == [
        [("flash_error", "5.66%", "94.34%")],
        [],
        [("flash_error", "52.83%", "47.17%")],
    ]
    assert [bar.x for bar in drawn.bars] == ["0.00%", "33.33%", "66.67%"]
    assert drawn.grid == [
        ("100.00%", "0", True),
        ("76.42%", "2", False),
        ("52.83%", "4", False),
        ("29.25%", "6", False),
        ("5.66%", "8", False),
    ]


def test_without_any_event_a_chart_is_a_zero_line_and_one_step() -> None:
    empty = ([], [("100.00%", "0", True), ("0.00%", "1", False)])
    assert charts.stacked_bars([], label_every=1) == empty
    assert charts.bars([], label_every=1) == empty
    assert charts.stacked_bars([column(0)], label_every=1).grid == empty[1]


def test_labels_count_back_from_the_last_bar() -> None:
    drawn = charts.stacked_bars([column(1, label=str(number)) for number in range(8)], label_every=3)
    assert [bar.label for bar in drawn.bars] == ["", "1", "", "", "4", "", "", "7"]


def test_the_label_of_a_narrow_last_bar_ends_at_the_edge() -> None:
    for count, ends in ((12, ("95.83%", "middle")), (13, ("100.00%", "end"))):
        drawn = charts.stacked_bars([column(1)] * count, label_every=1)
        assert (drawn.bars[-1].middle, drawn.bars[-1].anchor) == ends
        assert drawn.bars[-2].anchor == "middle"


@pytest.mark.parametrize(
    ("largest", "step"),
    [
        (0, 1),
        (2, 1),
        (6, 2),
        (7, 2),
        (8, 2),
        (9, 3),
        (21, 6),
        (24, 8),
        (30, 10),
        (42, 10),
        (45, 15),
        (75, 25),
        (750, 250),
    ],
)
def test_the_grid_has_round_steps_and_at_least_three_lines(largest: int, step: int) -> None:
    grid = charts.bars([charts.Column("", "", {"flash_error": largest}, "")], label_every=1).grid
    assert grid[1].label == str(step)


def test_intervals_share_one_scale_that_ends_with_the_widest() -> None:
    assert charts.intervals([(0.5, (0.25, 0.75)), (0.1, (0.05, 0.2))]) == [
        ("33.33%", "66.67%", "66.67%"),
        ("6.67%", "20.00%", "13.33%"),
    ]
    assert charts.intervals([(0.0, (0.0, 0.0))]) == [("0.00%", "0.00%", "0.00%")]
    assert charts.intervals([]) == []


@pytest.mark.django_db
def test_a_release_is_a_tick_at_the_moment_it_was_first_seen() -> None:
    noon_ms = 1_770_897_600_000  # 2026-02-12 12:00 UTC
    Release.objects.create(app_version="2.0.0", first_seen_ms=noon_ms, is_release=True)
    hour_ms = 3_600_000
    now = datetime(2026, 2, 12, 13, tzinfo=UTC)
    assert charts.release_ticks(noon_ms - 3 * hour_ms, noon_ms + hour_ms, now) == [
        ("75.00%", "2.0.0 was first seen 12 Feb, 12:00 UTC", "2.0.0", "start", True)
    ]
    assert charts.release_ticks(noon_ms + 1, noon_ms + hour_ms, now) == []


def test_names_of_releases_that_would_overlap_give_way_to_the_newest() -> None:
    found = [Release(app_version=f"19afc1{number}", first_seen_ms=at) for number, at in enumerate((10, 500, 520, 999))]
    drawn = charts.ticks(found, 0, 1_000)
    assert [(tick.name, tick.has_room, tick.anchor) for tick in drawn] == [
        ("19afc10", True, "start"),
        ("19afc11", False, "start"),
        ("19afc12", True, "start"),
        ("19afc13", True, "end"),
    ]
    # A name of seven characters needs a fifth of a narrow plot.
    narrow = charts.ticks([*found[:1], Release(app_version="2c87cac", first_seen_ms=150)], 0, 1_000, width=340)
    assert [tick.has_room for tick in narrow] == [False, True]


# --- differences and rates -------------------------------------------------------------------------------------------


def test_an_interval_of_a_difference_has_zero_on_its_scale() -> None:
    above = charts.difference(0.05, (0.02, 0.08))
    assert above == charts.Difference("33.33%", "50.00%", "58.33%", "83.33%", "16.67%")
    below = charts.difference(-0.05, (-0.08, -0.02))
    assert below == charts.Difference("16.67%", "50.00%", "41.67%", "66.67%", "83.33%")
    around = charts.difference(0.0, (-0.05, 0.05))
    assert (around.low, around.zero, around.high) == ("16.67%", "50.00%", "83.33%")


def test_lines_of_rates_skip_days_without_a_rate() -> None:
    drawn = charts.rate_lines([[(0.0, "a"), None, (0.3, "b")], [None, (0.15, "c"), None]], ["1 Feb", "2 Feb", "3 Feb"])
    assert drawn.lines == [
        [charts.Mark("16.67%", "100.00%", "a", "", ""), charts.Mark("83.33%", "0.00%", "b", "16.67%", "100.00%")],
        [charts.Mark("50.00%", "50.00%", "c", "", "")],
    ]
    assert [line.label for line in drawn.grid] == ["0 %", "10 %", "20 %", "30 %"]
    assert [label.text for label in drawn.labels] == ["1 Feb", "2 Feb", "3 Feb"]


@pytest.mark.parametrize(
    ("most", "labels"),
    [
        (0.0, ["0 %", "1 %"]),
        (0.004, ["0 %", "1 %"]),
        (0.08, ["0 %", "3 %", "6 %", "9 %"]),
        (0.2, ["0 %", "10 %", "20 %"]),
        (1.0, ["0 %", "25 %", "50 %", "75 %", "100 %"]),
    ],
)
def test_the_scale_of_rates_is_round(most: float, labels: list[str]) -> None:
    drawn = charts.rate_lines([[(most, "")]], ["1 Feb"])
    assert [line.label for line in drawn.grid] == labels
    assert drawn.grid[0] == charts.GridLine("100.00%", "0 %", True)


def test_about_seven_days_of_a_long_line_have_labels() -> None:
    drawn = charts.rate_lines([[(0.1, "")] * 90], [str(day) for day in range(90)])
    assert [label.text for label in drawn.labels] == ["11", "24", "37", "50", "63", "76", "89"]
    assert drawn.labels[-1] == charts.AxisLabel("100.00%", "end", "89")
