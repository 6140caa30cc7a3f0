"""The rules before ingest: allowed origins, rate limits, ADMIN_TOKEN, and the keyed hash of a client."""

import hashlib
import hmac
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache as once
from typing import NamedTuple, TypeVar

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from django_ratelimit.core import get_usage

from events import clock, rates
from events.ingest.addresses import client_network

logger = logging.getLogger(__name__)
T = TypeVar("T")


def is_origin_allowed(request: HttpRequest) -> bool:
    """Return whether the `Origin` is on the allowed list. A request without the header is not from a browser.

    The site's own origin is always allowed, because the API page sends requests to the host that serves it.
    """
    origin = request.META.get("HTTP_ORIGIN")
    return (
        origin is None
        or origin in settings.CORS_ALLOWED_ORIGINS
        or origin == f"{request.scheme}://{request.get_host()}"
    )


def bearer(request: HttpRequest) -> str:
    scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def is_admin_token(request: HttpRequest) -> bool:
    """Return whether the request carries ADMIN_TOKEN; always False when none is configured."""
    return _is_token(request, settings.ADMIN_TOKEN)


def is_metrics_token(request: HttpRequest) -> bool:
    """Return whether the request carries METRICS_TOKEN; always False when none is configured."""
    return _is_token(request, settings.METRICS_TOKEN)


def _is_token(request: HttpRequest, expected: str) -> bool:
    return bool(expected) and hmac.compare_digest(bearer(request).encode(), expected.encode())


# --- the rate limit --------------------------------------------------------------------------------------------


class Rate(NamedTuple):
    """A rate limit with its own counters: `setting` names the setting with the requests per client and window."""

    group: str
    setting: str


INGEST = Rate("ingest", "INGEST_RATE")
BATCH = Rate("batch", "BATCH_RATE")
READ = Rate("read", "READ_RATE")

# While the cache is unavailable, skip it for this long. Otherwise every request would wait for the timeout.
_AWAY_SECONDS = 5.0
_away_until = 0.0


def ask_memory(question: Callable[[], T]) -> T | None:
    """Return the result of a cache operation, or None while the cache is unavailable. Does not retry for a while."""
    global _away_until
    if time.monotonic() < _away_until:
        return None
    try:
        return question()
    except cache_errors() as error:
        _away_until = time.monotonic() + _AWAY_SECONDS
        logger.error("Rate limits are off for %.0f s, the cache does not answer: %s", _AWAY_SECONDS, error)
        return None


def add_up(key: str, count: int, seconds: int) -> int | None:
    """Add to a counter in the cache that expires after `seconds`; return the sum, or None without a cache."""

    def add() -> int:
        if not cache.add(key, count, seconds):
            with suppress(ValueError):  # The counter expired between `add` and `incr`.
                return int(cache.incr(key, count))
        return count

    return ask_memory(add)


def seconds_over_rate(request: HttpRequest, rate: Rate) -> int | None:
    """Count a request. Return the seconds until its client may send again, None while it is within the limit.

    While the cache is unavailable, every client is within the limit.
    """
    return _seconds_over(request, rate.group, _client_key, getattr(settings, rate.setting))


def seconds_over_token_rate(request: HttpRequest, token: str, limit: str | None) -> int | None:
    """Count a request of a token, as `seconds_over_rate` does for a client. `token` is its key, not its text."""
    return _seconds_over(request, "token", lambda *_: token, limit)


def _seconds_over(
    request: HttpRequest, group: str, key: Callable[[str, HttpRequest], str], limit: str | None
) -> int | None:
    if limit is None:
        return None
    rate = rates.split(limit)  # django-ratelimit would parse the text twice a request
    usage = ask_memory(lambda: get_usage(request, group=group, key=key, rate=rate, increment=True))
    if usage is None or not usage["should_limit"]:
        return None
    # `time_left` excludes the last second of the window, so the next window begins one second later.
    return int(usage["time_left"]) + 1


def seconds_over_batch_events(request: HttpRequest, count: int) -> int | None:
    """Count the events of a batch. Return the seconds until its client may send again, None within the limit.

    A batch over the limit is not counted. The first batch of a window always passes, so a client can send a batch
    above the limit after Retry-After.
    """
    limit = settings.BATCH_EVENTS_RATE
    if limit is None:
        return None
    most, seconds = rates.split(limit)
    now = clock.now_ms() // 1000
    key = f"batch-events:{client_hash(request)}:{now // seconds}"
    total = add_up(key, count, 2 * seconds)
    if total is None or total <= max(most, count):
        return None
    add_up(key, -count, 2 * seconds)
    return seconds - now % seconds


def forget_absence() -> None:
    """Use the cache again at once, and look up its error classes again. For tests, which change the cache."""
    global _away_until
    _away_until = 0.0
    cache_errors.cache_clear()


# The request attribute that caches the hash of its client, because several limits need it.
_CLIENT = "telemetry.client"


def _client_key(group: str, request: HttpRequest) -> str:
    return client_hash(request)


def client_hash(request: HttpRequest) -> str:
    """Return a keyed hash of the client's network. The address itself is never stored."""
    known = request.META.get(_CLIENT)
    if known is None:
        known = request.META[_CLIENT] = keyed_hash(client_network(request.META.get("REMOTE_ADDR", "")))
    return str(known)


def keyed_hash(text: str) -> str:
    """Return 32 hex digits of an HMAC with this site's secret key."""
    return hashlib.blake2b(text.encode(), key=_hash_key(), digest_size=16).hexdigest()


@once
def _hash_key() -> bytes:
    return hashlib.blake2b(settings.SECRET_KEY.encode(), person=b"client-address").digest()


@once
def cache_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that the cache raises when it is unavailable."""
    if not settings.CACHE_URL:
        return (OSError,)
    from redis.exceptions import RedisError

    return OSError, RedisError
