"""The groups that need attention, ranked by their failures."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User

from events import clock
from events.counting.buckets import DAY_MS, HOUR_MS
from events.grouping import triage
from events.models import FailureGroup
from events.reports.groups.attention import Attention, Reason, attention
from tests.conftest import make_event, success

pytestmark = pytest.mark.django_db
NOW_MS = 1_770_919_200_000  # 2026-02-12T18:00Z
MIDNIGHT_MS = NOW_MS - 18 * HOUR_MS


def happened(message: str, *ages_ms: int, **changes: object) -> None:
    for number, age_ms in enumerate(ages_ms):
        make_event(message=f"{message} {number}", received_at_ms=NOW_MS - age_ms, **changes)


def shown(days: int = 1, limit: int = 5, **options: Any) -> Attention:
    end_ms = MIDNIGHT_MS + DAY_MS
    return attention(end_ms - days * DAY_MS, end_ms, NOW_MS, limit=limit, **options)


def lines(found: Attention) -> list[tuple[str, str, int]]:
    return [(entry.title, entry.reason.value, entry.hits) for entry in found.entries]


@pytest.fixture
def kim() -> User:
    return User.objects.create_user("kim")


def test_one_off_failures_do_not_hide_the_failure_that_hits_most() -> None:
    for number in range(6):
        make_event(message=f"one-off {'abcdef'[number]}", received_at_ms=NOW_MS - HOUR_MS)
    happened("hits many", *([2 * HOUR_MS] * 12))
    found = shown(limit=3)
    assert lines(found)[0] == ("hits many …", "new", 12)
    assert (len(found.entries), found.total, found.totals) == (3, 7, {Reason.NEW: 7})
    assert found.rest == [(Reason.NEW, 4, 4)]


def test_new_is_what_was_never_seen_before_the_span() -> None:
    happened("older", 3 * DAY_MS, 1000)
    happened("new", 2 * HOUR_MS)
    happened("newest", HOUR_MS, 1000)
    assert lines(shown()) == [("newest …", "new", 2), ("new …", "new", 1), ("older …", "waiting", 1)]
    assert lines(shown(days=7)) == [("newest …", "new", 2), ("older …", "new", 2), ("new …", "new", 1)]


def test_a_rise_is_measured_against_as_much_of_the_day_before() -> None:
    yesterday_by_now, yesterday_later = DAY_MS + HOUR_MS, DAY_MS - 2 * HOUR_MS
    happened("grows", *([yesterday_by_now] * 1), *([HOUR_MS] * 5))
    happened("grows more", *([yesterday_by_now] * 2), *([HOUR_MS] * 9))
    happened("shrinks", *([yesterday_by_now] * 5), HOUR_MS)
    happened("hardly grows", yesterday_by_now, *([HOUR_MS] * 3))
    happened("was as many later", *([yesterday_later] * 5), *([HOUR_MS] * 6))
    assert [(*line, entry.before) for line, entry in zip(lines(shown()), shown().entries, strict=True)] == [
        ("grows more …", "rising", 9, 2),
        ("was as many later …", "rising", 6, 0),
        ("grows …", "rising", 5, 1),
        ("hardly grows …", "waiting", 3, 1),
        ("shrinks …", "waiting", 1, 5),
    ]


def test_without_a_comparison_nothing_is_new_or_rising() -> None:
    happened("new", HOUR_MS)
    happened("grows", DAY_MS + HOUR_MS, *([HOUR_MS] * 9))
    assert {entry.reason for entry in shown(days=7, is_compared=False).entries} == {Reason.WAITING}


def test_what_does_not_fail_in_the_span_waits_for_nobody() -> None:
    happened("quiet again", 2 * DAY_MS)
    assert shown() == Attention([], [], {}, 0)


def test_an_expected_group_needs_no_attention(kim: User) -> None:
    happened("grows", DAY_MS + HOUR_MS, *([HOUR_MS] * 5))
    happened("new", HOUR_MS)
    triage.expect(list(FailureGroup.objects.values_list("pk", flat=True)), user=kim, at=clock.now())
    happened("grows", *([HOUR_MS - 1] * 5), model="UV-17R")
    assert shown().entries == []


def test_a_regression_is_listed_until_a_decision(kim: User) -> None:
    make_event(**success(), received_at_ms=NOW_MS - 90 * DAY_MS)
    for message in ("back", "again"):
        make_event(message=message, received_at_ms=NOW_MS - 90 * DAY_MS)
        decided_at = datetime.fromtimestamp((NOW_MS - 80 * DAY_MS) / 1000, UTC)
        triage.resolve([FailureGroup.objects.get(title=message).pk], fixed_in="19afc18", user=kim, at=decided_at)
    make_event(message="again", write_mode=0, received_at_ms=NOW_MS - 50 * DAY_MS)
    make_event(message="back", write_mode=0, received_at_ms=NOW_MS - 40 * DAY_MS)
    assert sorted(lines(shown())) == [("again", "regression", 0), ("back", "regression", 0)]
    assert {entry.fixed_in for entry in shown().entries} == {"19afc18"}
    triage.reopen([FailureGroup.objects.get(title="back").pk], user=kim, at=clock.now())
    assert lines(shown()) == [("again", "regression", 0)]


def test_a_resolved_group_that_still_fails_is_listed_until_a_decision(kim: User) -> None:
    happened("waits", HOUR_MS)
    happened("misspelt", 2 * HOUR_MS, HOUR_MS)
    group = FailureGroup.objects.get(title__startswith="misspelt")
    triage.resolve([group.pk], fixed_in="19afc81", user=kim, at=datetime.fromtimestamp((NOW_MS - HOUR_MS) / 1000, UTC))
    assert lines(shown()) == [("waits …", "new", 1)]
    FailureGroup.objects.filter(pk=group.pk).update(unfixed_at_ms=NOW_MS - 1000, noise="browser")
    found = shown(newer_than_ms=NOW_MS - 2000)
    assert lines(found) == [("misspelt …", "still_failing", 2), ("waits …", "new", 1)]
    assert (found.entries[0].regressed_ms, found.entries[0].fixed_in, found.newer) == (NOW_MS - 1000, "19afc81", 1)
    triage.resolve([group.pk], fixed_in="19afc18", user=kim, at=datetime.fromtimestamp(NOW_MS / 1000, UTC))
    assert lines(shown()) == [("waits …", "new", 1)]


def test_a_regression_is_neither_new_nor_rising(kim: User) -> None:
    make_event(**success(), received_at_ms=NOW_MS - 3 * DAY_MS)
    happened("back", 3 * DAY_MS)
    at = datetime.fromtimestamp((NOW_MS - 2 * DAY_MS) / 1000, UTC)
    triage.resolve([FailureGroup.objects.get().pk], fixed_in="19afc18", user=kim, at=at)
    happened("back", *([HOUR_MS] * 9), write_mode=0)
    assert [lines(shown(days)) for days in (1, 7)] == [[("back …", "regression", 9)], [("back …", "regression", 10)]]


def test_of_equal_groups_a_regression_is_first() -> None:
    happened("waits", 3 * DAY_MS, HOUR_MS)
    happened("new", HOUR_MS)
    happened("is back", 3 * DAY_MS, HOUR_MS)
    FailureGroup.objects.filter(title="is back …").update(regressed_at_ms=NOW_MS)
    assert [reason for _, reason, _ in lines(shown())] == ["regression", "new", "waiting"]


def test_what_is_newer_than_a_visit_is_counted_beyond_the_limit() -> None:
    happened("old", 9 * HOUR_MS)
    for message in ("one", "two", "three"):
        happened(message, HOUR_MS)
    found = shown(limit=1, newer_than_ms=NOW_MS - 2 * HOUR_MS)
    assert (len(found.entries), found.newer) == (1, 3)
    assert shown().newer == 0
    assert found.entries[0].is_newer_than(NOW_MS - 2 * HOUR_MS)
    assert not found.entries[0].is_newer_than(NOW_MS)
    assert not found.entries[0].is_newer_than(None)


def test_what_is_muted_or_resolved_asks_for_nothing(kim: User) -> None:
    happened("new and muted", HOUR_MS)
    happened("grows and is resolved", 3 * DAY_MS, *([HOUR_MS] * 9))
    happened("was muted until yesterday", HOUR_MS)
    at = clock.now()
    triage.mute([FailureGroup.objects.get(title="new and muted …").pk], until_ms=None, user=kim, at=at)
    triage.resolve([FailureGroup.objects.get(title="grows and is resolved …").pk], fixed_in="x", user=kim, at=at)
    awake = FailureGroup.objects.get(title="was muted until yesterday …").pk
    triage.mute([awake], until_ms=NOW_MS - DAY_MS, user=kim, at=at)
    assert lines(shown()) == [("was muted until yesterday …", "new", 1)]


def test_noise_of_extensions_and_browsers_is_left_out() -> None:
    extension = {"event_type": "window_error", "stack": "scan@moz-extension://0b6c1f0e/content.js:1:2"}
    happened("new of an extension", HOUR_MS, **extension)
    happened("growing of an extension", DAY_MS + HOUR_MS, *([HOUR_MS] * 9), **extension)
    make_event(message="Script error.", event_type="window_error", received_at_ms=NOW_MS - HOUR_MS)
    happened("new", HOUR_MS)
    assert lines(shown()) == [("new …", "new", 1)]
