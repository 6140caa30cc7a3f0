"""Floods of invented names and messages, and what a maintainer must still see during each of them."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User

from events import process_memory
from events.counting import arrivals, buckets, releases
from events.counting.buckets import DAY_MS, HOUR_MS, OTHER
from events.grouping import groups, triage
from events.grouping.fingerprints import fingerprint
from events.ingest import contract, writer
from events.maintenance import regrouping
from events.models import Arrival, Event, FailureGroup, HourlyRollup, KnownName, Release
from events.reports import metrics
from events.rows import EventRow
from tests.conftest import make_event, payload, success
from tests.threads import in_threads

pytestmark = pytest.mark.django_db

MIDNIGHT_MS = 1_770_854_400_000  # 2026-02-12 00:00 UTC
NOON_MS = MIDNIGHT_MS + 12 * HOUR_MS
BATCH = 100  # events of one request


def letters(number: int) -> str:
    """Return a word that no other number gives. Digits and hex letters of a message would be masked."""
    return "".join("klmnopqrst"[int(digit)] for digit in str(number))


def failure(number: int, *, at_ms: int, **changes: Any) -> EventRow:
    body = payload(**{"message": f"fault {number}", "session_id": f"session {at_ms} {number}"} | changes)
    return contract.parse(body, received_at_ms=at_ms)


def flash(number: int, *, at_ms: int, **changes: Any) -> EventRow:
    return contract.parse(success(**changes), received_at_ms=at_ms)


def flood(count: int, *, at_ms: int = MIDNIGHT_MS, make: Any = failure, **columns: Callable[[int], str]) -> None:
    """Store events with invented values in these columns, a batch to each commit."""
    rows = [
        make(number, at_ms=at_ms + number, **{name: value(number) for name, value in columns.items()})
        for number in range(count)
    ]
    for start in range(0, count, BATCH):
        writer.record_many(rows[start : start + BATCH])


def invented(number: int) -> str:
    return f"invented {number}"


def counted(column: str, at_ms: int = MIDNIGHT_MS) -> set[str]:
    rows = HourlyRollup.objects.filter(hour_ms__gte=at_ms, hour_ms__lt=at_ms + DAY_MS)
    return set(rows.values_list(column, flat=True))


@pytest.fixture(params=[False, True], ids=["one process", "a new process after the flood"])
def after_flood(request: pytest.FixtureRequest) -> Callable[[], None]:
    return process_memory.clear if request.param else lambda: None


@pytest.fixture(autouse=True)
def _proof(request: pytest.FixtureRequest, db: None) -> Iterator[None]:
    """Check after each test that every group counts what is stored."""
    yield
    if "transactional_db" not in request.fixturenames:
        assert regrouping.compare() == []


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [failure, flash], ids=["of failures", "of successes"])
@pytest.mark.parametrize("column", ["model", "app_version"])
@pytest.mark.parametrize("days", [1, 30])
def test_a_name_of_an_earlier_day_is_ranked_after_a_flood(
    column: str, make: Any, days: int, after_flood: Callable[[], None]
) -> None:
    make_event(**success(**{column: "real"}), received_at_ms=NOON_MS - days * DAY_MS)
    flood(300, make=make, **{column: invented})
    after_flood()
    make_event(**success(**{column: "real"}), received_at_ms=NOON_MS)
    ranked = metrics.sliced(metrics.by_day(MIDNIGHT_MS, MIDNIGHT_MS + DAY_MS).cells, column)
    assert {"real", OTHER} <= {row.name for row in ranked}


def test_a_model_of_the_setting_is_ranked_on_its_first_day(settings: Any, after_flood: Callable[[], None]) -> None:
    settings.KNOWN_MODELS = frozenset({"UV-17R Plus"})
    flood(200, model=invented)
    after_flood()
    flood(1, at_ms=NOON_MS, model=lambda _: "UV-17R Plus")
    flood(1, at_ms=NOON_MS + 5, model=lambda _: "uv-17r plus")
    assert "UV-17R Plus" in counted("model")
    assert "uv-17r plus" not in counted("model")


def test_a_name_from_the_last_second_of_a_day_is_known_after_midnight(after_flood: Callable[[], None]) -> None:
    rows = [failure(number, at_ms=MIDNIGHT_MS + number, model=invented(number)) for number in range(BATCH)]
    writer.record_many([*rows, failure(BATCH, at_ms=MIDNIGHT_MS - 1, model="real")])
    after_flood()
    flood(1, at_ms=NOON_MS, model=lambda _: "real")
    assert "real" in counted("model")


@pytest.mark.parametrize(
    ("column", "known", "new"),
    [
        ("model", 0, 49),  # `unknown` has a place of its own
        ("model", 9, 40),
        ("model", 39, 10),
        ("model", 49, 10),  # a fifth is always left
        ("app_version", 0, 199),
        ("app_version", 99, 100),
        ("app_version", 199, 40),
    ],
)
def test_new_names_share_the_capacity_that_known_names_leave(column: str, known: int, new: int) -> None:
    flood(known, at_ms=MIDNIGHT_MS - DAY_MS, **{column: lambda number: f"known {number}"})
    flood(300, **{column: invented})
    flood(known, at_ms=NOON_MS, **{column: lambda number: f"known {number}"})
    assert counted(column) == {f"known {n}" for n in range(known)} | {invented(n) for n in range(new)} | {OTHER}


def test_a_flood_every_day_adds_a_bounded_number_of_names_a_day() -> None:
    made = []
    for day in range(4):
        flood(100, at_ms=MIDNIGHT_MS + day * DAY_MS, model=lambda number, day=day: f"invented {day} {number}")
        made.append(KnownName.objects.filter(facet="model").count())
    assert made == [49, 59, 69, 79]


def test_past_the_largest_number_of_known_names_the_oldest_that_are_in_use_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(buckets, "MAX_KNOWN_MODELS", 2)
    monkeypatch.setattr(buckets, "MAX_MODELS_A_DAY", 5)  # 1 is left for new names
    for days, model in [(200, "long gone"), (100, "old"), (9, "newer"), (8, "newest"), (1, "old")]:
        flood(1, at_ms=NOON_MS - days * DAY_MS, model=lambda _, model=model: model)
    names = ["first today", "newest", "long gone", "newer", "old"]
    flood(len(names), model=lambda number: names[number])
    assert counted("model") == {"old", "newer", "first today", "newest", OTHER}


# --- releases ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [failure, flash], ids=["of failures", "of successes"])
def test_a_release_is_recognised_on_the_day_of_a_flood(make: Any, after_flood: Callable[[], None]) -> None:
    flood(400, make=make, app_version=invented)
    after_flood()
    for at in range(3):
        make_event(**success(app_version="real"), received_at_ms=NOON_MS + at)
    assert releases.newest(1) == ["real"]
    assert Release.objects.count() == releases.MAX_NEW_A_DAY + 1


def test_versions_that_come_three_times_have_a_bound_too() -> None:
    for hour in range(3):
        flood(500, at_ms=MIDNIGHT_MS + hour * HOUR_MS, make=flash, app_version=invented)
    assert Release.objects.count() <= releases.MAX_NEW_A_DAY + releases.MAX_REPEATED_A_DAY


DECIDED_MS = NOON_MS - DAY_MS


def resolve(*, fixed_in: str | None = None) -> str:
    """Return a group that was resolved the day before, in a version or in the next one; its failure came in `old`."""
    make_event(**success(app_version="old"), received_at_ms=NOON_MS - 2 * DAY_MS)
    key = Event.objects.get(id=writer.record(failure(0, at_ms=NOON_MS - 2 * DAY_MS, app_version="old")).id).fingerprint
    user = User.objects.create_user("olga")
    triage.resolve([key or ""], fixed_in=fixed_in, user=user, at=datetime.fromtimestamp(DECIDED_MS / 1000, UTC))
    return key or ""


def state(key: str) -> tuple[str, str | None]:
    group = FailureGroup.objects.get(pk=key)
    return group.status, group.regressed_by


@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("fixed_in", [None, "old"])
def test_invented_versions_open_no_group(fixed_in: str | None, count: int) -> None:
    key = resolve(fixed_in=fixed_in)
    flood(count, session_id=lambda number: f"of flood {number}", app_version=invented)
    assert state(key) == ("resolved", None)


@pytest.mark.parametrize("flooded", [False, True], ids=["on a quiet day", "on the day of a flood"])
@pytest.mark.parametrize("fixed_in", [None, "next"])
def test_a_version_that_was_named_early_hides_no_regression(
    fixed_in: str | None, flooded: bool, after_flood: Callable[[], None]
) -> None:
    writer.record(failure(1, at_ms=DECIDED_MS - DAY_MS, app_version="next", message="named early"))
    key = resolve(fixed_in=fixed_in)
    if flooded:
        flood(300, message=lambda _: "another fault", app_version=invented)
    after_flood()
    make_event(**success(app_version="next"), received_at_ms=NOON_MS)
    regression = writer.record(failure(2, at_ms=NOON_MS + 1, app_version="next"))
    assert state(key) == ("open", regression.id)


def succeed(at_ms: int) -> None:
    make_event(**success(app_version="next"), received_at_ms=at_ms)


def fail_elsewhere(at_ms: int) -> None:
    writer.record_many([
        failure(number, at_ms=at_ms + number, app_version="next", message="another") for number in range(4)
    ])  # fmt: skip


@pytest.mark.parametrize("turn", [succeed, fail_elsewhere], ids=["its first success", "its fifth event"])
@pytest.mark.parametrize("flooded", [False, True], ids=["on a quiet day", "on the day of a flood"])
@pytest.mark.parametrize("fixed_in", [None, "next", "old"])
def test_a_failure_before_its_version_became_a_release_is_a_regression_then(
    fixed_in: str | None, flooded: bool, turn: Callable[[int], None], after_flood: Callable[[], None]
) -> None:
    key = resolve(fixed_in=fixed_in)
    if flooded:  # the version is counted under `(other)`, and still is a candidate
        flood(199, make=flash, app_version=invented)
    regression = writer.record(failure(2, at_ms=NOON_MS, app_version="next"))
    assert state(key) == ("resolved", None)
    after_flood()
    turn(NOON_MS + 1)
    assert state(key) == ("open", regression.id)


def test_a_failure_of_a_version_without_room_is_a_regression_later(after_flood: Callable[[], None]) -> None:
    key = resolve()
    flood(300, app_version=invented, session_id=lambda number: f"of flood {number}", message=lambda _: "another")
    regression = writer.record(failure(2, at_ms=NOON_MS, app_version="next"))
    assert not Release.objects.filter(app_version="next").exists()
    after_flood()
    succeed(NOON_MS + 1)
    assert state(key) == ("resolved", None)
    succeed(NOON_MS + 2)
    assert state(key) == ("open", regression.id)


def test_one_commit_of_many_new_releases_finds_each_regression() -> None:
    keys = [resolve()]
    user = User.objects.get(username="olga")
    for number in range(3):
        row = failure(number + 1, at_ms=NOON_MS - 2 * DAY_MS, message=f"other {letters(number)}", app_version="old")
        writer.record(row)
        keys.append(key_of(row.message))
    triage.resolve(keys, fixed_in=None, user=user, at=datetime.fromtimestamp(DECIDED_MS / 1000, UTC))
    messages = ["fault 0", *(f"other {letters(number)}" for number in range(3))]
    regressions = [
        writer.record(failure(number, at_ms=NOON_MS + number, message=message, app_version=f"next {number % 2}")).id
        for number, message in enumerate(messages)
    ]
    writer.record_many([flash(n, at_ms=NOON_MS + HOUR_MS + n, app_version=f"next {n}") for n in range(BATCH)])
    assert [state(key) for key in keys] == [("open", event_id) for event_id in regressions]


def test_a_failure_from_before_the_decision_is_no_regression_when_its_version_becomes_a_release() -> None:
    writer.record(failure(2, at_ms=DECIDED_MS - 1, app_version="next"))
    key = resolve()
    succeed(NOON_MS)
    assert state(key) == ("resolved", None)


# --- groups --------------------------------------------------------------------------------------------------------


def key_of(message: str) -> str:
    return fingerprint("flash_error", None, message, None).key


def overflow() -> FailureGroup:
    return FailureGroup.objects.get(pk="overflow-flash_error")


@pytest.mark.parametrize("in_one_commit", [False, True], ids=["one by one", "in one commit"])
def test_two_new_faults_after_a_flood_have_groups_of_their_own(
    in_one_commit: bool, after_flood: Callable[[], None]
) -> None:
    flood(205, message=lambda number: f"no worker {letters(number)}")
    after_flood()
    faults = ["No ACK", "Handshake timed out"]
    rows = [
        failure(number, at_ms=NOON_MS + number, message=faults[number % 2], session_id=f"of {number}")
        for number in range(6)
    ]
    for commit in [rows] if in_one_commit else [[row] for row in rows]:
        writer.record_many(commit)
    in_overflow = 0 if in_one_commit else 4
    assert overflow().accepted == 5 + in_overflow
    own = FailureGroup.objects.filter(title__in=faults)
    assert {group.title: group.accepted for group in own} == dict.fromkeys(faults, 3 if in_one_commit else 1)
    # `regroup_failures` brings the first two events of each.
    assert sum(moved for _, moved in regrouping.regroup(regrouping.survey())) == in_overflow
    assert {group.title: group.accepted for group in own.all()} == dict.fromkeys(faults, 3)
    assert overflow().accepted == 5
    assert sum(regrouping.survey().moves.values()) == 0


def test_the_third_arrival_may_come_on_a_later_day_of_a_flood() -> None:
    for day in range(3):
        flood(
            205,
            at_ms=MIDNIGHT_MS + day * DAY_MS,
            message=lambda number, day=day: f"of {letters(day)} {letters(number)}",
        )
        writer.record(failure(1, at_ms=NOON_MS + day * DAY_MS, message="real"))
    assert Event.objects.filter(fingerprint=key_of("real")).count() == 1


def test_a_message_keeps_its_count_while_a_flood_goes_on(after_flood: Callable[[], None]) -> None:
    for hour in range(3):
        flood(
            400,
            at_ms=MIDNIGHT_MS + hour * HOUR_MS,
            message=lambda number, hour=hour: f"of {letters(hour)} {letters(number)}",
        )
        writer.record(failure(1, at_ms=MIDNIGHT_MS + hour * HOUR_MS + HOUR_MS // 2, message="real"))
        after_flood()
    assert Event.objects.filter(fingerprint=key_of("real")).count() == 1


def test_messages_seen_once_stay_in_the_overflow() -> None:
    flood(700, message=lambda number: f"fault {letters(number)}")
    assert FailureGroup.objects.count() == groups.MAX_NEW_A_DAY + 1
    assert overflow().accepted == 500


def test_messages_that_come_three_times_have_a_bound_too() -> None:
    for hour in range(4):
        flood(500, at_ms=MIDNIGHT_MS + hour * HOUR_MS, message=lambda number: f"fault {letters(number)}")
    most = groups.MAX_NEW_A_DAY + groups.MAX_REPEATED_A_DAY
    assert FailureGroup.objects.exclude(pk=overflow().pk).count() == most
    assert Event.objects.failures().count() == 2_000


# --- the sketch ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arriving", "repeated"),
    [
        ("aaa", "..a"),
        ("abaa", "...."),
        ("aabaa", "....a"),
        ("aabbaaa", "......a"),
        ("bcaaa", "....a"),
        ("aaabbaaa", "..a...aa"),
    ],
)
def test_keys_of_one_slot_compete_for_it(monkeypatch: pytest.MonkeyPatch, arriving: str, repeated: str) -> None:
    monkeypatch.setattr(arrivals, "SLOTS", 1)
    assert "".join("".join(arrivals.repeated({key: 1})) or "." for key in arriving) == repeated


def test_a_commit_counts_the_most_frequent_key_of_a_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "SLOTS", 1)
    assert arrivals.repeated({"a": 1, "b": 9, "c": 2}) == {"b"}


def test_the_sketch_has_a_fixed_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "SLOTS", 50)
    flood(700, message=lambda number: f"fault {letters(number)}", app_version=invented)
    assert Arrival.objects.count() == 50


# --- several processes -----------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_several_writers_count_one_version_and_one_message_together() -> None:
    flood(205, message=lambda number: f"fault {letters(number)}", app_version=lambda _: "dev")
    at_ms = NOON_MS

    def bring(worker: int) -> Callable[[], None]:
        def run() -> None:
            with_session = failure(worker, at_ms=at_ms + worker, message="real", app_version="next")
            writer.record_many([with_session])
            writer.record_many([failure(worker + 9, at_ms=at_ms + worker, message="more", app_version="next")])

        return run

    assert in_threads([bring(worker) for worker in range(4)]) == [None] * 4
    release = Release.objects.get(app_version="next")
    assert release.is_release
    assert release.events == 5
    assert {key_of("real"), key_of("more")} <= set(FailureGroup.objects.values_list("pk", flat=True))
    assert regrouping.compare() == []
