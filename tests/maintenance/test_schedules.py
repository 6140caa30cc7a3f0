"""The time at which a job is due next."""

from datetime import UTC, datetime

import pytest

from events.maintenance.jobs.schedules import Daily, Every, Schedule, Weekly

SATURDAY_NOON = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "due"),
    [
        (Every(10), "2026-11-28T12:10"),
        (Daily(12, 1), "2026-11-28T12:01"),
        (Daily(12, 0), "2026-11-29T12:00"),
        (Daily(3, 15), "2026-11-29T03:15"),
        (Weekly(5, 12, 30), "2026-11-28T12:30"),
        (Weekly(5, 12, 0), "2026-12-05T12:00"),
        (Weekly(6, 4, 0), "2026-11-29T04:00"),
        (Weekly(0, 4, 0), "2026-11-30T04:00"),
    ],
)
def test_the_next_time_is_the_first_after_now(schedule: Schedule, due: str) -> None:
    assert schedule.next_after(SATURDAY_NOON) == datetime.fromisoformat(due).replace(tzinfo=UTC)
