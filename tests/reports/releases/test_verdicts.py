"""The verdict on a release: published intervals, their properties, the words, and how often it is wrong."""

import itertools
import random
from math import comb
from statistics import median

import pytest

from events.reports import intervals
from events.reports.intervals import Z_95, Z_99
from events.reports.releases.verdicts import (
    LEAST_FAILURES,
    LEAST_FLASHES,
    MARGIN,
    Flashes,
    Verdict,
    VerdictName,
    compare,
    difference_interval,
)

# Newcombe 1998, Statistics in Medicine 17:873, Table II, method 10: failures and flashes of both sides, the interval.
PUBLISHED = [
    ((56, 70), (48, 80), (0.0524, 0.3339)),
    ((9, 10), (3, 10), (0.1705, 0.8090)),
    ((6, 7), (2, 7), (0.0582, 0.8062)),
    ((5, 56), (0, 29), (-0.0381, 0.1926)),
    ((0, 10), (0, 20), (-0.1611, 0.2775)),
    ((0, 10), (0, 10), (-0.2775, 0.2775)),
    ((10, 10), (0, 20), (0.6791, 1.0000)),
    ((10, 10), (0, 10), (0.6075, 1.0000)),
]
# Newcombe 1998, Statistics in Medicine 17:857, Table I, method 3: hits, events, the interval.
PUBLISHED_OF_ONE = [
    (81, 263, (0.2553, 0.3662)),
    (15, 148, (0.0624, 0.1605)),
    (0, 20, (0.0000, 0.1611)),
    (1, 29, (0.0061, 0.1718)),
]
# The same two tables with continuity correction: method 11 for a difference, method 4 for a rate.
PUBLISHED_CORRECTED = [((56, 70), (48, 80), (0.0428, 0.3422)), ((9, 10), (3, 10), (0.1013, 0.8387))]
PUBLISHED_CORRECTED_OF_ONE = [
    (81, 263, (0.2535, 0.3682)),
    (15, 148, (0.0598, 0.1644)),
    (0, 20, (0.0000, 0.2005)),
    (1, 29, (0.0018, 0.1963)),
]
SMALL = [(hits, events) for events in (1, 2, 7, 30) for hits in range(events + 1)]


def flashes(failures: int, total: int) -> Flashes:
    return Flashes(total - failures, failures)


@pytest.mark.parametrize(("new", "old", "expected"), PUBLISHED)
def test_the_interval_of_a_difference_is_the_published_one(
    new: tuple[int, int], old: tuple[int, int], expected: tuple[float, float]
) -> None:
    interval = difference_interval(flashes(*new), flashes(*old), Z_95)
    assert tuple(round(bound, 4) for bound in interval) == expected


@pytest.mark.parametrize(("hits", "events", "expected"), PUBLISHED_OF_ONE)
def test_the_interval_of_a_rate_is_the_published_one(hits: int, events: int, expected: tuple[float, float]) -> None:
    assert tuple(round(bound, 4) for bound in intervals.wilson(hits, events, Z_95)) == expected
    assert flashes(hits, events).interval == intervals.wilson(hits, events, Z_95)


@pytest.mark.parametrize(("new", "old", "expected"), PUBLISHED_CORRECTED)
def test_the_corrected_interval_of_a_difference_is_the_published_one(
    new: tuple[int, int], old: tuple[int, int], expected: tuple[float, float]
) -> None:
    interval = difference_interval(flashes(*new), flashes(*old), Z_95, intervals.corrected)
    assert tuple(round(bound, 4) for bound in interval) == expected


@pytest.mark.parametrize(("hits", "events", "expected"), PUBLISHED_CORRECTED_OF_ONE)
def test_the_corrected_interval_of_a_rate_is_the_published_one(
    hits: int, events: int, expected: tuple[float, float]
) -> None:
    assert tuple(round(bound, 4) for bound in intervals.corrected(hits, events, Z_95)) == expected


@pytest.mark.parametrize("z", [Z_95, Z_99])
def test_the_closed_form_agrees_with_a_search_for_the_rates_that_the_score_test_accepts(z: float) -> None:
    def edge(hits: int, events: int, outside: float) -> float:
        """Return the rate between hits / events and `outside` at which the score test begins to reject."""
        inside = hits / events
        for _ in range(60):
            rate = (inside + outside) / 2
            if abs(hits / events - rate) <= z * (rate * (1 - rate) / events) ** 0.5:
                inside = rate
            else:
                outside = rate
        return inside

    for hits, events in SMALL:
        expected = (edge(hits, events, 0.0), edge(hits, events, 1.0))
        assert intervals.wilson(hits, events, z) == pytest.approx(expected, abs=1e-9)
    assert intervals.wilson(0, 0, z) == (0.0, 1.0)


