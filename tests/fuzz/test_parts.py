"""Hostile text in any part of a maintainer's request with valid CSRF tokens. No page fails."""

from typing import Any, NamedTuple
from urllib.parse import quote_from_bytes, urlencode

import pytest
from django.conf import settings
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from tests.api.test_who_may import ROWS, things
from tests.fuzz.judge import case, check, rolled_back, share
from tests.fuzz.test_heads import with_admin_token
from tests.server.test_hostile_requests import FORM, NAMES, ROUTES, ask, cookie, one_connection

__all__ = ["cookie", "one_connection", "things"]
pytestmark = pytest.mark.django_db

HOSTILE = st.sampled_from(
    [b"\0", b"\n", b"\r\nX-Other: x", b"\xff", b"\xed\xa0\x80", b"\\ud800", b"9" * 30, b"9" * 5_000, b"1e999", b"-1",
     "\u0661".encode(), "\u202e".encode(), b"'", b'"', b"%", b"%00", b"..", b"/", b"_00", b"<b>", b"=1+1", b"&",
     b"a" * 3_000]
)  # fmt: skip
TEXTS = st.lists(HOSTILE | st.binary(max_size=3) | st.sampled_from([b"a", b"1", b" ", b"UV-5RM"]), max_size=4).map(
    b"".join
)
FIELDS = sorted({*NAMES, *(name for row in ROWS.values() for name in row.form)})
PARAMETERS = st.dictionaries(st.sampled_from(FIELDS), TEXTS, max_size=6)
HEADERS = ["ACCEPT", "AUTHORIZATION", "ORIGIN", "REFERER", "HOST", "RANGE", "IF_NONE_MATCH", "IF_MODIFIED_SINCE"]
COOKIES = [settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME, settings.KNOWN_BROWSER_COOKIE_NAME, "messages", "a"]
CSRF = "c" * 32


class HostilePart(NamedTuple):
    """The hostile part of a request: `text` in a segment of the path, a cookie or a header, which `name` identifies."""

    kind: str
    name: Any
    text: bytes = b""
    parameters: dict[str, bytes] = {}  # of a query or a form


PARTS = st.one_of(
    st.builds(HostilePart, st.just("segment"), st.integers(0, 7), TEXTS),
    st.builds(HostilePart, st.just("query"), st.none(), parameters=PARAMETERS),
    st.builds(HostilePart, st.just("form"), st.none(), parameters=PARAMETERS),
    st.builds(HostilePart, st.just("cookie"), st.sampled_from(COOKIES), TEXTS),
    st.builds(HostilePart, st.just("header"), st.sampled_from(HEADERS), TEXTS),
)


class PreparedRequest(NamedTuple):
    """The arguments of one request."""

    method: str
    path: str
    query: str
    body: bytes
    environ: dict[str, str]


def request_with(route: str, part: HostilePart, things: dict[str, Any], cookie: str) -> PreparedRequest:
    """Return a valid request to a route with one hostile part."""
    path, _, query = ROUTES[route].format_map(things).partition("?")
    environ = {"HTTP_COOKIE": f"{cookie}; {settings.CSRF_COOKIE_NAME}={CSRF}"}
    match part.kind:
        case "segment":
            segments = path.strip("/").split("/")
            segments[part.name // 2 : part.name // 2 + part.name % 2] = [part.text.decode("latin-1")]
            path = f"/{'/'.join(segments)}/"
        case "query":
            query = urlencode(part.parameters)
        case "form":
            # Overwrite fields of a valid form, so that the other fields do not cause an earlier refusal.
            own = ROWS[route].form if route in ROWS else {}
            form = {name: value.format_map(things).encode() for name, value in own.items()} | part.parameters
            body = urlencode(form | {"csrfmiddlewaretoken": CSRF.encode()}).encode()
            return PreparedRequest("POST", path, query, body, environ | {"CONTENT_TYPE": FORM})
        case "cookie":
            octal = "".join(f"\\{byte:03o}" for byte in part.text)
            environ["HTTP_COOKIE"] += f'; {part.name}="{octal}"'
        case "header":
            environ[f"HTTP_{part.name}"] = part.text.decode("latin-1").replace("\r", "").replace("\n", "")
    return PreparedRequest("GET", path, query, b"", environ)


@pytest.mark.fault("hostile text in any part of a request")
@with_admin_token
def test_any_part(things: dict[str, Any], cookie: str) -> None:
    @share(5, short=60)
    @given(route=st.sampled_from(list(ROUTES)), part=PARTS)
    def fails_nowhere(route: str, part: HostilePart) -> None:
        method, path, query, body, environ = request_with(route, part, things, cookie)
        with rolled_back(), case():
            status, _ = ask(method, path, query, body, **environ)
        check("5xx", status < 500, status, route, part)

    fails_nowhere()


@pytest.mark.fault("a parameter that writes a header")
@share(0.5, short=5)
@given(name=st.sampled_from(["version", "format", "lang", "script", "title"]), text=TEXTS)
def test_a_parameter_writes_no_header(name: str, text: bytes) -> None:
    with case():
        answer = Client(raise_request_exception=False).get(f"/api/schema/?{name}={quote_from_bytes(text)}")
    check("5xx", answer.status_code < 500, answer.status_code, name, text)
    disposition = answer.headers.get("Content-Disposition")
    allowed = [None, *(f'inline; filename="Telemetry site.{ending}"' for ending in ("yaml", "json"))]
    check("else", disposition in allowed and "X-Other" not in answer.headers, answer.headers, name, text)
