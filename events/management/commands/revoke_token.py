"""Revoke a signed token."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from events import clock
from events.ingest import tokens
from events.management.account import login
from events.models import IngestToken


class Command(BaseCommand):
    help = "Revoke a token at once and for ever. Its name stays taken."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the name of the token, not the token itself: see manage.py tokens")

    def handle(self, *args: Any, **options: Any) -> None:
        name: str = options["name"].strip()
        token = IngestToken.objects.filter(name=name).first() if "\0" not in name else None
        if token is None:
            # The argument can be a token, so the message does not repeat it.
            raise CommandError("There is no token of this name. To list the names: manage.py tokens")
        if token.revoked_at:
            self.stdout.write(f"{token.name} was revoked already, at {token.revoked_at:%Y-%m-%d %H:%M} UTC.")
            return
        tokens.revoke(token, who=login(), now=clock.now())
        self.stdout.write(f"Revoked {token.name}. From now on the site refuses it.")
