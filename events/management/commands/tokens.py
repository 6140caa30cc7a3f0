"""List the signed tokens."""

from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand

from events import clock
from events.ingest import tokens
from events.models import IngestToken


class Command(BaseCommand):
    help = "List the tokens: state, name, scopes, rate limit, expiry and last use. A token itself is never shown."

    def handle(self, *args: Any, **options: Any) -> None:
        now = clock.now()
        rows = tokens.used_until(now)
        if not rows:
            self.stdout.write("No token. To create one: manage.py issue_token NAME --expires 90d")
        for token in rows:
            self.stdout.write(_line(token, now))


def _line(token: IngestToken, now: datetime) -> str:
    used = f"last used {token.last_used_at:%Y-%m-%d %H:%M} UTC" if token.last_used_at else "never used"
    return "  ".join(
        (
            f"{tokens.state_of(token, now):<7}",
            token.name,
            ",".join(token.scopes.split()),
            f"limit {token.rate or 'of the site'}",
            tokens.until_words(token.expires_at),
            used,
        )
    )
