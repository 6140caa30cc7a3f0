"""What is answered when no view does."""

import re
from html import unescape

import pytest
from django.conf import settings
from django.test import Client, override_settings

from telemetry_site import refused_forms
from tests.conftest import sign_in


@pytest.mark.django_db
def test_a_post_to_no_route_gets_json() -> None:
    answer = Client(enforce_csrf_checks=True).post("/", {"a": "b"})
    assert (answer.status_code, answer.json()) == (403, {"ok": False, "error": "Forbidden"})


@pytest.mark.django_db
def test_a_form_without_its_token_gets_a_page() -> None:
    client = Client(enforce_csrf_checks=True)
    sign_in(client, "Maintainers")
    answer = client.post("/admin/events/counterbaseline/add/", {"value": "1"})
    assert answer.status_code == 403
    assert answer["Content-Type"].startswith("text/html")


@pytest.mark.django_db
def test_signing_in_leads_to_the_overview_whatever_next_says(client: Client) -> None:
    user = sign_in(client, "Staff")
    user.set_password("a password for tests")
    user.save()
    form = {"username": user.username, "password": "a password for tests"}
    answer = Client().post("/admin/login/?next=//evil.example", form)
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")


# --- refused forms -------------------------------------------------------------------------------------------------

MINE = "http://testserver"
SITE_URL = "http://127.0.0.1:8000"
NULL = f"Your browser sent Origin: null, which does not match SITE_URL ({SITE_URL})."
OUT_OF_DATE = "Its CSRF token is missing or is no longer valid. You may have signed in again since the page was loaded."
NO_COOKIE = "Your browser sent no valid CSRF cookie. Cookies are blocked, or were deleted after the page was loaded."


def mismatch(header: str, sent: str) -> str:
    return f"{header} {sent} does not match SITE_URL ({SITE_URL})."


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/admin/login/", "/admin/events/counterbaseline/add/"])
@pytest.mark.parametrize(
    ("headers", "is_secure", "cookie", "token", "cause"),
    [
        ({"origin": "http://proxy.example:9443"}, False, "a", "a", mismatch("Origin", "http://proxy.example:9443")),
        ({"origin": "https://testserver"}, False, "a", "a", mismatch("Origin", "https://testserver")),
        ({"origin": "<b>&'x"}, False, "a", "a", mismatch("Origin", "<b>&'x")),
        ({"origin": ""}, False, "a", "a", mismatch("Origin", "")),
        ({"origin": "x" * 5_000}, False, "a", "a", mismatch("Origin", f"{'x' * 200}…")),
        ({"origin": "null"}, False, "a", "a", NULL),
        (
            {},
            True,
            "a",
            "a",
            "Your browser sent neither Origin nor Referer. Over HTTPS the site needs one of them.",
        ),
        ({"referer": "https://a.example/secret?x"}, True, "a", "a", mismatch("Referer", "https://a.example")),
        ({"referer": "http://testserver/secret"}, True, "a", "a", mismatch("Referer", MINE)),
        ({"referer": "https://[/"}, True, "a", "a", mismatch("Referer", "https://[/")),
        ({"referer": "nonsense"}, True, "a", "a", mismatch("Referer", "nonsense")),
        ({"origin": MINE}, False, None, "a", NO_COOKIE),
        ({"origin": MINE}, False, "too-short", "a", NO_COOKIE),
        ({}, False, None, "a", NO_COOKIE),
        ({"origin": MINE}, False, "a", None, OUT_OF_DATE),
        ({"origin": MINE}, False, "a", "b", OUT_OF_DATE),
        ({"origin": MINE}, False, "a", "too-short", OUT_OF_DATE),
    ],
)
def test_a_refused_form_names_its_cause(
    path: str, headers: dict[str, str], is_secure: bool, cookie: str | None, token: str | None, cause: str
) -> None:
    client = Client(enforce_csrf_checks=True, headers=headers)
    if cookie is not None:
        client.cookies[settings.CSRF_COOKIE_NAME] = cookie * 32 if len(cookie) == 1 else cookie
    form = {} if token is None else {"csrfmiddlewaretoken": token * 32 if len(token) == 1 else token}
    answer = client.post(path, form, secure=is_secure)
    assert answer.status_code == 403
    text = answer.content.decode()
    assert "<b>&" not in text
    assert f"Nothing was changed. {cause}" in unescape(text)
    assert len(re.findall("<p>", text)) == 3


@override_settings(HTTPS=True, SITE_URL="https://telemetry.example.org")
def test_a_secure_cookie_missing_over_http_is_explained() -> None:
    answer = Client(enforce_csrf_checks=True, headers={"origin": MINE}).post("/admin/login/", {})
    cause = "SITE_URL is https://telemetry.example.org, so browsers send cookies only over HTTPS."
    assert f"{cause} This form arrived over HTTP." in answer.content.decode()


def test_every_reason_of_django_has_its_words() -> None:
    """A reason that Django words otherwise one day would be taken for a form that is out of date."""
    reasons = {name: value for name, value in vars(refused_forms.csrf).items() if name.startswith("REASON_")}
    assert sorted(reasons) == [
        "REASON_BAD_ORIGIN",
        "REASON_BAD_REFERER",
        "REASON_CSRF_TOKEN_MISSING",
        "REASON_INCORRECT_LENGTH",
        "REASON_INSECURE_REFERER",
        "REASON_INVALID_CHARACTERS",
        "REASON_MALFORMED_REFERER",
        "REASON_NO_CSRF_COOKIE",
        "REASON_NO_REFERER",
    ]
    assert refused_forms._BAD_ORIGIN == "Origin checking failed - "
    assert refused_forms._BAD_REFERER == "Referer checking failed - "
