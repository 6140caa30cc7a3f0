"""Merged groups: later failures follow the rule in every process, and a split gives everything back."""

import random
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from events import process_memory
from events.counting.buckets import DAY_MS, HOUR_MS
from events.grouping import groups, issues, merges, rules, triage
from events.grouping.fingerprints import fingerprint
from events.grouping.merges import CannotMerge
from events.ingest import contract, writer
from events.maintenance import regrouping, retention
from events.models import AuditEntry, Event, FailureGroup, FormerGroup, GroupHour, GroupShare, Source
from tests.conftest import make_event, payload, success
from tests.threads import in_threads

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("compared_counts")]

NOON_MS = 1_770_897_600_000  # 2026-02-12 12:00 UTC
AT = datetime(2026, 2, 13, tzinfo=UTC)
TRIAGE = (
    "status", "fixed_in", "muted_until_ms", "decided_at_ms", "decided_by_name", "note", "regressed_at_ms",
    "regressed_by",
)  # fmt: skip


def key_of(message: str, event_type: str = "flash_error") -> str:
    return fingerprint(event_type, None, message, None).key


def fail(message: str, *, at_ms: int = NOON_MS, **changes: Any) -> Event:
    session_id = f"{message} {at_ms} {Event.objects.count()}"[:128]
    return make_event(**{"message": message, "session_id": session_id} | changes, received_at_ms=at_ms)


def table() -> dict[str, set[tuple[Any, ...]]]:
    """Return all groups, their counts, and the group of each event."""
    return {
        "groups": set(FailureGroup.objects.values_list()),
        "hours": set(GroupHour.objects.values_list("fingerprint", "hour_ms", "accepted")),
        "shares": set(GroupShare.objects.values_list("fingerprint", "facet", "name", "day_ms", "accepted")),
        "events": set(Event.objects.values_list("id", "fingerprint", "merged_from")),
    }


def sizes() -> dict[str, int]:
    """Return the number of events of each group, by its title."""
    return dict(FailureGroup.objects.values_list("title", "accepted"))


def merge(one: str, other: str, user: User) -> None:
    merges.merge(key_of(one), key_of(other), user=user, at=AT)


def split(one: str, user: User) -> None:
    merges.split(key_of(one), user=user, at=AT)


def some_failures() -> None:
    for number in range(12):
        fail(
            ("one", "two", "three")[number % 3],
            at_ms=NOON_MS + number * HOUR_MS // 2,
            model=f"model {'abc'[number % 3]}",
            app_version=f"v{number % 2}",
            write_mode=number % 2,
        )


# --- merge and split -------------------------------------------------------------------------------------------------


def test_a_merge_moves_events_and_counts(olga: User) -> None:
    some_failures()
    merge("one", "two", olga)
    group = FailureGroup.objects.get(pk=key_of("two"))
    assert sizes() == {"two": 8, "three": 4}
    assert (group.model_count, group.version_count, group.first_seen_ms) == (2, 2, NOON_MS)
    assert set(Event.objects.filter(message="one").values_list("fingerprint", "merged_from")) == {
        (key_of("two"), key_of("one"))
    }
    assert set(Event.objects.filter(message="two").values_list("fingerprint", "merged_from")) == {(key_of("two"), None)}
    assert not GroupHour.objects.filter(fingerprint=key_of("one")).exists()


def test_a_split_restores_everything(olga: User) -> None:
    some_failures()
    triage.mute([key_of("one")], until_ms=None, user=olga, at=AT)
    triage.annotate(key_of("one"), "see the wiki", user=olga, at=AT)
    triage.resolve([key_of("two")], fixed_in="v9", user=olga, at=AT)
    before = table()
    merge("one", "two", olga)
    assert table() != before
    split("one", olga)
    assert table() == before
    assert not FormerGroup.objects.exists()


def test_later_failures_follow_the_rule_and_are_split_off_too(olga: User) -> None:
    some_failures()
    merge("one", "two", olga)
    later = fail("one", at_ms=NOON_MS + DAY_MS, model="new")
    assert (later.fingerprint, later.merged_from) == (key_of("two"), key_of("one"))
    assert sizes() == {"two": 9, "three": 4}
    split("one", olga)
    assert sizes() == {"one": 5, "two": 4, "three": 4}
    group = FailureGroup.objects.get(pk=key_of("one"))
    assert (group.last_seen_ms, group.model_count) == (NOON_MS + DAY_MS, 2)
    after = fail("one", at_ms=NOON_MS + 2 * DAY_MS)
    assert (after.fingerprint, after.merged_from) == (key_of("one"), None)


