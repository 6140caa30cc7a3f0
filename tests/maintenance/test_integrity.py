"""The nightly check of the counts of one UTC day."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events.counting.buckets import DAY_MS
from events.maintenance import integrity
from events.maintenance.jobs.registry import JobFailed
from events.models import HourlyRollup, LifetimeTotal, RetentionMark
from tests.conftest import make_event, success, turn_clock_to

NOON = datetime(2026, 2, 12, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)


@pytest.fixture(autouse=True)
def _events(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for days in (0, 1, 2):
        make_event(message=f"{days} days ago", received_at_ms=NOON_MS - days * DAY_MS)
        make_event(**success(), received_at_ms=NOON_MS - days * DAY_MS)
    turn_clock_to(monkeypatch, int((NOON + timedelta(hours=6)).timestamp()))


def failure() -> str:
    with pytest.raises(JobFailed) as failed:
        integrity.check_yesterday()
    return str(failed.value)


def test_counts_that_agree() -> None:
    assert integrity.check_yesterday() == "The counts of 2026-02-11 and the totals agree with the stored events."


def test_counts_that_differ_are_named_with_the_command() -> None:
    HourlyRollup.objects.filter(hour_ms=NOON_MS - DAY_MS, event_type="flash_error").update(accepted=7)
    assert failure() == (
        "Counts differ from the stored events: 2026-02-11T12:00:00.000Z flash_error: 7 counted, 1 events;"
        " 2026-02-11T12:00:00.000Z flash_error UV-5RM 19afc18: 7 counted, 1 events;"
        " lifetime total of flash_error: 3, but the sum of its hours is 9."
        " Compare with “manage.py rebuild_rollups --check --from 2026-02-11”, and repair without --check."
    )


def test_only_yesterday_and_the_totals_are_compared() -> None:
    HourlyRollup.objects.filter(hour_ms=NOON_MS - 2 * DAY_MS, event_type="flash_error").update(model="other")
    assert integrity.check_yesterday().startswith("The counts of 2026-02-11")
    LifetimeTotal.objects.filter(event_type="flash_success").update(accepted=2)
    assert "lifetime total of flash_success: 2, but the sum of its hours is 3." in failure()


def test_a_pruned_day_is_not_compared() -> None:
    RetentionMark.objects.create(id=1, whole_since_ms=NOON_MS)
    HourlyRollup.objects.filter(hour_ms=NOON_MS - DAY_MS).update(model="other")
    assert integrity.check_yesterday().startswith("The counts of 2026-02-11")


@pytest.mark.django_db(transaction=True)
def test_the_check_blocks_no_writer() -> None:
    with CaptureQueriesContext(connection) as queries:
        integrity.check_yesterday()
    statements = "\n".join(query["sql"] for query in queries)
    assert "IMMEDIATE" not in statements
    assert "LOCK TABLE" not in statements
    assert "FOR UPDATE" not in statements
    expected = {"sqlite": "BEGIN DEFERRED", "postgresql": "ISOLATION LEVEL REPEATABLE READ, READ ONLY"}
    assert statements.count(expected[connection.vendor]) == 2
    make_event(received_at_ms=NOON_MS)  # the next transaction is a usual one
