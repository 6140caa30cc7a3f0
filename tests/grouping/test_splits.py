"""Groups that are split by place: positions of built scripts decide, also for later failures and in every process."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User

from events import clock, process_memory
from events.counting import arrivals
from events.grouping import fingerprints, groups, merges, splits
from events.grouping.fingerprints import fingerprint
from events.grouping.splits import CannotSplit
from events.ingest import contract, writer
from events.maintenance import regrouping, retention
from events.models import AuditEntry, Event, FailureGroup, PlaceRule, Source
from tests.conftest import make_event, payload
from tests.threads import in_threads

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("compared_counts")]

AT = datetime(2026, 2, 13, tzinfo=UTC)
MESSAGE = "boom"
READ, WRITE = "index-BxY3_kQ2.js:1:100", "index-BxY3_kQ2.js:1:900"
WRITE_LATER = "index-Cq81hs0A.js:1:950"
PLACE = "writeBlock (src/protocol.ts:88)"


def stack_at(position: str) -> str:
    return f"Error: {MESSAGE}\n    at Ht (https://a.example/assets/{position})\n    at Q (https://a.example/x.js:1:5)"


def fail(position: str | None, **changes: Any) -> Event:
    number = Event.objects.count()
    stack = None if position is None else stack_at(position)
    return make_event(**{"message": MESSAGE, "stack": stack, "session_id": f"s{number}"} | changes)


def key_of(position: str | None) -> str:
    return fingerprint("flash_error", None, MESSAGE, None if position is None else stack_at(position)).key


def sizes() -> dict[str, int]:
    """Return the number of events of each group, by its frame."""
    return dict(FailureGroup.objects.values_list("frame", "accepted"))


def split_off(user: User, *positions: str, frame: str = PLACE) -> FailureGroup:
    return splits.split_off(key_of(READ), positions, place=frame, frame=frame, user=user, at=AT)


def two_places() -> None:
    for position in (READ, WRITE, READ, WRITE, WRITE):
        fail(position)


def test_a_split_moves_the_failures_of_one_place(olga: User) -> None:
    two_places()
    assert sizes() == {"index-….js": 5}
    group = split_off(olga, WRITE)
    assert sizes() == {"index-….js": 2, PLACE: 3}
    assert (group.frame, group.accepted, group.title) == (PLACE, 3, MESSAGE)
    at_place = Event.objects.filter(fingerprint=group.pk)
    assert {event.stack for event in at_place} == {stack_at(WRITE)}


def test_later_failures_at_the_position_join_the_group_of_the_place(olga: User) -> None:
    two_places()
    split_off(olga, WRITE)
    fail(WRITE)
    process_memory.clear()
    for position in (WRITE, READ, WRITE_LATER):
        fail(position)
    assert sizes() == {"index-….js": 4, PLACE: 5}


def test_a_later_build_can_be_moved_to_the_same_group(olga: User) -> None:
    two_places()
    first = split_off(olga, WRITE)
    fail(WRITE_LATER)
    assert split_off(olga, WRITE_LATER).pk == first.pk
    assert sizes() == {"index-….js": 2, PLACE: 4}


def test_a_script_without_a_hash_has_other_code_in_another_version(olga: User) -> None:
    for version in ("v1", "v2"):
        for position in ("app.js:1:100", "app.js:1:900"):
            fail(position, app_version=version)
    group = FailureGroup.objects.get()
    splits.split_off(group.pk, ["app.js:1:900 of v1"], place="write", frame=PLACE, user=olga, at=AT)
    for version in ("v1", "v2"):
        fail("app.js:1:900", app_version=version)
    assert sizes() == {"app.js": 4, PLACE: 2}


def test_failures_without_a_stack_or_of_another_error_stay(olga: User) -> None:
    two_places()
    split_off(olga, WRITE)
    fail(None)
    fail(WRITE, message="another error")
    assert sorted(FailureGroup.objects.values_list("title", "accepted")) == [
        ("another error", 1), (MESSAGE, 1), (MESSAGE, 2), (MESSAGE, 3),
    ]  # fmt: skip


def test_a_merge_undoes_a_split_and_can_be_undone_again(olga: User) -> None:
    two_places()
    group = split_off(olga, WRITE)
    merges.merge(group.pk, key_of(READ), user=olga, at=AT)
    fail(WRITE)
    assert sizes() == {"index-….js": 6}
    with pytest.raises(CannotSplit, match="was merged into another one"):
        split_off(olga, WRITE)
    merges.split(group.pk, user=olga, at=AT)
    fail(WRITE)
    assert sizes() == {"index-….js": 2, PLACE: 5}


def test_a_merged_part_is_split_by_place_too(olga: User) -> None:
    two_places()
    fail(WRITE, error_name="OtherError")
    other = FailureGroup.objects.get(error_name="OtherError")
    merges.merge(other.pk, key_of(READ), user=olga, at=AT)
    split_off(olga, WRITE)
    fail(WRITE, error_name="OtherError")
    assert sizes() == {"index-….js": 2, PLACE: 5}


def test_a_group_of_a_place_can_be_split_again(olga: User) -> None:
    for position in (READ, WRITE, WRITE, WRITE_LATER):
        fail(position)
    group = split_off(olga, WRITE, WRITE_LATER)
    again = splits.split_off(group.pk, [WRITE_LATER], place="elsewhere", frame="elsewhere", user=olga, at=AT)
    fail(WRITE_LATER)
    assert sizes() == {"index-….js": 1, PLACE: 2, "elsewhere": 2}
    assert again.accepted == 1


@pytest.mark.parametrize(
    ("positions", "words"),
    [
        ([], "1 to 1,000 positions"),
        (["x.js:1:1"], "No stored failure"),
        ([READ, WRITE], "All failures of this group"),
        ([f"x.js:1:{number}" for number in range(1_001)], "1 to 1,000 positions"),
    ],
)
def test_a_split_that_is_refused_changes_nothing(positions: list[str], words: str, olga: User) -> None:
    two_places()
    with pytest.raises(CannotSplit, match=words):
        split_off(olga, *positions)
    assert sizes() == {"index-….js": 5}
    assert not PlaceRule.objects.exists()
    assert not AuditEntry.objects.exists()


def test_a_group_that_does_not_exist_or_is_an_overflow_group_is_not_split(olga: User) -> None:
    with pytest.raises(CannotSplit, match="no longer exists"):
        split_off(olga, WRITE)
    key = groups.overflow_of("flash_error").key
    FailureGroup.objects.create(
        pk=key, algorithm=fingerprints.ALGORITHM, event_type="flash_error", title="x", frame="", accepted=0,
        model_count=0, version_count=0, first_seen_ms=0, last_seen_ms=0, status="open", note="",
    )  # fmt: skip
    with pytest.raises(CannotSplit, match="overflow group"):
        splits.split_off(key, [WRITE], place="write", frame=PLACE, user=olga, at=AT)


def test_both_groups_have_an_entry_in_the_audit_log(olga: User) -> None:
    two_places()
    group = split_off(olga, WRITE)
    entries = {entry.subject: (entry.who, entry.what) for entry in AuditEntry.objects.all()}
    assert entries == {
        key_of(READ): ("olga", f"Moved 3 failures at {PLACE} to a group of their own ({group.pk})."),
        group.pk: ("olga", f"Received 3 failures at {PLACE} from “{MESSAGE}” ({key_of(READ)})."),
    }


def test_regrouping_leaves_a_split_alone(olga: User) -> None:
    two_places()
    split_off(olga, WRITE)
    pending = regrouping.survey()
    assert (pending.moves, pending.places) == ({}, {})
    assert sum(moved for _, moved in regrouping.regroup(pending)) == 0


def test_a_split_survives_a_new_algorithm(olga: User) -> None:
    two_places()
    group = split_off(olga, WRITE)
    # As if an earlier algorithm had made the fingerprints: the rule names one that no failure has now.
    FailureGroup.objects.update(algorithm=fingerprints.ALGORITHM - 1)
    PlaceRule.objects.update(fingerprint="old")
    Event.objects.filter(fingerprint=key_of(READ)).update(fingerprint="old")
    for table in ("GroupHour", "GroupShare", "FailureGroup"):
        model = getattr(groups, table)
        model.objects.filter(fingerprint=key_of(READ)).update(fingerprint="old")
    for _ in regrouping.regroup(regrouping.survey()):
        pass
    fail(WRITE)
    assert sizes() == {"index-….js": 2, PLACE: 4}
    assert FailureGroup.objects.get(pk=group.pk).accepted == 4


def test_deleted_demo_data_takes_its_rules_along(olga: User) -> None:
    for position in (READ, WRITE):
        row = contract.parse(payload(message=MESSAGE, stack=stack_at(position)), received_at_ms=clock.now_ms())
        writer.record(row._replace(source=Source.DEMO.value))
    split_off(olga, WRITE)
    for _ in retention.delete_demo():
        pass
    assert not PlaceRule.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_failures_during_a_split_are_in_the_right_group() -> None:
    user = User.objects.create_user("max")
    two_places()

    def split() -> None:
        splits.split_off(key_of(READ), [WRITE], place="write", frame=PLACE, user=user, at=AT)

    def send(number: int) -> None:
        for turn in range(10):
            fail(WRITE if turn % 2 else READ, session_id=f"{number}-{turn}")

    assert in_threads([split, *(partial(send, number) for number in range(3))]) == [None] * 4
    assert sizes() == {"index-….js": 2 + 15, PLACE: 3 + 15}
    assert regrouping.survey().moves == {}


def test_the_capacity_for_new_groups_does_not_stop_a_split(olga: User, monkeypatch: pytest.MonkeyPatch) -> None:
    two_places()
    monkeypatch.setattr(groups, "MAX_NEW_A_DAY", 0)
    monkeypatch.setattr(arrivals, "REPEATED", 1_000)
    split_off(olga, WRITE)
    fail(WRITE)
    assert sizes() == {"index-….js": 2, PLACE: 4}