def test_a_merge_into_a_former_group_resolves(olga: User) -> None:
    some_failures()
    merge("two", "three", olga)
    merge("one", "two", olga)
    assert sizes() == {"three": 12}
    assert FormerGroup.objects.get(pk=key_of("one")).joined == key_of("three")
    assert fail("one", at_ms=NOON_MS + 1).fingerprint == key_of("three")


def test_a_group_that_received_others_can_be_merged_and_split_off_with_them(olga: User) -> None:
    some_failures()
    merge("one", "two", olga)
    before = table()
    merge("two", "three", olga)
    assert sizes() == {"three": 12}
    later = fail("one", at_ms=NOON_MS + 1)
    assert (later.fingerprint, later.merged_from) == (key_of("three"), key_of("one"))
    split("two", olga)
    assert sizes() == {"two": 9, "three": 4}
    assert {row for row in table()["events"] if row[0] != later.pk} == before["events"]
    split("one", olga)
    assert sizes() == {"one": 5, "two": 4, "three": 4}


def test_a_part_of_a_part_can_be_split_off_first(olga: User) -> None:
    some_failures()
    before = table()
    merge("one", "two", olga)
    merge("two", "three", olga)
    split("one", olga)
    assert sizes() == {"one": 4, "three": 8}
    split("two", olga)
    assert table() == before


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ("one", "one", "into itself"),
        ("one", "elsewhere", "The other group no longer exists."),
        ("elsewhere", "one", "This group no longer exists."),
        ("one", "another type", "different types"),
    ],
)
def test_a_merge_that_is_refused(one: str, other: str, words: str, olga: User) -> None:
    fail("one")
    fail("another type", event_type="connect_error")
    before = table()
    keys = {"another type": key_of("another type", "connect_error")}
    with pytest.raises(CannotMerge, match=words):
        merges.merge(keys.get(one, key_of(one)), keys.get(other, key_of(other)), user=olga, at=AT)
    assert table() == before
    assert not FormerGroup.objects.exists()
    assert not AuditEntry.objects.exists()


def test_two_groups_cannot_be_merged_into_each_other(olga: User) -> None:
    some_failures()
    merge("one", "two", olga)
    with pytest.raises(CannotMerge, match="into itself"):
        merge("two", "one", olga)


def test_an_overflow_group_is_not_merged(monkeypatch: pytest.MonkeyPatch, olga: User) -> None:
    monkeypatch.setattr(groups, "MAX_NEW_A_DAY", 1)
    fail("one")
    overflow = fail("two").fingerprint or ""
    for pair in ((overflow, key_of("one")), (key_of("one"), overflow)):
        with pytest.raises(CannotMerge, match="overflow group"):
            merges.merge(*pair, user=olga, at=AT)


def test_a_group_that_is_not_merged_cannot_be_split_off(olga: User) -> None:
    fail("one")
    with pytest.raises(CannotMerge, match="not merged"):
        split("one", olga)


# --- decisions and history -------------------------------------------------------------------------------------------


def decide(message: str, **changes: Any) -> None:
    FailureGroup.objects.filter(pk=key_of(message)).update(
        **{"status": "muted", "decided_at_ms": 5, "decided_by_name": "olga", "note": message} | changes
    )


def decision(message: str) -> tuple[Any, ...]:
    return FailureGroup.objects.values_list("status", "note").get(pk=key_of(message))


@pytest.mark.parametrize(
    ("events_of_one", "decided", "merged", "split_off"),
    [
        (3, (), ("open", ""), ("open", "")),
        (3, ("one",), ("muted", "one"), ("open", "")),
        (1, ("one",), ("open", ""), ("open", "")),
        (3, ("two",), ("muted", "two"), ("muted", "two")),
        (3, ("one", "two"), ("muted", "two"), ("muted", "two")),
    ],
)
def test_which_decision_applies(
    events_of_one: int, decided: tuple[str, ...], merged: Any, split_off: Any, olga: User
) -> None:
    for _ in range(events_of_one):
        fail("one")
    for _ in range(2):
        fail("two")
    for message in decided:
        decide(message)
    own = decision("one")
    merge("one", "two", olga)
    assert decision("two") == merged
    split("one", olga)
    assert decision("two") == split_off
    assert decision("one") == own


