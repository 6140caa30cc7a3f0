"""`manage.py regroup_failures`: every failure in the group of its present fingerprint, and nothing lost on the way."""

from datetime import UTC, datetime
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import transaction

from events import process_memory
from events.counting import releases
from events.counting.buckets import DAY_MS, HOUR_MS
from events.counting.releases import Relation
from events.grouping import fingerprints, groups, merges, rules, triage
from events.grouping.fingerprints import fingerprint
from events.ingest import contract, writer
from events.maintenance import regrouping, retention
from events.models import Event, FailureGroup, FormerGroup, GroupHour, GroupShare
from tests.conftest import make_event, payload, success
from tests.threads import in_threads

pytestmark = pytest.mark.django_db

NOON_MS = 1_770_897_600_000  # 2026-02-12 12:00 UTC
AT = datetime(2026, 2, 13, tzinfo=UTC)


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("regroup_failures", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def check_fails() -> tuple[str, str]:
    out = StringIO()
    with pytest.raises(CommandError) as failed:
        call_command("regroup_failures", "--check", stdout=out)
    assert failed.value.returncode == 1
    return out.getvalue(), str(failed.value)


def key_of(message: str, event_type: str = "flash_error") -> str:
    return fingerprint(event_type, None, message, None).key


def fail(message: str, *, at_ms: int = NOON_MS, old: str | None = None, **changes: Any) -> Event:
    """Store a failure; `old` is the group that an older algorithm put it into."""
    event = make_event(**{"message": message, "session_id": f"{message} {at_ms}"} | changes, received_at_ms=at_ms)
    if old is not None:
        old_mark = fingerprints.Fingerprint(old, f"old {old}", "")
        ingested = event.fingerprint
        Event.objects.filter(pk=event.pk).update(fingerprint=old)
        with transaction.atomic():
            groups.join([(event, old_mark)])
            groups.subtract([(event, ingested or "")])
        FailureGroup.objects.filter(pk=old).update(algorithm=0)
        event.refresh_from_db()
    return event


def table() -> dict[str, set[tuple[Any, ...]]]:
    """Return all that is counted of groups, and which event is in which."""
    return {
        "groups": set(FailureGroup.objects.values_list()),
        "hours": set(GroupHour.objects.values_list("fingerprint", "hour_ms", "accepted")),
        "shares": set(GroupShare.objects.values_list("fingerprint", "facet", "name", "day_ms", "accepted")),
        "events": set(Event.objects.values_list("id", "fingerprint")),
    }


def without_groups() -> None:
    """Make the database one from before there were groups."""
    Event.objects.update(fingerprint=None)
    for model in (FailureGroup, GroupHour, GroupShare):
        model.objects.all().delete()
    process_memory.clear()


def many() -> None:
    rows = [
        contract.parse(
            payload(
                message=f"fault {'abcde'[number % 5]}",
                session_id=f"s{number}",
                model=f"m{number % 3}",
                app_version=f"v{number % 4}",
                event_type=["flash_error", "connect_error"][number % 2],
            ),
            received_at_ms=NOON_MS + number * HOUR_MS // 7,
        )
        for number in range(100)
    ]
    writer.record_many(rows)
    make_event(**success(), received_at_ms=NOON_MS)


# --- from before there were groups -----------------------------------------------------------------


@pytest.mark.parametrize("batch", [500, 7])
def test_failures_without_a_group_join_theirs(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(regrouping, "BATCH_EVENTS", batch)
    many()
    right = table()
    without_groups()
    assert regrouping.is_due()
    assert run().splitlines()[-1] == "100 of 100 failures moved to another group."
    assert table() == right
    assert not regrouping.is_due()
    assert run("--check") == "0 of 100 failures would move to another group.\n"
    assert run() == "0 of 100 failures moved to another group.\n"


def test_it_can_be_stopped_and_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regrouping, "BATCH_EVENTS", 30)
    many()
    right = table()
    without_groups()
    for _ in range(3):
        assert next(regrouping.regroup(regrouping.survey()))[0] == 30
        assert regrouping.compare() == []
    assert regrouping.is_due()
    assert sum(FailureGroup.objects.values_list("accepted", flat=True)) == 30
    run()
    assert table() == right


def test_nothing_stored_is_nothing_to_do() -> None:
    assert run() == "0 of 0 failures moved to another group.\n"
    assert run("--check") == "0 of 0 failures would move to another group.\n"


# --- after the rules have changed -----------------------------------------------------------------


def test_counts_move_exactly_and_an_emptied_group_goes() -> None:
    many()
    right = table()
    for number, event in enumerate(Event.objects.failures()):
        old = f"old{number % 4}"
        groups.join([(event, fingerprints.Fingerprint(old, "old", ""))])
        Event.objects.filter(pk=event.pk).update(fingerprint=old)
        groups.subtract([(event, event.fingerprint or "")])
    FailureGroup.objects.update(algorithm=0)
    assert regrouping.compare() == []
    out, last = check_fails()
    assert out.splitlines() == [
        "100 of 100 failures would move to another group.",
        "4 groups are of an older algorithm.",
    ]
    assert last == "Failures must be regrouped."
    run()
    assert table() == right
    assert run("--check") == "0 of 100 failures would move to another group.\n"


def test_a_group_that_keeps_its_fingerprint_is_only_marked() -> None:
    event = fail("same")
    FailureGroup.objects.update(algorithm=0, note="kept")
    assert regrouping.is_due()
    assert run() == "0 of 1 failures moved to another group.\n"
    group = FailureGroup.objects.get()
    assert (group.pk, group.algorithm, group.note) == (event.fingerprint, fingerprints.ALGORITHM, "kept")


def decide(key: str, **changes: Any) -> None:
    FailureGroup.objects.filter(pk=key).update(
        **{"status": "muted", "decided_at_ms": 5, "decided_by_name": "olga", "muted_until_ms": 7, "note": key} | changes
    )


TRIAGE = (
    "status", "fixed_in", "muted_until_ms", "decided_at_ms", "decided_by_name", "note", "regressed_at_ms",
    "regressed_by",
)  # fmt: skip


def triage_of(message: str) -> tuple[Any, ...]:
    return FailureGroup.objects.values_list(*TRIAGE).get(pk=key_of(message))


def test_each_part_of_a_group_keeps_what_was_decided() -> None:
    fail("one", old="old")
    fail("two", old="old")
    decide("old", status="open", fixed_in="v1", muted_until_ms=None, regressed_at_ms=6, regressed_by="x")
    run()
    for message in ("one", "two"):
        assert triage_of(message) == ("open", "v1", None, 5, "olga", "old", 6, "x")
    assert not FailureGroup.objects.filter(pk="old").exists()


@pytest.mark.parametrize("batch", [1, 500])
def test_of_several_groups_that_become_one_the_largest_part_decides(
    monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(regrouping, "BATCH_EVENTS", batch)
    for number in range(5):
        fail("same", at_ms=NOON_MS + number, old="few" if number < 2 else "most")
    decide("few")
    decide("most", status="resolved", muted_until_ms=None, fixed_in="v9")
    run()
    assert triage_of("same")[:2] == ("resolved", "v9")


def test_a_few_muted_ones_mute_no_large_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regrouping, "BATCH_EVENTS", 2)
    for number in range(5):
        fail("same", at_ms=NOON_MS + number, old="most, undecided" if number < 4 else "few")
    decide("few")
    next(regrouping.regroup(regrouping.survey()))  # and then it was stopped
    run()
    assert triage_of("same")[0] == "open"


def test_a_decision_of_its_own_stands() -> None:
    for number in range(3):
        fail("same", at_ms=NOON_MS + number, old="old")
    fail("same", at_ms=NOON_MS + 9)
    decide("old")
    user = User.objects.create_user("olga")
    triage.resolve([key_of("same")], fixed_in="v1", user=user, at=AT)
    run()
    assert triage_of("same")[:2] == ("resolved", "v1")
    assert FailureGroup.objects.get().accepted == 4


def test_a_group_that_new_events_made_takes_the_decision_of_the_old_one() -> None:
    for number in range(3):
        fail("same", at_ms=NOON_MS + number, old="old")
    decide("old")
    fail("same", at_ms=NOON_MS + 9)
    run()
    assert triage_of("same")[0] == "muted"


def test_regrouping_is_no_regression() -> None:
    for number, version in enumerate(["v1", "v2"]):
        make_event(**success(app_version=version), received_at_ms=NOON_MS + number * HOUR_MS)
        fail("same", at_ms=NOON_MS + number * HOUR_MS, old="old", app_version=version)
    decide("old", status="resolved", fixed_in="v1", muted_until_ms=None)
    assert releases.relation("v2", "v1", 0) == Relation.FIXED
    run()
    assert triage_of("same")[0] == "resolved"
    fail("same", at_ms=NOON_MS + DAY_MS, app_version="v2")
    assert triage_of("same")[0] == "open"


def test_what_was_counted_of_deleted_failures_stays_where_it_was() -> None:
    fail("same", at_ms=NOON_MS, old="old")
    gone = fail("same", at_ms=NOON_MS - 3 * DAY_MS, old="old")
    Event.objects.filter(pk=gone.pk).delete()
    run()
    old, new = FailureGroup.objects.get(pk="old"), FailureGroup.objects.get(pk=key_of("same"))
    assert (old.accepted, old.algorithm, new.accepted) == (1, fingerprints.ALGORITHM, 1)
    assert (old.first_seen_ms, new.first_seen_ms) == (NOON_MS - 3 * DAY_MS, NOON_MS)
    assert old.last_seen_ms < NOON_MS - 3 * DAY_MS + HOUR_MS
    assert run("--check") == "0 of 1 failures would move to another group.\n"


# --- the preview -----------------------------------------------------------------


def test_the_preview_lists_the_groups_that_merge_and_split_and_changes_nothing() -> None:
    for number in range(3):
        fail("one", at_ms=NOON_MS + number, old="split")
    fail("two", at_ms=NOON_MS + 3, old="split")
    for number in range(2):
        fail("one", at_ms=NOON_MS + 4 + number, old="joining")
    fail("three", at_ms=NOON_MS + 6, old="same")
    fail("one", at_ms=NOON_MS + 7)  # received since the upgrade
    before = table()
    preview = run("--dry-run")
    assert preview.splitlines() == [
        "7 of 8 failures would move to another group.",
        "1 group would receive the failures of several groups:",
        "  5 failures: one",
        "    3 from old split",
        "    2 from old joining",
        "1 group would be split:",
        "  4 failures: old split",
        "    3 to one",
        "    1 to two",
    ]
    assert table() == before
    assert not FormerGroup.objects.exists()
    assert run() == preview + "7 of 8 failures moved to another group.\n"
    assert run("--dry-run").splitlines() == [
        "0 of 8 failures would move to another group.",
        "0 groups would receive the failures of several groups.",
        "0 groups would be split.",
    ]


def test_the_preview_lists_the_twenty_largest_and_five_parts_of_each() -> None:
    for number in range(22):
        for part in range(7 if number == 21 else 2):
            fail(words(number), at_ms=NOON_MS + part, old=f"old {number} {part}")
    lines = run("--dry-run").splitlines()
    assert lines[1] == "22 groups would receive the failures of several groups. The 20 largest:"
    assert lines[2] == f"  7 failures: {words(21)}"
    assert lines[8] == "    and 2 more groups"
    assert len([line for line in lines if " failures: " in line]) == 20


def test_the_preview_writes_no_control_characters() -> None:
    for part in range(2):
        fail("red \x1b[31m", at_ms=NOON_MS + part, old=f"old {part}")
    assert "\x1b" not in run("--dry-run")


# --- old addresses -----------------------------------------------------------------


def successor(key: str) -> str:
    return FormerGroup.objects.successor(key)


def test_the_address_of_an_old_group_leads_to_where_most_of_its_failures_are() -> None:
    for number in range(3):
        fail("one" if number else "two", at_ms=NOON_MS + number, old="old")
    decide("old", note="see the wiki")
    run()
    former = FormerGroup.objects.get()
    assert (former.pk, former.is_merged, successor("old")) == ("old", False, key_of("one"))
    assert (former.row["title"], former.row["note"], former.row["decided_by_name"]) == (
        "old old",
        "see the wiki",
        "olga",
    )


@pytest.mark.parametrize("stops", [1, 2, 3])
def test_an_interrupted_run_does_not_change_where_an_address_leads(monkeypatch: pytest.MonkeyPatch, stops: int) -> None:
    monkeypatch.setattr(regrouping, "BATCH_EVENTS", 1)
    for number in range(5):
        fail("one" if number < 3 else "two", at_ms=NOON_MS + number, old="old")
    steps = regrouping.regroup(regrouping.survey())
    for _ in range(stops):
        next(steps)
    steps.close()
    run()
    assert successor("old") == key_of("one")


def test_a_decision_during_the_run_is_kept_with_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regrouping, "BATCH_EVENTS", 1)
    for number in range(3):
        fail("same", at_ms=NOON_MS + number, old="few" if number == 2 else "most")
    steps = regrouping.regroup(regrouping.survey())
    next(steps)
    triage.annotate("few", "decided late", user=User(username="olga"), at=AT)
    for _ in steps:
        pass
    assert FormerGroup.objects.get(pk="few").row["note"] == "decided late"


