"""Test messages: requested by a page or a command, sent by the job."""

import pytest
from django.test import override_settings

from events import clock
from events.alerts.channels import roster, trials
from events.alerts.channels.sending import ChannelFailed
from events.models import AlertChannel
from tests.alerts.channels.listeners import hook, mail_server
from tests.alerts.channels.test_mail import mail_through

pytestmark = pytest.mark.django_db


def requested(name: str, url: str) -> AlertChannel:
    channel = roster.add(name, url, ["new"], who="admin", at=clock.now())
    roster.request_test(channel, who="admin", at=clock.now())
    return channel


def test_the_job_sends_each_requested_message_once_and_keeps_the_reason_of_a_failure() -> None:
    with mail_server() as (port, box), mail_through(port), hook() as listener:
        listener.status = 403
        good = requested("team", "mailto:a@example.org")
        bad = requested("ops", f"json://127.0.0.1:{listener.port}/hook")
        with override_settings(ALERT_ALLOW_HOSTS=[("127.0.0.1", None)]):
            assert trials.send_requested() == (
                "Sent 1 test messages; 1 failed. The page Alert channels shows the reasons."
            )
            assert trials.send_requested() == "No test message was requested."
        assert len(listener.requests) == 1
    ((_, _, mail, _),) = box.delivered
    assert mail["Subject"] == "[test] Test message"
    assert "This is a test of the channel team." in mail.as_string()
    good.refresh_from_db()
    bad.refresh_from_db()
    assert good.delivered_at_ms is not None
    assert (bad.delivered_at_ms, bad.problem) == (None, "The service answered 403 (Forbidden).")


def test_a_request_during_the_run_is_kept() -> None:
    channel = requested("team", "mailto:a@example.org")
    (read,) = roster.tests_requested()
    AlertChannel.objects.filter(pk=channel.pk).update(test_requested_ms=clock.now_ms() + 1)
    roster.end_test(read)
    assert len(roster.tests_requested()) == 1


def test_a_failure_is_raised_for_a_command() -> None:
    channel = requested("team", "mailto:a@example.org")
    with override_settings(HAS_MAIL=False), pytest.raises(ChannelFailed, match="EMAIL_URL"):
        trials.send_now(channel, clock.now())
    assert AlertChannel.objects.get().problem == "EMAIL_URL is not set, so the site cannot send mail."
