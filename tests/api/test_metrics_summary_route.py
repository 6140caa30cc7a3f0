"""`GET /metrics/summary`: totals, failure rate, by type, model and version."""

from datetime import date, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from events import clock
from events.grouping import triage
from events.models import Event
from events.reports import metrics
from tests.conftest import make_event, success
from tests.refusals import expect_answer

pytestmark = pytest.mark.django_db

BEARER = {"authorization": "Bearer for-tests"}
ZEROS = {
    "flash_success": 0,
    "flash_error": 0,
    "connect_error": 0,
    "window_error": 0,
    "unhandled_rejection": 0,
}
DAY = date(2026, 2, 12)
DAY_MS = metrics.day_start_ms(DAY)


@pytest.fixture(autouse=True)
def _admin_token(settings: Any) -> None:
    settings.ADMIN_TOKEN = "for-tests"


@pytest.mark.parametrize(("query", "days"), [("", 30), ("?days=", 30), ("?days=1", 1), ("/?days=400", 400)])
def test_an_empty_site_has_zeros_and_no_rate(client: Client, query: str, days: int) -> None:
    today = clock.today()
    answer = client.get(f"/metrics/summary{query}", headers=BEARER)
    body = {
        "ok": True,
        "days": days,
        "from": (today - timedelta(days=days - 1)).isoformat(),
        "to": today.isoformat(),
        "totals": {"events": 0, "successes": 0, "failures": 0, "expected": 0},
        "failure_rate": None,
        "flash_failure_rate": None,
        "connect_failure_rate": None,
        "by_type": ZEROS,
        "expected_by_type": ZEROS,
        "by_model": [],
        "by_version": [],
    }
    expect_answer(answer, 200, body)


def test_the_route_returns_the_figures_of_the_rollups(client: Client) -> None:
    make_event(**success())
    make_event(**success(model="DM-32UV"))
    make_event(event_type="connect_error", app_version="web-dev")
    summary = client.get("/metrics/summary?days=1", headers=BEARER).json()
    assert (summary["totals"], summary["failure_rate"]) == (
        {"events": 3, "successes": 2, "failures": 1, "expected": 0},
        0.3333,
    )
    assert summary["by_type"] == ZEROS | {"flash_success": 2, "connect_error": 1}
    assert summary["by_model"] == [
        {"model": "UV-5RM", "successes": 1, "failures": 1, "expected": 0, "failure_rate": 0.5},
        {"model": "DM-32UV", "successes": 1, "failures": 0, "expected": 0, "failure_rate": 0.0},
    ]
    assert summary["by_version"] == [
        {"app_version": "19afc18", "successes": 2, "failures": 0, "expected": 0, "failure_rate": 0.0},
        {"app_version": "web-dev", "successes": 0, "failures": 1, "expected": 0, "failure_rate": 1.0},
    ]


def test_expected_events_are_no_failures_and_in_no_rate(client: Client) -> None:
    olga = User.objects.create_user("olga")
    for _ in range(3):
        make_event(**success())
    make_event()
    picker = make_event(event_type="connect_error", message="No port selected", model="UV-17R")
    make_event(event_type="connect_error", message="Port busy")
    triage.expect([str(picker.fingerprint)], user=olga, at=clock.now())
    summary = client.get("/metrics/summary?days=1", headers=BEARER).json()
    assert summary["totals"] == {"events": 6, "successes": 3, "failures": 2, "expected": 1}
    rates = ("failure_rate", "flash_failure_rate", "connect_failure_rate")
    assert [summary[name] for name in rates] == [0.4, 0.25, 0.2]
    assert summary["by_type"] == ZEROS | {"flash_success": 3, "flash_error": 1, "connect_error": 2}
    assert summary["expected_by_type"] == ZEROS | {"connect_error": 1}
    assert summary["by_model"] == [
        {"model": "UV-5RM", "successes": 3, "failures": 2, "expected": 0, "failure_rate": 0.4},
        {"model": "UV-17R", "successes": 0, "failures": 0, "expected": 1, "failure_rate": None},
    ]
    triage.reopen([str(picker.fingerprint)], user=olga, at=clock.now())
    summary = client.get("/metrics/summary?days=1", headers=BEARER).json()
    assert summary["totals"] == {"events": 6, "successes": 3, "failures": 3, "expected": 0}


def test_days_are_utc_and_end_with_today(client: Client) -> None:
    for number, received_at_ms in enumerate(
        (
            DAY_MS - 86_400_001,  # the last millisecond of the day before yesterday
            DAY_MS - 86_400_000,  # the first of yesterday
            DAY_MS - 1,
            DAY_MS,
            DAY_MS + 86_399_999,  # the last of today
            DAY_MS + 86_400_000,  # the first of tomorrow
        )
    ):
        make_event(received_at_ms=received_at_ms, message=f"Failure {number}")
    assert [metrics.summary(days, DAY)["totals"]["failures"] for days in (1, 2, 3)] == [2, 4, 5]


def test_a_duplicate_is_counted_nowhere(client: Client, post: Any) -> None:
    for _ in range(3):
        post("/event", success(session_id="a"))
    summary = client.get("/metrics/summary", headers=BEARER).json()
    assert summary["totals"] == {"events": 1, "successes": 1, "failures": 0, "expected": 0}


def test_deleted_events_stay_counted(client: Client) -> None:
    make_event()
    Event.objects.all().delete()
    assert client.get("/metrics/summary", headers=BEARER).json()["totals"]["failures"] == 1


@pytest.mark.parametrize(
    ("days", "words"),
    [
        ("0", "Ensure this value is greater than or equal to 1."),
        ("-1", "Ensure this value is greater than or equal to 1."),
        ("401", "Ensure this value is less than or equal to 400."),
        ("1.5", "Enter a whole number."),
        ("many", "Enter a whole number."),
        ("%00", "Enter a whole number."),
        ("9" * 5_000, "Enter a whole number."),
    ],
    ids=lambda value: value[:10],
)
def test_a_bad_number_of_days_is_refused(client: Client, days: str, words: str) -> None:
    answer = client.get(f"/metrics/summary?days={days}", headers=BEARER)
    expect_answer(answer, 400, {"ok": False, "error": "Invalid parameters", "fields": {"days": [words]}})