def test_the_interval_of_a_difference_is_symmetric_and_within_bounds() -> None:
    for new, old in itertools.product(SMALL, repeat=2):
        low, high = difference_interval(flashes(*new), flashes(*old), Z_95)
        difference = new[0] / new[1] - old[0] / old[1]
        assert -1 <= low <= difference <= high <= 1
        swapped = difference_interval(flashes(*old), flashes(*new), Z_95)
        assert swapped == pytest.approx((-high, -low))
        successes = difference_interval(Flashes(*flashes(*new)[::-1]), Flashes(*flashes(*old)[::-1]), Z_95)
        assert successes == pytest.approx((-high, -low))
        wide = difference_interval(flashes(*new), flashes(*old), Z_99)
        assert wide[0] <= low <= high <= wide[1]


@pytest.mark.parametrize(("rate", "old_rate"), [(0.08, 0.08), (0.16, 0.08), (0.3, 0.05), (0.5, 0.5), (0.02, 0.1)])
def test_the_interval_contains_the_true_difference_as_often_as_it_says(rate: float, old_rate: float) -> None:
    """Sums the exact probability of every pair of outcomes of 40 and 60 flashes."""

    def chances(events: int, p: float) -> list[float]:
        return [comb(events, hits) * p**hits * (1 - p) ** (events - hits) for hits in range(events + 1)]

    covered = 0.0
    for (hits, chance), (old_hits, old_chance) in itertools.product(
        enumerate(chances(40, rate)), enumerate(chances(60, old_rate))
    ):
        low, high = difference_interval(flashes(hits, 40), flashes(old_hits, 60), Z_95)
        covered += chance * old_chance * (low <= rate - old_rate <= high)
    assert 0.93 <= covered <= 0.98


VERDICTS = [
    ("the first release", flashes(9, 10), None, VerdictName.FIRST, False),
    ("no flash of either", flashes(0, 0), flashes(0, 0), VerdictName.TOO_FEW, False),
    ("no flash of the new one", flashes(0, 0), flashes(40, 500), VerdictName.TOO_FEW, False),
    ("the first flash failed", flashes(1, 1), flashes(8, 100), VerdictName.TOO_FEW, False),
    ("four failures are too few", flashes(4, 4), flashes(8, 100), VerdictName.TOO_FEW, False),
    ("five of five", flashes(5, 5), flashes(8, 100), VerdictName.WORSE, False),
    ("one flash too few for an alert", flashes(12, 29), flashes(40, 500), VerdictName.WORSE, False),
    ("enough for an alert", flashes(12, 30), flashes(40, 500), VerdictName.WORSE, True),
    ("worse at 95 %, not at 99 %", flashes(13, 80), flashes(40, 500), VerdictName.WORSE, False),
    ("equal rates, few flashes", flashes(4, 50), flashes(40, 500), VerdictName.TOO_FEW, False),
    ("equal rates, many flashes", flashes(40, 500), flashes(40, 500), VerdictName.NO_WORSE, False),
    ("a small rise that is proved", flashes(110, 1000), flashes(800, 10_000), VerdictName.WORSE, True),
    ("no failure at all", flashes(0, 500), flashes(0, 500), VerdictName.NO_WORSE, False),
    ("better", flashes(10, 300), flashes(60, 500), VerdictName.BETTER, False),
]


@pytest.mark.parametrize(
    ("new", "old", "name", "is_alarming"), [row[1:] for row in VERDICTS], ids=[v[0] for v in VERDICTS]
)
def test_the_verdict(new: Flashes, old: Flashes | None, name: VerdictName, is_alarming: bool) -> None:
    verdict = compare(new, old)
    assert (verdict.name, verdict.is_alarming) == (name, is_alarming)
    if old and new.total and old.total:
        assert verdict.interval == difference_interval(new, old, Z_95)
        assert verdict.difference == new.failures / new.total - old.failures / old.total
    else:
        assert verdict.interval is verdict.difference is None


WORDS = [
    (Verdict(VerdictName.FIRST), "first release"),
    (Verdict(VerdictName.TOO_FEW, 0.0, (-0.1, 0.1), 1), "too few to tell (about 1 more flash)"),
    (Verdict(VerdictName.TOO_FEW, 0.0, (-0.1, 0.1), 7), "too few to tell (about 7 more flashes)"),
    (Verdict(VerdictName.TOO_FEW, 0.0, (-0.1, 0.1), 143), "too few to tell (about 140 more flashes)"),
    (Verdict(VerdictName.TOO_FEW, 0.0, (-0.1, 0.1), 1250), "too few to tell (about 1,300 more flashes)"),
    (Verdict(VerdictName.TOO_FEW, 0.0, (-0.1, 0.1)), "too few to tell"),
    (Verdict(VerdictName.NO_WORSE, -0.01, (-0.032, 0.012)), "no worse (at most +1.2 points)"),
    (Verdict(VerdictName.WORSE, 0.047, (0.021, 0.074)), "worse by 2.1 to 7.4 points"),
    (Verdict(VerdictName.WORSE, 0.047, (0.0002, 0.074)), "worse by less than 0.1 to 7.4 points"),
    (Verdict(VerdictName.BETTER, -0.047, (-0.074, -0.021)), "better by 2.1 to 7.4 points"),
]


