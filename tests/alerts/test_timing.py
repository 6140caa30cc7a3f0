"""Quiet hours and Mondays by the wall clock of a time zone, also when clocks change."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from events.alerts import timing
from events.models import AlertKind


def ms(text: str) -> int:
    """Return a UTC time such as `2026-02-12 21:30` in epoch milliseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("quiet", "zone", "at", "expected"),
    [
        (None, "UTC", "2026-02-12 23:00", "2026-02-12 23:00"),
        # Over midnight, and in one day; the first hour is quiet, the second one is not.
        ((22, 7), "UTC", "2026-02-12 21:59", "2026-02-12 21:59"),
        ((22, 7), "UTC", "2026-02-12 22:00", "2026-02-13 07:00"),
        ((22, 7), "UTC", "2026-02-13 06:59", "2026-02-13 07:00"),
        ((22, 7), "UTC", "2026-02-13 07:00", "2026-02-13 07:00"),
        ((1, 5), "UTC", "2026-02-13 00:59", "2026-02-13 00:59"),
        ((1, 5), "UTC", "2026-02-13 01:00", "2026-02-13 05:00"),
        ((1, 0), "UTC", "2026-02-13 23:30", "2026-02-14 00:00"),
        # In Berlin, UTC+1 in winter and UTC+2 in summer.
        ((22, 7), "Europe/Berlin", "2026-02-12 21:30", "2026-02-13 06:00"),
        ((22, 7), "Europe/Berlin", "2026-07-12 20:30", "2026-07-13 05:00"),
        # The night of 29 March 2026 has nine hours less one, that of 25 October one more.
        ((22, 7), "Europe/Berlin", "2026-03-28 21:30", "2026-03-29 05:00"),
        ((22, 7), "Europe/Berlin", "2026-10-24 20:30", "2026-10-25 06:00"),
        # An end that does not exist on 29 March (2:00 to 3:00): the clock shows 3:00 then.
        ((22, 2), "Europe/Berlin", "2026-03-28 21:30", "2026-03-29 01:00"),
        # An end that exists twice on 25 October (2:00): the first one.
        ((22, 2), "Europe/Berlin", "2026-10-24 20:30", "2026-10-25 00:00"),
        ((22, 2), "Europe/Berlin", "2026-10-25 01:30", "2026-10-25 01:30"),
        # Half an hour from UTC.
        ((22, 7), "Asia/Kolkata", "2026-02-12 16:30", "2026-02-13 01:30"),
    ],
)
def test_a_message_waits_until_the_quiet_hours_end(
    settings: Any, quiet: tuple[int, int] | None, zone: str, at: str, expected: str
) -> None:
    settings.ALERT_QUIET, settings.ALERT_TIME_ZONE = quiet, ZoneInfo(zone)
    assert timing.after_quiet(AlertKind.NEW, ms(at)) == ms(expected)
    for urgent in (AlertKind.SILENCE, AlertKind.JOB, AlertKind.DISK):
        assert timing.after_quiet(urgent, ms(at)) == ms(at)


@pytest.mark.parametrize(
    ("zone", "at", "expected"),
    [
        ("UTC", "2026-02-16 07:00", "2026-02-16 07:00"),
        ("UTC", "2026-02-16 06:59", "2026-02-09 07:00"),
        ("UTC", "2026-02-22 23:59", "2026-02-16 07:00"),
        ("Europe/Berlin", "2026-02-16 06:00", "2026-02-16 06:00"),
        # The clock changed on Sunday.
        ("Europe/Berlin", "2026-03-30 04:59", "2026-03-23 06:00"),
        ("Europe/Berlin", "2026-03-30 05:00", "2026-03-30 05:00"),
        # Monday there, Sunday here.
        ("Pacific/Auckland", "2026-02-15 18:00", "2026-02-15 18:00"),
    ],
)
def test_the_last_monday_at_seven(settings: Any, zone: str, at: str, expected: str) -> None:
    settings.ALERT_TIME_ZONE = ZoneInfo(zone)
    assert timing.last_monday(7, ms(at)).astimezone(UTC) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [(0, "0 minutes"), (1, "1 minute"), (119, "119 minutes"), (120, "2 hours"), (2_879, "47 hours"), (2_880, "2 days")],
)
def test_a_duration_is_in_its_largest_unit(minutes: int, expected: str) -> None:
    assert timing.duration(minutes * 60_000) == expected


def test_a_moment_names_its_zone(settings: Any) -> None:
    settings.ALERT_TIME_ZONE = ZoneInfo("Europe/Berlin")
    assert timing.moment(ms("2026-07-12 20:30")) == "Sun 12 Jul 2026, 22:30 CEST"
