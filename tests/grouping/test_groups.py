"""The writer of failure groups: who joins which, what is counted, what overflows, what regresses."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.db.models import Sum
from django.test.utils import CaptureQueriesContext

from events import process_memory
from events.counting import expected, rollups
from events.counting.buckets import DAY_MS, HOUR_MS, OTHER
from events.grouping import groups, triage
from events.grouping.fingerprints import ALGORITHM, fingerprint
from events.ingest import contract, writer
from events.maintenance import regrouping
from events.models import Event, FailureGroup, GroupHour, GroupShare, Release, Source
from events.rows import EventRow
from tests.conftest import make_event, payload, success
from tests.threads import in_threads

pytestmark = pytest.mark.django_db

MIDNIGHT_MS = 1_770_854_400_000  # 2026-02-12 00:00 UTC
NOON_MS = MIDNIGHT_MS + 12 * HOUR_MS


def row(message: str, *, at_ms: int = NOON_MS, **changes: Any) -> EventRow:
    return contract.parse(payload(message=message, **changes), received_at_ms=at_ms)


def fail(message: str = "No ACK", *, at_ms: int = NOON_MS, **changes: Any) -> Event:
    """Store a failure of a session of its own."""
    session_id = f"{message} {at_ms} {Event.objects.count()}"[:128]
    return make_event(**{"message": message, "session_id": session_id} | changes, received_at_ms=at_ms)


def group_of(event: Event) -> FailureGroup:
    return FailureGroup.objects.get(pk=event.fingerprint)


def hours(group: FailureGroup) -> dict[int, int]:
    return dict(GroupHour.objects.filter(fingerprint=group.pk).values_list("hour_ms", "accepted"))


def shares(group: FailureGroup, facet: str) -> dict[str, int]:
    """Return the failures of a group by name, over all days."""
    rows = GroupShare.objects.filter(fingerprint=group.pk, facet=facet).values_list("name")
    return dict(rows.annotate(Sum("accepted")))


def days(group: FailureGroup, facet: str) -> dict[tuple[str, int], int]:
    rows = GroupShare.objects.filter(fingerprint=group.pk, facet=facet).values_list("name", "day_ms", "accepted")
    return {(name, day_ms): n for name, day_ms, n in rows}


def words(number: int) -> str:
    """Return a message that no other number gives, numbers being masked."""
    return "fault " + "".join("abcdefghij"[int(digit)] for digit in str(number))


def distinct(count: int, *, start: int = 0, at_ms: int = NOON_MS, **changes: Any) -> list[EventRow]:
    return [row(words(number), at_ms=at_ms, **changes) for number in range(start, start + count)]


def assert_groups_are_proved() -> None:
    assert regrouping.compare() == []


@pytest.fixture(autouse=True)
def _proof(request: pytest.FixtureRequest, db: None) -> Any:
    """Whatever a test did, every group counts what is stored."""
    yield
    if "transactional_db" not in request.fixturenames:
        assert_groups_are_proved()


# --- who joins -----------------------------------------------------------------------------------------------------


def test_alike_failures_are_one_group_with_all_that_is_known_of_them() -> None:
    fail(
        "No ACK for block 0x001f", at_ms=NOON_MS, error_name="ProtocolError", stack="E\n    at flash (uploader.ts:1:2)"
    )
    last = fail(
        "No ACK for block 0x0a20",
        at_ms=NOON_MS + HOUR_MS,
        model="UV-17R",
        write_mode=0,
        error_name="ProtocolError",
        stack="E\n    at flash (uploader.ts:7:2)",
    )
    group = FailureGroup.objects.get()
    assert FailureGroup.objects.values().get() == {
        "fingerprint": last.fingerprint,
        "algorithm": ALGORITHM,
        "event_type": "flash_error",
        "error_name": "ProtocolError",
        "title": "No ACK for block …",
        "frame": "flash (uploader.ts)",
        "canonical": "",
        "noise": "",
        "accepted": 2,
        "model_count": 2,
        "version_count": 1,
        "first_seen_ms": NOON_MS,
        "last_seen_ms": NOON_MS + HOUR_MS,
        "status": "open",
        "fixed_in": None,
        "muted_until_ms": None,
        "uncounted_before_ms": None,
        "decided_at_ms": None,
        "decided_by_name": None,
        "note": "",
        "regressed_at_ms": None,
        "regressed_by": None,
        "advice_text": "",
        "advice_url": None,
        "advised_at_ms": None,
        "advised_by_name": None,
        "issue_url": None,
        "unfixed_at_ms": None,
        "assigned_to_id": None,
        "assigned_at_ms": None,
        "assigned_by_name": None,
    }
    assert hours(group) == {NOON_MS: 1, NOON_MS + HOUR_MS: 1}
    assert shares(group, "model") == {"UV-5RM": 1, "UV-17R": 1}
    assert shares(group, "version") == {"19afc18": 2}
    assert shares(group, "mode") == {"1": 1, "0": 1}
    assert shares(group, "connected") == {"1": 2}


def test_a_success_has_no_group() -> None:
    assert make_event(**success()).fingerprint is None
    assert not FailureGroup.objects.exists()


def test_duplicates_do_not_count() -> None:
    make_event(**payload())
    writer.record_many([contract.parse(payload(), received_at_ms=NOON_MS)] * 3)
    writer.record_many([row("again", session_id="s"), row("again", session_id="s"), row("other words", session_id="s")])
    assert set(FailureGroup.objects.values_list("title", "accepted")) == {
        ("No ACK for block … (got …)", 1),
        ("again", 1),
    }


def test_twins_in_one_commit_are_counted_once() -> None:
    twin = row("twin")
    old_log = twin._replace(source=Source.CLIENT_LOG.value)
    writer.record_many([old_log, twin, twin])
    assert FailureGroup.objects.get().accepted == 1


def test_a_commit_with_many_groups_counts_each() -> None:
    rows = [row(words(number % 7), session_id=f"s{number}", model=f"m{number % 3}") for number in range(700)]
    writer.record_many(rows)
    writer.record_many([event._replace(id=f"x{event.id}", session_id=f"x{event.session_id}") for event in rows])
    assert set(FailureGroup.objects.values_list("accepted", "model_count", "version_count")) == {(200, 3, 1)}
    assert FailureGroup.objects.count() == 7


def test_a_late_event_changes_the_first_time_but_not_the_last() -> None:
    fail(at_ms=NOON_MS)
    event = fail(at_ms=NOON_MS - 3 * DAY_MS)
    assert (group_of(event).first_seen_ms, group_of(event).last_seen_ms) == (NOON_MS - 3 * DAY_MS, NOON_MS)
    assert len(hours(group_of(event))) == 2


def test_counts_of_models_and_versions_grow_with_new_ones_alone() -> None:
    for number, (model, version) in enumerate([("a", "1"), ("a", "2"), ("b", "1"), ("a", "1")]):
        event = fail(model=model, app_version=version, at_ms=NOON_MS + number)
    group = group_of(event)
    assert (group.accepted, group.model_count, group.version_count) == (4, 2, 2)


def test_shares_are_counted_by_day() -> None:
    for at_ms, model in [(MIDNIGHT_MS - 1, "a"), (MIDNIGHT_MS, "a"), (NOON_MS, "a"), (NOON_MS, "b")]:
        event = fail(at_ms=at_ms, model=model)
    group = group_of(event)
    assert days(group, "model") == {
        ("a", MIDNIGHT_MS - DAY_MS): 1,
        ("a", MIDNIGHT_MS): 2,
        ("b", MIDNIGHT_MS): 1,
    }
    assert days(group, "mode") == {("1", MIDNIGHT_MS - DAY_MS): 1, ("1", MIDNIGHT_MS): 3}
    assert (group.model_count, group.version_count) == (2, 1)


@pytest.mark.parametrize(
    ("batches", "models"),
    [
        ([["a0", "a1", "a2"]], 1),
        ([["a0"], ["a1"], ["a2"], ["a1"]], 1),
        ([["a2"], ["a0", "b1", "b2"]], 2),
        ([["a0"], ["b1", "b1", "b2", "a2"], ["b0", "c0"]], 3),
        ([["a0", "b0"], ["a1", "b1", "c1", "d1", "d3"]], 4),
    ],
)
def test_a_name_is_counted_once_whatever_its_days(batches: list[list[str]], models: int) -> None:
    """Each word is a model and the number of a day."""
    for number, batch in enumerate(batches):
        rows = [
            row("No ACK", at_ms=NOON_MS + int(word[1]) * DAY_MS, model=word[0], session_id=f"{number} {at}")
            for at, word in enumerate(batch)
        ]
        writer.record_many(rows)
    group = FailureGroup.objects.get()
    assert (group.model_count, group.version_count) == (models, 1)


def test_a_name_from_before_days_were_stored_is_not_new() -> None:
    group = group_of(fail(model="a"))
    GroupShare.objects.update(day_ms=groups.UNKNOWN_DAY)
    fail(model="a", at_ms=NOON_MS + 1)
    fail(model="b", at_ms=NOON_MS + 2)
    group.refresh_from_db()
    assert (group.model_count, group.version_count) == (2, 1)


def test_a_group_that_fails_on_a_new_day_needs_one_query_more_for_its_names() -> None:
    fail(at_ms=NOON_MS)

    def queries_of(at_ms: int, **changes: Any) -> int:
        event = row("No ACK", at_ms=at_ms, session_id=f"{at_ms}", **changes)
        with CaptureQueriesContext(connection) as queries:
            writer.record(event)
        return len([query for query in queries if "events_groupshare" in query["sql"]])

    assert queries_of(NOON_MS + 1) == 1
    assert queries_of(NOON_MS + DAY_MS) == 2
    assert queries_of(NOON_MS + DAY_MS + 1, model="new") == 2


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({("a", MIDNIGHT_MS): 2, ("a", 0): 2}, {("a", MIDNIGHT_MS): 0, ("a", 0): 2}),
        ({("a", MIDNIGHT_MS): 1, (OTHER, MIDNIGHT_MS): 2, ("a", 0): 1}, {(OTHER, MIDNIGHT_MS): 1, ("a", 0): 1}),
        ({("a", 0): 1, (OTHER, 0): 3}, {(OTHER, 0): 2}),
        ({("a", 0): 1, ("a", MIDNIGHT_MS): 1, ("b", 0): 2}, {("b", 0): 2}),
        (
            {(OTHER, 0): 1, (OTHER, MIDNIGHT_MS): 1, (OTHER, MIDNIGHT_MS - DAY_MS): 2},
            {(OTHER, MIDNIGHT_MS - DAY_MS): 2},
        ),
    ],
)
def test_a_share_is_subtracted_from_its_day_or_from_an_unknown_one(
    stored: dict[tuple[str, int], int], expected: dict[tuple[str, int], int]
) -> None:
    """Two failures of the model `a` are subtracted from a group with four."""
    events = [fail(model="a", at_ms=NOON_MS + number) for number in range(4)]
    group = group_of(events[0])
    GroupShare.objects.filter(facet="model").delete()
    GroupShare.objects.bulk_create(
        GroupShare(fingerprint=group.pk, facet="model", name=name, day_ms=day_ms, accepted=n)
        for (name, day_ms), n in stored.items()
    )
    gone = events[:2]
    Event.objects.filter(pk__in=[event.pk for event in gone]).delete()
    groups.subtract([(event, group.pk) for event in gone])
    assert days(group, "model") == {place: n for place, n in expected.items() if n}
    GroupShare.objects.filter(facet="model").delete()  # `stored` can count more on a day than the hours do
    GroupShare.objects.create(fingerprint=group.pk, facet="model", name="a", day_ms=0, accepted=2)
    FailureGroup.objects.update(model_count=1)


def test_names_past_the_caps_of_a_day_share_a_place() -> None:
    for number in range(60):
        event = fail(model=f"m{number}", at_ms=NOON_MS + number)
    group = group_of(event)
    assert shares(group, "model")[OTHER] == 60 - len(shares(group, "model")) + 1
    assert group.model_count == len(shares(group, "model")) == 50
    groups.subtract([(event, group.pk)])  # m59 stands under OTHER
    event.delete()
    assert shares(group, "model")[OTHER] == 60 - 50


# --- overflow ------------------------------------------------------------------------------------------------------


def test_past_two_hundred_new_groups_the_rest_of_a_day_shares_one() -> None:
    writer.record_many(distinct(198))
    writer.record_many(distinct(5, start=198))
    assert FailureGroup.objects.exclude(pk__startswith="overflow").count() == 200
    overflow = FailureGroup.objects.get(pk__startswith="overflow")
    assert (overflow.pk, overflow.accepted, overflow.title, overflow.error_name) == (
        "overflow-flash_error",
        3,
        groups.OVERFLOW_TITLE,
        None,
    )
    assert Event.objects.filter(fingerprint=overflow.pk).count() == 3


def test_a_failure_of_an_existing_group_joins_it_on_a_full_day() -> None:
    writer.record_many(distinct(201))
    assert fail(words(7)).fingerprint == fingerprint("flash_error", None, words(7), None).key
    process_memory.clear()
    assert fail(words(8)).fingerprint == fingerprint("flash_error", None, words(8), None).key


def test_each_type_has_a_limit_of_its_own() -> None:
    writer.record_many(distinct(201))
    assert not groups.is_overflow(fail("new here", event_type="connect_error").fingerprint or "")


def test_the_next_day_is_fresh() -> None:
    writer.record_many(distinct(205))
    event = fail(words(204), at_ms=NOON_MS + DAY_MS)
    assert event.fingerprint == fingerprint("flash_error", None, words(204), None).key
    assert FailureGroup.objects.get(pk="overflow-flash_error").accepted == 5
    writer.record_many(distinct(205, start=300, at_ms=NOON_MS + DAY_MS))
    assert FailureGroup.objects.exclude(pk__startswith="overflow").count() == 400
    assert FailureGroup.objects.get(pk="overflow-flash_error").accepted == 5 + 6


def test_a_commit_over_midnight_fills_each_day_by_itself() -> None:
    rows = distinct(201) + distinct(1, start=200, at_ms=NOON_MS + DAY_MS, session_id="after midnight")
    writer.record_many(rows)
    joined = Event.objects.filter(message=words(200)).order_by("received_at_ms").values_list("fingerprint", flat=True)
    assert list(joined) == ["overflow-flash_error", fingerprint("flash_error", None, words(200), None).key]


def test_groups_of_an_older_algorithm_take_no_room() -> None:
    writer.record_many(distinct(200))
    FailureGroup.objects.update(algorithm=0)
    assert not groups.is_overflow(fail("one more").fingerprint or "")


def test_a_group_that_another_process_made_is_known() -> None:
    writer.record_many(distinct(200))
    FailureGroup.objects.filter(title=words(3)).update(first_seen_ms=NOON_MS - DAY_MS)  # and so there is room for one
    process_memory.clear()
    assert not groups.is_overflow(fail(words(3)).fingerprint or "")
    assert FailureGroup.objects.count() == 200


# --- all or nothing ------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_failed_transaction_leaves_nothing_behind() -> None:
    def fail_alongside() -> None:
        Event.objects.create(id="x", event_type="nonsense", received_at_ms=0, write_mode=0, connected=0)

    with pytest.raises(IntegrityError):
        writer.record(row("lost"), alongside=fail_alongside)
    with transaction.atomic():
        writer.record_within([row("lost")])
        transaction.set_rollback(True)
    for model in (Event, FailureGroup, GroupHour, GroupShare, Release):
        assert not model.objects.exists()
    # Nor in memory: as long as nothing is stored, it would be new.
    writer.record_many(distinct(200))
    writer.record(row("lost"))
    assert Event.objects.get(message="lost").fingerprint == "overflow-flash_error"


# --- taken away again ------------------------------------------------------------------------------------------------


def test_a_group_that_loses_all_its_events_goes() -> None:
    event = fail()
    event_id, key = event.id, event.fingerprint
    Event.objects.filter(pk=event_id).delete()
    groups.subtract([(event, key or "")])
    for model in (FailureGroup, GroupHour, GroupShare):
        assert not model.objects.exists()


def test_a_group_that_loses_events_is_counted_from_the_rest() -> None:
    kept = fail(at_ms=NOON_MS + HOUR_MS)
    gone = [fail(at_ms=NOON_MS, model="UV-17R"), fail(at_ms=NOON_MS + 2 * HOUR_MS, app_version="other")]
    Event.objects.filter(pk__in=[event.pk for event in gone]).delete()
    groups.subtract([(event, kept.fingerprint or "") for event in gone])
    group = group_of(kept)
    assert (group.accepted, group.model_count, group.version_count) == (1, 1, 1)
    assert group.first_seen_ms == group.last_seen_ms == NOON_MS + HOUR_MS
    assert hours(group) == {NOON_MS + HOUR_MS: 1}


# --- regressions -----------------------------------------------------------------------------------------------------


def resolved(event: Event, *, fixed_in: str | None, at_ms: int = NOON_MS + 10 * HOUR_MS) -> str:
    key = event.fingerprint or ""
    user, _ = User.objects.get_or_create(username="olga")
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    assert triage.resolve([key], fixed_in=fixed_in, user=user, at=at) == 1
    return key


LATER_MS = NOON_MS + 20 * HOUR_MS


@pytest.fixture
def old_mended_new() -> Event:
    """Three versions in this order; the failure is known from the oldest."""
    event = fail(app_version="old", at_ms=NOON_MS)
    for number, version in enumerate(["old", "mended", "new"]):
        make_event(**success(app_version=version), received_at_ms=NOON_MS + number * HOUR_MS)
    return event


@pytest.mark.parametrize(
    ("version", "regresses"),
    [
        ("old", False),
        ("mended", True),
        ("new", True),
        ("a release only later", True),
        ("dev", False),
        ("unknown", False),
        ("(other)", False),
    ],
)
def test_a_version_that_should_have_the_fix_opens_the_group_again(
    old_mended_new: Event, version: str, regresses: bool
) -> None:
    key = resolved(old_mended_new, fixed_in="mended")
    event = fail(app_version=version, at_ms=LATER_MS)
    make_event(**success(app_version=version), received_at_ms=LATER_MS + 1)
    group = FailureGroup.objects.get(pk=key)
    if regresses:
        assert (group.status, group.regressed_at_ms, group.regressed_by) == ("open", LATER_MS, event.id)
        assert group.fixed_in == "mended"  # what it was said to be mended in is part of the tale
    else:
        assert (group.status, group.regressed_at_ms, group.regressed_by) == ("resolved", None, None)


@pytest.mark.parametrize(
    ("version", "regresses"), [("old", False), ("new", False), ("next", True), ("dev", False), ("unknown", False)]
)
def test_without_a_version_the_next_one_should_have_the_fix(
    old_mended_new: Event, version: str, regresses: bool
) -> None:
    key = resolved(old_mended_new, fixed_in=None)
    fail(app_version=version, at_ms=LATER_MS)
    make_event(**success(app_version=version), received_at_ms=LATER_MS + 1)
    assert FailureGroup.objects.filter(pk=key, status="open").exists() == regresses


def test_a_version_that_was_not_seen_yet_is_waited_for(old_mended_new: Event) -> None:
    key = resolved(old_mended_new, fixed_in="soon")
    fail(app_version="new", at_ms=LATER_MS)
    fail(app_version="another", at_ms=LATER_MS + 1)
    assert FailureGroup.objects.get(pk=key).status == "resolved"
    event = fail(app_version="soon", at_ms=LATER_MS + 2)
    assert FailureGroup.objects.get(pk=key).status == "resolved"
    make_event(**success(app_version="soon"), received_at_ms=LATER_MS + 3)
    assert FailureGroup.objects.get(pk=key).regressed_by == event.id


def test_the_first_event_of_a_commit_that_should_not_be_is_the_one(old_mended_new: Event) -> None:
    key = resolved(old_mended_new, fixed_in="mended")
    rows = [
        row("No ACK", at_ms=LATER_MS + at, app_version=version, session_id=f"s{at}")
        for at, version in [(9, "new"), (1, "old"), (5, "mended"), (7, "new")]
    ]
    writer.record_many(rows)
    assert FailureGroup.objects.get(pk=key).regressed_at_ms == LATER_MS + 5


def test_a_late_event_from_before_the_decision_is_no_regression(old_mended_new: Event) -> None:
    key = resolved(old_mended_new, fixed_in="mended")
    fail(app_version="new", at_ms=NOON_MS + 3 * HOUR_MS)
    group = FailureGroup.objects.get(pk=key)
    assert (group.status, group.accepted) == ("resolved", 2)


def test_a_muted_group_stays_muted(old_mended_new: Event) -> None:
    key = old_mended_new.fingerprint or ""
    user = User.objects.create_user("olga")
    triage.mute([key], until_ms=None, user=user, at=datetime.fromtimestamp(NOON_MS / 1000, UTC))
    fail(app_version="new", at_ms=LATER_MS)
    group = FailureGroup.objects.get(pk=key)
    assert (group.status, group.regressed_by, group.accepted) == ("muted", None, 2)


def test_a_group_regresses_once_and_can_be_resolved_again(old_mended_new: Event) -> None:
    key = resolved(old_mended_new, fixed_in="mended")
    first = fail(app_version="new", at_ms=LATER_MS)
    fail(app_version="new", at_ms=LATER_MS + 1)
    assert FailureGroup.objects.get(pk=key).regressed_by == first.id
    resolved(old_mended_new, fixed_in=None, at_ms=LATER_MS + 2)
    group = FailureGroup.objects.get(pk=key)
    assert (group.status, group.regressed_at_ms, group.regressed_by) == ("resolved", None, None)


def test_a_duplicate_is_no_regression(old_mended_new: Event) -> None:
    fail(app_version="new", session_id="s")
    key = resolved(old_mended_new, fixed_in="mended")
    writer.record(row("No ACK", at_ms=LATER_MS, app_version="new", session_id="s"))
    assert FailureGroup.objects.get(pk=key).status == "resolved"


# --- several at once -------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_writers_triage_and_regrouping_never_wait_in_a_circle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each writes many groups in an order of its own; each transaction is another connection's, as in processes."""
    monkeypatch.setattr(regrouping, "BATCH_EVENTS", 5)
    types = ["flash_error", "connect_error", "window_error"]
    writer.record_many([row(words(number), event_type=types[number % 3]) for number in range(40)])
    keys = list(FailureGroup.objects.values_list("pk", flat=True))
    Event.objects.update(fingerprint=None)
    for model in (FailureGroup, GroupHour, GroupShare):
        model.objects.all().delete()
    process_memory.clear()
    user = User.objects.create_user("olga")

    def bring(worker: int) -> Callable[[], None]:
        def run() -> None:
            for number in range(15):
                rows = [
                    row(words(other), session_id=f"{worker} {number} {other}", event_type=types[other % 3])
                    for other in range(40)
                ]
                failures = [
                    row("Flash complete", event_type="flash_success", session_id=f"{number} {at}", app_version=f"v{at}")
                    for at in range(9)
                ]
                waiting = [
                    event._replace(source=Source.INCREMENT.value, model="unknown", app_version="unknown")
                    for event in failures
                ]
                if (worker + number) % 2:
                    rows.reverse()
                    failures.reverse()
                with transaction.atomic():
                    writer.record_within([*waiting, *rows[:20]])
                with transaction.atomic():
                    writer.record_within([*rows[20:], *failures])

        return run

    def decide() -> None:
        for number in range(30):
            order = keys if number % 2 else keys[::-1]
            if number % 3:
                triage.resolve(order, fixed_in=None, user=user, at=datetime.now(UTC))
            else:
                triage.expect(order, user=user, at=datetime.now(UTC))
            triage.assign(order, person=user if number % 2 else None, user=user, at=datetime.now(UTC))
        triage.expect(keys[:20], user=user, at=datetime.now(UTC))

    def regroup() -> None:
        list(regrouping.regroup(regrouping.survey()))

    assert in_threads([bring(0), bring(1), decide, regroup]) == [None] * 4
    assert FailureGroup.objects.count() == 40
    assert Event.objects.failures().count() == 40 + 2 * 15 * 40
    assert not regrouping.is_due()
    assert_groups_are_proved()
    assert [expected.compare(day_ms) for day_ms in rollups.days_in_use(0, None)] == [[]]
