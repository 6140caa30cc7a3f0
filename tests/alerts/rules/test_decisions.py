"""A mute that ended while the failure still happens: one alert for each decision, which says so."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User

from events.alerts import texts
from events.alerts.rules import decisions, evaluation
from events.alerts.rules.evaluation import Rule
from events.counting.buckets import DAY_MS, HOUR_MS
from events.grouping import issues, triage
from events.models import Alert, AlertKind
from tests.conftest import make_event

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 2, 12, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)
URL = "https://github.com/owner/name/issues/12"
RULE = Rule("decisions", AlertKind.REGRESSION, decisions.find)


def fail(at_ms: int) -> str:
    return str(make_event(message="No ACK", session_id=f"s{at_ms}", received_at_ms=at_ms).fingerprint)


def mute(key: str, days: int | None, at: datetime = NOON) -> None:
    user, _ = User.objects.get_or_create(username="olga")
    until_ms = None if days is None else int(at.timestamp() * 1000) + days * DAY_MS
    triage.mute([key], until_ms=until_ms, user=user, at=at)


def evaluate(days: float) -> int:
    evaluation.evaluate(NOON + timedelta(days=days), [RULE])
    return Alert.objects.count()


@pytest.mark.parametrize(
    ("muted_days", "fails_after_days", "expected"), [(7, 6.9, 0), (7, 7.1, 1), (7, None, 0), (None, 7.1, 0)]
)
def test_only_a_failure_after_the_end_of_a_mute_is_an_alert(
    muted_days: int | None, fails_after_days: float | None, expected: int
) -> None:
    mute(fail(NOON_MS - HOUR_MS), muted_days)
    if fails_after_days is not None:
        fail(NOON_MS + int(fails_after_days * DAY_MS))
    assert evaluate(8) == expected


def test_each_mute_has_one_alert_that_says_how_often_it_happened_since() -> None:
    key = fail(NOON_MS - HOUR_MS)
    mute(key, 1)
    for hour in range(3):
        fail(NOON_MS + 2 * DAY_MS + hour * HOUR_MS)
        assert evaluate(3 + hour) == 1
    alert = Alert.objects.get()
    assert issues.link(key, URL, replaces=None, user=User.objects.get(), at=NOON)
    (part,) = texts.parts_of([alert], 10)
    assert part.issue_url == URL
    assert (alert.subject, part.heading) == (key, "No ACK")
    assert part.lines[0] == "It still happens after its mute ended on Fri 13 Feb 2026, 12:00 UTC: 3 failures since."
    mute(key, 1, NOON + timedelta(days=7))
    fail(NOON_MS + 9 * DAY_MS)
    assert evaluate(10) == 2
