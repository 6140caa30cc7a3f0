"""The counts of expected events: they follow every decision, merge, move and deletion, and no total changes."""

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import transaction

from events.counting import buckets, expected, rollups
from events.counting.buckets import DAY_MS, HOUR_MS, OTHER
from events.grouping import groups, merges, moves, triage
from events.grouping.fingerprints import Fingerprint, fingerprint
from events.grouping.merges import CannotMerge
from events.ingest import contract, writer
from events.maintenance import regrouping, retention
from events.models import (
    Event,
    ExpectedRollup,
    FailureGroup,
    GroupStatus,
    HourlyRollup,
    LifetimeTotal,
    ModeRollup,
    Source,
)
from events.reports import metrics
from tests.conftest import make_event, payload, success

pytestmark = pytest.mark.django_db

NOON_MS = 1_770_897_600_000  # 2026-02-12 12:00 UTC
MIDNIGHT_MS = NOON_MS - 12 * HOUR_MS
AT = datetime(2026, 2, 20, tzinfo=UTC)
EVER = (0, 2**52)
DAY = (MIDNIGHT_MS, MIDNIGHT_MS + DAY_MS)
FOUR_DAYS = (MIDNIGHT_MS, MIDNIGHT_MS + 4 * DAY_MS)
PICKER = "No port selected by the user"


@pytest.fixture
def olga() -> User:
    return User.objects.create_user("olga")


def key_of(message: str, event_type: str = "flash_error") -> str:
    return fingerprint(event_type, None, message, None).key


KEY = key_of(PICKER)


def fail(message: str = PICKER, *, at_ms: int = NOON_MS, **changes: Any) -> Event:
    session_id = f"{message} {at_ms} {Event.objects.count()}"[:128]
    return make_event(**{"message": message, "session_id": session_id} | changes, received_at_ms=at_ms)


def fail_a_lot() -> None:
    """Store failures of two groups on three days, with two models, two modes and two versions."""
    for number in range(24):
        fail(
            PICKER if number % 3 else "No ACK",
            at_ms=NOON_MS + number // 8 * DAY_MS + number * HOUR_MS // 4,
            model=f"m{number % 2}",
            app_version=f"v{number % 4 // 2}",
            write_mode=number % 2,
            connected=number // 2 % 2,
        )
    make_event(**success(), received_at_ms=NOON_MS)


def totals() -> list[Any]:
    return [
        set(LifetimeTotal.objects.values_list("event_type", "accepted", "last_received_at_ms")),
        *(
            set(model.objects.exclude(accepted=0).values_list(*[field.name for field in model._meta.fields][1:]))
            for model in (HourlyRollup, ModeRollup)
        ),
    ]


def rows() -> set[tuple[Any, ...]]:
    return set(ExpectedRollup.objects.values_list(*expected.ExpectedBucket._fields, "accepted"))


def counted(**filters: Any) -> int:
    return sum(ExpectedRollup.objects.filter(**filters).values_list("accepted", flat=True))


def differences() -> list[Any]:
    """Return all differences on the days without pruned events."""
    days = rollups.days_in_use(retention.whole_since_ms(), None)
    return [difference for day_ms in days for difference in expected.compare(day_ms)]


def expected_events() -> Counter[tuple[Any, ...]]:
    """Return the stored events of expected groups by hour, group and names, counted one by one."""
    keys = set(FailureGroup.objects.expected().values_list("pk", flat=True))
    return Counter(
        (
            event.received_at_ms - event.received_at_ms % HOUR_MS,
            event.fingerprint,
            event.event_type,
            event.model,
            event.app_version,
            event.write_mode,
            event.connected,
        )
        for event in Event.objects.all()
        if event.fingerprint in keys
    )


def test_a_decision_counts_every_stored_event_and_changes_no_total(olga: User) -> None:
    fail_a_lot()
    before = totals()
    assert triage.expect([KEY], user=olga, at=AT) == 1
    assert rows() == {(*key, n) for key, n in expected_events().items()}
    assert counted() == 16
    assert totals() == before
    assert FailureGroup.objects.get(pk=KEY).uncounted_before_ms is None
    assert differences() == []


