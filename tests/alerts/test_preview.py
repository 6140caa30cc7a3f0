"""The preview of thresholds: what they would have sent in the last 30 days."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

from events import clock
from events.alerts import outbox, preview, texts
from events.alerts.messages import Part
from events.alerts.preview import Thresholds
from events.counting.buckets import DAY_MS
from events.grouping import triage
from events.models import Alert, AlertKind, FailureGroup, HourlyRollup
from tests.fixtures.flashes import NOW, NOW_MS, flash

pytestmark = pytest.mark.django_db


def found(new_after: int = 3, silence_hours: int = 24) -> preview.Preview:
    return preview.preview(Thresholds(new_after, silence_hours), NOW)


def kinds(result: preview.Preview) -> list[tuple[str, int]]:
    """Return the kind of each alert, and how many days ago it was."""
    return [(alert.kind, (NOW_MS - alert.hour_ms) // DAY_MS) for alert in result.alerts]


def test_a_site_without_events_would_have_sent_nothing() -> None:
    assert str(found()) == "would have sent no message in the last 30 days"


@pytest.mark.parametrize(
    ("new_after", "expected"),
    [(1, [("new", 20), ("new", 2)]), (3, [("new", 20), ("new", 2)]), (5, [("new", 10)]), (9, [])],
)
def test_new_groups_are_counted_when_they_reach_the_threshold(new_after: int, expected: list[tuple[str, int]]) -> None:
    flash("a", 0, 4, days_ago=20)
    flash("a", 0, 4, days_ago=10)
    flash("a", 0, 3, days_ago=2, message="Port lost")
    flash("a", 0, 9, days_ago=40, message="Reached it before")
    flash("a", 0, 1, days_ago=1, message="Reached it before")
    flash("a", 0, 9, days_ago=3, message="Muted")
    muted = FailureGroup.objects.filter(title="Muted").values_list("pk", flat=True)
    triage.mute(list(muted), until_ms=None, user=User.objects.create_user("olga"), at=NOW)
    assert [each for each in kinds(found(new_after, 720)) if each[0] == "new"] == expected


def test_alerts_of_one_kind_in_one_hour_are_one_message() -> None:
    for message in ("No ACK", "Port lost", "No answer"):
        flash("a", 0, 3, days_ago=2, message=message)
    result = found()
    assert len(result.alerts) == 3
    assert result.messages == {AlertKind.NEW: 1}
    assert str(result) == "would have sent 1 message in the last 30 days: 1 [new]"


def test_silences_are_counted_with_their_end() -> None:
    HourlyRollup.objects.bulk_create(
        HourlyRollup(hour_ms=NOW_MS - days * DAY_MS, event_type="flash_success", model="m", app_version="v", accepted=1)
        for days in range(70)
        if days not in (10, 11, 20)
    )
    assert kinds(found(silence_hours=24)) == [("silence", 19), ("silence", 19), ("silence", 9), ("silence", 9)]
    assert kinds(found(silence_hours=60)) == [("silence", 9), ("silence", 9)]
    assert kinds(found(silence_hours=100)) == []


def test_worse_releases_and_rates_are_computed_anew() -> None:
    for days_ago in range(8, 40):
        flash("old", 18, 2, days_ago=days_ago)
    flash("new", 10, 40, days_ago=5)
    Alert.objects.all().delete()
    assert [each for each in kinds(found()) if each[0] in ("release", "rate")] == [("rate", 5), ("release", 4)]
    heading = next(alert.heading for alert in found().alerts if alert.kind == AlertKind.RELEASE)
    assert heading.startswith("new: worse by ")


def test_other_kinds_are_counted_from_the_alerts_that_were_written() -> None:
    for days_ago in (40, 3, 2):
        facts = texts.facts_of(Part("The job failed"))
        outbox.write(AlertKind.JOB, str(days_ago), happened_at_ms=NOW_MS - days_ago * DAY_MS, facts=facts)
    assert kinds(found()) == [("job", 3), ("job", 2)]


def test_the_command_shows_the_alerts(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)
    flash("a", 0, 3, days_ago=2)
    call_command("preview_alerts", "--new-after", "2")
    assert capsys.readouterr().out == (
        "ALERT_NEW_AFTER=2 and ALERT_SILENCE_HOURS=24 would have sent 1 message in the last 30 days: 1 [new].\n"
        "  Tue 10 Feb 2026, 15:00 UTC  [new] No ACK\n"
    )
