"""List the alert channels and the mail of persons."""

from typing import Any

from django.core.management.base import BaseCommand

from events.alerts.channels import roster
from events.models import AlertChannel
from events.templatetags.telemetry import utc


class Command(BaseCommand):
    help = "List the channels, who gets personal mail, and how the last message went. URLs are never shown."

    def handle(self, *args: Any, **options: Any) -> None:
        rows = [*roster.shared(), *roster.personal()]
        if not rows:
            self.stdout.write("No channel. To add one: manage.py add_channel NAME URL")
        for channel in rows:
            self.stdout.write(_line(channel))


def _line(channel: AlertChannel) -> str:
    state = "on " if channel.is_on else "off"
    last = f"last message {utc(channel.delivered_at_ms)}" if channel.delivered_at_ms else "no message yet"
    problem = f"; {channel.problem}" if channel.problem else ""
    return f"{state}  {channel.name}  {channel.service}  {roster.in_words(channel.kinds)}  {last}{problem}"
