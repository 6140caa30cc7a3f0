"""Hostile paths, queries, cookies, headers and forms on every route, through the WSGI entry: no answer is a 5xx."""

import json
import os
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes
from wsgiref.util import setup_testing_defaults

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import Client, override_settings
from django.urls import reverse

from telemetry_site.public_urls import urlpatterns as public_urlpatterns
from telemetry_site.wsgi import application
from tests.api.test_who_may import ROWS, things
from tests.conftest import payload, rolled_back

__all__ = ["things"]
STATIC = ["/static/admin/css/base.css", "/static/events/telemetry.js", "/static/nowhere"]
ROUTES = {
    **{str(route.name): reverse(str(route.name)) for route in public_urlpatterns},
    **{name: row.path for name, row in ROWS.items()},
    **{path: path for path in STATIC},
    "nobody's": "/nowhere",
}
# `make fuzz` sends every case to every route, other runs one case in four: each case meets a quarter of the routes.
SHARE = 1 if "FUZZ_CASES" in os.environ else 4
FORM = "application/x-www-form-urlencoded"

# Percent-encoded values that some decoder, parser or database refuses.
VALUES = {
    "empty": "",
    "NUL": "%00",
    "NUL within": "a%00b",
    "line feed": "%0a",
    "carriage return and a header": "%0d%0aX-Other:%20x",
    "no UTF-8": "%ff",
    "a lone surrogate in UTF-8": "%ed%a0%80",
    "a lone surrogate as JSON": "%5Cud800",
    "more digits than 64 bits": "9" * 30,
    "more digits than Python converts": "9" * 5_000,
    "digits of another script": "%D9%A1",
    "no number": "1e999",
    "a negative number": "-1",
    "long": "a" * 10_000,
}
NAMES = (
    *("type", "model", "version", "mode", "connected", "window", "session", "group", "released", "q", "since", "until"),
    *("cursor", "limit", "days", "bucket", "token", "lang", "format", "script", "next", "p", "o", "e", "all", "id"),
    *("action", "kind", "who", "query", "sort", "is_staff__exact", "groups__id__exact", "_popup", "_to_field"),
    *("_changelist_filters", "app_label", "model_name", "field_name", "term"),
)
SEGMENTS = ["%00", "%0a", "%ff", "%ed%a0%80", "9" * 30, "_00", "..%2f..%2f", "%5Cud800", "%0d%0aX:%20x"]
SESSION = settings.SESSION_COOKIE_NAME
COOKIES = [
    *(
        f'{name}="{value}"'
        for name in (SESSION, settings.CSRF_COOKIE_NAME, settings.KNOWN_BROWSER_COOKIE_NAME, "messages")
        for value in ("\\000", "a")
    ),
    f'{SESSION}="abcdefghijklmnop\\000qrstuvwxyz01234"',
    f'{SESSION}="\\355\\240\\200abcdefgh"',
    f"{SESSION}=\xed\xa0\x80abcdefgh",
    'a="\\000"',
    '"\\000"=a',
    f"{SESSION}={'a' * 8_000}",
    ";;;===;\xff",
]
HEADERS = [
    *(
        {"HTTP_ACCEPT": value}
        for value in ("text/html; x*=hex''%41", f"a/b{';' * 9_000}", f"a/b;{'x' * 10_001}", "\xff")
    ),
    *(
        {"HTTP_AUTHORIZATION": value}
        for value in ("Bearer \x00", "Bearer \xed\xa0\x80", "Bearer", f"Bearer {'a' * 9_000}")
    ),
    *({"HTTP_X_FORWARDED_FOR": value} for value in ("\x00", "\xff, 192.0.2.1", "192.0.2.1, \xed\xa0\x80", "," * 9_000)),
    *({"HTTP_RANGE": value} for value in ("bytes=\xb2-", f"bytes={'9' * 5_000}-", "bytes=--1", "bytes=9-1", "\x00")),
    *({"HTTP_IF_MODIFIED_SINCE": value} for value in ("", " ", "\x00", f"1 Jan {'9' * 5_000} 00:00:00 GMT")),
    *({"HTTP_HOST": value} for value in ("\x00", "localhost\x00", "[", "localhost:99999999", "\xff")),
    *({"HTTP_ORIGIN": value} for value in ("\x00", "null", "http://[", "\xff")),
    *({"HTTP_REFERER": value} for value in ("\x00", "http://[", "\xff")),
    *({"HTTP_IF_NONE_MATCH": value} for value in ("\x00", '"' * 9_000)),
    *({"CONTENT_LENGTH": value} for value in ("", "-1", "\xb2", "9" * 30, "x")),
]
# Each would choose how Django decodes, if Django saw it.
CONTENT_TYPES = [
    *(
        f"{FORM}; charset={name}"
        for name in ("punycode", "hex", "latin-1", "utf-16", "utf-7", "idna", "rot13", "utf-8-sig")
    ),
    *(
        f"{FORM}; charset={name}"
        for name in ("", "undefined", "no-such", "\x00", "utf-8\x00", "utf-8,hex", "ut\\f-8", "\xff")
    ),
    *(
        f"{FORM}{parameters}"
        for parameters in (";CHARSET=HEX", '; charset="hex"', "; charset = hex", ";\tcharset\t=hex")
    ),
    *(f"{FORM}{parameters}" for parameters in ("; charset=utf-8; charset=hex", "; charset=hex; charset=utf-8")),
    *(f"{FORM}{parameters}" for parameters in ("; charset*=utf-8''hex", "; charset*=hex''utf-8", "; x*=hex''%41")),
    *(
        f"{FORM}{parameters}"
        for parameters in ("; charset*0=he; charset*1=x", "; \x1fcharset=hex", "; charset\xa0=hex")
    ),
    *(f"{FORM}{parameters}" for parameters in ('; x="; charset=hex"', f"; {'x' * 10_001}", f"{';' * 9_000}")),
    # An open quotation mark: Django reads what follows as part of the encoding's name.
    *(f"{FORM}{parameters}" for parameters in ('; charset="utf-8;\0x', '; charset =UTF8";\0', "; charset='utf-8\"")),
    f"{FORM};\0",
    "charset=hex",
    f"{FORM}, {FORM}; charset=hex",
    "multipart/form-data; boundary=x; charset=hex",
    "multipart/form-data; boundary=x",
    "Multipart/Mixed; boundary*=hex''%78",
]


