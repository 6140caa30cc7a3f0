"""For whom: the models and versions with the most failed flashes of a period, in words.

Expected failures do not count. Source: HourlyRollup, ExpectedRollup.
"""

from collections import Counter

from django.db.models import Sum

from events.counting.buckets import HOUR_MS, OTHER, UNKNOWN
from events.models import EventType, ExpectedRollup, HourlyRollup

NAMES_SHOWN = 3


def lines(start_ms: int, end_ms: int, **filters: str) -> tuple[str, ...]:
    """Return a line for the models and one for the versions, in the hours of [start_ms, end_ms).

    There is none for a column of `filters`, and none without failures.
    """
    found = []
    for label, column in (("Models", "model"), ("Versions", "app_version")):
        if column in filters:
            continue
        failures = Counter[str]()
        for rows, sign in ((HourlyRollup.objects.all(), 1), (ExpectedRollup.objects.all(), -1)):
            hours = rows.filter(hour_ms__gte=start_ms - start_ms % HOUR_MS, hour_ms__lt=end_ms, **filters)
            failed = hours.filter(event_type=EventType.FLASH_ERROR).values_list(column)
            for name, total in failed.annotate(Sum("accepted")).order_by():
                failures[name] += sign * total
        # Names that say nothing are last.
        ranked = sorted(+failures, key=lambda name: (name in (UNKNOWN, OTHER), -failures[name], name))
        shown = ", ".join(f"{name} ({failures[name]:,})" for name in ranked[:NAMES_SHOWN])
        more = f" and {len(ranked) - NAMES_SHOWN:,} more" if len(ranked) > NAMES_SHOWN else ""
        if shown:
            found.append(f"{label} of the failures: {shown}{more}.")
    return tuple(found)
