"""What the old routes count: the public count in each mode, and the 410 responses of routes that are gone."""

from datetime import date, timedelta

from events.reports import metrics
from legacy import old_tables
from legacy.cutover import modes
from legacy.models import Mode

GONE_DAYS = 7
_GONE = "gone "


def count_now() -> int:
    """Return the public count of the current mode, without the cache.

    A count must never fall. With the cached mode, a process could return a lower count than another process.
    """
    while True:
        mode = modes.in_force().mode
        count = public_count(Mode(mode))
        if modes.in_force().mode == mode:
            return count


def public_count(mode: Mode) -> int:
    """Return the count of `/count` in this mode; in `gone`, the count of its successor."""
    return old_tables.count() if mode == Mode.SEPARATE else old_tables.stream_count()


def gone_outcome(route: str) -> str:
    """Return the outcome under which a 410 of an old route is counted."""
    return f"{_GONE}{route}"


def gone_by_route(today: date) -> dict[str, int]:
    """Return the number of 410 responses by route on the GONE_DAYS UTC days that end with today."""
    tallies = metrics.tallies(today - timedelta(days=GONE_DAYS - 1), today + timedelta(days=1))
    return {name.removeprefix(_GONE): count for name, count in tallies.items() if name.startswith(_GONE)}
