"""The failure groups that are new in a release, came back in it, or are gone."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events.grouping import triage
from events.models import FailureGroup
from events.reports.releases import changes, figures
from events.reports.releases.changes import Changed, Changes
from tests.conftest import payload
from tests.fixtures.flashes import NOW, NOW_MS, flash, store

pytestmark = pytest.mark.django_db


def changes_of(version: str, against: str | None = None) -> Changes:
    found = figures.details(version, against, NOW)
    assert found
    return changes.of(found.comparison, NOW_MS)


def titles(changed: list[Changed]) -> list[tuple[str, int]]:
    return [(row.group.title, row.events) for row in changed]


def group(title: str) -> FailureGroup:
    return FailureGroup.objects.get(title__startswith=title)


@pytest.fixture
def olga() -> User:
    return User.objects.create_user("olga")


def resolve(title: str, fixed_in: str, olga: User, *, days_ago: int) -> None:
    triage.resolve([group(title).pk], fixed_in=fixed_in, user=olga, at=NOW - timedelta(days=days_ago))


def test_a_group_is_new_in_the_first_release_that_has_it() -> None:
    flash("a", 50, 5, days_ago=9, message="Old fault")
    flash("b", 50, 4, days_ago=5, message="New fault")
    flash("b", 50, 2, days_ago=5, message="Old fault")
    flash("b", 0, 6, days_ago=5, message="Newer fault")
    store([payload(event_type="connect_error", app_version="b", session_id="c", message="Port is busy")], days_ago=5)
    flash("c", 50, 4, days_ago=1, message="New fault")
    assert titles(changes_of("b").new) == [("Newer fault", 6), ("New fault", 4), ("Port is busy", 1)]
    assert titles(changes_of("a").new) == [("Old fault", 5)]
    assert changes_of("c").new == []


def test_a_group_of_an_older_release_is_not_new_although_it_was_first_seen_later() -> None:
    flash("a", 50, days_ago=9)
    flash("b", 50, 2, days_ago=5, message="The site is down")
    flash("a", 0, 2, days_ago=4, message="The site is down")
    assert changes_of("b").new == []


def test_failures_of_builds_that_are_no_release_do_not_make_a_group_old() -> None:
    flash("a", 50, days_ago=9)
    flash("dev", 0, 3, days_ago=6, message="New fault")
    flash("b", 50, 2, days_ago=5, message="New fault")
    assert titles(changes_of("b").new) == [("New fault", 2)]


def test_a_resolved_group_that_a_release_reopened_came_back_in_it(olga: User) -> None:
    flash("a", 50, 5, days_ago=9, message="Old fault")
    flash("b", 50, 0, days_ago=5)
    resolve("Old fault", "b", olga, days_ago=4)
    flash("c", 50, 3, days_ago=2, message="Old fault")
    assert titles(changes_of("c").came_back) == [("Old fault", 3)]
    assert changes_of("b").came_back == changes_of("a").came_back == []
    resolve("Old fault", "d", olga, days_ago=1)
    assert changes_of("c").came_back == []


def test_a_group_is_gone_when_failures_were_to_be_expected() -> None:
    flash("a", 90, 4, days_ago=9, message="Common fault")
    flash("a", 0, 2, days_ago=9, message="Rare fault")
    flash("a", 0, 4, days_ago=9, message="Stays")
    flash("b", 99, 1, days_ago=5, message="Stays")
    assert titles(changes_of("b").gone) == [("Common fault", 4)]
    # In 50 flashes without it, chance alone is an explanation.
    flash("c", 50, days_ago=1)
    assert changes_of("c", "a").gone == []
    assert changes_of("a").gone == []


def test_expected_groups_and_noise_are_left_out(olga: User) -> None:
    flash("a", 90, 20, days_ago=9, message="No port selected by the user")
    flash("b", 90, 9, days_ago=5, message="Cancelled by the user")
    stack = "Error: x\n    at f (chrome-extension://abcdefghijklmnopabcdefghijklmnop/content.js:1:1)"
    noise = payload(event_type="window_error", app_version="b", message="x", stack=stack, session_id="w")
    store([noise], days_ago=5)
    assert titles(changes_of("b").new) == [("Cancelled by the user", 9)]
    assert group("x").noise
    triage.expect([group("No port").pk, group("Cancelled").pk], user=olga, at=NOW)
    assert changes_of("b") == Changes([], [], [])


def test_at_most_a_hundred_groups_of_a_kind_are_read_in_three_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MAX_GROUPS", 2)
    flash("a", 50, days_ago=9)
    for number, word in enumerate(("one", "two", "three"), 1):
        flash("b", 50, number, days_ago=5, message=f"Fault {word}")
    found = figures.details("b", None, NOW)
    assert found
    with CaptureQueriesContext(connection) as queries:
        changed = changes.of(found.comparison, NOW_MS)
    assert titles(changed.new) == [("Fault three", 3), ("Fault two", 2)]
    assert len(queries) == 3
