"""The admin pages of releases: the list with verdicts, and one release compared with another one."""

import re
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from events import clock
from events.admin.releases import sentence
from events.grouping import triage
from events.models import FailureGroup
from events.reports.releases import verdicts
from events.reports.releases.figures import Comparison, Figures
from events.reports.releases.verdicts import Flashes
from tests.conftest import payload, sign_in, text_of
from tests.fixtures.flashes import NOW, flash, store

pytestmark = pytest.mark.django_db

LIST = "/admin/events/release/"
# A page may use 12 queries beside those of the session, the user, the permissions, the proxy headers and the banners.
MOST_QUERIES = 12


@pytest.fixture(autouse=True)
def _staff_at_a_fixed_time(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    sign_in(client, "Staff")
    monkeypatch.setattr(clock, "now", lambda: NOW)


def words_of(answer: Any) -> str:
    """Return the words of a page, without its markup."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text_of(answer)))


@pytest.fixture
def three_releases() -> None:
    flash("a111111", 460, 40, days_ago=30, message="Old fault")
    flash("b222222", 440, 40, days_ago=20, message="Old fault")
    flash("b222222", 0, 12, days_ago=12, message="Newer fault")
    flash("c333333", 160, 40, days_ago=2, message="Brand new fault")


def test_an_empty_list_says_what_belongs_there(client: Client) -> None:
    flash("dev", 3)
    words = words_of(client.get(LIST))
    assert "No release yet" in words
    assert "app_version" in words
    assert "<table" not in text_of(client.get(LIST))


@pytest.mark.usefixtures("three_releases")
def test_the_list_gives_each_verdict_in_words(client: Client) -> None:
    words = words_of(client.get(LIST))
    rows = [
        "c333333 2 days ago 200 40 20.0 % 15.0 to 26.1 % 15.0 % to 26.1 % 0 ▲ worse by 3.6 to 16.0 points",
        "b222222 20 days ago 492 52 10.6 % 8.2 to 13.6 % 8.2 % to 13.6 % 0 too few to tell (about 2,000 more flashes)",
        "a111111 30 days ago 500 40 8.0 % 5.9 to 10.7 % 5.9 % to 10.7 % 0 first release",
    ]
    assert " ".join(rows) in words


@pytest.mark.usefixtures("three_releases")
def test_the_page_of_a_release_compares_it_with_the_one_before(client: Client) -> None:
    answer = client.get(f"{LIST}c333333/")
    words = words_of(answer)
    assert "▲ Worse than b222222 by 3.6 to 16.0 points." in words
    assert "c333333 200 40 20.0 % 15.0 to 26.1 % 0 0" in words
    assert "b222222 492 52 10.6 % 8.2 to 13.6 % 0 0" in words
    assert "an alert is due" in words
    assert "95 % interval +3.6 to +16.0 points" in text_of(answer)
    new, back, gone = (words.index(heading) for heading in ("New in it", "Came back in it", "Gone since b222222"))
    assert new < words.index("Brand new fault") < back < gone < words.index("Old fault") < words.index("Newer fault")
    assert f'href="{LIST}b222222/"' in text_of(answer)
    assert "Tuesday, 10 February 2026: 40 of 200 flashes of c333333 failed (20.0 %)" in text_of(answer)


@pytest.mark.usefixtures("three_releases")
def test_any_other_release_can_be_chosen(client: Client) -> None:
    text = text_of(client.get(f"{LIST}c333333/?against=a111111"))
    assert "Worse than a111111 by" in text
    assert '<option value="a111111" selected>a111111</option>' in text
    assert '<option value="b222222">b222222</option>' in text
    assert '<option value="c333333"' not in text
    backwards = words_of(client.get(f"{LIST}a111111/?against=c333333"))
    assert "▼ Better than c333333 by" in backwards
    assert "Worse than b222222" in words_of(client.get(f"{LIST}c333333/?against="))


@pytest.mark.usefixtures("three_releases")
def test_a_wrong_choice_is_named(client: Client) -> None:
    answer = client.get(f"{LIST}c333333/?against=%3Cb%3E")
    assert answer.status_code == 400
    assert "<bdi>&lt;b&gt;</bdi> is no release." in text_of(answer)
    assert "Worse than b222222" in text_of(answer)


@pytest.mark.parametrize("version", ["dev", "unknown", "(other)", "no-such", "a\0b", "a" * 100])
@pytest.mark.usefixtures("three_releases")
def test_a_version_that_is_no_release_has_no_page(client: Client, version: str) -> None:
    assert client.get(f"{LIST}{quote(version)}/").status_code == 404


def test_the_only_release_has_a_page(client: Client) -> None:
    flash("a111111", 9, 1, message="Old fault")
    words = words_of(client.get(f"{LIST}a111111/"))
    assert "a111111 is the first release, so there is nothing to compare it with." in words
    assert "Compare with" not in words
    assert "Gone since" not in words
    assert "Models" not in words
    assert "Old fault" in words


def test_a_release_without_flashes_has_a_page(client: Client) -> None:
    flash("a111111", 9, 1, days_ago=2)
    errors = [payload(event_type="window_error", app_version="b222222", session_id=f"w{number}") for number in range(5)]
    store(errors, days_ago=1)
    words = words_of(client.get(f"{LIST}b222222/"))
    assert "b222222 has no flash yet." in words
    assert "b222222 0 0 – – 5 0" in words
    assert "b222222" in words_of(client.get(LIST))


def test_a_different_mix_is_said_beside_adjusted_rates(client: Client) -> None:
    flash("a111111", 380, 20, days_ago=9, model="UV-5RM")
    flash("a111111", 60, 40, days_ago=9, model="DM-32UV")
    flash("b222222", 95, 5, days_ago=2, model="UV-5RM")
    flash("b222222", 240, 160, days_ago=2, model="DM-32UV")
    words = words_of(client.get(f"{LIST}b222222/"))
    assert "Worse than a111111 by" in words
    assert "The mix of models differs. With the same mix, the rates would be 22.5 % and 22.5 %." in words
    assert "22.5 % of the flashes of b222222 would fail, and 22.5 % of those of a111111" in words
    assert "100.0 % of all flashes" in words
    assert "DM-32UV 400 40.0 % 100 40.0 %" in words


def test_a_regression_is_listed(client: Client) -> None:
    flash("a111111", 50, 5, days_ago=9, message="Old fault")
    keys = list(FailureGroup.objects.values_list("pk", flat=True))
    triage.resolve(keys, fixed_in=None, user=User.objects.create_user("olga"), at=NOW - timedelta(days=5))
    flash("b222222", 50, 3, days_ago=2, message="Old fault")
    words = words_of(client.get(f"{LIST}b222222/"))
    assert words.index("Came back in it") < words.index("Old fault") < words.index("Gone since")
    assert "regression" in words


def test_hostile_names_are_text(client: Client) -> None:
    flash("a111111", 50, 5, days_ago=9)
    flash("<i>x/..", 50, 5, days_ago=2, model="<b>", message="<u>")
    listed = text_of(client.get(LIST))
    address = re.search(r'href="(/admin/events/release/[^"]*i_3E[^"]*)"', listed)
    assert address
    text = text_of(client.get(address[1]))
    for name in ("<i>x", "<b>", "<u>"):
        assert name not in text
    assert "&lt;i&gt;x" in text


def test_few_queries_are_enough(client: Client, three_releases: None) -> None:
    for number in range(8):
        flash(f"v{number}", 5, 1, days_ago=1)
    for path in (LIST, f"{LIST}c333333/"):
        client.get(path)
        with CaptureQueriesContext(connection) as queries:
            assert client.get(path).status_code == 200
        own = [query for query in queries if re.search("rollup|release|knownname|failuregroup", query["sql"])]
        assert len(own) <= MOST_QUERIES


FEW, MANY, BAD = Flashes(3, 0), Flashes(460, 40), Flashes(60, 40)


@pytest.mark.parametrize(
    ("new", "old", "words"),
    [
        (Flashes(0, 0), MANY, r"new has no flash yet\."),
        (FEW, MANY, r"Too few flashes to tell whether it is worse than old: it needs about \d+ more flashes\."),
        (MANY, FEW, r"Too few to tell: old has only 3 flashes\. Compare with a release that has more\."),
        (MANY, Flashes(1, 0), r"Too few to tell: old has only 1 flash\. Compare with a release that has more\."),
        (MANY, Flashes(0, 0), r"Too few to tell: old has no flash\. Compare with a release that has more\."),
        (MANY, MANY, r"No worse than old: at most \+3\.4 points\."),
        (BAD, MANY, r"Worse than old by 22\.5 to 42\.0 points\."),
        (MANY, BAD, r"Better than old by 22\.5 to 42\.0 points\."),
        (MANY, None, r"new is the first release, so there is nothing to compare it with\."),
    ],
)
def test_a_verdict_is_a_sentence(new: Flashes, old: Flashes | None, words: str) -> None:
    def figures(version: str, flashes: Flashes) -> Figures:
        return Figures(version, 0, 0, flashes, 0, 0)

    other = None if old is None else figures("old", old)
    compared = Comparison(figures("new", new), other, verdicts.compare(new, old))
    assert re.fullmatch(words, sentence(compared))
