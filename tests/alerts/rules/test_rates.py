"""A failure rate far above its own past: a table of cases, months without any change, and how soon a rise is found."""

import random

import pytest

from events.alerts.rules import rates
from events.alerts.rules.evaluation import Problem
from events.reports.releases.verdicts import Flashes
from tests.fixtures.flashes import NOW, flash

QUIET = [Flashes(18, 2)] * 28  # 10 % of 20 flashes a day
BURSTS = [Flashes(18, 2)] * 24 + [Flashes(8, 12)] * 4  # a bad day in each week


@pytest.mark.parametrize(
    ("last", "past", "expected"),
    [
        (Flashes(18, 2), QUIET, False),
        (Flashes(14, 6), QUIET, False),  # 30 %: one day in a hundred
        (Flashes(9, 11), QUIET, True),  # 55 %
        (Flashes(0, 20), QUIET, True),
        # Another site, whose days differ more: 55 % is usual there.
        (Flashes(9, 11), BURSTS, False),
        (Flashes(0, 40), BURSTS, True),
        # Many flashes make a small rise certain, but not large.
        (Flashes(8_700, 1_300), [Flashes(9_000, 1_000)] * 28, False),
        (Flashes(8_000, 2_000), [Flashes(9_000, 1_000)] * 28, True),
        (Flashes(40, 60), [Flashes(55, 45)] * 28, False),  # less than one and a half times as much
        # Too few flashes to tell.
        (Flashes(0, 9), QUIET, False),
        (Flashes(20, 4), [Flashes(20, 0)] * 28, False),
        (Flashes(0, 20), [Flashes(0, 0)] * 28, False),
        (Flashes(0, 20), [Flashes(9, 1)] * 6 + [Flashes(0, 0)] * 22, False),
        (Flashes(0, 20), [Flashes(1, 0)] * 28, False),
        # No failure, or nothing but failures, in the past.
        (Flashes(5, 15), [Flashes(20, 0)] * 28, True),
        (Flashes(0, 20), [Flashes(0, 20)] * 28, False),
    ],
)
def test_a_rate_is_far_above_its_past(last: Flashes, past: list[Flashes], expected: bool) -> None:
    assert rates.is_above(last, past, rates.Z_OPENS) is expected


def test_the_dispersion_is_one_if_days_differ_by_chance_alone() -> None:
    assert rates.dispersion([]) == 1
    assert rates.dispersion([Flashes(9, 1)]) == 1
    assert rates.dispersion([Flashes(20, 0)] * 28) == 1
    assert rates.dispersion(QUIET) == 1
    # Two days of 10 flashes with 0 and 10 failures: (5² + 5²) / (10 · ½ · ½) / (2 - 1)
    assert rates.dispersion([Flashes(10, 0), Flashes(0, 10), Flashes(0, 0)]) == 20


def simulated(flashes_a_day: int, spread: float, days: int, rise_to: float | None = None) -> int:
    """Return the number of alerts of an unchanged site in so many days of hourly looks, or the days until one.

    The rate of a day is 8 %, times a lognormal factor with this standard deviation of its logarithm.
    """
    chance = random.Random(flashes_a_day + 7)
    hours: list[tuple[int, int]] = []
    alerts, is_open = 0, False
    for day in range(29 + days):
        rate = rise_to if rise_to and day >= 29 else min(0.08 * chance.lognormvariate(0, spread), 1)
        for _ in range(24):
            share = flashes_a_day / 24
            total = int(share) + (chance.random() < share % 1)
            failed = sum(chance.random() < rate for _flash in range(total))
            hours.append((total - failed, failed))
            if day < 29:
                continue
            windows = [hours[end - 24 : end] for end in range(len(hours), len(hours) - 29 * 24, -24)]
            last, *past = (Flashes(sum(s for s, _ in window), sum(f for _, f in window)) for window in windows)
            if rates.is_above(last, past, rates.Z_LASTS if is_open else rates.Z_OPENS):
                alerts += not is_open
                is_open = True
                if rise_to:
                    return day - 28
            else:
                is_open = False
        del hours[: -29 * 24]
    return alerts


@pytest.mark.parametrize(("flashes_a_day", "spread", "most"), [(20, 0, 1), (20, 0.5, 2), (200, 0.3, 4)])
def test_an_unchanged_site_gets_few_alerts_in_a_year(flashes_a_day: int, spread: float, most: int) -> None:
    assert simulated(flashes_a_day, spread, 365) <= most


@pytest.mark.parametrize(("rise_to", "most_days"), [(0.3, 4), (0.5, 2), (0.9, 1)])
def test_a_rise_is_found_soon(rise_to: float, most_days: int) -> None:
    assert 1 <= simulated(20, 0, 10, rise_to=rise_to) <= most_days


@pytest.mark.django_db
def test_the_problem_says_how_much_and_for_whom() -> None:
    for days_ago in range(1, 28):
        flash("a", 18, 2, days_ago=days_ago)
    assert list(rates.find(NOW)) == []
    flash("b", 2, 18, model="DM-32UV")
    (problem,) = rates.find(NOW)
    assert isinstance(problem, Problem)
    assert problem.opens
    assert problem.part
    assert problem.part.heading == "The failure rate of the last 24 hours is 90.0 %"
    assert problem.part.lines[0].startswith("18 of 20 flashes failed since ")
    assert problem.part.lines[1:] == (
        "In the 28 days before: 10.0 % (54 of 540).",
        "Models of the failures: DM-32UV (18).",
        "Versions of the failures: b (18).",
    )