def ask(method: str, path: str, query: str = "", body: bytes = b"", **environ: str) -> tuple[int, str]:
    """Send a request as a WSGI server would; return the status and the body."""
    path = path.partition("?")[0]
    request: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_LENGTH": str(len(body)),
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost",
        "wsgi.input": BytesIO(body),
    } | environ
    setup_testing_defaults(request)
    started: list[str] = []
    chunks = application(request, lambda status, _: started.append(status))
    content = b"".join(chunks)
    getattr(chunks, "close", lambda: None)()
    return int(started[0][:3]), content.decode("utf-8", "replace")


@pytest.fixture(autouse=True)
def one_connection() -> Iterator[None]:
    """Keep the connection of the test over the ends of requests, as Django's test client does."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def cookie() -> str:
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="correct horse battery"))
    return f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"


def unquoted(path: str) -> str:
    """Return a path as WSGI has it: its bytes as Latin-1."""
    return unquote_to_bytes(path).decode("latin-1")


def changed(path: str, segment: str) -> Iterator[str]:
    """Yield a path with one more segment, and with another one in place of each of the last two."""
    parts = path.strip("/").split("/")
    yield "/" + "/".join([*parts, segment])
    for place in range(max(1, len(parts) - 2), len(parts)):
        yield "/" + "/".join([*parts[:place], segment, *parts[place + 1 :]]) + "/"


@pytest.mark.django_db
@override_settings(ADMIN_TOKEN="a token")  # without one, /recent says so with a 503
def test_no_part_of_a_request_makes_a_route_fail(things: dict[str, Any], cookie: str) -> None:
    for number, path in enumerate(ROUTES.values()):
        with rolled_back():
            expect_no_failure(path.format_map(things).partition("?")[0], cookie, first=number % SHARE)


def expect_no_failure(path: str, cookie: str, *, first: int) -> None:
    root, form = {"HTTP_COOKIE": cookie}, {"CONTENT_TYPE": FORM}
    everything = ["&".join(f"{name}={value}" for name in NAMES)[:14_000] for value in VALUES.values()]
    cases: list[tuple[str, str, str, bytes, dict[str, str]]] = [
        *(("GET", path, query, b"", root) for query in everything),
        *(("POST", path, "", body.encode(), root | form) for body in everything),
        *(("GET", at, "", b"", root) for segment in SEGMENTS for at in changed(path, unquoted(segment))),
        *(("GET", path, "", b"", {"HTTP_COOKIE": hostile}) for hostile in COOKIES),
        *(("POST", path, "", b"a=b", form | {"HTTP_COOKIE": hostile}) for hostile in COOKIES),
        *(("GET", path, "", b"", headers) for headers in HEADERS),
    ]
    answered = [
        (ask(method, at, query, body, **headers)[0], method, at, query[:80], headers)
        for method, at, query, body, headers in cases[first::SHARE]
    ]
    assert [case for case in answered if case[0] >= 500] == []


@pytest.mark.parametrize("content_type", CONTENT_TYPES, ids=lambda value: ascii(value)[:60])
def test_a_client_chooses_no_decoding(content_type: str) -> None:
    """Django is not reached, so the test needs no database."""
    for path in ROUTES.values():
        for method in ("POST", "GET", "HEAD", "OPTIONS", "PUT", "BREW"):
            status, body = ask(method, path, "a=%ff", b"a=%ff", CONTENT_TYPE=content_type)
            words = "" if method == "HEAD" else '{"ok":false,"error":"Unsupported media type"}'
            assert (status, body) == (415, words)


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/event", "/client-log", "/admin/login/"])
@pytest.mark.parametrize(
    "parameters",
    [
        "",
        ";",
        "; charset=utf-8",
        ";charset=UTF-8",
        '; charset="utf-8"',
        ' ; Charset = "Utf-8" ',
        "; charset=utf8; charset=UTF-8",
        "; charset=utf-8; boundary=x",
        "; q=1; charset=utf-8;",
    ],
)
def test_utf8_is_accepted_in_any_spelling(path: str, parameters: str) -> None:
    media_type = FORM if path.startswith("/admin") else "application/json"
    status, _ = ask("POST", path, "", json.dumps(payload()).encode(), CONTENT_TYPE=media_type + parameters)
    assert status == {"/event": 201, "/client-log": 200, "/admin/login/": 403}[path]


@pytest.mark.parametrize("method", ["post", "Post", "pOST", "get", "head", "options", "brew"])
def test_a_method_is_compared_as_sent(method: str) -> None:
    for path in ROUTES.values():
        assert ask(method, path) == (405, '{"ok":false,"error":"Method not allowed"}')


def fill(size: int) -> dict[str, str]:
    """Return headers that make up a head of so many bytes, with those that `ask` sends."""
    own = len("GET/health") + len("host: localhost\r\n")
    half = (size - own) // 2
    return {"HTTP_X_A": "a" * (half - len("x-a: \r\n")), "HTTP_X_B": "b" * (size - own - half - len("x-b: \r\n"))}


@pytest.mark.parametrize(
    ("environ", "status"),
    [
        (fill(16_384), 200),
        (fill(16_385), 431),
        ({f"HTTP_X_{number}": "x" * 180 for number in range(90)}, 431),
        ({"QUERY_STRING": "a" * 17_000}, 431),
        ({"HTTP_COOKIE": "a" * 8_192}, 200),
        ({"HTTP_COOKIE": "a" * 8_193}, 431),
        ({"HTTP_COOKIE": 'a="' + "\\" * 512 + '"'}, 200),
        ({"HTTP_COOKIE": 'a="' + "\\" * 513 + '"'}, 431),
        ({"HTTP_COOKIE": "; ".join(['a="\\\\\\"'] * 171)}, 431),
        ({"CONTENT_TYPE": f"text/plain; charset=hex{' ' * 17_000}"}, 431),
    ],
    ids=range(10),
)
def test_a_head_has_limits(environ: dict[str, str], status: int) -> None:
    for path in ("/health", "/admin/login/", "/static/admin/css/base.css") if status == 431 else ("/health",):
        answer = ask("GET", path, **environ)
        assert answer[0] == status
        assert status == 200 or answer[1] == '{"ok":false,"error":"Request header fields too large"}'


@pytest.mark.django_db
def test_the_version_of_the_description_is_not_the_client_s() -> None:
    for value in ("x", "%0a", "%0d%0aX-Other:%20x", "%22", "1"):
        answer = Client().get(f"/api/schema/?version={value}&lang={value}")
        assert answer.headers["Content-Disposition"] == 'inline; filename="Telemetry site.yaml"'
        assert "X-Other" not in answer.headers
