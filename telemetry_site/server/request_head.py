"""Limits on request heads. The server checks them on every route before Django parses the request."""

from collections.abc import Iterable
from typing import NamedTuple

from django.conf import settings

from events import clock
from events.ingest import media_types, refusals
from telemetry_site.server.lanes import lane_of

MAX_BYTES = 16_384
MAX_COOKIE_BYTES = 8_192
# Unpatched Python versions parse quoted cookies in time quadratic in the backslashes (CVE-2024-7592).
MAX_COOKIE_BACKSLASHES = 512
# Replaces a value that is not ASCII text: U+FFFD in UTF-8, decoded as Latin-1 as WSGI requires. Django fails on cookies
# with other non-Latin-1 characters.
UNREADABLE = "\ufffd".encode().decode("latin-1")

JSON_HEADERS = [
    ("content-type", "application/json"),
    ("cache-control", "no-store"),
    *((name.lower(), value) for name, value in settings.SECURITY_HEADERS.items()),
]
Headers = list[tuple[str, str]]


class Refusal(NamedTuple):
    status: int
    reason: str
    body: bytes


BAD_REQUEST = Refusal(400, "Bad Request", b'{"ok":false,"error":"Bad request"}')
NOT_A_METHOD = Refusal(405, "Method Not Allowed", b'{"ok":false,"error":"Method not allowed"}')
MEDIA_TYPE = Refusal(415, "Unsupported Media Type", b'{"ok":false,"error":"Unsupported media type"}')
TOO_LARGE = Refusal(431, "Request Header Fields Too Large", b'{"ok":false,"error":"Request header fields too large"}')


def refusal_of(method: str, path: str, query: str, headers: Iterable[tuple[str, str]]) -> Refusal | None:
    """Return the refusal of a request whose head breaks a limit, or None. Header names must be in lower case."""
    size = len(method) + len(path) + len(query)
    cookie_bytes = cookie_backslashes = content_types = 0
    refusal = None
    for name, value in headers:
        size += len(name) + len(value) + 4  # colon, space and line end
        if name == "cookie":
            cookie_bytes += len(value)
            cookie_backslashes += value.count("\\")
        elif name == "content-type":
            content_types += 1
            if content_types > 1 or value == UNREADABLE or not media_types.is_utf8(value):
                refusal = MEDIA_TYPE
        elif name == "x-forwarded-for" and value == UNREADABLE and settings.TRUSTED_PROXY_COUNT:
            refusal = refusal or BAD_REQUEST  # the proxy's value cannot be read
    if size > MAX_BYTES or cookie_bytes > MAX_COOKIE_BYTES or cookie_backslashes > MAX_COOKIE_BACKSLASHES:
        return TOO_LARGE
    if method != method.upper():  # Django would treat `post` as `POST`
        return NOT_A_METHOD
    return refusal


def cors_headers(path: str, origin: str | None) -> Headers:
    """Return the CORS headers of a response that bypasses Django."""
    if origin is None or origin not in settings.CORS_ALLOWED_ORIGINS or not lane_of(path).has_cors:
        return []
    return [
        ("vary", "origin"),
        ("access-control-allow-origin", origin),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "Retry-After"),
    ]


def note_refusal(method: str, path: str, outcome: refusals.RefusalReason) -> None:
    """Count a refused event."""
    if method == "POST" and lane_of(path).takes_events:
        refusals.note(outcome, clock.now_ms())