def test_a_group_that_keeps_its_fingerprint_needs_no_address() -> None:
    fail("same")
    FailureGroup.objects.update(algorithm=0)
    fail("other", at_ms=NOON_MS + 1, old=key_of("same"))
    run()
    assert not FormerGroup.objects.exists()
    assert set(FailureGroup.objects.values_list("pk", flat=True)) == {key_of("same"), key_of("other")}


def test_a_group_that_receives_failures_is_no_former_group() -> None:
    fail("one", old="old")
    run()
    moved = fail("two", at_ms=NOON_MS + 1, old="other")
    FormerGroup.objects.update(fingerprint=key_of("two"))
    run()
    assert Event.objects.get(pk=moved.pk).fingerprint == key_of("two")
    assert list(FormerGroup.objects.values_list("pk", "joined")) == [("other", key_of("two"))]


# --- the rules of merges -----------------------------------------------------------------


def merge(one: str, other: str) -> None:
    merges.merge(one, other, user=User(username="olga"), at=AT)


def groups_by_title() -> dict[str, int]:
    return dict(FailureGroup.objects.values_list("title", "accepted"))


@pytest.mark.parametrize("batch", [1, 500])
@pytest.mark.parametrize("is_older", [True, False])
def test_a_merge_holds_under_the_new_fingerprints(monkeypatch: pytest.MonkeyPatch, batch: int, is_older: bool) -> None:
    monkeypatch.setattr(regrouping, "BATCH_EVENTS", batch)
    for number in range(3):
        fail("one", at_ms=NOON_MS + number, old="old one")
        fail("two", at_ms=NOON_MS + number + (10 if is_older else -10), old="old two")
    decide("old one", note="note of one")
    decide("old two", note="note of two")
    merge("old one", "old two")
    later = [fail(message, at_ms=NOON_MS + 20) for message in ("one", "two")]  # with the new algorithm
    assert [event.fingerprint for event in later] == [key_of("one"), key_of("two")]
    assert run("--dry-run").splitlines()[0] == "7 of 8 failures would move to another group."
    run()
    assert groups_by_title() == {"two": 8}
    assert triage_of("two")[5] == "note of two"
    assert fail("one", at_ms=NOON_MS + 30).fingerprint == key_of("two")
    assert [successor(key) for key in ("old one", "old two", key_of("one"))] == [key_of("two")] * 3
    assert run("--check") == "0 of 9 failures would move to another group.\n"
    merges.split(key_of("one"), user=User(username="olga"), at=AT)
    assert groups_by_title() == {"one": 5, "two": 4}
    assert triage_of("one")[5] == "note of one"
    assert successor("old one") == key_of("one")
    assert regrouping.compare() == []


