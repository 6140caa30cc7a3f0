"""The geometry of the charts: where each line, bar and label is."""

from events.admin import charts


def test_a_sparkline_reaches_from_near_the_bottom_to_near_the_top() -> None:
    assert charts.sparkline([0, 5, 10]) == "0.0,96.0 50.0,50.0 100.0,4.0"


def test_a_gap_in_a_sparkline_counts_as_zero() -> None:
    assert charts.sparkline([2, None, 1]) == "0.0,4.0 50.0,96.0 100.0,50.0"


def test_a_sparkline_without_movement_is_empty() -> None:
    assert [charts.sparkline(values) for values in ([], [3], [0, 0], [None, None])] == ["", "", "", ""]
    assert charts.sparkline([0, 3]) == "0.0,96.0 100.0,4.0"
