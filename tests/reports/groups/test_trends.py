"""The groups that need attention: regressions, new groups and growing groups."""

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User

from events import clock
from events.counting.buckets import DAY_MS, HOUR_MS
from events.grouping import triage
from events.models import FailureGroup
from events.reports.groups import trends
from events.reports.groups.trends import Attention
from tests.conftest import make_event, success

pytestmark = pytest.mark.django_db
NOW_MS = 1_770_919_200_000  # 2026-02-12T18:00Z
MIDNIGHT_MS = NOW_MS - 18 * HOUR_MS


def happened(message: str, *ages_ms: int, **changes: object) -> None:
    for number, age_ms in enumerate(ages_ms):
        make_event(message=f"{message} {number}", received_at_ms=NOW_MS - age_ms, **changes)


def attention(days: int = 1, limit: int = 5) -> Attention:
    end_ms = MIDNIGHT_MS + DAY_MS
    return trends.attention(end_ms - days * DAY_MS, end_ms, NOW_MS, limit=limit)


def titles(groups: list[FailureGroup]) -> list[str]:
    return [group.title for group in groups]


@pytest.fixture
def kim() -> User:
    return User.objects.create_user("kim")


def test_new_is_what_was_never_seen_before_the_span(kim: User) -> None:
    happened("older", 3 * DAY_MS, 1000)
    happened("new", 2 * HOUR_MS)
    happened("newest", HOUR_MS, 1000)
    assert titles(attention().new) == ["newest …", "new …"]
    assert titles(attention(days=7).new) == ["newest …", "new …", "older …"]
    assert titles(attention(limit=1).new) == ["newest …"]


def test_growth_is_measured_against_as_much_of_the_day_before() -> None:
    yesterday_by_now, yesterday_later = DAY_MS + HOUR_MS, DAY_MS - 2 * HOUR_MS
    happened("grows", *([yesterday_by_now] * 1), *([HOUR_MS] * 5))
    happened("grows more", *([yesterday_by_now] * 2), *([HOUR_MS] * 9))
    happened("shrinks", *([yesterday_by_now] * 5), HOUR_MS)
    happened("hardly grows", yesterday_by_now, *([HOUR_MS] * 3))
    happened("was as many later", *([yesterday_later] * 5), *([HOUR_MS] * 5))
    growing = [(trend.group.title, trend.events, trend.before, trend.more) for trend in attention().growing]
    assert growing == [("grows more …", 9, 2, 7), ("was as many later …", 5, 0, 5), ("grows …", 5, 1, 4)]
    assert len(attention(limit=2).growing) == 2


def test_an_expected_group_is_neither_new_nor_growing(kim: User) -> None:
    happened("grows", DAY_MS + HOUR_MS, *([HOUR_MS] * 5))
    happened("new", HOUR_MS)
    triage.expect(list(FailureGroup.objects.values_list("pk", flat=True)), user=kim, at=clock.now())
    happened("grows", *([HOUR_MS - 1] * 5), model="UV-17R")
    assert attention() == Attention([], [], [])


def test_a_regression_is_listed_until_a_decision(kim: User) -> None:
    make_event(**success(), received_at_ms=NOW_MS - 90 * DAY_MS)
    for message in ("back", "again"):
        make_event(message=message, received_at_ms=NOW_MS - 90 * DAY_MS)
        decided_at = datetime.fromtimestamp((NOW_MS - 80 * DAY_MS) / 1000, UTC)
        triage.resolve([FailureGroup.objects.get(title=message).pk], fixed_in="19afc18", user=kim, at=decided_at)
    make_event(message="again", write_mode=0, received_at_ms=NOW_MS - 50 * DAY_MS)
    make_event(message="back", write_mode=0, received_at_ms=NOW_MS - 40 * DAY_MS)
    shown = attention()
    assert titles(shown.regressed) == ["back", "again"]
    assert (shown.new, shown.growing) == ([], [])
    triage.reopen([FailureGroup.objects.get(title="back").pk], user=kim, at=clock.now())
    assert titles(attention().regressed) == ["again"]


def test_a_regression_is_neither_new_nor_growing(kim: User) -> None:
    make_event(**success(), received_at_ms=NOW_MS - 3 * DAY_MS)
    happened("back", 3 * DAY_MS)
    at = datetime.fromtimestamp((NOW_MS - 2 * DAY_MS) / 1000, UTC)
    triage.resolve([FailureGroup.objects.get().pk], fixed_in="19afc18", user=kim, at=at)
    happened("back", *([HOUR_MS] * 9), write_mode=0)
    for days in (1, 7):
        shown = attention(days)
        assert (titles(shown.regressed), shown.new, shown.growing) == (["back …"], [], [])


def test_regressions_take_no_place_in_the_other_lists(kim: User) -> None:
    happened("known", 3 * DAY_MS, *([2 * HOUR_MS] * 9))
    happened("new", 2 * HOUR_MS)
    for message, ages_ms in (("known and back", [3 * DAY_MS]), ("new and back", [])):
        happened(message, *ages_ms, *([HOUR_MS] * 20))
        FailureGroup.objects.filter(title=f"{message} …").update(regressed_at_ms=NOW_MS)
    shown = attention(limit=1)
    assert titles(shown.new) == ["new …"]
    assert titles([trend.group for trend in shown.growing]) == ["known …"]


def test_what_is_muted_or_resolved_asks_for_nothing(kim: User) -> None:
    happened("new and muted", HOUR_MS)
    happened("grows and is resolved", 3 * DAY_MS, *([HOUR_MS] * 9))
    happened("was muted until yesterday", HOUR_MS)
    at = clock.now()
    triage.mute([FailureGroup.objects.get(title="new and muted …").pk], until_ms=None, user=kim, at=at)
    triage.resolve([FailureGroup.objects.get(title="grows and is resolved …").pk], fixed_in="x", user=kim, at=at)
    awake = FailureGroup.objects.get(title="was muted until yesterday …").pk
    triage.mute([awake], until_ms=NOW_MS - DAY_MS, user=kim, at=at)
    shown = attention()
    assert (titles(shown.new), shown.growing, shown.regressed) == (["was muted until yesterday …"], [], [])


def test_noise_of_extensions_and_browsers_is_neither_new_nor_growing() -> None:
    extension = {"event_type": "window_error", "stack": "scan@moz-extension://0b6c1f0e/content.js:1:2"}
    happened("new of an extension", HOUR_MS, **extension)
    happened("growing of an extension", DAY_MS + HOUR_MS, *([HOUR_MS] * 9), **extension)
    make_event(message="Script error.", event_type="window_error", received_at_ms=NOW_MS - HOUR_MS)
    happened("new", HOUR_MS)
    found = attention()
    assert (titles(found.new), found.growing) == (["new …"], [])