def test_later_events_are_counted_with_their_commit(olga: User) -> None:
    fail()
    triage.expect([KEY], user=olga, at=AT)
    fail(at_ms=NOON_MS + DAY_MS, model="UV-17R", write_mode=0)
    fail("No ACK", at_ms=NOON_MS + DAY_MS)
    assert counted() == 2
    assert rows() == {(*key, n) for key, n in expected_events().items()}


def test_a_duplicate_is_not_counted_again(olga: User) -> None:
    fail()
    triage.expect([KEY], user=olga, at=AT)
    for _ in range(2):
        writer.record(contract.parse(payload(message=PICKER, session_id="one"), received_at_ms=NOON_MS))
    assert counted() == 2


@pytest.mark.parametrize(
    "decide",
    [
        triage.reopen,
        partial(triage.resolve, fixed_in=None),
        partial(triage.mute, until_ms=None),
    ],
)
def test_another_decision_makes_them_failures_again(olga: User, decide: Callable[..., int]) -> None:
    fail_a_lot()
    triage.expect([KEY, key_of("No ACK")], user=olga, at=AT)
    decide([KEY], user=olga, at=AT)
    assert counted(fingerprint=KEY) == 0
    assert counted() == 8
    assert differences() == []


def test_the_same_decision_again_keeps_the_counts_of_pruned_events(olga: User) -> None:
    fail_a_lot()
    triage.expect([KEY], user=olga, at=AT)
    before = rows()
    list(retention.prune(MIDNIGHT_MS + DAY_MS, imported_too=True, who="olga", at=AT, why=""))
    assert (rows(), differences()) == (before, [])
    triage.expect([KEY], user=olga, at=AT)
    assert rows() == before
    triage.reopen([KEY], user=olga, at=AT)
    assert rows() == set()


def test_pruned_events_are_not_counted_afterwards(olga: User) -> None:
    fail_a_lot()
    list(retention.prune(MIDNIGHT_MS + DAY_MS, imported_too=True, who="olga", at=AT, why=""))
    triage.expect([KEY], user=olga, at=AT)
    assert rows() == {(*key, n) for key, n in expected_events().items()}
    assert metrics.expected_by_type(*EVER)["flash_error"] == Event.objects.of_group(KEY).count()