def test_a_decision_during_the_merge_stays_with_the_other_group(olga: User) -> None:
    for message in ("one", "one", "two"):
        fail(message)
    decide("one")
    merge("one", "two", olga)
    triage.resolve([key_of("two")], fixed_in="v9", user=olga, at=AT)
    split("one", olga)
    assert decision("one") == ("muted", "one")
    assert decision("two") == ("resolved", "one")


def test_a_merged_failure_reopens_the_other_group(olga: User) -> None:
    some_failures()
    make_event(**success(app_version="v5"), received_at_ms=NOON_MS)
    triage.resolve([key_of("two")], fixed_in="v5", user=olga, at=datetime(2026, 2, 12, tzinfo=UTC))
    merge("one", "two", olga)
    assert decision("two")[0] == "resolved"
    event = fail("one", at_ms=NOON_MS + DAY_MS, app_version="v5")
    group = FailureGroup.objects.get(pk=key_of("two"))
    assert (group.status, group.regressed_by) == ("open", event.pk)


@pytest.mark.parametrize(
    ("one", "other", "merged"),
    [("kim", None, "kim"), (None, "kim", "kim"), ("kim", "olga", "olga"), (None, None, None)],
)
def test_the_receiving_group_keeps_its_assignment_or_takes_it_over(
    one: str | None, other: str | None, merged: str | None, olga: User
) -> None:
    people = {"olga": olga, "kim": User.objects.create_user("kim")}
    some_failures()
    for title, name in (("one", one), ("two", other)):
        if name:
            triage.assign([key_of(title)], person=people[name], user=olga, at=AT)
    before = dict(FailureGroup.objects.values_list("title", "assigned_to__username"))
    merge("one", "two", olga)
    assert FailureGroup.objects.get(title="two").assigned_to == people.get(merged or "")
    words = AuditEntry.objects.filter(what__startswith="Merged").get().what
    assert ("It is assigned to kim, like the merged group." in words) is (merged == "kim" and other is None)
    split("one", olga)
    assert dict(FailureGroup.objects.values_list("title", "assigned_to__username")) == before


def test_an_assignment_after_the_merge_stays(olga: User) -> None:
    kim = User.objects.create_user("kim")
    some_failures()
    triage.assign([key_of("one")], person=kim, user=olga, at=AT)
    merge("one", "two", olga)
    triage.assign([key_of("two")], person=olga, user=olga, at=AT)
    split("one", olga)
    assert dict(FailureGroup.objects.values_list("title", "assigned_to__username")) == {
        "one": "kim",
        "two": "olga",
        "three": None,
    }


@pytest.mark.django_db(transaction=True)
def test_an_account_that_was_deleted_during_the_merge_is_not_assigned_by_the_split() -> None:
    """PostgreSQL checks the reference at the commit."""
    olga, kim = User.objects.create_user("olga"), User.objects.create_user("kim")
    some_failures()
    triage.assign([key_of("one")], person=kim, user=olga, at=AT)
    merge("one", "two", olga)
    kim.delete()
    split("one", olga)
    group = FailureGroup.objects.get(title="one")
    assert (group.assigned_to, group.assigned_by_name) == (None, "olga")


def test_a_group_that_was_merged_before_assignments_existed_can_be_split_off(olga: User) -> None:
    some_failures()
    merge("one", "two", olga)
    former = FormerGroup.objects.get()
    former.row = {name: value for name, value in former.row.items() if not name.startswith(("assigned", "unfixed"))}
    former.save()
    split("one", olga)
    assert FailureGroup.objects.get(title="one").assigned_to is None


A, B = "https://git.example/o/r/issues/1", "https://git.example/o/r/issues/2"


@pytest.mark.parametrize(
    ("one", "other", "merged"), [(A, None, A), (None, B, B), (A, B, B), (A, A, A), (None, None, None)]
)
def test_the_receiving_group_keeps_its_issue_or_takes_it_over(
    one: str | None, other: str | None, merged: str | None, olga: User
) -> None:
    some_failures()
    for title, url in (("one", one), ("two", other)):
        if url:
            issues.link(key_of(title), url, replaces=None, user=olga, at=AT)
    before = dict(FailureGroup.objects.values_list("title", "issue_url"))
    merge("one", "two", olga)
    assert FailureGroup.objects.get(title="two").issue_url == merged
    words = AuditEntry.objects.filter(what__startswith="Merged").get().what
    assert (f"It has the issue of the merged group: {A}" in words) is (one is not None and other is None)
    split("one", olga)
    assert dict(FailureGroup.objects.values_list("title", "issue_url")) == before


