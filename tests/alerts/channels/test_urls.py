"""What the URL of a channel may be, and that no message repeats it."""

import json

import pytest
from django.test import override_settings

from events.alerts.channels import sending, urls
from events.alerts.channels.urls import DEFAULT_SCHEMES, InvalidURL
from tests.alerts.channels.test_enclosure import in_process

SECRET = "TIiajkdnlazkcOXrIdevi7FQ"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "1 to 2,000 characters"),
        ("json://" + "a" * 2_000, "1 to 2,000 characters"),
        (f"json://example.org/{SECRET} b", "no spaces"),
        (f"json://example.org/{SECRET}\n", "no control characters"),
        (SECRET, "begins with the scheme of a service"),
        (f"://{SECRET}", "begins with the scheme of a service"),
        (f"file:///etc/{SECRET}", "does not allow the scheme file"),
        (f"syslog://{SECRET}", "does not allow the scheme syslog"),
        (f"apprise://localhost/{SECRET}", "does not allow the scheme apprise"),
        (f"http://localhost/{SECRET}", "does not allow the scheme http"),
        (f"json://[::1/{SECRET}", "The host of the URL is not valid."),
        (f"json://example.org/{SECRET}?verify=no", "The parameter verify is not allowed."),
        (f"json://example.org/{SECRET}?a=b&REDIRECT=yes", "The parameter redirect is not allowed."),
        (f"json://example.org/{SECRET}?a?verify=no", "The parameter verify is not allowed."),
        (f"json://example.org/{SECRET}? %76erify =no".replace(" ", "%20"), "The parameter verify is not allowed."),
        (f"slack://a/b/{SECRET}?template=/etc/passwd", "The parameter template is not allowed."),
        (f"mailto://u:{SECRET}@example.org?pgpprv=/etc/passwd", "The parameter pgpprv is not allowed."),
        (f"json://example.org/{SECRET}?rto=99999", "The parameter rto is not allowed."),
        ("mailto:nobody", "After mailto: follow mail addresses"),
        ("mailto:a@example.org,", "After mailto: follow mail addresses"),
        ("mailto:" + ",".join(["a@example.org"] * 21), "at most 20 mail addresses"),
        ("mailto:a@example.org%0d%0aBcc:b@example.org", "After mailto: follow mail addresses"),
    ],
)
def test_a_url_is_refused_in_words_that_do_not_contain_it(url: str, words: str) -> None:
    with pytest.raises(InvalidURL) as caught:
        urls.recipients(url) or urls.check(url, DEFAULT_SCHEMES)
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"slack://T1JJ3T3L2/A1BRTD4JD/{SECRET}",
        f"json://user:{SECRET}@example.org:8080/hook?+X-Token=a&method=PUT",
        f"ntfys://{SECRET}@ntfy.example.org/topic?priority=high",
        f"https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/{SECRET}",
    ],
)
def test_a_usual_url_is_accepted(url: str) -> None:
    urls.check(url, DEFAULT_SCHEMES)
    assert urls.recipients(url) is None


def test_addresses_of_mail_are_read() -> None:
    assert urls.recipients("mailto:a@example.org, b%2Bc@example.org") == (["a@example.org", "b+c@example.org"],)


def test_the_setting_extends_or_replaces_the_list() -> None:
    assert urls.allowed_schemes(["default"]) == list(DEFAULT_SCHEMES)
    assert urls.allowed_schemes(["default", "MatrixS", "json"]) == [*DEFAULT_SCHEMES, "matrixs"]
    assert urls.allowed_schemes(["json"]) == ["json"]


@pytest.mark.parametrize(
    ("url", "service"),
    [
        (f"https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/{SECRET}", ("slack", "Slack")),
        ("https://discord.com/api/webhooks/1234567890/abcdefghijklmnop", ("discord", "Discord")),
        ("mailto:a@example.org", ("mailto", "E-mail")),
        ("tgram://123456789:abcdefg_hijklmnop/12315544/", ("tgram", "Telegram")),
    ],
)
def test_the_service_of_a_url_is_named_without_a_connection(url: str, service: tuple[str, str]) -> None:
    assert sending.service_of(url) == service


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"slack://{SECRET}", "Apprise does not accept this URL."),
        (f"https://example.org/{SECRET}", "Apprise does not accept this URL."),
        (f"https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/{SECRET}", "does not allow the scheme slack"),
    ],
)
def test_apprise_refuses_in_words_that_do_not_contain_the_url(url: str, words: str) -> None:
    schemes = ["json"] if "allow" in words else ["default"]
    with override_settings(ALERT_SCHEMES=schemes), pytest.raises(InvalidURL) as caught:
        sending.service_of(url)
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)


def test_the_default_schemes_exist_and_only_five_services_name_a_host() -> None:
    """Apprise says which parts a URL has. A service without a host always sends to its own."""
    code = """
import json, apprise
found = {}
for one in apprise.Apprise().details()["schemas"]:
    for scheme in [*(one["protocols"] or []), *(one["secure_protocols"] or [])]:
        found[scheme] = "host" in one["details"]["tokens"]
print(json.dumps(found))
"""
    has_host = json.loads(in_process(code))
    assert [scheme for scheme in DEFAULT_SCHEMES if scheme not in has_host] == []
    assert {scheme for scheme in DEFAULT_SCHEMES if has_host[scheme]} == {
        "mailto", "mailtos", "json", "jsons", "ntfy", "ntfys", "workflow", "workflows",
    }  # fmt: skip
