"""Remove an alert channel."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from events import clock
from events.alerts.channels import roster
from events.management.account import login
from events.management.channel_names import channel_named


class Command(BaseCommand):
    help = "Remove an alert channel, its URL and its deliveries. The audit log keeps who got which alerts."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the name of the channel")

    def handle(self, *args: Any, **options: Any) -> None:
        channel = channel_named(options["name"])
        roster.remove(channel, who=login(), at=clock.now())
        self.stdout.write(f"Removed {channel.name}.")
