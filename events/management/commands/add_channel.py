"""Add an alert channel, or replace its URL."""

import getpass
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from events import clock
from events.alerts.channels import roster
from events.alerts.channels.roster import InvalidChannel
from events.alerts.channels.sending import ChannelFailed
from events.management.account import login
from events.management.channel_names import channel_named
from events.models import AlertKind


class Command(BaseCommand):
    help = "Add a channel for alerts: a URL of Apprise, or mailto:team@example.org. The URL is stored encrypted."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the name of the channel, such as ops-slack")
        parser.add_argument(
            "url", help="the URL, such as slack://… or mailto:team@example.org; - reads it from standard input"
        )
        parser.add_argument(
            "--kinds",
            default=",".join(AlertKind.values),
            help=f"the kinds of alerts that it gets, separated by commas (default: all): {', '.join(AlertKind.values)}",
        )
        parser.add_argument("--replace", action="store_true", help="replace the URL of an existing channel")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["name"].strip()
        url = _read_url() if options["url"] == "-" else options["url"].strip()
        try:
            if options["replace"]:
                channel = channel_named(name)
                roster.replace_url(channel, url, who=login(), at=clock.now())
                self.stdout.write(f"Replaced the URL of {name} ({channel.service}).")
            else:
                kinds = [kind.strip() for kind in options["kinds"].split(",") if kind.strip()]
                channel = roster.add(name, url, kinds, who=login(), at=clock.now())
                self.stdout.write(f"Added {name} ({channel.service}) for {roster.in_words(channel.kinds)}.")
        except (InvalidChannel, ChannelFailed) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"To try it: manage.py test_channel {name!r}")


def _read_url() -> str:
    # A terminal does not show what is typed.
    return (getpass.getpass("URL: ") if sys.stdin.isatty() else sys.stdin.readline()).strip()
