"""The nightly check of the counts: one UTC day of events against its rollups, and the lifetime totals.

It reads one state of the database and blocks no writer.
"""

from datetime import date, timedelta

from events import clock
from events.counting import expected, rollups
from events.grouping import triage
from events.maintenance import retention
from events.maintenance.jobs.registry import JobFailed
from events.reports import metrics

_SHOWN = 3


def check_yesterday() -> str:
    """Compare the counts of yesterday. Return the result in words; raises JobFailed if counts differ.

    First complete interrupted decisions about expected groups, as the start of the server does.
    """
    triage.count_expected()
    day = clock.today() - timedelta(days=1)
    differences = [*differences_of(day), *total_differences()]
    if differences:
        shown = "; ".join(differences[:_SHOWN])
        more = f"; and {len(differences) - _SHOWN:,} more" if len(differences) > _SHOWN else ""
        raise JobFailed(
            f"Counts differ from the stored events: {shown}{more}."
            f" Compare with “manage.py rebuild_rollups --check --from {day}”, and repair without --check."
        )
    return f"The counts of {day} and the totals agree with the stored events."


def differences_of(day: date) -> list[str]:
    """Return the differences between the counts and the events of a UTC day in words; none for a pruned day."""
    day_ms = metrics.day_start_ms(day)
    if day_ms < retention.whole_since_ms():
        return []
    with rollups.snapshot():
        return [*map(str, rollups.compare(day_ms)), *map(str, expected.compare(day_ms))]


def total_differences() -> list[str]:
    """Return each lifetime total that differs from the sum of its hours, in words."""
    return [
        f"lifetime total of {event_type}: {total:,}, but the sum of its hours is {in_hours:,}"
        for event_type, total, in_hours in rollups.compare_totals()
    ]