def test_an_issue_that_was_linked_after_the_merge_stays(olga: User) -> None:
    some_failures()
    issues.link(key_of("one"), A, replaces=None, user=olga, at=AT)
    merge("one", "two", olga)
    issues.link(key_of("two"), B, replaces=A, user=olga, at=AT)
    split("one", olga)
    assert dict(FailureGroup.objects.values_list("title", "issue_url")) == {"one": A, "two": B, "three": None}


def test_a_group_that_was_merged_before_issues_existed_can_be_split_off(olga: User) -> None:
    some_failures()
    merge("one", "two", olga)
    former = FormerGroup.objects.get()
    del former.row["issue_url"]
    former.save()
    split("one", olga)
    assert FailureGroup.objects.get(title="one").issue_url is None


def test_both_actions_are_in_the_audit_log(olga: User) -> None:
    some_failures()
    one, two = key_of("one"), key_of("two")
    merge("one", "two", olga)
    split("one", olga)
    entries = AuditEntry.objects.order_by("pk").values_list("kind", "who", "about", "subject", "what")
    assert list(entries) == [
        ("triage", "olga", "two", two, f"Merged “one” ({one}) into this group."),
        ("triage", "olga", "one", one, f"Split off again from “two” ({two}); merged on 2026-02-13 by olga."),
        ("triage", "olga", "two", two, f"Split off “one” ({one}) again."),
    ]


# --- events that are no longer stored --------------------------------------------------------------------------------


def test_counts_of_deleted_failures_move_and_are_restored(olga: User) -> None:
    fail("one", at_ms=NOON_MS - 3 * DAY_MS, model="old")
    some_failures()
    prune(NOON_MS - DAY_MS)
    before = table()
    merge("one", "two", olga)
    assert sizes() == {"two": 9, "three": 4}
    assert FailureGroup.objects.get(pk=key_of("two")).first_seen_ms // HOUR_MS == (NOON_MS - 3 * DAY_MS) // HOUR_MS
    split("one", olga)
    assert table() == before


@pytest.mark.parametrize("nested", [False, True])
def test_failures_deleted_during_the_merge_are_counted_by_the_group_they_are_split_off_to(
    nested: bool, olga: User
) -> None:
    some_failures()
    fail("two", at_ms=NOON_MS + 2 * DAY_MS)
    merge("one", "two", olga)
    if nested:
        merge("two", "three", olga)
    fail("one", at_ms=NOON_MS + 1)
    prune(NOON_MS + DAY_MS - 12 * HOUR_MS)
    assert Event.objects.count() == 1
    if nested:
        split("two", olga)
    split("one", olga)
    assert sizes() == {"one": 5, "two": 5, "three": 4}
    assert dict(GroupShare.objects.filter(fingerprint=key_of("one"), facet="mode").values_list("name", "accepted")) == {
        "0": 2,
        "1": 3,
    }


def test_an_erased_failure_is_counted_by_the_group_it_is_split_off_to(olga: User) -> None:
    some_failures()
    merge("one", "two", olga)
    fail("one", session_id="mine", at_ms=NOON_MS - DAY_MS)
    fail("three", at_ms=NOON_MS)
    retention.erase("mine", who="olga", at=AT, why="")
    split("one", olga)
    assert sizes() == {"one": 5, "two": 4, "three": 5}


def prune(before_ms: int) -> None:
    for _ in retention.prune(before_ms, imported_too=True, who="olga", at=AT, why=""):
        pass


def test_demo_data_can_be_deleted_from_a_merged_group(olga: User) -> None:
    row = contract.parse(payload(message="one", session_id="demo"), received_at_ms=NOON_MS)
    writer.record(row._replace(source=Source.DEMO.value))
    fail("one")
    fail("two")
    merge("one", "two", olga)
    assert list(retention.delete_demo()) == [1]
    assert sizes() == {"two": 2}
    split("one", olga)
    assert sizes() == {"one": 1, "two": 1}


@pytest.mark.parametrize("nested", [False, True])
def test_a_merge_of_demo_groups_goes_with_them(nested: bool, olga: User) -> None:
    messages = ("one", "two", "three") if nested else ("one", "two")
    for message in messages:
        row = contract.parse(payload(message=message, session_id=message), received_at_ms=NOON_MS)
        writer.record(row._replace(source=Source.DEMO.value))
    merge("one", "two", olga)
    if nested:
        merge("two", "three", olga)
    list(retention.delete_demo())
    assert not FailureGroup.objects.exists()
    assert not FormerGroup.objects.exists()
    assert fail("one").fingerprint == key_of("one")


