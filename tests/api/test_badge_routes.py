"""`GET /badge.svg` and `GET /badge.json`: the public count as a badge, for every page and for shields.io."""

from typing import Any

import pytest
from django.conf import settings
from django.test import Client, override_settings

from events import clock
from events.counting import rollups
from tests.conftest import make_event, success
from tests.refusals import expect_answer

pytestmark = pytest.mark.django_db
PATHS = ["/badge.svg", "/badge.json"]
KEPT = "public, max-age=300"


def test_both_badges_show_the_public_count(client: Client) -> None:
    rollups.set_baseline(12_913, note="the old counter", user=None, user_name="command", at=clock.now())
    make_event(**success())
    make_event()
    badge = {"schemaVersion": 1, "label": "flashes", "message": "12,914", "color": "2f6fde"}
    assert client.get("/badge.json").json() == badge
    drawn = client.get("/badge.svg")
    assert drawn.headers["Content-Type"] == "image/svg+xml; charset=utf-8"
    assert 'aria-label="flashes: 12,914"' in drawn.content.decode()
    total = client.get("/metrics/flash-count").json()["total"]
    assert f"{total:,}" == badge["message"]


@pytest.mark.parametrize("path", PATHS)
def test_a_badge_reads_one_row(client: Client, path: str, django_assert_num_queries: Any) -> None:
    make_event(**success())
    with django_assert_num_queries(1) as captured:
        client.get(path)
    assert "events_lifetimetotal" in captured[0]["sql"]


def test_label_and_colour_can_be_chosen(client: Client) -> None:
    chosen = {"label": "radios <flashed> & \"more'", "color": "0F0"}
    badge = client.get("/badge.json", chosen).json()
    assert (badge["label"], badge["color"]) == (chosen["label"], "0f0")
    drawn = client.get("/badge.svg", chosen).content.decode()
    assert "radios &lt;flashed&gt; &amp; &quot;more&#x27;" in drawn
    assert "<flashed>" not in drawn
    assert 'fill="#0f0"' in drawn


COLOR, BLANK = "Must be 3 or 6 hex digits, such as 2f6fde.", "Must be visible text, without control characters."
LONG = "Ensure this value has at most 40 characters (it has 41)."
NUL = "Null characters are not allowed."


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("query", "fields"),
    [
        *((f"color={color}", {"color": [COLOR]}) for color in (
            "", "f", "ff", "ffff", "fffff", "fffffff", "%23fff", "red", "ggg", "fff%20", "%20fff", "fff%0A",
            "%D9%A1%D9%A1%D9%A1", "url(x)", "fff%22/%3E",
        )),
        ("color=%00", {"color": [NUL]}),
        ("label=", {"label": [BLANK]}),
        ("label=%20", {"label": [BLANK]}),
        ("label=%0A", {"label": [BLANK]}),
        ("label=%E2%80%AEabc", {"label": [BLANK]}),
        ("label=a%00", {"label": [NUL]}),
        ("label=" + 41 * "x", {"label": [LONG]}),
        ("label=&color=x", {"label": [BLANK], "color": [COLOR]}),
    ],
)  # fmt: skip
def test_anything_else_is_refused_in_words(client: Client, path: str, query: str, fields: dict[str, Any]) -> None:
    answer = client.get(f"{path}?{query}")
    expect_answer(answer, 400, {"ok": False, "error": "Invalid parameters", "fields": fields})
    assert "ETag" not in answer.headers


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("query", ["", "?label=" + 40 * "x", "?unknown=1", "?label=%ff", "?color=a&color=abc"])
def test_other_parameters_are_ignored_and_the_last_one_counts(client: Client, path: str, query: str) -> None:
    assert client.get(f"{path}{query}").status_code == 200
    assert client.get(f"{path}/{query}").status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_a_badge_may_be_kept_until_it_changes(client: Client, path: str) -> None:
    first = client.get(path)
    tag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == KEPT
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = client.get(path, headers={"if-none-match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert (again.headers["ETag"], again.headers["Cache-Control"]) == (tag, KEPT)
        assert client.head(path, headers={"if-none-match": known}).status_code == 304
    make_event(**success())
    changed = client.get(path, headers={"if-none-match": tag})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag
    assert client.get(f"{path}?label=x", headers={"if-none-match": tag}).status_code == 200


def test_an_opened_badge_runs_nothing(client: Client) -> None:
    headers = client.get("/badge.svg").headers
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"
    assert headers["X-Content-Type-Options"] == "nosniff"


@override_settings(READ_RATE="2/d")
def test_the_reads_of_a_client_have_one_limit(client: Client) -> None:
    paths = ["/badge.svg", "/badge.json", "/badge.svg"]
    answers = [client.get(path) for path in paths]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    expect_answer(answers[2], 429, {"ok": False, "error": "Too many requests"})
    assert "Retry-After" in answers[2].headers


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_badge_is_only_read(client: Client, path: str, method: str) -> None:
    expect_answer(client.generic(method, path), 405, {"ok": False, "error": "Method not allowed"})


def test_no_cookie_is_read(client: Client) -> None:
    client.cookies[settings.SESSION_COOKIE_NAME] = "from elsewhere"
    assert client.get("/badge.svg").status_code == 200
