"""What stands before ingest: origin, media type, rate, token, body size. Each lets pass or raises Refused."""

import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache as once
from typing import NamedTuple, TypeVar

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from django_ratelimit.core import get_usage

from events import clock
from events.ingest import media_types, tokens
from events.ingest.addresses import client_network
from events.ingest.refusals import Outcome

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Refused(Exception):
    """A request that is not let in: what to answer, and what to count it as."""

    def __init__(self, status: int, words: str, outcome: Outcome, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.words = words
        self.outcome = outcome
        self.headers = headers or {}


def check_origin(request: HttpRequest) -> None:
    """Refuse an `Origin` outside the list; a request without one is no browser's, and is served.

    Our own pages are at home here: the API page posts from the address that it was opened at.
    """
    origin = request.META.get("HTTP_ORIGIN")
    if (
        origin is None
        or origin in settings.CORS_ALLOWED_ORIGINS
        or origin == f"{request.scheme}://{request.get_host()}"
    ):
        return
    raise Refused(403, "Origin not allowed", Outcome.ORIGIN)


def check_media_type(request: HttpRequest) -> None:
    content_type = request.META.get("CONTENT_TYPE", "")
    if not media_types.is_accepted(content_type) or request.META.get("HTTP_CONTENT_ENCODING"):
        raise Refused(415, "Unsupported media type", Outcome.MEDIA_TYPE)


def check_token(request: HttpRequest) -> None:
    """Ask for a signed ingest token when they are switched on: in the header, or in the query for a beacon."""
    if not settings.INGEST_TOKEN_REQUIRED:
        return
    token = bearer(request) or request.GET.get("token", "")
    if not tokens.admit(token):
        raise Refused(401, "Token required", Outcome.TOKEN, {"WWW-Authenticate": "Bearer"})


def bearer(request: HttpRequest) -> str:
    scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def is_admin_token(request: HttpRequest) -> bool:
    """Tell whether the request bears ADMIN_TOKEN; never when none is configured."""
    expected = settings.ADMIN_TOKEN
    return bool(expected) and hmac.compare_digest(bearer(request).encode(), expected.encode())


# Python converts no more than 4,300 digits, and no body is that long.
_LENGTH_DIGITS = 18


def read_body(request: HttpRequest, limit: int) -> bytes:
    """Return the body, read no further than one byte past `limit`."""
    declared = request.META.get("CONTENT_LENGTH") or ""
    if declared.isascii() and declared.isdigit():
        if len(declared) > _LENGTH_DIGITS or int(declared) > limit:
            raise _too_large()
        return bytes(request.read(int(declared)))
    if request.META.get("wsgi.input_terminated"):
        body = bytes(request.META["wsgi.input"].read(limit + 1))
        if len(body) > limit:
            raise _too_large()
        return body
    return b""


def _too_large() -> Refused:
    return Refused(413, "Payload too large", Outcome.TOO_LARGE)


# --- the rate limit --------------------------------------------------------------------------------------------


class Rate(NamedTuple):
    """A limit of its own: `setting` names the variable, requests per client and window."""

    group: str
    setting: str


INGEST = Rate("ingest", "INGEST_RATE")
BATCH = Rate("batch", "BATCH_RATE")
READ = Rate("read", "READ_RATE")

# While the shared memory of the limiter is away, every request would wait for its time-out.
_AWAY_SECONDS = 5.0
_away_until = 0.0


def ask_memory(question: Callable[[], T]) -> T | None:
    """Return what the limiter's memory answers; None while it is away, and then nobody waits for it again at once."""
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
    """Add to a count in the limiter's memory, which keeps it so long; return the sum, None while the memory is away."""

    def add() -> int:
        if not cache.add(key, count, seconds):
            with suppress(ValueError):  # it was removed between the two
                return int(cache.incr(key, count))
        return count

    return ask_memory(add)


def check_rate(request: HttpRequest, rate: Rate) -> None:
    """Refuse a client that is over the limit. When the limiter's memory is away, everyone passes."""
    limit = getattr(settings, rate.setting)
    if limit is None:
        return
    usage = ask_memory(lambda: get_usage(request, group=rate.group, key=_client_key, rate=limit, increment=True))
    if usage is not None and usage["should_limit"]:
        # The last second of a window belongs to it, so the next one begins a second later than `time_left` says.
        raise _too_many(usage["time_left"] + 1)


def check_batch_events(request: HttpRequest, count: int) -> None:
    """Refuse a batch when its client is over the limit of events in batches; a refused batch is not counted.

    The first batch of a window always passes. So a batch of more events than the limit gets through by Retry-After.
    """
    limit = settings.BATCH_EVENTS_RATE
    if limit is None:
        return
    most, seconds = split_rate(limit)
    now = clock.now_ms() // 1000
    key = f"batch-events:{client_hash(request)}:{now // seconds}"
    total = add_up(key, count, 2 * seconds)
    if total is not None and total > most and total > count:
        add_up(key, -count, 2 * seconds)
        raise _too_many(seconds - now % seconds)


def _too_many(retry_after: int) -> Refused:
    return Refused(429, "Too many requests", Outcome.RATE_LIMITED, {"Retry-After": str(retry_after)})


_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def split_rate(rate: str) -> tuple[int, int]:
    """Return how many, and in how many seconds, of a rate such as `120/m` or `5/10s`."""
    most, _, time_span = rate.partition("/")
    return int(most), int(time_span[:-1] or 1) * _UNITS[time_span[-1]]


def forget_absence() -> None:
    """Ask the limiter's memory again at once, and which errors it has; for tests, which change it."""
    global _away_until
    _away_until = 0.0
    cache_errors.cache_clear()


# Where a request keeps the hash of its client: several limits ask for it.
_CLIENT = "telemetry.client"


def _client_key(group: str, request: HttpRequest) -> str:
    return client_hash(request)


def client_hash(request: HttpRequest) -> str:
    """Return a keyed hash of the client's address (of its /64, for IPv6); the address itself is kept nowhere."""
    known = request.META.get(_CLIENT)
    if known is None:
        known = request.META[_CLIENT] = keyed_hash(client_network(request.META.get("REMOTE_ADDR", "")))
    return str(known)


def keyed_hash(text: str) -> str:
    """Return 32 hex digits that are worth nothing without this site's key."""
    return hashlib.blake2b(text.encode(), key=_hash_key(), digest_size=16).hexdigest()


@once
def _hash_key() -> bytes:
    return hashlib.blake2b(settings.SECRET_KEY.encode(), person=b"client-address").digest()


@once
def cache_errors() -> tuple[type[Exception], ...]:
    """Return what the limiter's memory raises when it is away."""
    if not settings.CACHE_URL:
        return (OSError,)
    from redis.exceptions import RedisError

    return OSError, RedisError
