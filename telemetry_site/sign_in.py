"""Sign-in to the admin with limits on failed attempts.

The site counts failed attempts per address (per network for IPv6), per account and address, and per account. An
attacker can exhaust the limit of an account and so lock out its owner. A browser that signed in before therefore has a
signed cookie for that account and a counter of its own.
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
from events.api.attempts import AttemptCounter, Limit
from events.ingest import guards

KNOWN_SECONDS = 365 * 24 * 3600
THROTTLED = "throttled"
_signer = TimestampSigner(salt="telemetry_site.known-browser")


BY_BROWSER = Limit("browser", 10, 900)
BY_ADDRESS = Limit("address", 20, 900)
BY_ACCOUNT_AND_ADDRESS = Limit("account-address", 5, 900)
BY_ACCOUNT = Limit("account", 50, 3_600)


class SignInForm(AdminAuthenticationForm):
    """Django's form. Over a limit it refuses without checking the password."""

    retry_after: int | None = None

    def clean(self) -> dict[str, Any]:
        account, password = (self.cleaned_data.get(name) for name in ("username", "password"))
        if not (self.request and account and password):
            return super().clean()
        counters = _counters(self.request, account, clock.now())
        # Count before checking the password: concurrent attempts must not exceed the limit.
        over = next((counter for counter in counters if counter.add() > counter.limit.attempts), None)
        if over:
            self.retry_after = over.seconds_left
            raise ValidationError(_throttled_message(over.seconds_left), code=THROTTLED)
        cleaned = super().clean()
        for counter in counters:
            counter.take_back()
        return cleaned


def _throttled_message(seconds: int) -> str:
    minutes = math.ceil(seconds / 60)
    return (
        f"Too many failed attempts. Try again in {minutes} minute{'' if minutes == 1 else 's'}, or from a browser that"
        " has signed in with this username before."
    )


def known_browser(request: HttpRequest, account: str) -> str:
    """Return the random id of a browser that signed in to this account before, "" for any other browser."""
    try:
        value = _signer.unsign(request.COOKIES.get(settings.KNOWN_BROWSER_COOKIE_NAME, ""), max_age=KNOWN_SECONDS)
    except BadSignature:
        return ""
    browser_id, _, account_hash = value.partition(".")
    return browser_id if account_hash == guards.keyed_hash(account) else ""


def remember(request: HttpRequest, response: HttpResponseBase) -> None:
    """Set the cookie that identifies this browser at its next sign-in to the same account."""
    account = request.user.get_username()
    browser_id = known_browser(request, account) or secrets.token_hex(16)
    response.set_cookie(
        settings.KNOWN_BROWSER_COOKIE_NAME,
        _signer.sign(f"{browser_id}.{guards.keyed_hash(account)}"),
        max_age=KNOWN_SECONDS,
        path="/admin/login/",
        secure=settings.HTTPS,
        httponly=True,
        samesite="Lax",
    )


def _counters(request: HttpRequest, account: str, now: datetime) -> list[AttemptCounter]:
    """Return the counters that an attempt increments."""
    if browser := known_browser(request, account):
        return [_counter(BY_BROWSER, browser, now)]
    address = guards.client_hash(request)
    return [
        _counter(BY_ADDRESS, address, now),
        _counter(BY_ACCOUNT_AND_ADDRESS, f"{address}.{account}", now),
        _counter(BY_ACCOUNT, account, now),
    ]


def _counter(limit: Limit, subject: str, now: datetime) -> AttemptCounter:
    return attempts.counter("sign-in", limit, subject, now)