@pytest.mark.parametrize("at_once", [1, 3, 1_000])
def test_events_are_counted_in_batches(olga: User, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    fail_a_lot()
    monkeypatch.setattr(triage, "COUNTED_AT_ONCE", at_once)
    triage.expect([KEY, key_of("No ACK")], user=olga, at=AT)
    assert rows() == {(*key, n) for key, n in expected_events().items()}


class Killed(Exception):
    pass


@pytest.mark.parametrize("batches", range(3))
def test_a_killed_decision_is_found_and_continued(olga: User, monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
    fail_a_lot()
    monkeypatch.setattr(triage, "COUNTED_AT_ONCE", 4)
    original, calls = triage._batch, Counter[str]()

    def batch(pending: Any) -> Any:
        calls["batch"] += 1
        if calls["batch"] > batches:
            raise Killed
        return original(pending)

    with monkeypatch.context() as patch, suppress(Killed):
        patch.setattr(triage, "_batch", batch)
        triage.expect([KEY], user=olga, at=AT)
    assert triage.uncounted() == 1
    assert counted() < 16
    assert differences() != []
    fail(at_ms=NOON_MS)  # on a day that is not counted yet
    fail(at_ms=NOON_MS + 10 * DAY_MS)
    triage.count_expected()
    assert rows() == {(*key, n) for key, n in expected_events().items()}
    assert (triage.uncounted(), differences()) == (0, [])


def test_an_interrupted_decision_is_completed_before_events_are_pruned(olga: User) -> None:
    fail_a_lot()
    FailureGroup.objects.filter(pk=KEY).update(status="expected", uncounted_before_ms=groups.ALL_UNCOUNTED)
    list(retention.prune(MIDNIGHT_MS + 4 * DAY_MS, imported_too=True, who="olga", at=AT, why=""))
    assert counted() == 16


def test_an_overflow_group_is_left_out(olga: User) -> None:
    fail()
    overflow = groups.overflow_of("flash_error")
    FailureGroup.objects.filter(pk=KEY).update(fingerprint=overflow.key)
    assert triage.expect([overflow.key], user=olga, at=AT) == 0
    assert FailureGroup.objects.get().status == GroupStatus.OPEN


def test_names_beyond_the_capacity_of_a_day_are_subtracted_where_they_are_counted(
    olga: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "MAX_MODELS_A_DAY", 5)
    buckets.forget_names()
    for number in range(60):
        fail(PICKER if number % 2 else "No ACK", model=f"made up {number % 30}", at_ms=NOON_MS + number)
    assert HourlyRollup.objects.filter(model=OTHER).exists()
    buckets.forget_names()
    triage.expect([KEY], user=olga, at=AT)
    triage.expect([key_of("No ACK")], user=olga, at=AT)
    assert differences() == []
    assert {row.failures for row in metrics.sliced(metrics.by_day(*DAY).cells, "model")} == {0}
    merges.merge(KEY, key_of("No ACK"), user=olga, at=AT)
    assert differences() == []
    merges.split(KEY, user=olga, at=AT)
    assert differences() == []
    assert {row.failures for row in metrics.sliced(metrics.by_day(*DAY).cells, "model")} == {0}
    for key in (KEY, key_of("No ACK")):
        expected.subtract([(event, key) for event in Event.objects.of_group(key)])
    assert rows() == set()


def test_deleted_demo_events_leave_no_counts(olga: User) -> None:
    row = contract.parse(payload(message=PICKER), received_at_ms=NOON_MS)._replace(source=Source.DEMO)
    writer.record(row)
    triage.expect([KEY], user=olga, at=AT)
    fail()
    assert counted() == 2
    list(retention.delete_demo())
    assert (counted(), differences()) == (1, [])


# --- merges and regrouping ---------------------------------------------------------------------------------------


def merged(olga: User, *, source: str, target: str) -> None:
    """Prune a part of two groups, take a decision about each, and merge the first into the second."""
    fail_a_lot()
    for message, decision in ((PICKER, source), ("No ACK", target)):
        if decision == "expected":
            triage.expect([key_of(message)], user=olga, at=AT)
        elif decision == "muted":
            triage.mute([key_of(message)], until_ms=None, user=olga, at=AT)
    list(retention.prune(MIDNIGHT_MS + DAY_MS, imported_too=True, who="olga", at=AT, why=""))
    merges.merge(KEY, key_of("No ACK"), user=olga, at=AT)


@pytest.mark.parametrize(
    ("source", "target", "merged_count", "split_count"),
    [
        ("expected", "expected", 24, 24),
        ("expected", "muted", 0, 11),  # the pruned ones stay failures
        ("muted", "expected", 19, 8),  # the pruned ones of the merged group were failures, and stay failures
        ("expected", "open", 21, 16),  # the larger group gives its decision
        ("open", "open", 0, 0),
    ],
)
def test_a_merge_and_its_split_count_by_the_decisions(
    olga: User, source: str, target: str, merged_count: int, split_count: int
) -> None:
    merged(olga, source=source, target=target)
    assert (counted(), differences()) == (merged_count, [])
    fail(at_ms=NOON_MS + 5 * DAY_MS)
    is_expected = FailureGroup.objects.get().status == "expected"
    assert (counted() - merged_count, differences()) == (int(is_expected), [])
    merges.split(KEY, user=olga, at=AT)
    assert (counted(), differences()) == (split_count + int(source == "expected"), [])
    assert triage.uncounted() == 0


def test_merged_events_that_are_pruned_belong_to_the_former_group_after_a_split(olga: User) -> None:
    merged(olga, source="muted", target="expected")
    list(retention.prune(MIDNIGHT_MS + 5 * DAY_MS, imported_too=True, who="olga", at=AT, why=""))
    assert counted() == 19
    merges.split(KEY, user=olga, at=AT)
    assert counted() == 8
    triage.reopen([key_of("No ACK")], user=olga, at=AT)
    assert counted() == 0


def test_opening_a_group_again_opens_what_was_merged_into_it(olga: User) -> None:
    merged(olga, source="expected", target="expected")
    triage.reopen([key_of("No ACK")], user=olga, at=AT)
    assert (counted(), differences()) == (0, [])


def test_a_regrouped_group_inherits_the_decision(olga: User) -> None:
    fail_a_lot()
    old = Fingerprint("of an old algorithm", "old", "")
    events = list(Event.objects.of_group(KEY))
    groups.join([(event, old) for event in events])
    groups.subtract([(event, KEY) for event in events])
    Event.objects.filter(fingerprint=KEY).update(fingerprint=old.key)
    FailureGroup.objects.filter(pk=old.key).update(algorithm=0)
    triage.expect([old.key], user=olga, at=AT)
    call_command("regroup_failures", verbosity=0)
    assert FailureGroup.objects.get(pk=KEY).status == "expected"
    assert (counted(), differences(), triage.uncounted()) == (16, [], 0)
    assert rows() == {(*key, n) for key, n in expected_events().items()}


def test_an_event_whose_texts_change_stays_expected(olga: User, django_capture_on_commit_callbacks: Any) -> None:
    event = fail()
    triage.expect([KEY], user=olga, at=AT)
    Event.objects.update(message="No port chosen")
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        rollups.lock(["flash_error"])
        moves.rejoin([event.pk])
    assert FailureGroup.objects.get().pk == key_of("No port chosen")
    assert (counted(fingerprint=key_of("No port chosen")), counted(), triage.uncounted()) == (1, 1, 0)
    assert differences() == []


def test_expected_groups_never_regress(olga: User) -> None:
    fail()
    triage.expect([KEY], user=olga, at=AT)
    make_event(**success(app_version="next"), received_at_ms=NOON_MS + DAY_MS)
    fail(at_ms=NOON_MS + DAY_MS, app_version="next")
    group = FailureGroup.objects.get()
    assert (group.status, group.regressed_at_ms) == ("expected", None)


# --- all of it in any order --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_after_any_operations_the_counts_are_those_of_the_stored_events(
    olga: User, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(triage, "COUNTED_AT_ONCE", 3)
    messages = [PICKER, "No ACK", "Handshake timed out", "Port busy"]

    def any_key() -> str:
        return rng.choice([key_of(message) for message in messages])

    def fail_once() -> None:
        at_ms = NOON_MS + rng.randrange(4) * DAY_MS + rng.randrange(3) * HOUR_MS
        fail(rng.choice(messages), at_ms=at_ms, model=rng.choice("ab"), write_mode=rng.randrange(2))

    def by_hour() -> set[metrics.Cell]:
        return set(metrics.figures_of(metrics.by_hour(*FOUR_DAYS)).cells)

    def merge_two() -> None:
        with suppress(CannotMerge):
            merges.merge(any_key(), any_key(), user=olga, at=AT)

    def split_one() -> None:
        with suppress(CannotMerge):
            merges.split(any_key(), user=olga, at=AT)

    operations: list[Callable[[], object]] = [
        *[fail_once] * 6,
        *[lambda: triage.expect([any_key(), any_key()], user=olga, at=AT)] * 3,
        lambda: triage.reopen([any_key()], user=olga, at=AT),
        lambda: triage.resolve([any_key()], fixed_in=None, user=olga, at=AT),
        *[merge_two] * 2,
        *[split_one] * 2,
        *[lambda: rollups.sum_past_days(FOUR_DAYS[1])] * 4,
    ]
    for _ in range(20):
        fail_once()
    before = totals()
    for _ in range(60):
        operation = rng.choice(operations)
        operation()
        assert differences() == []
        assert triage.uncounted() == 0
        assert counted() == expected_events().total()
        assert metrics.expected_by_type(*EVER)["flash_error"] == expected_events().total()
        assert by_hour() == set(metrics.by_day(*FOUR_DAYS).cells)
        assert not ExpectedRollup.objects.filter(accepted=0).exists()
        if operation is not fail_once:
            assert totals() == before
        before = totals()
    assert regrouping.compare() == []