# --- every process -----------------------------------------------------------------------------------------------


def test_a_commit_after_the_merge_follows_it_with_an_outdated_cache(olga: User) -> None:
    """The cache of this process is from before the merge, as in another process."""
    some_failures()
    for step in (merge, lambda *_: split("one", olga), merge):
        step("one", "two", olga)
        expected = key_of("one") if FailureGroup.objects.filter(pk=key_of("one")).exists() else key_of("two")
        batch = [contract.parse(payload(message=text, session_id=None), received_at_ms=NOON_MS + number)
                 for number, text in enumerate(["one", "two", "three", "one"])]  # fmt: skip
        batch = [row._replace(id=f"{Event.objects.count()} {number}") for number, row in enumerate(batch)]
        writer.record_many(batch)
        stored = Event.objects.in_bulk([row.id for row in batch])
        assert [stored[row.id].fingerprint for row in batch] == [expected, key_of("two"), key_of("three"), expected]
        assert regrouping.compare() == []


def test_an_empty_cache_is_filled_from_the_table(olga: User) -> None:
    some_failures()
    merge("one", "two", olga)
    process_memory.clear()
    assert fail("one").fingerprint == key_of("two")
    assert rules.membership_of(Event(event_type="flash_error", message="one")).merged_from == key_of("one")


def test_a_merge_of_another_type_is_noticed_by_its_own_failures(olga: User) -> None:
    for event_type in ("flash_error", "connect_error"):
        fail("one", event_type=event_type)
        fail("two", event_type=event_type)
    one, two = key_of("one", "connect_error"), key_of("two", "connect_error")
    merges.merge(one, two, user=olga, at=AT)
    assert fail("one").fingerprint == key_of("one")
    assert fail("one", event_type="connect_error").fingerprint == two


def test_a_known_failure_costs_no_further_query(olga: User) -> None:
    for message in ("one", "two", "three") * 3:  # the third failure of a group writes an alert
        fail(message, app_version="dev")
    with CaptureQueriesContext(connection) as before:
        fail("one", app_version="dev")
    merge("two", "three", olga)
    fail("one", app_version="dev")  # reads the rules once
    with CaptureQueriesContext(connection) as after:
        fail("one", app_version="dev")
    with CaptureQueriesContext(connection) as merged:
        fail("two", app_version="dev")
    assert len(before) == len(after) == len(merged)
    assert not [query for query in (*after, *merged) if "formergroup" in query["sql"]]


def test_a_success_reads_no_number_of_merges() -> None:
    make_event(**success())
    with CaptureQueriesContext(connection) as queries:
        make_event(**success())
    lifetime = [query["sql"] for query in queries if "INSERT INTO events_lifetimetotal" in query["sql"]]
    assert lifetime
    assert not [sql for sql in lifetime if "RETURNING" in sql]


@pytest.mark.django_db(transaction=True)
def test_merges_and_failures_at_once_lose_nothing() -> None:
    """Threads with connections of their own: merges and splits beside ingest."""
    olga = User.objects.create_user("olga")
    some_failures()

    def failing(number: int) -> None:
        chance = random.Random(number)
        for turn in range(30):
            rows = [
                contract.parse(
                    payload(message=chance.choice(["one", "two", "three"]), session_id=f"{number} {turn} {at}"),
                    received_at_ms=NOON_MS + turn,
                )
                for at in range(3)
            ]
            writer.record_many(rows)

    def merging() -> int:
        done = 0
        chance = random.Random(9)
        for _ in range(30):
            one, other = chance.sample(["one", "two", "three"], 2)
            for act in (partial(merge, one, other, olga), partial(split, one, olga)):
                # SQLite's lock is not fair: on a loaded machine a merge can wait too long, and then changes nothing.
                with suppress(CannotMerge, OperationalError):
                    act()
                    done += 1
        return done

    *results, done = in_threads([partial(failing, 0), partial(failing, 1), partial(failing, 2), merging])
    assert results == [None] * 3
    assert done > 20
    assert regrouping.compare() == []
    assert sum(sizes().values()) == Event.objects.count() == 12 + 270
    current = rules.read().merged
    for key, merged_from in Event.objects.values_list("fingerprint", "merged_from").distinct():
        assert key == current[merged_from] if merged_from else key not in current
    assert regrouping.survey().moves == {}
