"""Issue a signed token."""

import re
from argparse import ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError

from events import clock
from events.ingest import tokens
from events.ingest.tokens import Scope
from events.management.account import login

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_NEVER = timedelta.max


class Command(BaseCommand):
    help = (
        "Issue a signed token for a front end (scope ingest, needed with INGEST_TOKEN_REQUIRED=1) or for a script"
        " (sourcemaps, read, triage). It is shown only once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the name of the token, such as web-v2; the token itself is not stored")
        parser.add_argument("--expires", type=_span, required=True, help="such as 90d, 12h or 30m, or never")
        parser.add_argument(
            "--scope",
            type=_scopes,
            action="extend",
            metavar="SCOPE",
            help=f"what the token may do: {', '.join(Scope)} (default: {Scope.INGEST}); several by commas or repeated",
        )
        parser.add_argument(
            "--rate",
            type=_rate,
            default=tokens.DEFAULT_RATE,
            help="the rate limit of the token, such as 60/m, or off (default: READ_RATE for reads, decisions and source"
            " maps, and none for events)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name: str = options["name"].strip()
        if fault := tokens.name_fault(name):
            raise CommandError(fault)
        scopes = options["scope"] or [Scope.INGEST]
        now = clock.now()
        expires_at = None if options["expires"] is _NEVER else now + options["expires"]
        try:
            token = tokens.issue(name, who=login(), now=now, expires_at=expires_at, scopes=scopes, rate=options["rate"])
        except IntegrityError:
            raise CommandError(tokens.taken_words(name)) from None
        until = tokens.until_words(expires_at)
        scope_words = ", ".join(scope for scope in Scope if scope in scopes)
        self.stderr.write(f"{name} is valid for {scope_words} {until}. The token is shown only once:", style_func=str)
        self.stdout.write(token)


def _scopes(raw: str) -> list[Scope]:
    words = [word.strip() for word in raw.split(",")]
    if unknown := [word for word in words if word not in set(Scope)]:
        raise ArgumentTypeError(f"{unknown[0]!r} is no scope; the scopes are {', '.join(Scope)}")
    return [Scope(word) for word in words]


def _rate(raw: str) -> str:
    try:
        return tokens.parse_rate(raw)
    except ValueError:
        raise ArgumentTypeError(f"{raw!r} is neither a rate such as 60/m (units s, m, h, d) nor off") from None


def _span(raw: str) -> timedelta:
    if raw == "never":
        return _NEVER
    match = re.fullmatch(r"([1-9][0-9]{0,6})([mhd])", raw)
    span = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None
    if span is None or span > tokens.LONGEST:
        raise ArgumentTypeError(f"{raw!r} is neither a duration such as 90d, 12h or 30m (at most 3650d) nor never")
    return span
