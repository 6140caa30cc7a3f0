"""`GET /metrics/timeseries`: gap-filled buckets by type."""

from datetime import date, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from events import clock
from events.grouping import triage
from events.reports import metrics
from tests.conftest import make_event, success
from tests.refusals import expect_answer

pytestmark = pytest.mark.django_db

STAFF = {"Authorization": "Bearer for-tests"}
ZEROS = {
    "flash_success": 0,
    "flash_error": 0,
    "connect_error": 0,
    "window_error": 0,
    "unhandled_rejection": 0,
}
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
START_MS = metrics.day_start_ms(date(2026, 2, 12))


@pytest.fixture(autouse=True)
def _admin_token(settings: Any) -> None:
    settings.ADMIN_TOKEN = "for-tests"


@pytest.mark.parametrize("bucket", ["day", "hour"])
def test_every_event_is_in_its_bucket(client: Client, bucket: str) -> None:
    now_ms = clock.now_ms()
    make_event(received_at_ms=now_ms)
    make_event(received_at_ms=now_ms, **success())
    answer = client.get(f"/metrics/timeseries?days=2&bucket={bucket}", headers=STAFF)
    assert answer.status_code == 200
    step = {"day": 86_400_000, "hour": 3_600_000}[bucket]
    filled = [found for found in answer.json()["buckets"] if any(found["counts"].values())]
    assert filled == [
        {
            "start": clock.iso(now_ms - now_ms % step),
            "counts": {
                "flash_success": 1,
                "flash_error": 1,
                "connect_error": 0,
                "window_error": 0,
                "unhandled_rejection": 0,
            },
            "failures": 1,
            "expected": 0,
        }
    ]


@pytest.mark.parametrize("bucket", ["day", "hour"])
def test_expected_events_are_counted_apart(client: Client, bucket: str) -> None:
    make_event()
    picker = make_event(event_type="connect_error", message="No port selected")
    triage.expect([str(picker.fingerprint)], user=User.objects.create_user("olga"), at=clock.now())
    buckets = client.get(f"/metrics/timeseries?days=1&bucket={bucket}", headers=STAFF).json()["buckets"]
    (filled,) = [at for at in buckets if at["expected"]]
    assert (filled["failures"], filled["expected"], filled["counts"]["connect_error"]) == (1, 1, 1)
    series = metrics.timeseries(*metrics.last_days(1, clock.today()), bucket)
    assert sum(at.failures for at in series) == 1


@pytest.mark.parametrize(
    ("query", "bucket", "days", "count"),
    [
        ("", "day", 30, 30),
        ("?days=1", "day", 1, 1),
        ("?bucket=day&days=400", "day", 400, 400),
        ("/?bucket=hour", "hour", 1, 24),
        ("?bucket=hour&days=31", "hour", 31, 744),
    ],
)
def test_quiet_buckets_hold_zeros_oldest_first(client: Client, query: str, bucket: str, days: int, count: int) -> None:
    today = clock.today()
    step = timedelta(days=1) if bucket == "day" else timedelta(hours=1)
    first = metrics.day_start_ms(today - timedelta(days=days - 1))
    starts = [clock.iso(first + number * int(step.total_seconds() * 1000)) for number in range(count)]
    answer = client.get(f"/metrics/timeseries{query}", headers=STAFF)
    buckets = [{"start": start, "counts": ZEROS, "failures": 0, "expected": 0} for start in starts]
    expect_answer(answer, 200, {"ok": True, "days": days, "bucket": bucket, "buckets": buckets})


@pytest.mark.parametrize(
    ("bucket", "expected"),
    [
        ("day", {START_MS: 4, START_MS + DAY_MS: 1}),
        ("hour", {START_MS: 2, START_MS + HOUR_MS: 1, START_MS + 23 * HOUR_MS: 1, START_MS + DAY_MS: 1}),
    ],
)
def test_a_bucket_contains_its_first_millisecond_and_not_that_of_the_next(
    bucket: str, expected: dict[int, int]
) -> None:
    received = (-1, 0, HOUR_MS - 1, HOUR_MS, DAY_MS - 1, DAY_MS, 2 * DAY_MS)
    for offset in received:
        make_event(received_at_ms=START_MS + offset, message=f"At {offset}")
    series = metrics.timeseries(START_MS, START_MS + 2 * DAY_MS, bucket)
    assert {at.start_ms: at.counts["flash_error"] for at in series if any(at.counts.values())} == expected


def test_buckets_distinguish_types_but_not_models() -> None:
    for changes in ({}, {"model": "DM-32UV"}, {"event_type": "window_error"}, success(), success()):
        make_event(received_at_ms=START_MS, **changes)
    (only,) = metrics.timeseries(START_MS, START_MS + DAY_MS, "day")
    assert only == (START_MS, ZEROS | {"flash_error": 2, "window_error": 1, "flash_success": 2}, ZEROS)


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("days=0", {"days": ["Ensure this value is greater than or equal to 1."]}),
        ("days=401", {"days": ["Ensure this value is less than or equal to 400."]}),
        ("days=x", {"days": ["Enter a whole number."]}),
        ("bucket=week", {"bucket": ["Select a valid choice. week is not one of the available choices."]}),
        ("bucket=hour&days=32", {"days": ["At most 31 days by the hour."]}),
        (
            "bucket=%00&days=x",
            {
                "days": ["Enter a whole number."],
                "bucket": ["Select a valid choice. \x00 is not one of the available choices."],
            },
        ),
    ],
)
def test_a_bad_parameter_is_named_in_words(client: Client, query: str, fields: dict[str, list[str]]) -> None:
    answer = client.get(f"/metrics/timeseries?{query}", headers=STAFF)
    expect_answer(answer, 400, {"ok": False, "error": "Invalid parameters", "fields": fields})
