"""Worse releases: one alert for each, from the counts up to midnight, or at once if it is certain."""

from datetime import timedelta

import pytest
from django.db.models import QuerySet

from events.alerts.rules import evaluation, releases
from events.alerts.rules.evaluation import Rule
from events.models import Alert, AlertKind
from tests.fixtures.flashes import NOW, flash

pytestmark = pytest.mark.django_db

RULE = Rule("releases", AlertKind.RELEASE, releases.find)


def alerts() -> QuerySet[Alert]:
    return Alert.objects.filter(kind=AlertKind.RELEASE)


@pytest.mark.parametrize(
    ("successes", "failures", "today", "tomorrow"),
    [
        (92, 8, 0, 0),
        (80, 15, 0, 0),  # 95 % and no more
        (82, 18, 0, 1),  # 99 %: at the look of the day
        (60, 40, 1, 1),  # certain: at once
        (26, 3, 0, 0),
        (0, 29, 0, 0),  # less than 30 flashes
    ],
)
def test_when_a_release_is_an_alert(successes: int, failures: int, today: int, tomorrow: int) -> None:
    flash("old", 460, 40, days_ago=5)
    flash("new", successes, failures, model="DM-32UV")
    evaluation.evaluate(NOW, [RULE])
    assert alerts().count() == today
    evaluation.evaluate(NOW + timedelta(days=1), [RULE])
    assert alerts().count() == tomorrow


def test_a_release_is_an_alert_once_even_if_its_verdict_changes() -> None:
    flash("old", 460, 40, days_ago=5)
    flash("new", 60, 40, days_ago=2)
    evaluation.evaluate(NOW - timedelta(days=2), [RULE])
    flash("new", 900, 0, days_ago=1)
    evaluation.evaluate(NOW - timedelta(days=1), [RULE])
    flash("new", 0, 900)
    evaluation.evaluate(NOW, [RULE])
    assert [alert.facts["problem"] for alert in alerts()] == ["new"]


def test_the_alert_says_how_much_since_when_and_for_whom() -> None:
    flash("old", 460, 40, days_ago=5)
    flash("new", 60, 40, model="DM-32UV")
    evaluation.evaluate(NOW, [RULE])
    facts = alerts().get().facts
    assert facts["heading"].startswith("new: worse by ")
    assert facts["lines"] == [
        "40 of 100 flashes (40.0 %) failed in new since Thu 12 Feb 2026, 15:00 UTC.",
        "40 of 500 flashes (8.0 %) failed in old, the release before.",
        "Models of the failures: DM-32UV (40).",
    ]
