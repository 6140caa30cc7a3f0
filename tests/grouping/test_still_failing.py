"""Resolved groups whose fix is in a version that is no release: when they are still failing, and when no longer.

Each case is a line of words. `s:VERSION` is a success, which makes the version a release; `f:VERSION` is a failure of
the group. `R:VERSION` resolves the group in that version. The words happen one minute apart.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events.alerts import texts
from events.counting.buckets import DAY_MS
from events.grouping import groups, merges, triage
from events.grouping.fingerprints import fingerprint
from events.ingest import contract, writer
from events.maintenance import regrouping, retention
from events.models import Alert, AlertKind, Event, FailureGroup, FormerGroup
from events.rows import EventRow
from tests.conftest import make_event, payload, success
from tests.threads import in_threads

pytestmark = pytest.mark.django_db

NOON_MS = 1_770_897_600_000  # 2026-02-12 12:00 UTC
MINUTE_MS = 60_000
KEY = fingerprint("flash_error", None, "No ACK", None).key
BASE = "s:old f:old "  # the failure is known from a release


def moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def failure(version: str, *, at_ms: int, session: str | None = None, message: str = "No ACK") -> EventRow:
    session_id = session or f"{message} {version} {at_ms}"
    return contract.parse(payload(message=message, app_version=version, session_id=session_id), received_at_ms=at_ms)


def resolve(version: str | None, user: User, *, at_ms: int, key: str = KEY) -> None:
    triage.resolve([key], fixed_in=version, user=user, at=moment(at_ms))


def play(words: str, user: User, *, start_ms: int = NOON_MS) -> int:
    """Let these words happen, and return the time after the last one."""
    at_ms = start_ms
    for word in words.split():
        kind, _, version = word.partition(":")
        if kind == "R":
            resolve(version or None, user, at_ms=at_ms)
        elif kind == "s":
            make_event(**success(app_version=version), received_at_ms=at_ms)
        else:
            writer.record(failure(version, at_ms=at_ms))
        at_ms += MINUTE_MS
    return at_ms


def state(key: str = KEY) -> str:
    group = FailureGroup.objects.get(pk=key)
    return f"{group.status}{' but still failing' if group.unfixed_at_ms is not None else ''}"


def minute(number: int) -> int:
    return NOON_MS + number * MINUTE_MS


RESOLVED, STILL, OPEN = "resolved", "resolved but still failing", "open"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        # A typo: no release will ever have this version.
        (BASE + "R:typo s:new f:new f:new", RESOLVED),
        (BASE + "R:typo s:new f:new f:new f:new", STILL),
        (BASE + "R:typo s:new f:new f:new f:new f:new", STILL),
        (BASE + "R:typo s:new f:new s:newer f:newer f:newer", STILL),
        (BASE + "R:typo s:new f:new f:old f:old f:new", RESOLVED),
        # The version with the fix is known: one event is a regression.
        (BASE + "s:fix R:fix s:new f:new", OPEN),
        (BASE + "R: s:new f:new", OPEN),
        # A typo that is a version which was reported, but is no release.
        (BASE + "f:typo R:typo s:new f:new f:new f:new", STILL),
        # A downgrade: releases from before the decision do not have the fix.
        (BASE + "s:older R:typo f:older f:older f:older f:older", RESOLVED),
        (BASE + "R:typo f:old f:old f:old f:old", RESOLVED),
        # Versions that are no releases.
        (BASE + "R:typo f:dev f:dev f:dev f:dev", RESOLVED),
        (BASE + "R:typo f:unknown f:unknown f:unknown", RESOLVED),
        (BASE + "R:typo s:dev f:dev f:dev f:dev", RESOLVED),
        (BASE + "R:typo f:a f:a f:b f:b f:c f:c", RESOLVED),
        (BASE + "R:dev s:new f:new f:new f:new", STILL),
        # Failures that arrive before their version becomes a release count too.
        (BASE + "R:typo f:new f:new s:new", RESOLVED),
        (BASE + "R:typo f:new f:new s:new f:new", STILL),
        (BASE + "R:typo f:new f:new f:new s:new", STILL),
        (BASE + "R:typo f:new f:new f:new f:new f:new", STILL),  # released by its fifth failure
        # Those from before the decision never do.
        (BASE + "f:new f:new f:new R:typo s:new f:new f:new", RESOLVED),
        (BASE + "f:new f:new f:new R:typo s:new f:new f:new f:new", STILL),
        # The version with the fix becomes a release later: then the order of releases decides.
        (BASE + "R:soon s:new f:new f:new f:new s:soon", RESOLVED),
        (BASE + "R:soon s:new f:new f:new s:soon f:new f:new", RESOLVED),
        (BASE + "R:soon s:new f:new f:new f:new s:soon s:newer f:newer", OPEN),
        (BASE + "R:soon s:new f:new f:new f:new f:soon s:soon", OPEN),
        # Every decision begins anew.
        (BASE + "R:typo s:new f:new f:new f:new R:typo2", RESOLVED),
        (BASE + "R:typo s:new f:new f:new f:new R:typo2 f:new f:new f:new", RESOLVED),
        (BASE + "R:typo s:new f:new f:new f:new R:typo2 s:newer f:newer f:newer f:newer", STILL),
        (BASE + "R:typo s:new f:new f:new f:new R:new f:new", OPEN),
    ],
)
def test_when_a_resolved_group_is_still_failing(words: str, expected: str, olga: User) -> None:
    play(words, olga)
    assert state() == expected
    assert regrouping.compare() == []


def test_the_time_is_that_of_the_third_event(olga: User) -> None:
    play(BASE + "R:typo s:new f:new f:new f:new f:new", olga)
    assert FailureGroup.objects.get().unfixed_at_ms == NOON_MS + 6 * MINUTE_MS


def test_late_events_are_counted_by_the_time_at_which_they_were_received(olga: User) -> None:
    """An event of another process can be stored after the decision, although it was received before it."""
    end_ms = play(BASE + "R:typo s:new", olga)
    for number in range(4):
        writer.record(failure("new", at_ms=NOON_MS + number, session=f"late {number}"))
    assert state() == RESOLVED
    writer.record_many([failure("new", at_ms=end_ms, session=f"a {number}") for number in range(2)])
    assert state() == RESOLVED
    writer.record(failure("new", at_ms=end_ms - 1, session="b"))
    assert state() == STILL


def test_duplicates_and_retries_do_not_count(olga: User) -> None:
    end_ms = play(BASE + "R:typo s:new", olga)
    event = failure("new", at_ms=end_ms)
    writer.record_many([event, event, event])
    for number in range(3):
        writer.record(failure("new", at_ms=end_ms + number, session=event.session_id))
    assert (state(), FailureGroup.objects.get().accepted) == (RESOLVED, 2)


@pytest.mark.parametrize("sizes", [[3], [1, 2], [2, 1], [1, 1, 1], [5]])
def test_it_makes_no_difference_how_events_are_committed(sizes: list[int], olga: User) -> None:
    end_ms = play(BASE + "R:typo s:new", olga)
    for commit, size in enumerate(sizes):
        assert state() == RESOLVED
        writer.record_many([failure("new", at_ms=end_ms + commit, session=f"{commit} {at}") for at in range(size)])
    assert state() == STILL


def test_a_commit_that_releases_the_version_counts_its_failures_once(olga: User) -> None:
    end_ms = play(BASE + "R:typo", olga)
    released = contract.parse(success(app_version="new"), received_at_ms=end_ms)
    writer.record_many([released, *(failure("new", at_ms=end_ms, session=f"{at}") for at in range(2))])
    assert state() == RESOLVED
    writer.record(failure("new", at_ms=end_ms, session="third"))
    assert state() == STILL


@pytest.mark.parametrize("decide", ["mute", "expect", "reopen"])
def test_every_other_decision_ends_it(decide: str, olga: User) -> None:
    end_ms = play(BASE + "R:typo s:new f:new f:new f:new", olga)
    decisions: dict[str, Callable[[], int]] = {
        "mute": lambda: triage.mute([KEY], until_ms=None, user=olga, at=moment(end_ms)),
        "expect": lambda: triage.expect([KEY], user=olga, at=moment(end_ms)),
        "reopen": lambda: triage.reopen([KEY], user=olga, at=moment(end_ms)),
    }
    decisions[decide]()
    assert FailureGroup.objects.get().unfixed_at_ms is None


def test_a_muted_or_open_group_is_never_marked(olga: User) -> None:
    end_ms = play(BASE, olga)
    triage.mute([KEY], until_ms=None, user=olga, at=moment(end_ms))
    play("s:new f:new f:new f:new", olga, start_ms=end_ms + 1)
    assert state() == "muted"


def test_the_message_says_what_to_do(olga: User) -> None:
    play(BASE + "R:typo s:new f:new f:new f:new", olga)
    alert = Alert.objects.get(kind=AlertKind.REGRESSION)
    (part,) = texts.parts_of([alert], 10)
    assert part.lines[0] == "Resolved in typo, which is not a release. Newer releases still fail."
    assert part.lines[1].startswith("The third failure was in new on ")
    assert part.lines[2] == "If the version is misspelt, correct it. If the fix does not work, open the group again."


# --- what ingest pays ------------------------------------------------------------------------------------------------


def statements(event: EventRow) -> int:
    with CaptureQueriesContext(connection) as queries:
        writer.record(event)
    # The measurements of commits are written once a second.
    return len([query for query in queries if "events_commitbucket" not in query["sql"]])


def test_only_the_first_doubtful_events_of_a_resolved_group_cost_statements(olga: User) -> None:
    end_ms = play("s:old f:old f:old f:old s:new f:new", olga)
    ordinary = statements(failure("new", at_ms=end_ms))
    resolve("typo", olga, at_ms=end_ms)
    comparing = ordinary + 1  # the versions of a resolved group are compared
    assert statements(failure("new", at_ms=end_ms + 1)) == comparing
    end_ms = play("s:newer f:newer", olga, start_ms=end_ms + 2)
    assert statements(failure("newer", at_ms=end_ms)) == comparing + 1
    assert statements(failure("newer", at_ms=end_ms + 1)) == comparing + 3  # the count, the mark and the alert
    assert state() == STILL
    assert statements(failure("newer", at_ms=end_ms + 2)) == comparing


def test_one_alert_follows_each_decision(olga: User) -> None:
    play(BASE + "R:typo s:new f:new f:new f:new f:new R:typo2 s:newer f:newer f:newer f:newer s:typo2 f:typo2", olga)
    alerts = Alert.objects.filter(kind=AlertKind.REGRESSION).order_by("id")
    still_failing = [{"version": version, "reason": "still_failing"} for version in ("new", "newer")]
    assert list(alerts.values_list("subject", "key", "facts", "happened_at_ms")) == [
        (KEY, f"{KEY}:{minute(2)}:still_failing", still_failing[0] | {"fixed_in": "typo"}, minute(6)),
        (KEY, f"{KEY}:{minute(8)}:still_failing", still_failing[1] | {"fixed_in": "typo2"}, minute(12)),
        (KEY, f"{KEY}:{minute(8)}", {"version": "typo2"}, minute(14)),
    ]


# --- other operations ------------------------------------------------------------------------------------------------


def test_a_merge_takes_the_mark_over_with_the_decision_and_a_split_gives_it_back(olga: User) -> None:
    end_ms = play(BASE + "R:typo s:new f:new f:new f:new", olga)
    writer.record(failure("new", at_ms=end_ms, message="other"))
    other = fingerprint("flash_error", None, "other", None).key
    merges.merge(KEY, other, user=olga, at=moment(end_ms))
    assert state(other) == STILL
    merges.split(KEY, user=olga, at=moment(end_ms))
    assert (state(KEY), state(other)) == (STILL, OPEN)


def test_the_mark_of_the_receiving_group_stays(olga: User) -> None:
    end_ms = play(BASE + "R:typo s:new f:new f:new f:new", olga)
    writer.record(failure("new", at_ms=end_ms, message="other"))
    other = fingerprint("flash_error", None, "other", None).key
    merges.merge(other, KEY, user=olga, at=moment(end_ms))
    assert state() == STILL
    merges.split(other, user=olga, at=moment(end_ms))
    assert (state(), state(other)) == (STILL, OPEN)


def test_merged_failures_count_with_the_next_event_and_leave_with_a_split(olga: User) -> None:
    end_ms = play(BASE + "R:typo s:new", olga)
    for number in range(3):
        writer.record(failure("new", at_ms=end_ms + number, message="other"))
    other = fingerprint("flash_error", None, "other", None).key
    merges.merge(other, KEY, user=olga, at=moment(end_ms))
    assert state() == RESOLVED  # a merge is no new occurrence
    writer.record(failure("new", at_ms=end_ms + 9))
    assert state() == STILL
    merges.split(other, user=olga, at=moment(end_ms))
    assert state() == RESOLVED


def test_a_mark_that_the_release_of_the_fix_ended_does_not_return_with_a_split(olga: User) -> None:
    end_ms = play(BASE + "R:soon s:new f:new f:new f:new", olga)
    writer.record(failure("new", at_ms=end_ms, message="other"))
    other = fingerprint("flash_error", None, "other", None).key
    triage.mute([other], until_ms=None, user=olga, at=moment(end_ms))
    merges.merge(KEY, other, user=olga, at=moment(end_ms))
    play("s:soon", olga, start_ms=end_ms + 1)
    merges.split(KEY, user=olga, at=moment(end_ms))
    assert state() == RESOLVED


def test_regrouping_moves_the_mark_with_the_decision(olga: User) -> None:
    play(BASE + "R:typo s:new f:new f:new f:new", olga)
    Event.objects.failures().update(fingerprint="old")
    FailureGroup.objects.update(fingerprint="old", algorithm=0)
    for table in ("events_grouphour", "events_groupshare"):
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE {table} SET fingerprint = 'old'")
    list(regrouping.regroup(regrouping.survey()))
    assert state() == STILL
    assert not FormerGroup.objects.filter(is_merged=True).exists()


def test_retention_keeps_the_mark(olga: User) -> None:
    play(BASE + "R:typo s:new f:new f:new f:new", olga)
    before_ms = NOON_MS - NOON_MS % DAY_MS + DAY_MS
    pruned = retention.prune(before_ms, imported_too=True, who="olga", at=moment(before_ms), why="old")
    assert dict(pruned)
    assert not Event.objects.failures().exists()
    assert state() == STILL


def test_an_erasure_keeps_the_mark_and_its_events_no_longer_count(olga: User) -> None:
    end_ms = play(BASE + "R:typo s:new f:new", olga)
    writer.record(failure("new", at_ms=end_ms, session="erased"))
    retention.erase("erased", who="olga", at=moment(end_ms), why="")
    writer.record(failure("new", at_ms=end_ms + 1))
    assert state() == RESOLVED
    writer.record(failure("new", at_ms=end_ms + 2, session="erased later"))
    assert state() == STILL
    retention.erase("erased later", who="olga", at=moment(end_ms), why="")
    assert state() == STILL


# --- several at once -------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_events_at_once_mark_the_group_once() -> None:
    """Each thread commits on a connection of its own, as several processes do."""
    user = User.objects.create_user("olga")
    end_ms = play(BASE + "R:typo s:new", user)
    marks: list[Any] = []

    def fail(number: int) -> Callable[[], None]:
        def run() -> None:
            for at in range(5):
                writer.record(failure("new", at_ms=end_ms + at, session=f"{number} {at}"))
                marks.append(FailureGroup.objects.values_list("unfixed_at_ms", flat=True).get())

        return run

    assert in_threads([fail(number) for number in range(4)]) == [None] * 4
    assert (state(), FailureGroup.objects.get().accepted) == (STILL, 21)
    assert len({mark for mark in marks if mark is not None}) == 1
    assert groups.LEAST_DOUBTFUL == 3
