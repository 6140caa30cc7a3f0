"""Send a test message through an alert channel."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from events import clock
from events.alerts.channels import trials
from events.alerts.channels.sending import ChannelFailed
from events.management.channel_names import channel_named


class Command(BaseCommand):
    help = "Send a test message through an alert channel, also through one that is switched off."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the name of the channel")

    def handle(self, *args: Any, **options: Any) -> None:
        channel = channel_named(options["name"])
        try:
            trials.send_now(channel, clock.now())
        except ChannelFailed as failure:
            raise CommandError(f"{channel.name} did not send the message. {failure}") from None
        self.stdout.write(f"{channel.name} ({channel.service}) accepted the message.")
