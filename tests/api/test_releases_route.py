"""`GET /releases` and `GET /releases/{version}`: figures, verdicts, changes, and who may read them."""

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from events import clock
from events.grouping import triage
from events.models import FailureGroup
from tests.fixtures.flashes import NOW, flash
from tests.refusals import expect_answer

pytestmark = pytest.mark.django_db

BEARER = {"authorization": "Bearer for-tests"}


@pytest.fixture(autouse=True)
def _at_a_fixed_time(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ADMIN_TOKEN = "for-tests"
    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture
def two_releases() -> None:
    flash("19afc18", 460, 40, days_ago=9, message="Old fault")
    flash("2c87cac", 75, 25, days_ago=2, message="New fault", model="DM-32UV")


OLD = {
    "version": "19afc18",
    "first_seen": "2026-02-03T15:00:00.000Z",
    "last_seen": "2026-02-03T15:00:00.000Z",
    "flashes": 500,
    "successes": 460,
    "failures": 40,
    "expected": 0,
    "failure_rate": 0.08,
    "interval": [0.0593, 0.1071],
    "verdict": "first",
    "flashes_needed": None,
}
NEW = {
    "version": "2c87cac",
    "first_seen": "2026-02-10T15:00:00.000Z",
    "last_seen": "2026-02-10T15:00:00.000Z",
    "flashes": 100,
    "successes": 75,
    "failures": 25,
    "expected": 0,
    "failure_rate": 0.25,
    "interval": [0.1755, 0.343],
    "verdict": "worse",
    "flashes_needed": None,
}


@pytest.mark.parametrize("path", ["/releases", "/releases/", "/releases?limit=", "/releases?limit=2"])
@pytest.mark.usefixtures("two_releases")
def test_the_releases_are_listed_newest_first(client: Client, path: str) -> None:
    expect_answer(client.get(path, headers=BEARER), 200, {"ok": True, "results": [NEW, OLD]})


@pytest.mark.usefixtures("two_releases")
def test_a_shorter_list_has_the_same_verdicts(client: Client) -> None:
    expect_answer(client.get("/releases?limit=1", headers=BEARER), 200, {"ok": True, "results": [NEW]})


def test_a_site_without_releases_has_an_empty_list(client: Client) -> None:
    flash("dev", 1)
    expect_answer(client.get("/releases", headers=BEARER), 200, {"ok": True, "results": []})


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("0", "Ensure this value is greater than or equal to 1."),
        ("201", "Ensure this value is less than or equal to 200."),
        ("ten", "Enter a whole number."),
    ],
)
def test_a_wrong_limit_is_refused(client: Client, limit: str, words: str) -> None:
    body = {"ok": False, "error": "Invalid parameters", "fields": {"limit": [words]}}
    expect_answer(client.get(f"/releases?limit={limit}", headers=BEARER), 400, body)


def item(title: str, events: int) -> dict[str, Any]:
    group = FailureGroup.objects.get(title=title)
    return {
        "key": group.pk,
        "title": title,
        "event_type": "flash_error",
        "events": events,
        "url": f"http://127.0.0.1:8000/admin/events/failuregroup/{group.pk}/",
    }


@pytest.mark.usefixtures("two_releases")
def test_one_release_is_compared_with_the_release_before_it(client: Client) -> None:
    body = {
        "ok": True,
        **NEW,
        "compared_with": "19afc18",
        "difference": 0.17,
        "difference_interval": [0.0907, 0.2653],
        "alarming": True,
        "mix_differs": True,
        "adjusted": None,
        "new_groups": [item("New fault", 25)],
        "regressed_groups": [],
        "gone_groups": [item("Old fault", 40)],
    }
    expect_answer(client.get("/releases/2c87cac", headers=BEARER), 200, body)


@pytest.mark.usefixtures("two_releases")
def test_the_first_release_is_compared_with_nothing(client: Client) -> None:
    body = {
        "ok": True,
        **OLD,
        "compared_with": None,
        "difference": None,
        "difference_interval": None,
        "alarming": False,
        "mix_differs": False,
        "adjusted": None,
        "new_groups": [item("Old fault", 40)],
        "regressed_groups": [],
        "gone_groups": [],
    }
    expect_answer(client.get("/releases/19afc18/", headers=BEARER), 200, body)


