"""Test messages: a page requests one, and a job sends it, because no request waits for a service."""

from datetime import datetime

from django.conf import settings
from django.utils.html import format_html

from events import clock
from events.alerts.channels import roster, sending
from events.alerts.channels.sending import ChannelFailed
from events.alerts.messages import Message, one_line
from events.models import AlertChannel

JOB = "alert-tests"


def send_requested() -> str:
    """Send the requested test messages, each once. Return the outcome in words."""
    sent = failed = 0
    for channel in roster.tests_requested():
        roster.end_test(channel)  # first: a service that kills this process must not be tried for ever
        try:
            send_now(channel, clock.now())
            sent += 1
        except ChannelFailed:
            failed += 1
    if failed:
        return f"Sent {sent:,} test messages; {failed:,} failed. The page Alert channels shows the reasons."
    return f"Sent {sent:,} test messages." if sent else "No test message was requested."


def send_now(channel: AlertChannel, now: datetime) -> None:
    """Send a test message, and record the result. Raises ChannelFailed."""
    try:
        sending.send(channel, message(channel, now))
    except ChannelFailed as failure:
        roster.note_problem(channel, str(failure))
        raise
    roster.note_sent(channel, clock.epoch_ms(now))


def message(channel: AlertChannel, now: datetime) -> Message:
    lines = [
        f"This is a test of the channel {one_line(channel.name)}. Nothing is wrong.",
        f"It gets {roster.in_words(channel.kinds)}.",
        f"Sent at {now:%Y-%m-%d %H:%M} UTC by {settings.SITE_URL}",
    ]
    html = format_html(
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"></head>'
        '<body style="font-family:sans-serif;font-size:16px"><p>{}</p><p>{}</p><p>{}</p></body></html>',
        *lines,
    )
    return Message("[test] Test message", "\n".join(lines) + "\n", html)
