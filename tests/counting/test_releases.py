"""Releases: the order in which versions arrived, and versions that are no releases."""

import pytest
from django.db import transaction

from events.counting import releases
from events.counting.buckets import HOUR_MS, OTHER
from events.counting.releases import Relation
from events.ingest import contract, writer
from events.models import Release, Source
from tests.conftest import make_event, payload, success

pytestmark = pytest.mark.django_db

NOON_MS = 1_770_897_600_000  # 2026-02-12 12:00 UTC
FIXED, DOUBTFUL, NONE = Relation.FIXED, Relation.DOUBTFUL, Relation.NONE


def come(version: str, at_ms: int) -> None:
    make_event(**success(app_version=version), received_at_ms=at_ms)


def first_seen() -> dict[str, int]:
    return dict(Release.objects.filter(is_release=True).values_list("app_version", "first_seen_ms"))


def test_a_version_is_known_since_its_first_event() -> None:
    come("a", NOON_MS)
    come("a", NOON_MS + 1)
    come("b", NOON_MS + 2)
    assert first_seen() == {"a": NOON_MS, "b": NOON_MS + 2}


@pytest.mark.parametrize("forgotten", [False, True], ids=["known", "another process"])
def test_an_event_that_comes_late_makes_its_version_older(forgotten: bool) -> None:
    come("a", NOON_MS)
    if forgotten:
        releases.forget()
    come("a", NOON_MS - HOUR_MS)
    come("a", NOON_MS + HOUR_MS)
    assert first_seen() == {"a": NOON_MS - HOUR_MS}


def test_the_earliest_of_one_commit_counts() -> None:
    writer.record_many([contract.parse(success(), received_at_ms=NOON_MS + at) for at in (5, 1, 9)])
    assert first_seen() == {"19afc18": NOON_MS + 1}


@pytest.mark.parametrize("version", ["dev", "unknown", OTHER])
def test_what_is_no_release_is_none(version: str) -> None:
    come(version, NOON_MS)
    assert first_seen() == {}


def test_a_flood_of_versions_ends_with_the_day_s_limit() -> None:
    rows = [
        contract.parse(success(app_version=f"v{number}"), received_at_ms=NOON_MS + number)
        for number in range(releases.MAX_NEW_A_DAY + 50)
    ]
    writer.record_many(rows)
    assert len(first_seen()) == Release.objects.count() == releases.MAX_NEW_A_DAY


def test_a_placeholder_gets_the_version_of_its_event() -> None:
    waiting = contract.parse(success(session_id="s", model="unknown", app_version="unknown"), received_at_ms=NOON_MS)
    writer.record(waiting._replace(source=Source.INCREMENT.value))
    assert first_seen() == {}
    make = contract.parse(success(session_id="s"), received_at_ms=NOON_MS + HOUR_MS)
    assert not writer.record(make).stored
    assert first_seen() == {"19afc18": NOON_MS}


@pytest.mark.django_db(transaction=True)
def test_what_was_rolled_back_is_not_remembered() -> None:
    with transaction.atomic():
        writer.record_within([contract.parse(success(), received_at_ms=NOON_MS)])
        transaction.set_rollback(True)
    assert first_seen() == {}
    come("19afc18", NOON_MS + 1)
    assert first_seen() == {"19afc18": NOON_MS + 1}