def test_a_merge_holds_when_its_fingerprints_stay() -> None:
    for message in ("one", "two"):
        fail(message)
    merge(key_of("one"), key_of("two"))
    before = list(FormerGroup.objects.values())
    FailureGroup.objects.update(algorithm=0)
    run()
    assert list(FormerGroup.objects.values()) == before
    assert groups_by_title() == {"two": 2}


def test_a_merged_group_that_splits_stays_merged_with_all_its_parts() -> None:
    for number in range(3):
        fail("one" if number else "uno", at_ms=NOON_MS + number, old="old one")
    fail("two", at_ms=NOON_MS + 3, old="old two")
    merge("old one", "old two")
    run()
    assert groups_by_title() == {"two": 4}
    assert rules.read().merged == {key_of("one"): key_of("two"), key_of("uno"): key_of("two")}
    merges.split(key_of("uno"), user=User(username="olga"), at=AT)
    assert groups_by_title() == {"two": 3, "uno": 1}


def test_a_merge_that_the_new_algorithm_makes_itself_ends() -> None:
    for old in ("old one", "old two"):
        fail("same", at_ms=NOON_MS, old=old, session_id=old)
    merge("old one", "old two")
    assert "The merge of “old old one” ends" in run("--dry-run")
    run()
    assert groups_by_title() == {"same": 2}
    assert rules.read().merged == {}
    assert successor("old one") == successor("old two") == key_of("same")


