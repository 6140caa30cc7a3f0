"""Confidence intervals of rates, in closed form. Rates and bounds are 0 to 1.

Source: Newcombe, Statistics in Medicine 17 (1998), 857: Wilson's score interval without (method 3) and with continuity
correction (method 4).
"""

from math import sqrt
from statistics import NormalDist

Z_95 = NormalDist().inv_cdf(0.975)
Z_99 = NormalDist().inv_cdf(0.995)


def wilson(hits: float, events: float, z: float) -> tuple[float, float]:
    """Return Wilson's score interval of hits / events, (0, 1) without events."""
    if not events:
        return 0.0, 1.0
    center = hits + z * z / 2
    spread = z * sqrt(hits * (events - hits) / events + z * z / 4)
    low, high = (center - spread) / (events + z * z), (center + spread) / (events + z * z)
    return (low if hits else 0.0), (high if hits < events else 1.0)


def corrected(hits: int, events: int, z: float) -> tuple[float, float]:
    """Return Wilson's score interval with continuity correction, (0, 1) without events.

    It is wider. Without the correction, the interval of few events contains the rate less often than it says.
    """
    return _lower_bound(hits, events, z), 1 - _lower_bound(events - hits, events, z)


def _lower_bound(hits: int, events: int, z: float) -> float:
    if not hits:
        return 0.0
    rate = hits / events
    spread = z * sqrt(z * z - 1 / events + 4 * events * rate * (1 - rate) + 4 * rate - 2) + 1
    return max(2 * hits + z * z - spread, 0.0) / (2 * (events + z * z))
