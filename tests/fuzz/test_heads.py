"""Request heads on any route: no 5xx, Django decodes only UTF-8, and each limit applies at the exact byte."""

import codecs
import re
from io import BytesIO

import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from telemetry_site.server.lanes import lane_of
from tests.fuzz.judge import case, check, share
from tests.server.test_hostile_requests import FORM, ROUTES, ask, one_connection

__all__ = ["one_connection"]  # used by each test here

pytestmark = pytest.mark.django_db

CODECS = ("utf-8", "UTF8", "punycode", "hex", "idna", "utf-16", "latin-1", "utf-8-sig", "no-such", "")
NAMES = ("charset", "CHARSET", "charset*", "charset*0", "x*", "boundary", " charset ")
PIECES = st.sampled_from([";", ",", "=", '"', "'", "\\", " ", "\t", "\x00", "\xff", *NAMES, *CODECS])
PARAMETERS = st.builds(
    "; {}{}{}{}{}".format, *(st.sampled_from(c) for c in (NAMES, ("=", " = ", '="'), CODECS, ('"', "", "'"), ("", ";")))
)
TYPES = st.builds(
    "{}{}".format,
    st.sampled_from([FORM, "application/json", "multipart/form-data"]),
    st.lists(PARAMETERS | PIECES, max_size=6).map("".join),
)
PATHS = st.sampled_from([path for path in ROUTES.values() if "{" not in path])
with_admin_token = override_settings(ADMIN_TOKEN="a token")  # without one, /recent answers 503


@pytest.mark.fault("decoding chosen by the client")
@with_admin_token
@share(10)
@given(TYPES, PATHS, st.sampled_from(["GET", "POST"]))
def test_a_content_type(content_type: str, path: str, method: str) -> None:
    with case():
        status, body = ask(method, path, "token=%ff", b"a=%ff", CONTENT_TYPE=content_type)
    check("5xx", status < 500, status, content_type, path)
    if (status, body) != (415, '{"ok":false,"error":"Unsupported media type"}'):
        encoding = WSGIRequest(
            {"REQUEST_METHOD": method, "CONTENT_TYPE": content_type, "wsgi.input": BytesIO()}
        ).encoding
        check("else", encoding is None or codecs.lookup(encoding).name == "utf-8", encoding, content_type)


METHODS = st.text("GETPOShead-_!~'", min_size=1, max_size=8) | st.sampled_from(["post", "Post", "POSt", "get", "heaD"])


@pytest.mark.fault("methods in lower case")
@with_admin_token
@share(2, short=20)
@given(METHODS, PATHS)
def test_a_method(method: str, path: str) -> None:
    with case():
        status, body = ask(method, path)
    check("5xx", status < 500, status, method, path)
    if re.search("[a-z]", method):
        check("else", (status, body) == (405, '{"ok":false,"error":"Method not allowed"}'), status, body, method, path)


MOST_HEAD, MOST_COOKIES, MOST_BACKSLASHES = 16_384, 8_192, 512


def around(limit: int) -> st.SearchStrategy[int]:
    return st.sampled_from([0, limit - 1, limit, limit + 1]) | st.integers(0, limit + limit // 4)


@pytest.mark.fault("large heads and cookies")
@share(2, short=20)
@given(
    head_bytes=around(MOST_HEAD),
    cookie_bytes=around(MOST_COOKIES),
    backslashes=around(MOST_BACKSLASHES),
    unit=st.sampled_from(["\\", "\\a", "\\0", '\\"', "\\\\", ";\\", 'a="\\"; ']),
    filling=st.sampled_from(["x", ";", '"', " ", "=", "\\000"]),
    headers=st.integers(1, 30),
    path=st.sampled_from(["/health", "/admin/login/", "/nowhere"]),
)
def test_the_size_of_a_head(
    head_bytes: int, cookie_bytes: int, backslashes: int, unit: str, filling: str, headers: int, path: str
) -> None:
    cookie = ('a="' + unit * (backslashes // max(1, unit.count("\\")))).ljust(cookie_bytes - 1, filling[0]) + '"'
    sent = {"host": "localhost", "cookie": cookie}
    size = len(f"GET{path}") + sum(len(name) + len(value) + len(": \r\n") for name, value in sent.items())
    for number in range(headers):
        name = f"x-{number}"
        room = (head_bytes - size) // (headers - number) - len(f"{name}: \r\n")
        if room >= 0:
            sent[name] = "x" * room
            size += len(f"{name}: \r\n") + room
    environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in sent.items()}
    with case():
        status, _ = ask("GET", path, **environ)
    check("5xx", status < 500, status, size, cookie)
    is_over = size > MOST_HEAD or len(cookie) > MOST_COOKIES or cookie.count("\\") > MOST_BACKSLASHES
    check("else", (status == 431) is is_over, status, size, cookie)


KNOWN_PATHS = [
    "/health",
    "/health/ready",
    "/admin",
    "/static",
    "/event",
    "/event/batch",
    "/metrics/flash-count",
    "/badge.svg",
    "/stats",
    "",
]
NEAR_PATHS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "", "", "/", "/x", "/."]),
    st.sampled_from([*KNOWN_PATHS, *(path.upper() for path in KNOWN_PATHS)]),
    st.sampled_from(["", "", "/", "//", "z", "/x", "/health", "\n", ";", "é", "/../health"]),
)


@pytest.mark.fault("paths that resemble another one")
@share(2, short=50)
@given(NEAR_PATHS, st.sampled_from(["GET", "HEAD", "POST", "OPTIONS"]))
def test_the_threads_of_a_path(path: str, method: str) -> None:
    with case():
        pool = lane_of(path).pool(method)
    if re.fullmatch("/health(/ready)?/?", path):
        expected = "health"
    elif re.match(r"/(admin|static)(/|\Z)", path):
        expected = "pages"
    else:
        expected = "events" if method == "POST" else "reads"
    check("else", pool == expected, pool, method, path)