def test_a_merge_of_a_few_does_not_move_a_large_group() -> None:
    fail("one", at_ms=NOON_MS, old="old one")
    fail("two", at_ms=NOON_MS + 1, old="old two")
    for number in range(3):
        fail("one", at_ms=NOON_MS + 2 + number, old="large")
    merge("old one", "old two")
    assert "The merge of “old old one” ends" in run("--dry-run")
    run()
    assert groups_by_title() == {"one": 4, "two": 1}
    assert rules.read().merged == {}
    assert successor("old one") == successor("large") == key_of("one")


def test_a_merge_within_a_merge_holds() -> None:
    for number, message in enumerate(("one", "two", "three")):
        fail(message, at_ms=NOON_MS + number, old=f"old {message}")
    merge("old one", "old two")
    merge("old two", "old three")
    run()
    assert groups_by_title() == {"three": 3}
    merges.split(key_of("two"), user=User(username="olga"), at=AT)
    assert groups_by_title() == {"two": 2, "three": 1}


def test_a_rule_without_stored_failures_stays_and_follows_the_other_group() -> None:
    gone = fail("one", at_ms=NOON_MS - DAY_MS, old="old one")
    fail("two", at_ms=NOON_MS, old="old two")
    merge("old one", "old two")
    for _ in retention.prune(NOON_MS - DAY_MS // 2, imported_too=True, who="olga", at=AT, why=""):
        pass
    assert not Event.objects.filter(pk=gone.pk).exists()
    run()
    assert rules.read().merged == {"old one": key_of("two")}
    merges.split("old one", user=User(username="olga"), at=AT)
    assert regrouping.compare() == []


def test_a_group_cannot_be_split_off_while_its_failures_are_regrouped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regrouping, "BATCH_EVENTS", 1)
    for message in ("one", "two"):
        fail(message, old=f"old {message}")
    merge("old one", "old two")
    fail("one", at_ms=NOON_MS + 9)
    next(regrouping.regroup(regrouping.survey()))
    with pytest.raises(merges.CannotMerge, match="are being regrouped"):
        merges.split(key_of("one"), user=User(username="olga"), at=AT)
    with pytest.raises(merges.CannotMerge, match="are being regrouped"):
        merge(key_of("one"), "old two")
    assert regrouping.compare() == []
    run()
    merges.split(key_of("one"), user=User(username="olga"), at=AT)
    assert groups_by_title() == {"one": 2, "two": 1}


