"""The figures of releases, from rollups, and the comparison of two of them."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events.counting import rollups
from events.counting.buckets import DAY_MS, HOUR_MS
from events.grouping import triage
from events.models import DailyRollup, Event, FailureGroup, HourlyRollup, Release
from events.reports.releases import figures
from events.reports.releases.verdicts import Flashes, VerdictName
from tests.conftest import payload
from tests.fixtures.flashes import NOW, NOW_MS, flash, store

pytestmark = pytest.mark.django_db

TODAY_MS = NOW_MS - NOW_MS % DAY_MS


def listed() -> list[tuple[str, Flashes, VerdictName, str | None]]:
    return [
        (row.release.version, row.release.flashes, row.verdict.name, row.other and row.other.version)
        for row in figures.newest(10, NOW)
    ]


def test_each_release_is_compared_with_the_one_before() -> None:
    flash("first", 92, 8, days_ago=30)
    flash("second", 500, 40, days_ago=20)
    flash("third", 80, 40, days_ago=2)
    flash("dev", 1, 9)
    flash("unknown", 1, 9)
    assert listed() == [
        ("third", Flashes(80, 40), VerdictName.WORSE, "second"),
        ("second", Flashes(500, 40), VerdictName.NO_WORSE, "first"),
        ("first", Flashes(92, 8), VerdictName.FIRST, None),
    ]
    assert figures.names(NOW) == ["third", "second", "first"]
    newest = figures.newest(1, NOW)
    assert [row.release.version for row in newest] == ["third"]
    assert newest[0].verdict.is_alarming


def test_a_site_without_releases_has_none() -> None:
    flash("dev", 5, 5)
    assert figures.newest(5, NOW) == []
    assert figures.names(NOW) == []
    assert figures.details("dev", None, NOW) is None


def test_other_failures_and_expected_events_are_in_no_rate() -> None:
    flash("a", 90, 10)
    flash("a", 0, 5, message="No port selected by the user")
    store([payload(event_type="connect_error", app_version="a", session_id="c1")])
    store([payload(event_type="window_error", app_version="a", session_id="w1")])
    (key,) = FailureGroup.objects.filter(title__startswith="No port").values_list("pk", flat=True)
    triage.expect([key], user=User.objects.create_user("olga"), at=NOW)
    (row,) = figures.newest(5, NOW)
    assert row.release.flashes == Flashes(90, 10)
    assert (row.release.other_failures, row.release.expected) == (2, 5)
    assert row.release.flashes.failure_rate == 0.1


def test_days_whose_events_are_pruned_and_summed_still_count() -> None:
    flash("a", 9, 1, days_ago=40)
    flash("a", 4, 2, days_ago=3, model="DM-32UV")
    flash("a", 1, 0)
    rollups.sum_past_days(NOW_MS)
    assert DailyRollup.objects.exists()
    Event.objects.all().delete()
    found = figures.details("a", None, NOW)
    assert found
    assert found.comparison.release.flashes == Flashes(14, 3)
    assert found.by_model == {"a": {"UV-5RM": Flashes(10, 1), "DM-32UV": Flashes(4, 2)}}
    assert found.by_day == {
        "a": {
            TODAY_MS - 40 * DAY_MS: Flashes(9, 1),
            TODAY_MS - 3 * DAY_MS: Flashes(4, 2),
            TODAY_MS: Flashes(1, 0),
        }
    }


def test_first_and_last_seen() -> None:
    flash("old", 3, 0, days_ago=9)
    flash("old", 0, 1, days_ago=2)
    flash("new", 1, 0)
    new, old = (row.release for row in figures.newest(2, NOW))
    assert (old.first_seen_ms, old.last_seen_ms) == (NOW_MS - 9 * DAY_MS, NOW_MS - 2 * DAY_MS)
    assert (new.first_seen_ms, new.last_seen_ms) == (NOW_MS, NOW_MS)
    later = [row.release for row in figures.newest(1, NOW + timedelta(minutes=20))]
    assert later[0].last_seen_ms == NOW_MS  # the start of the hour


def test_events_from_before_a_version_became_a_release_count() -> None:
    flash("a", 0, 2, days_ago=3)
    flash("a", 1, 0)
    (row,) = figures.newest(1, NOW)
    assert row.release.first_seen_ms == NOW_MS
    assert row.release.flashes == Flashes(1, 2)


def difference(version: str, against: str | None) -> tuple[str | None, float | None]:
    found = figures.details(version, against, NOW)
    assert found
    return found.comparison.other and found.comparison.other.version, found.comparison.verdict.difference


def test_any_two_releases_can_be_compared() -> None:
    flash("a", 92, 8, days_ago=3)
    flash("b", 80, 20, days_ago=2)
    flash("c", 90, 10, days_ago=1)
    assert difference("c", None) == ("b", pytest.approx(-0.10))
    assert difference("c", "a") == ("a", pytest.approx(0.02))
    assert difference("a", "c") == ("c", pytest.approx(-0.02))
    assert difference("a", "a") == ("a", 0)


@pytest.mark.parametrize("name", ["dev", "unknown", "(other)", "no-such", "", "a\0b", "candidate"])
def test_a_version_that_is_no_release_has_no_details(name: str) -> None:
    flash("a", 9, 1)
    flash("candidate", 0, 1)
    assert figures.details(name, None, NOW) is None
    assert figures.details("a", name, NOW) is None


def test_releases_that_began_together_have_one_order() -> None:
    flash("a", 1)
    flash("b", 1)
    assert [row[0::3] for row in listed()] == [("b", "a"), ("a", None)]


def test_a_release_of_the_future_is_left_out_until_then() -> None:
    flash("a", 9, 1)
    flash("b", 9, 1, days_ago=-2)
    assert figures.names(NOW) == ["a"]
    assert figures.names(NOW + timedelta(days=3)) == ["b", "a"]


def test_a_release_whose_counts_are_gone_is_still_listed() -> None:
    Release.objects.create(app_version="imported", first_seen_ms=NOW_MS - HOUR_MS, is_release=True)
    (row,) = figures.newest(1, NOW)
    assert (row.release.flashes, row.release.last_seen_ms) == (Flashes(0, 0), None)
    flash("next", 5, 0)
    assert listed()[0][2] == VerdictName.TOO_FEW


def test_the_number_of_queries_does_not_grow() -> None:
    for number in range(6):
        flash(f"v{number}", 5, 1, days_ago=6 - number)
    with CaptureQueriesContext(connection) as newest:
        figures.newest(6, NOW)
    assert len(newest) == 5
    with CaptureQueriesContext(connection) as details:
        figures.details("v5", None, NOW)
    assert len(details) == 6
    assert not any(Event._meta.db_table in query["sql"] for query in [*newest, *details])
    assert HourlyRollup.objects.exists()
