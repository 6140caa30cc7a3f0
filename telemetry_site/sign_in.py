"""Signing in to the admin, throttled so that nobody guesses a password and nobody is kept out by those who try.

A stranger's attempts are counted by address (a network, for IPv6), by account and address, and by account. The last
one is what anybody may use up in somebody else's name. So a browser that has signed in before bears a cookie for that
account, and is counted by itself alone.
"""

import logging
import math
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.exceptions import ValidationError
from django.core.signing import BadSignature, TimestampSigner
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from events import clock, guards

logger = logging.getLogger(__name__)

KNOWN_COOKIE = "known_browser"
KNOWN_SECONDS = 365 * 24 * 3600
THROTTLED = "throttled"
_signer = TimestampSigner(salt="telemetry_site.known-browser")


class Limit(NamedTuple):
    """Failed attempts that are let through in each window of so many seconds."""

    name: str
    attempts: int
    seconds: int


BY_BROWSER = Limit("browser", 10, 900)
BY_ADDRESS = Limit("address", 20, 900)
BY_ACCOUNT_AND_ADDRESS = Limit("account-address", 5, 900)
BY_ACCOUNT = Limit("account", 50, 3_600)


@dataclass(frozen=True)
class Count:
    """The failed attempts of somebody in the window that `now` is in."""

    limit: Limit
    key: str
    seconds_left: int

    def add(self) -> int:
        return self._change(1)

    def take_back(self) -> None:
        self._change(-1)

    def _change(self, by: int) -> int:
        try:
            return _change_in(caches["default"], self, by)
        except guards.cache_errors() as error:
            # Neither open to guessing nor shut to everybody: each process counts for itself.
            logger.error("Sign-ins are counted in this process alone, the cache does not answer: %s", error)
            return _change_in(caches["process"], self, by)


def _change_in(cache: BaseCache, count: Count, by: int) -> int:
    cache.add(count.key, 0, count.limit.seconds)
    try:
        return cache.incr(count.key, by)
    except ValueError:  # it was let go in between
        cache.set(count.key, max(by, 0), count.limit.seconds)
        return max(by, 0)


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
        told = _signer.unsign(request.COOKIES.get(KNOWN_COOKIE, ""), max_age=KNOWN_SECONDS)
    except BadSignature:
        return ""
    name, _, known_account = told.partition(".")
    return name if known_account == guards.keyed_hash(account) else ""


def remember(request: HttpRequest, response: HttpResponseBase) -> None:
    """Let the browser that has just signed in be known by its account next time."""
    account = request.user.get_username()
    name = known_browser(request, account) or secrets.token_hex(16)
    response.set_cookie(
        KNOWN_COOKIE,
        _signer.sign(f"{name}.{guards.keyed_hash(account)}"),
        max_age=KNOWN_SECONDS,
        path="/admin/login/",
        secure=settings.HTTPS,
        httponly=True,
        samesite="Lax",
    )


def _counts(request: HttpRequest, account: str, now: datetime) -> list[Count]:
    """Return what an attempt counts against."""
    if browser := known_browser(request, account):
        return [_count(BY_BROWSER, browser, now)]
    address = guards.client_hash(request)
    return [
        _count(BY_ADDRESS, address, now),
        _count(BY_ACCOUNT_AND_ADDRESS, f"{address}.{account}", now),
        _count(BY_ACCOUNT, account, now),
    ]


def _count(limit: Limit, whose: str, now: datetime) -> Count:
    at = int(now.timestamp())
    window, begun = divmod(at, limit.seconds)
    return Count(limit, f"sign-in.{limit.name}.{window}.{guards.keyed_hash(whose)}", limit.seconds - begun)