@pytest.mark.parametrize(("verdict", "words"), WORDS)
def test_a_verdict_has_words(verdict: Verdict, words: str) -> None:
    assert str(verdict) == words


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (flashes(4, 50), flashes(40, 500)),
        (flashes(2, 50), flashes(40, 500)),
        (flashes(6, 50), flashes(40, 500)),
        (flashes(7, 50), flashes(40, 500)),
        (flashes(0, 20), flashes(5, 500)),
        (flashes(0, 0), flashes(40, 500)),
        (flashes(1, 1), flashes(40, 500)),
        (flashes(4, 200), flashes(0, 2000)),
    ],
)
def test_the_flashes_needed_end_the_doubt_when_the_rates_stay(new: Flashes, old: Flashes) -> None:
    needed = compare(new, old).flashes_needed
    assert needed
    rate = new.failures / new.total if new.total else old.failures / old.total

    def is_decided(total: int) -> bool:
        low = rate - intervals.wilson(rate * total, total, Z_95)[0]
        high = intervals.wilson(rate * total, total, Z_95)[1] - rate
        old_rate = old.failures / old.total
        worse = rate - old_rate > (low**2 + (old.interval[1] - old_rate) ** 2) ** 0.5
        no_worse = rate - old_rate + (high**2 + (old_rate - old.interval[0]) ** 2) ** 0.5 <= MARGIN
        return no_worse or (worse and rate * total >= LEAST_FAILURES)

    assert is_decided(new.total + needed)
    assert needed == 1 or not is_decided(new.total + needed - 2)


def test_no_number_of_flashes_helps_when_the_other_release_has_too_few() -> None:
    for old in (flashes(0, 0), flashes(0, 3), flashes(1, 12)):
        verdict = compare(flashes(4, 50), old)
        assert (verdict.name, verdict.flashes_needed) == (VerdictName.TOO_FEW, None)


# --- how often the verdict is wrong, and how soon it is right --------------------------------------------------------

RUNS = 1_000


def alarm_days(seed: int, *, a_day: int, old_days: int, days: int, rate: float, runs: int = RUNS) -> list[int]:
    """Return the day of the first alarm of each simulated release, `days` + 1 without one. The old rate is 8 %.

    The old release had `a_day` flashes on each of its days, and so has the new one. Somebody looks once a day.
    """
    chance = random.Random(seed)

    def failed(events: int, p: float) -> int:
        return sum(chance.random() < p for _ in range(events))

    found = []
    for _ in range(runs):
        old = flashes(failed(a_day * old_days, 0.08), a_day * old_days)
        failures = 0
        for day in range(1, days + 1):
            failures += failed(a_day, rate)
            if compare(flashes(failures, a_day * day), old).is_alarming:
                break
        else:
            day = days + 1
        found.append(day)
    return found


@pytest.mark.parametrize(("seed", "a_day", "old_days"), [(1, 20, 30), (2, 20, 14), (3, 60, 14), (5, 20, 500)])
def test_at_most_one_unchanged_release_in_twenty_raises_a_false_alarm(seed: int, a_day: int, old_days: int) -> None:
    days = alarm_days(seed, a_day=a_day, old_days=old_days, days=30, rate=0.08)
    false_alarms = sum(day <= 30 for day in days) / RUNS
    assert 0.01 <= false_alarms <= 0.05


def test_a_doubled_failure_rate_is_found_by_the_fifth_day() -> None:
    runs = 4 * RUNS  # 51 to 53 % are found by that day, so fewer runs can miss half of them by chance
    days = alarm_days(4, a_day=20, old_days=30, days=30, rate=0.16, runs=runs)
    assert median(days) <= 5
    assert min(days) * 20 >= LEAST_FLASHES
    assert sum(day <= 30 for day in days) / runs >= 0.95


def test_the_constants_are_those_of_the_contract() -> None:
    assert (LEAST_FLASHES, LEAST_FAILURES) == (30, 5)
    assert (round(Z_95, 4), round(Z_99, 4)) == (1.96, 2.5758)
