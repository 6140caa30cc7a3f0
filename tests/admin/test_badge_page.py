"""The page of the badge: a preview, and the lines that embed it."""

import html
import re

import pytest
from django.test import Client, override_settings

from tests.conftest import make_event, sign_in, success

pytestmark = pytest.mark.django_db
PATH = "/admin/events/counterbaseline/badge/"
SITE = "https://telemetry.example.org"


def lines(client: Client, **query: str) -> dict[str, str]:
    answer = client.get(PATH, query)
    assert answer.status_code == 200
    found = re.findall('<pre [^>]*id="badge-([a-z]+)"[^>]*>(.+?)</pre>', answer.content.decode())
    return {name: html.unescape(text) for name, text in found}


@override_settings(SITE_URL=SITE)
def test_the_lines_contain_the_chosen_badge(client: Client) -> None:
    sign_in(client, "Staff")
    url = f"{SITE}/badge.svg?label=radios+flashed&color=2f6fde"
    assert lines(client, label="radios flashed", color="#2F6FDE") == {
        "markdown": f"![radios flashed]({url})",
        "html": f'<img src="{url.replace("&", "&amp;")}" alt="radios flashed">',
        "shields": "![radios flashed](https://img.shields.io/endpoint?url="
        "https%3A%2F%2Ftelemetry.example.org%2Fbadge.json%3Flabel%3Dradios%2Bflashed%26color%3D2f6fde)",
    }


@override_settings(SITE_URL=SITE, PUBLIC_STATS=True)
def test_the_badge_links_to_the_statistics_when_they_are_public(client: Client) -> None:
    sign_in(client, "Staff")
    url = f"{SITE}/badge.svg?label=flashes&color=2f6fde"
    found = lines(client)
    assert found["markdown"] == f"[![flashes]({url})]({SITE}/stats)"
    assert found["html"].startswith(f'<a href="{SITE}/stats"><img src=')


def test_a_hostile_label_stays_a_label(client: Client) -> None:
    sign_in(client, "Staff")
    found = lines(client, label="](http://x) <b>\"'&")
    assert found["markdown"].startswith(r"![\](http://x) \<b\>" + "\"'" + r"\&](")
    assert "&lt;b&gt;&quot;&#x27;&amp;" in found["html"]
    assert found["html"].count("<") == 1


@pytest.mark.parametrize(("query", "said"), [({"color": "red"}, "hex digits"), ({"label": " "}, "visible text")])
def test_a_wrong_choice_is_explained(client: Client, query: dict[str, str], said: str) -> None:
    sign_in(client, "Staff")
    answer = client.get(PATH, query)
    assert answer.status_code == 400
    assert said in answer.content.decode()


def test_the_preview_is_the_badge_itself(client: Client) -> None:
    make_event(**success())
    sign_in(client, "Staff")
    text = client.get(PATH, {"label": "ok", "color": "#00ff00"}).content.decode()
    source, _ = re.findall('<img src="([^"]+)"', text)
    assert html.unescape(source) == "/badge.svg?label=ok&color=00ff00"
    assert client.get(html.unescape(source)).status_code == 200
    assert 'alt="ok: 1"' in text
    assert 'value="#00ff00"' in text