@pytest.mark.django_db(transaction=True)
def test_it_runs_beside_ingest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regrouping in one thread, new failures in others, each on a connection of its own."""
    monkeypatch.setattr(regrouping, "BATCH_EVENTS", 5)
    for number in range(60):
        fail(("one", "two", "three")[number % 3], at_ms=NOON_MS + number, old=f"old {number % 4}")
    merge("old 0", "old 1")

    def ingest(number: int) -> None:
        for turn in range(40):
            message = ("one", "two", "three")[turn % 3]
            row = payload(message=message, session_id=f"{number} {turn}")
            writer.record(contract.parse(row, received_at_ms=NOON_MS + turn))

    assert in_threads([run, partial(ingest, 1), partial(ingest, 2)])[1:] == [None, None]
    run()
    assert regrouping.compare() == []
    assert sum(FailureGroup.objects.values_list("accepted", flat=True)) == 140
    assert run("--check").startswith("0 of 140 failures would move")


# --- the limit of a day -----------------------------------------------------------------


def words(number: int) -> str:
    return "fault " + "".join("abcdefghij"[int(digit)] for digit in str(number))


def test_the_limit_of_a_day_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "MAX_NEW_A_DAY", 5)
    for number in range(8):
        fail(words(number), at_ms=NOON_MS + number)
    right = table()
    assert "overflow-flash_error" in {key for _, key in right["events"]}
    assert run("--check") == "0 of 8 failures would move to another group.\n"
    assert run() == "0 of 8 failures moved to another group.\n"
    without_groups()
    run()
    assert table() == right


def test_what_overflowed_joins_a_group_when_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "MAX_NEW_A_DAY", 1)
    fail("first")
    fail("second", at_ms=NOON_MS + 1)
    decide("overflow-flash_error")
    monkeypatch.setattr(groups, "MAX_NEW_A_DAY", 2)
    run()
    assert set(FailureGroup.objects.values_list("pk", "status")) == {
        (key_of("first"), "open"),
        (key_of("second"), "open"),
    }


def test_the_preview_tells_what_would_leave_the_overflow_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "MAX_NEW_A_DAY", 1)
    for number in range(4):
        fail(words(number), at_ms=NOON_MS + number)
    assert "overflow" not in run("--dry-run")
    monkeypatch.setattr(groups, "MAX_NEW_A_DAY", 3)
    lines = run("--dry-run").splitlines()
    assert lines[0] == "2 of 4 failures would move to another group."
    assert lines[-1] == "2 failures would leave the overflow group of a day for groups of their own."
    assert run().splitlines()[-1] == "2 of 4 failures moved to another group."
    assert FailureGroup.objects.get(pk="overflow-flash_error").accepted == 1


@pytest.mark.parametrize("batch", [1, 500])
def test_a_repeated_message_leaves_the_overflow_group_for_the_second_capacity(
    monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(regrouping, "BATCH_EVENTS", batch)
    monkeypatch.setattr(groups, "MAX_NEW_A_DAY", 0)
    monkeypatch.setattr(groups, "MAX_REPEATED_A_DAY", 0)
    for number in range(5):
        fail("often" if number < 3 else words(number), at_ms=NOON_MS + number)
    monkeypatch.setattr(groups, "MAX_REPEATED_A_DAY", 1)
    assert run("--dry-run").splitlines()[0] == "3 of 5 failures would move to another group."
    run()
    assert groups_by_title() == {"often": 3, groups.OVERFLOW_TITLE: 2}


def test_a_merge_makes_room_for_a_group_of_the_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "MAX_NEW_A_DAY", 2)
    for number in range(3):
        fail(words(number), at_ms=NOON_MS + number)
    merge(key_of(words(0)), key_of(words(1)))
    run()
    assert groups_by_title() == {words(1): 2, words(2): 1}


def test_what_overflowed_joins_its_own_group_of_another_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "MAX_NEW_A_DAY", 1)
    fail("first")
    fail("second", at_ms=NOON_MS + 1)
    fail("second", at_ms=NOON_MS + DAY_MS)
    assert check_fails()[0] == "1 of 3 failures would move to another group.\n"
    run()
    assert FailureGroup.objects.get(pk=key_of("second")).first_seen_ms == NOON_MS + 1


# --- the proof -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("break_it", "expected"),
    [
        (lambda: FailureGroup.objects.update(accepted=9), "9 counted, 1 in its hours"),
        (lambda: GroupHour.objects.update(accepted=9), "9 counted, 1 in its events of 2026-02-12T12:00:00.000Z"),
        (lambda: GroupHour.objects.all().delete(), "0 counted, 1 in its events of 2026-02-12T12:00:00.000Z"),
        (lambda: GroupShare.objects.filter(facet="model").update(accepted=9), "1 counted, 9 in its shares by model"),
        (
            lambda: GroupShare.objects.filter(facet="mode").update(day_ms=NOON_MS + DAY_MS // 2),
            "0 counted, 1 in its shares by mode of 2026-02-13",
        ),
        (lambda: FailureGroup.objects.update(version_count=9), "9 counted, 1 in its versions"),
        (lambda: FailureGroup.objects.all().delete(), "0 counted, 1 in hours without a group"),
    ],
)
def test_a_wrong_count_is_told(break_it: Any, expected: str) -> None:
    fail("one")
    break_it()
    out, last = check_fails()
    assert expected in out
    assert "counts of groups differ." in last


def test_hours_from_before_the_oldest_stored_failure_prove_nothing() -> None:
    fail("one", at_ms=NOON_MS)
    gone = fail("one", at_ms=NOON_MS - DAY_MS)
    Event.objects.filter(pk=gone.pk).delete()
    assert run("--check") == "0 of 1 failures would move to another group.\n"
