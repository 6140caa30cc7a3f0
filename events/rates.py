"""Rate limits as settings and tokens contain them, such as `120/m` or `5/10s`."""

import re
from functools import lru_cache

OFF = "off"
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def parse(raw: str) -> str | None:
    """Return a rate (units s, m, h, d), None for `off`. Raises ValueError."""
    if raw.lower() == OFF:
        return None
    if not re.fullmatch(r"[1-9]\d{0,8}/[1-9]?\d{0,3}[smhd]", raw, re.ASCII):
        raise ValueError
    return raw


@lru_cache
def split(rate: str) -> tuple[int, int]:
    """Return the count and the seconds of a rate."""
    most, _, time_span = rate.partition("/")
    return int(most), int(time_span[:-1] or 1) * _UNITS[time_span[-1]]
