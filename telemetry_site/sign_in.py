"""Signing in to the admin, throttled so that nobody guesses a password and nobody is kept out by those who try.

A stranger's attempts are counted by address (a network, for IPv6), by account and address, and by account. The last
one is what anybody may use up in somebody else's name. So a browser that has signed in before bears a cookie for that
account, and is counted by itself alone.
"""

import math
import secrets
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django.core.signing import BadSignature, TimestampSigner
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from events import clock
from events.api import attempts
from events.api.attempts import Counter, Limit
from events.ingest import guards

KNOWN_SECONDS = 365 * 24 * 3600
THROTTLED = "throttled"
_signer = TimestampSigner(salt="telemetry_site.known-browser")


BY_BROWSER = Limit("browser", 10, 900)
BY_ADDRESS = Limit("address", 20, 900)
BY_ACCOUNT_AND_ADDRESS = Limit("account-address", 5, 900)
BY_ACCOUNT = Limit("account", 50, 3_600)


class SignInForm(AdminAuthenticationForm):
    """Django's form; past a limit it does not look at the password."""

    retry_after: int | None = None

    def clean(self) -> dict[str, Any]:
        account, password = (self.cleaned_data.get(name) for name in ("username", "password"))
        if not (self.request and account and password):
            return super().clean()
        counts = _counts(self.request, account, clock.now())
        # Counted before the password is looked at: of many attempts at once, no more pass than may.
        over = next((count for count in counts if count.add() > count.limit.attempts), None)
        if over:
            self.retry_after = over.seconds_left
            raise ValidationError(_in_words(over.seconds_left), code=THROTTLED)
        cleaned = super().clean()
        for count in counts:
            count.take_back()
        return cleaned


def _in_words(seconds: int) -> str:
    minutes = math.ceil(seconds / 60)
    return (
        f"Too many failed attempts. Try again in {minutes} minute{'' if minutes == 1 else 's'}, or from a browser that"
        " has signed in with this username before."
    )


def known_browser(request: HttpRequest, account: str) -> str:
    """Return the name of a browser that has signed in to this account before, "" for any other."""
    try:
        told = _signer.unsign(request.COOKIES.get(settings.KNOWN_BROWSER_COOKIE_NAME, ""), max_age=KNOWN_SECONDS)
    except BadSignature:
        return ""
    name, _, known_account = told.partition(".")
    return name if known_account == guards.keyed_hash(account) else ""


def remember(request: HttpRequest, response: HttpResponseBase) -> None:
    """Let the browser that has just signed in be known by its account next time."""
    account = request.user.get_username()
    name = known_browser(request, account) or secrets.token_hex(16)
    response.set_cookie(
        settings.KNOWN_BROWSER_COOKIE_NAME,
        _signer.sign(f"{name}.{guards.keyed_hash(account)}"),
        max_age=KNOWN_SECONDS,
        path="/admin/login/",
        secure=settings.HTTPS,
        httponly=True,
        samesite="Lax",
    )


def _counts(request: HttpRequest, account: str, now: datetime) -> list[Counter]:
    """Return what an attempt counts against."""
    if browser := known_browser(request, account):
        return [_count(BY_BROWSER, browser, now)]
    address = guards.client_hash(request)
    return [
        _count(BY_ADDRESS, address, now),
        _count(BY_ACCOUNT_AND_ADDRESS, f"{address}.{account}", now),
        _count(BY_ACCOUNT, account, now),
    ]


def _count(limit: Limit, whose: str, now: datetime) -> Counter:
    return attempts.counter("sign-in", limit, whose, now)
