"""Limits on the head of a request, checked on every route before Django reads any of it."""

from collections.abc import Iterable
from typing import NamedTuple

from django.conf import settings

from events import clock
from events.ingest import media_types, refusals

MOST_BYTES = 16_384
MOST_COOKIE_BYTES = 8_192
# Python's parser of quoted cookies was quadratic in the backslashes (CVE-2024-7592), and not every Python is patched.
MOST_COOKIE_BACKSLASHES = 512
# Stands for a value that is not ASCII text: U+FFFD as WSGI writes it, its bytes in UTF-8 as Latin-1. Django fails on
# cookies with any other character.
UNREADABLE = "\ufffd".encode().decode("latin-1")

PAGES = ("/admin", "/static")
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
    """Return why a request is refused by its head alone; header names are in lower case."""
    size = len(method) + len(path) + len(query)
    cookie_bytes = cookie_backslashes = content_types = 0
    refusal = None
    for name, value in headers:
        size += len(name) + len(value) + 4  # a colon, a space, the end of the line
        if name == "cookie":
            cookie_bytes += len(value)
            cookie_backslashes += value.count("\\")
        elif name == "content-type":
            content_types += 1
            if content_types > 1 or value == UNREADABLE or not media_types.is_utf8(value):
                refusal = MEDIA_TYPE
        elif name == "x-forwarded-for" and value == UNREADABLE and settings.TRUSTED_PROXY_COUNT:
            refusal = refusal or BAD_REQUEST  # the address that the proxy appended cannot be read
    if size > MOST_BYTES or cookie_bytes > MOST_COOKIE_BYTES or cookie_backslashes > MOST_COOKIE_BACKSLASHES:
        return TOO_LARGE
    if method != method.upper():  # Django would read `post` as `POST`
        return NOT_A_METHOD
    return refusal


def is_below(path: str, *prefixes: str) -> bool:
    """Tell whether a path is one of the prefixes or below one: `/admin/x` is below `/admin`, `/adminx` is not."""
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix in prefixes)


def cors_headers(path: str, origin: str | None) -> Headers:
    """Return the headers that let a browser read an answer that Django did not make; the admin has none."""
    if origin is None or origin not in settings.CORS_ALLOWED_ORIGINS or is_below(path, "/admin"):
        return []
    return [
        ("vary", "origin"),
        ("access-control-allow-origin", origin),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "Retry-After"),
    ]


def note_refusal(method: str, path: str, outcome: refusals.Outcome) -> None:
    """Count a refused event."""
    if method == "POST" and not is_below(path, *PAGES):
        refusals.note(outcome, clock.now_ms())
