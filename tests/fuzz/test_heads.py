"""Any `Content-Type`, path and query on any route: no 5xx, and Django decodes nothing but UTF-8."""

import codecs
from io import BytesIO

import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.judge import hold, share, tally
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


@share(10)
@override_settings(ADMIN_TOKEN="a token")  # without one, /recent says so with a 503
@given(TYPES, st.sampled_from([path for path in ROUTES.values() if "{" not in path]), st.sampled_from(["GET", "POST"]))
def test_a_content_type(content_type: str, path: str, method: str) -> None:
    tally["cases"] += 1
    status, body = ask(method, path, "token=%ff", b"a=%ff", CONTENT_TYPE=content_type)
    hold("5xx", status < 500, status, content_type, path)
    if (status, body) != (415, '{"ok":false,"error":"Unsupported media type"}'):
        encoding = WSGIRequest(
            {"REQUEST_METHOD": method, "CONTENT_TYPE": content_type, "wsgi.input": BytesIO()}
        ).encoding
        hold("else", encoding is None or codecs.lookup(encoding).name == "utf-8", encoding, content_type)
