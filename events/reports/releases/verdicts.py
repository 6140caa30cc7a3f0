"""Whether a release fails more often than another one: Newcombe's interval of the difference, and a verdict in words.

Everything here is pure and in closed form. Rates, bounds and differences are 0 to 1 (a difference −1 to 1, new minus
old). Source: Newcombe, Statistics in Medicine 17 (1998), 873: the hybrid score interval of a difference, without
(method 10) and with continuity correction (method 11).
"""

from collections.abc import Callable
from enum import StrEnum
from math import floor, inf, sqrt
from typing import NamedTuple

from events.reports import intervals
from events.reports.intervals import Z_95, Z_99

OfRate = Callable[[int, int, float], tuple[float, float]]
# "No worse" excludes a rise by more than this. A wider interval leaves the question open: too few flashes.
MARGIN = 0.05
# "Worse" needs this many failures: Newcombe's interval is too narrow for the very smallest samples.
LEAST_FAILURES = 5
# An alert also needs this many flashes of the release.
LEAST_FLASHES = 30


class VerdictName(StrEnum):
    """The verdict as `GET /releases` names it."""

    FIRST = "first"
    TOO_FEW = "too_few"
    NO_WORSE = "no_worse"
    WORSE = "worse"
    BETTER = "better"


class Flashes(NamedTuple):
    """The flashes of one release: the successes, and the failed ones. Expected failures are in neither."""

    successes: int
    failures: int

    @property
    def total(self) -> int:
        return self.successes + self.failures

    @property
    def failure_rate(self) -> float | None:
        """Return failures divided by flashes, None without flashes."""
        return self.failures / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float]:
        """Return Wilson's 95 % interval of the failure rate, (0, 1) without flashes."""
        return intervals.wilson(self.failures, self.total, Z_95)


class Verdict(NamedTuple):
    """The result of a comparison. str() gives it in words.

    `difference` and its 95 % `interval` are None if one release has no flashes. `flashes_needed` is the number of
    further flashes after which `too_few` ends if both rates stay as they are. It is None for other verdicts, and when
    the other release has too few flashes itself. `is_alarming`: an alert is due, see `compare`.
    """

    name: VerdictName
    difference: float | None = None
    interval: tuple[float, float] | None = None
    flashes_needed: int | None = None
    is_alarming: bool = False

    def __str__(self) -> str:
        low, high = self.interval or (-1.0, 1.0)
        if self.name == VerdictName.FIRST:
            return "first release"
        if self.name == VerdictName.WORSE:
            return f"worse by {points(low)} to {points(high)} points"
        if self.name == VerdictName.BETTER:
            return f"better by {points(-high)} to {points(-low)} points"
        if self.name == VerdictName.NO_WORSE:
            return f"no worse (at most +{points(high)} points)"
        if self.flashes_needed is None:
            return "too few to tell"
        return f"too few to tell ({more_flashes(self.flashes_needed)})"


def compare(new: Flashes, old: Flashes | None) -> Verdict:
    """Return the verdict on a release against another one, None if there is no other one.

    With (L, U), the 95 % interval of the rate of `new` minus that of `old`:

    - `worse` if L > 0, and `new` has LEAST_FAILURES failures;
    - `better` if U < 0;
    - `no_worse` if the interval contains zero and U ≤ MARGIN;
    - `too_few` otherwise.

    `is_alarming` if also the 99 % interval with continuity correction is above zero, with LEAST_FLASHES flashes and
    LEAST_FAILURES failures of `new`. With a look every day, the 95 % interval alone would report one in eight unchanged
    releases, and the 99 % interval without the correction up to 6 % of them.
    """
    if old is None:
        return Verdict(VerdictName.FIRST)
    if not new.total or not old.total:
        return Verdict(VerdictName.TOO_FEW, flashes_needed=_flashes_needed(new, old))
    difference = new.failures / new.total - old.failures / old.total
    low, high = interval = difference_interval(new, old, Z_95)
    if low > 0 and new.failures >= LEAST_FAILURES:
        is_alarming = new.total >= LEAST_FLASHES and difference_interval(new, old, Z_99, intervals.corrected)[0] > 0
        return Verdict(VerdictName.WORSE, difference, interval, is_alarming=is_alarming)
    if high < 0:
        return Verdict(VerdictName.BETTER, difference, interval)
    if low <= 0 and high <= MARGIN:
        return Verdict(VerdictName.NO_WORSE, difference, interval)
    return Verdict(VerdictName.TOO_FEW, difference, interval, _flashes_needed(new, old))


def difference_interval(
    new: Flashes, old: Flashes, z: float, of_rate: OfRate = intervals.wilson
) -> tuple[float, float]:
    """Return Newcombe's hybrid score interval of the difference of two failure rates. Both must have flashes.

    With `intervals.corrected` it is the interval with continuity correction (method 11).
    """
    rate, old_rate = new.failures / new.total, old.failures / old.total
    low, high = of_rate(new.failures, new.total, z)
    old_low, old_high = of_rate(old.failures, old.total, z)
    difference = rate - old_rate
    return (
        difference - sqrt((rate - low) ** 2 + (old_high - old_rate) ** 2),
        difference + sqrt((high - rate) ** 2 + (old_rate - old_low) ** 2),
    )


def points(share: float) -> str:
    """Format a difference from 0 to 1 in percentage points: `7.4`, and `less than 0.1` for the smallest ones."""
    return "less than 0.1" if 0 < share < 0.0005 else f"{100 * share:.1f}"


def more_flashes(number: int) -> str:
    """Return a number of missing flashes in words, rounded to two digits: `about 140 more flashes`."""
    step = int(10 ** max(len(str(number)) - 2, 0))
    about = (number + step // 2) // step * step
    return f"about {about:,} more flash{'' if about == 1 else 'es'}"


def _flashes_needed(new: Flashes, old: Flashes) -> int | None:
    """Return how many more flashes of `new` end `too_few` if both rates stay, None if no number does.

    A release without flashes is assumed to have the old rate. Newcombe's bounds are solved for the bound of Wilson's
    interval that makes L zero or U the margin, and Wilson's equation, (b − p)² = z² b (1 − b) / n, for n.
    """
    if not old.total:
        return None
    old_rate = old.failures / old.total
    rate = new.failures / new.total if new.total else old_rate
    low, high = old.interval
    until_failures = LEAST_FAILURES / rate if rate else inf
    until_worse = max(_sample_size(rate, -1, rate - old_rate, high - old_rate), until_failures)
    until_no_worse = _sample_size(rate, 1, MARGIN - (rate - old_rate), old_rate - low)
    total = min(until_worse, until_no_worse)
    return None if total == inf else max(floor(total) + 1 - new.total, 1)


def _sample_size(rate: float, side: int, distance: float, old_spread: float) -> float:
    """Return the flashes with which the difference is `distance` away from a bound; infinite if no number suffices.

    `side` is 1 for the upper bound and −1 for the lower one. `old_spread` is the part of the other release.
    """
    if distance <= old_spread:
        return inf
    spread = sqrt(distance**2 - old_spread**2)
    bound = rate + side * spread
    return Z_95**2 * bound * (1 - bound) / spread**2 if 0 < bound < 1 else 0.0
