"""A form with any `Origin`, `Referer`, cookie or token. The refusal names the cause and escapes all texts."""

from html import unescape
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.judge import case, check, share

pytestmark = pytest.mark.django_db

OWN = "http://testserver"
HEADER = st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=("Cs",))
ORIGINS = st.one_of(
    st.sampled_from([OWN, "null", "", "https://testserver", "http://testserver:80", "<script>alert(1)</script>"]),
    st.sampled_from(["https://[", "x" * 5_000, "javascript:alert(1)", "http://a.example/\u202e", "'\"><b>&amp;"]),
    st.text(HEADER, max_size=30),
)
SECRETS = st.sampled_from(["a" * 32, "b" * 32, "a" * 64, "short", "\u00e9" * 32, "<b>" + "a" * 29]) | st.none()


@pytest.mark.fault("refused forms")
@share(2, short=30)
@given(
    path=st.sampled_from(["/admin/login/", "/admin/events/counterbaseline/add/", "/admin/nowhere/"]),
    origin=st.none() | ORIGINS,
    referer=st.none() | ORIGINS,
    is_secure=st.booleans(),
    cookie=SECRETS,
    token=SECRETS,
)
def test_a_form(
    path: str, origin: str | None, referer: str | None, is_secure: bool, cookie: str | None, token: str | None
) -> None:
    sent: dict[str, Any] = {"origin": origin, "referer": referer}
    headers = {name: value for name, value in sent.items() if value is not None}
    client = Client(enforce_csrf_checks=True, raise_request_exception=False, headers=headers)
    if cookie is not None:
        client.cookies[settings.CSRF_COOKIE_NAME] = cookie
    form = {} if token is None else {"csrfmiddlewaretoken": token}
    with case():
        answer = client.post(path, form, secure=is_secure)
    check("5xx", answer.status_code < 500, answer.status_code, sent, cookie, token)
    text = answer.content.decode()
    check("shape", not any(markup in text for markup in ("<script>alert", "'\"><b>", 'javascript:alert"')), text)
    own = OWN.replace("http:", "https:") if is_secure else OWN
    if origin is not None and origin != own:
        check("else", answer.status_code == 403, answer.status_code, sent)
        shown = "Origin: null, which" if origin == "null" else f"Origin {cut(origin)}"
        check("else", f"{shown} does not match SITE_URL ({settings.SITE_URL})." in unescape(text), text, sent)
    if answer.status_code == 403:
        check("shape", len(text) < 20_000, len(text), sent)


def cut(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}…"