@pytest.mark.parametrize(
    ("version", "fixed_in", "expected"),
    [
        ("a", "b", NONE),
        ("b", "b", FIXED),
        ("c", "b", FIXED),
        ("twin of b", "b", FIXED),
        ("b", "twin of b", FIXED),
        ("c", "not seen yet", DOUBTFUL),
        ("a", "not seen yet", NONE),
        ("b", "not seen yet", NONE),
        ("not seen yet", "not seen yet", NONE),
        ("not seen yet", "b", NONE),
        ("dev", "b", NONE),
        ("dev", "dev", NONE),
        ("unknown", None, NONE),
        ("(other)", "a", NONE),
        ("c", "dev", DOUBTFUL),
        ("a", None, NONE),
        ("b", None, NONE),  # seen at the moment of the decision
        ("c", None, FIXED),
        ("not seen yet", None, NONE),
    ],
)
def test_which_version_should_have_a_fix(version: str, fixed_in: str | None, expected: Relation) -> None:
    for number, name in enumerate("abc"):
        come(name, NOON_MS + number * HOUR_MS)
    come("twin of b", NOON_MS + HOUR_MS)
    assert releases.relation(version, fixed_in, decided_at_ms=NOON_MS + HOUR_MS) == expected


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("19afc81", ["19afc18"]),  # two characters swapped
        ("19afc1", ["19afc18"]),
        ("19AFC18", ["19afc18"]),
        ("19afc18f00d0ddba11", ["19afc18"]),  # the whole hash
        ("v1.4.1", ["1.4.1", "1.4.2", "1.4.0"]),  # then the newest of those that are equally similar
        ("1.4.3", ["1.4.2", "1.4.1", "1.4.0"]),
        ("c0ffee1", []),
        ("19a", []),
        ("", []),
        ("candidate1", []),
    ],
)
def test_releases_that_a_typed_version_may_mean(typed: str, expected: list[str]) -> None:
    for number, version in enumerate(["7c1d2e3", "19afc18", "1.4.0", "1.4.1", "1.4.2"]):
        come(version, NOON_MS + number)
    make_event(app_version="candidate", received_at_ms=NOON_MS)
    assert [release.app_version for release in releases.similar(typed, 3)] == expected


def test_similar_releases_are_limited_and_the_newest_first() -> None:
    for number in range(9):
        come(f"2.0.{number}", NOON_MS + number)
    assert [release.app_version for release in releases.similar("2.0.x", 3)] == ["2.0.8", "2.0.7", "2.0.6"]


def test_a_reported_version_need_not_be_a_release() -> None:
    make_event(app_version="candidate")
    come("a", NOON_MS)
    assert [releases.was_reported(version) for version in ("candidate", "a", "b")] == [True, True, False]
    assert [releases.was_seen(version) for version in ("candidate", "a", "b")] == [False, True, False]


def test_releases_are_listed_in_order() -> None:
    for version, at_ms in [("b", NOON_MS + 2), ("a", NOON_MS), ("c", NOON_MS + 4)]:
        come(version, at_ms)
    assert releases.newest(2) == ["c", "b"]
    assert [release.app_version for release in releases.first_seen_between(NOON_MS, NOON_MS + 4)] == ["a", "b"]


MINUTE_MS = 60_000


@pytest.mark.parametrize("forgotten", [False, True], ids=["one process", "another process for each event"])
@pytest.mark.parametrize(
    ("events", "released_at"),
    [
        ("s", 0),
        ("fs", 1),
        ("fffff", None),  # without a session
        ("abcab", 4),
        ("fabcf", 4),
        ("abfffc", 5),
        ("aabbab", None),  # two sessions
        ("abc", None),
        ("abcf", None),
        ("abcffs", 4),
    ],
)
def test_a_version_is_a_release_with_a_success_or_five_events_of_three_sessions(
    events: str, released_at: int | None, forgotten: bool
) -> None:
    """`s` is a success and `f` a failure without a session; another letter is a failure of that session."""
    types = ["flash_error", "connect_error", "window_error", "unhandled_rejection"]
    for at, letter in enumerate(events):
        received_at_ms = NOON_MS + at * MINUTE_MS
        if letter == "s":
            come("a", received_at_ms)
        else:
            # A session has one event of each type.
            body = payload(message=f"fault {events} {at}", event_type=types[events[:at].count(letter) % 4])
            body |= {"app_version": "a", "occurred_at": f"2026-02-12T18:00:0{at}Z"}
            make_event(**body | ({} if letter == "f" else {"session_id": letter}), received_at_ms=received_at_ms)
        if forgotten:
            releases.forget()
    assert first_seen() == ({} if released_at is None else {"a": NOON_MS + released_at * MINUTE_MS})
    assert releases.was_seen("a") is (released_at is not None)


def test_one_commit_makes_a_release_of_five_events_of_three_sessions() -> None:
    rows = [
        contract.parse(payload(message=f"fault {at}", session_id=f"session {at}"), received_at_ms=NOON_MS + at)
        for at in range(6)
    ]
    writer.record_many(rows)
    assert first_seen() == {"19afc18": NOON_MS + 4}


def test_a_candidate_is_in_no_list() -> None:
    make_event(**payload(), received_at_ms=NOON_MS)
    assert Release.objects.get().first_seen_ms == NOON_MS
    assert releases.newest(5) == releases.first_seen_between(NOON_MS, NOON_MS + 1) == []
