"""Monday's digest: when it is written, and its one screen of text."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User

from events.alerts import digest
from events.alerts.rules import evaluation, summaries
from events.alerts.rules.evaluation import Rule
from events.counting.buckets import DAY_MS
from events.grouping import triage
from events.models import Alert, AlertKind, Backup, FailureGroup
from tests.conftest import make_event, success
from tests.fixtures.flashes import flash, store

pytestmark = pytest.mark.django_db

MONDAY = datetime(2026, 2, 16, 7, tzinfo=UTC)
MONDAY_MS = int(MONDAY.timestamp() * 1000)
RULE = Rule("summaries", AlertKind.SUMMARY, summaries.find)


def written(now: datetime) -> int:
    evaluation.evaluate(now, [RULE])
    return Alert.objects.filter(kind=AlertKind.SUMMARY).count()


def test_it_is_written_once_a_week_from_monday_at_seven_on(settings: Any) -> None:
    settings.ALERT_TIME_ZONE = ZoneInfo("Europe/Berlin")
    make_event(**success(), received_at_ms=MONDAY_MS - 3 * DAY_MS)
    seven = datetime(2026, 2, 16, 6, tzinfo=UTC)
    assert written(seven - timedelta(minutes=1)) == 0
    assert written(seven) == 1
    assert written(seven + timedelta(minutes=5)) == 1
    assert written(seven + timedelta(days=6, hours=23)) == 1
    assert written(seven + timedelta(days=7)) == 2
    # The site was off from Monday on, until Tuesday and until Friday.
    assert written(seven + timedelta(days=15)) == 3
    assert written(seven + timedelta(days=25)) == 3


def test_a_site_without_events_has_no_digest() -> None:
    assert written(MONDAY) == 0


def at(days_before_monday: int) -> int:
    """Return how many days before the time of `flash` this is; that is Thursday, four days before."""
    return days_before_monday - 4


def test_it_fits_on_one_screen_and_has_every_section(settings: Any) -> None:
    settings.SITE_URL = "https://telemetry.example"
    user = User.objects.create_user("olga")
    flash("old", 90, 10, days_ago=at(10))
    flash("old", 0, 4, days_ago=at(9), message="Port\r\nlost <b>forever</b>")
    flash("new", 60, 40, days_ago=at(4), model="DM-32UV")
    flash("new", 0, 2, days_ago=at(4), message="Radio did not answer", model="UV-17R")
    store([{**success(), "event_type": "window_error", "message": "x is undefined"}], days_ago=at(5))
    expected = make_event(message="No port selected", session_id="p", received_at_ms=MONDAY_MS - 4 * DAY_MS)
    triage.expect([str(expected.fingerprint)], user=user, at=MONDAY)
    Backup.objects.create(
        name="b", made_ms=MONDAY_MS - DAY_MS, file_bytes=1, sha256="", is_encrypted=False, events=1, proven_ms=MONDAY_MS
    )
    FailureGroup.objects.filter(title="Radio did not answer").update(issue_url="https://github.com/o/r/issues/12")
    FailureGroup.objects.filter(title="No ACK").update(issue_url=f"https://github.com/owner/{'n' * 40}/issues/7")
    message = digest.message(MONDAY_MS)
    assert message.subject == "[summary] 102 flashes, 41.2 % failed"
    text = message.text.split("\n-- \n")[0]
    assert text.startswith(
        "9 Feb to 15 Feb 2026\n"
        "  Flashes: 102 (the week before: 104).\n"
        "  Failed flashes: 42, a rate of 41.2 % (14, 13.5 %).\n"
        "  Failures of every type: 43 (14).\n"
        "  https://telemetry.example/admin/\n\n"
        "Releases\n"
        "  new: worse by "
    )
    lines = [line.strip() for line in text.splitlines()]
    assert "New: 2 (Radio did not answer [o/r#12]; … is undefined)." in lines
    assert "Came back: none." in lines
    assert "Gone: 1 (Port lost <b>forever</b>)." in lines
    assert "43 sessions with a failure." in lines
    assert "Models of the failures: DM-32UV (40), UV-17R (2)." in lines
    assert any(line.startswith(f"No ACK […{'n' * 27}#7]: 50 failures since Fri 6 Feb 2026") for line in lines)
    assert (
        "Backups: the newest on Sun 15 Feb 2026, 07:00 UTC, the last restore drill on Mon 16 Feb 2026, 07:00 UTC."
        in lines
    )
    assert any(line.startswith("Disk: ") and line.endswith(" free.") for line in lines)
    assert len(lines) <= 40
    assert "<b>forever" not in message.html
    assert "Port lost &lt;b&gt;forever" in message.html


def test_a_quiet_week_has_a_digest_too() -> None:
    make_event(**success(), received_at_ms=MONDAY_MS - 40 * DAY_MS)
    message = digest.message(MONDAY_MS)
    assert message.subject == "[summary] No flashes"
    for line in ("No release was used.", "Nobody.", "None.", "Backups: none."):
        assert line in message.text
