"""Switch an alert channel on or off."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from events import clock
from events.alerts.channels import roster
from events.management.account import login
from events.management.channel_names import channel_named


class Command(BaseCommand):
    help = "Switch an alert channel on or off. A channel that is off gets no alert."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the name of the channel")
        parser.add_argument("state", choices=("on", "off"))

    def handle(self, *args: Any, **options: Any) -> None:
        channel, state = channel_named(options["name"]), options["state"]
        is_changed = roster.switch(channel, is_on=state == "on", who=login(), at=clock.now())
        self.stdout.write(f"{channel.name} is {state}." if is_changed else f"{channel.name} was {state} already.")