@pytest.mark.usefixtures("two_releases")
def test_a_release_can_be_compared_with_any_other_one(client: Client) -> None:
    flash("3fa81c2", 10, 1)
    answer = client.get("/releases/3fa81c2?against=19afc18", headers=BEARER).json()
    assert (answer["compared_with"], answer["verdict"]) == ("19afc18", "too_few")
    assert answer["flashes_needed"] > 50
    assert answer["adjusted"] == {"failure_rate": 0.0909, "failure_rate_of_other": 0.08, "covered": 1.0}
    default = client.get("/releases/3fa81c2?against=", headers=BEARER).json()
    assert default["compared_with"] == "2c87cac"


def test_a_regression_is_listed(client: Client) -> None:
    flash("a", 50, 5, days_ago=9, message="Old fault")
    keys = list(FailureGroup.objects.values_list("pk", flat=True))
    triage.resolve(keys, fixed_in=None, user=User.objects.create_user("olga"), at=NOW - timedelta(days=5))
    flash("b", 50, 3, days_ago=2, message="Old fault")
    answer = client.get("/releases/b", headers=BEARER).json()
    assert answer["regressed_groups"] == [item("Old fault", 3)]
    assert answer["new_groups"] == answer["gone_groups"] == []


@pytest.mark.parametrize(
    "version", ["dev", "unknown", "(other)", "no-such", "a" * 65, "19afc18/index.js", "%2F", "a%00b"]
)
@pytest.mark.usefixtures("two_releases")
def test_a_version_that_is_no_release_is_not_found(client: Client, version: str) -> None:
    flash("dev", 9, 1)
    expect_answer(client.get(f"/releases/{version}", headers=BEARER), 404, {"ok": False, "error": "No such release"})


@pytest.mark.parametrize("version", ["dev", "unknown", "(other)", "no-such"])
@pytest.mark.usefixtures("two_releases")
def test_no_release_is_compared_with_a_version_that_is_none(client: Client, version: str) -> None:
    answer = client.get(f"/releases/2c87cac?against={version}", headers=BEARER)
    expect_answer(answer, 404, {"ok": False, "error": "No such release"})


@pytest.mark.parametrize(
    ("against", "words"),
    [
        ("a" * 65, "Ensure this value has at most 64 characters (it has 65)."),
        ("%00", "Null characters are not allowed."),
    ],
)
@pytest.mark.usefixtures("two_releases")
def test_a_wrong_parameter_is_refused(client: Client, against: str, words: str) -> None:
    body = {"ok": False, "error": "Invalid parameters", "fields": {"against": [words]}}
    expect_answer(client.get(f"/releases/2c87cac?against={against}", headers=BEARER), 400, body)


@pytest.mark.parametrize("version", ["release/1.2", "v 1", "1.2%3", "ü-4", "a?b", "..", "<b>"])
def test_a_version_may_have_any_characters(client: Client, version: str) -> None:
    flash(version, 3)
    answer = client.get(f"/releases/{quote(version, safe='')}", headers=BEARER)
    assert (answer.status_code, answer.json()["version"]) == (200, version)


@pytest.mark.parametrize("path", ["/releases", "/releases/2c87cac"])
@pytest.mark.parametrize(
    ("scope", "status"), [("read", 200), ("read,triage", 200), ("triage", 401), ("sourcemaps", 401)]
)
@pytest.mark.usefixtures("two_releases")
def test_a_token_needs_the_scope_read(
    client: Client, path: str, scope: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("issue_token", "ci", "--scope", scope, "--expires", "never")
    token = capsys.readouterr().out.strip()
    answer = client.get(path, headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == status
    assert answer.json()["ok"] is (status == 200)


@pytest.mark.parametrize("path", ["/releases", "/releases/2c87cac"])
@pytest.mark.usefixtures("two_releases")
def test_others_get_401_and_no_method_but_get_is_allowed(client: Client, path: str) -> None:
    expect_answer(client.get(path), 401, {"ok": False, "error": "Unauthorized"})
    expect_answer(client.post(path, headers=BEARER), 405, {"ok": False, "error": "Method not allowed"})
    assert client.head(path, headers=BEARER).status_code == 200
