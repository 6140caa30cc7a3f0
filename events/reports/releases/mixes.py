"""Whether two releases were flashed to different mixes of models, and their failure rates with the mix of both.

A model that fails often raises the rate of a release that many of its owners use, without a fault of the release.
Everything here is pure and in closed form. A mix is the flashes of one release by model.
"""

from collections.abc import Mapping
from math import cbrt, sqrt
from statistics import NormalDist
from typing import Any, NamedTuple

from events.reports.releases.verdicts import Flashes

# Mixes differ if at least this share of the flashes would have to be of another model to make them equal …
LEAST_DISTANCE = 0.10
# … and if chance explains a larger difference in at most 1 % of equal mixes.
_Z_CHANCE = NormalDist().inv_cdf(0.99)
# The chi-square test needs this many expected flashes in each cell.
_LEAST_EXPECTED = 5


class Adjusted(NamedTuple):
    """The failure rates that both releases would have with the same mix of models.

    `covered` is the share of all their flashes (0 to 1) of models that both releases have. The rates are of these.
    """

    rate: float
    other_rate: float
    covered: float

    @property
    def difference(self) -> float:
        return self.rate - self.other_rate


def differ(new: Mapping[str, Flashes], old: Mapping[str, Flashes]) -> bool:
    """Return whether two mixes differ by LEAST_DISTANCE, and by more than chance.

    Chance is judged by the chi-square test of homogeneity at the 1 % level, with Wilson and Hilferty's approximation of
    the quantile. Models with fewer than five expected flashes in one release are pooled.
    """
    new_total, old_total = _total(new), _total(old)
    if not new_total or not old_total:
        return False
    models = {name: (_of(new, name), _of(old, name)) for name in {*new, *old}}
    distance = sum(abs(n / new_total - o / old_total) for n, o in models.values()) / 2
    columns = _pooled(list(models.values()), min(new_total, old_total) / (new_total + old_total))
    degrees = len(columns) - 1
    if distance < LEAST_DISTANCE or not degrees:
        return False
    new_share = new_total / (new_total + old_total)
    chi_square = sum((n - new_share * (n + o)) ** 2 / ((n + o) * new_share * (1 - new_share)) for n, o in columns)
    spread = 2 / (9 * degrees)
    return (cbrt(chi_square / degrees) - (1 - spread)) / sqrt(spread) > _Z_CHANCE


def adjusted(new: Mapping[str, Flashes], old: Mapping[str, Flashes]) -> Adjusted | None:
    """Return both rates by direct standardisation, None if no model has flashes of both releases.

    The standard mix is that of the flashes of both releases together, over the models that both have.
    """
    common = sorted(name for name in new if _of(new, name) and _of(old, name))
    weights = {name: _of(new, name) + _of(old, name) for name in common}
    total = sum(weights.values())
    if not total:
        return None

    def rate(mix: Mapping[str, Flashes]) -> float:
        return sum(weights[name] * mix[name].failures / mix[name].total for name in common) / total

    return Adjusted(rate(new), rate(old), total / (_total(new) + _total(old)))


def as_json(rates: Adjusted) -> dict[str, Any]:
    """Return the key `adjusted` of `GET /releases/{version}`, with four decimals."""
    return {
        "failure_rate": round(rates.rate, 4),
        "failure_rate_of_other": round(rates.other_rate, 4),
        "covered": round(rates.covered, 4),
    }


def _of(mix: Mapping[str, Flashes], name: str) -> int:
    return mix[name].total if name in mix else 0


def _total(mix: Mapping[str, Flashes]) -> int:
    return sum(flashes.total for flashes in mix.values())


def _pooled(counts: list[tuple[int, int]], least_share: float) -> list[tuple[int, int]]:
    """Pool the smallest columns, so that each has _LEAST_EXPECTED flashes of the smaller release to expect."""
    columns: list[tuple[int, int]] = []
    rest = (0, 0)
    for new, old in sorted(counts, key=sum, reverse=True):
        if (new + old) * least_share >= _LEAST_EXPECTED:
            columns.append((new, old))
        else:
            rest = (rest[0] + new, rest[1] + old)
    if columns and 0 < sum(rest) * least_share < _LEAST_EXPECTED:
        new, old = columns.pop()
        rest = (rest[0] + new, rest[1] + old)
    return [*columns, rest] if any(rest) else columns
