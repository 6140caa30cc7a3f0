"""Sign-in sessions that have expired are deleted."""

from datetime import datetime, timedelta

import pytest
from django.contrib.sessions.models import Session

from events import clock
from telemetry_site import expired_sessions

pytestmark = pytest.mark.django_db


def keep_session(key: str, expires_at: datetime) -> None:
    Session.objects.create(session_key=key, session_data="", expire_date=expires_at)


def test_only_expired_sessions_go_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expired_sessions, "BATCH", 2)
    for number, hours in enumerate((-1, -3, -2, 1, 2)):
        keep_session(f"s-{number}", clock.now() + timedelta(hours=hours))
    assert expired_sessions.delete_all() == "Deleted 3 expired sign-ins."
    assert sorted(Session.objects.values_list("pk", flat=True)) == ["s-3", "s-4"]
    assert expired_sessions.delete_all() == "Deleted 0 expired sign-ins."
