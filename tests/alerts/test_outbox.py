"""The outbox: which failures write an alert, that it is written once and with its event, and what it costs."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from events.alerts import outbox
from events.counting.buckets import DAY_MS, HOUR_MS
from events.grouping import triage
from events.ingest import contract, writer
from events.models import Alert, AlertKind, Event, FailureGroup
from tests.conftest import make_event, payload, success
from tests.threads import in_threads

NOON_MS = 1_770_897_600_000  # 2026-02-12 12:00 UTC
NOON = datetime.fromtimestamp(NOON_MS / 1000, UTC)


def fail(at_ms: int = NOON_MS, **changes: Any) -> Event:
    session_id = f"{at_ms} {Event.objects.count()}"
    return make_event(**{"message": "No ACK", "session_id": session_id} | changes, received_at_ms=at_ms)


def alerts() -> list[tuple[str, str]]:
    return list(Alert.objects.order_by("id").values_list("kind", "key"))


@pytest.fixture
def user() -> User:
    return User.objects.create_user("olga")


@pytest.mark.django_db
@pytest.mark.parametrize(("least", "events", "expected"), [(3, 2, 0), (3, 3, 1), (3, 7, 1), (1, 1, 1), (1, 4, 1)])
def test_a_group_is_an_alert_when_it_has_enough_failures(settings: Any, least: int, events: int, expected: int) -> None:
    settings.ALERT_NEW_AFTER = least
    for number in range(events):
        fail(NOON_MS + number)
    group = FailureGroup.objects.get()
    assert alerts() == [("new", group.pk)] * expected
    for alert in Alert.objects.all():
        assert (alert.subject, alert.happened_at_ms, alert.planned_at_ms) == (group.pk, NOON_MS + least - 1, None)


@pytest.mark.django_db
def test_many_failures_in_one_commit_are_one_alert() -> None:
    rows = [
        contract.parse(payload(message=message, session_id=f"{message} {number}"), received_at_ms=NOON_MS + number)
        for number in range(9)
        for message in ("No ACK", "Port closed")
    ]
    writer.record_many(rows)
    assert [kind for kind, _ in alerts()] == ["new", "new"]
    assert len({key for _, key in alerts()}) == 2


@pytest.mark.django_db
@pytest.mark.parametrize("decision", ["mute", "expect", "resolve"])
def test_a_group_with_a_decision_is_no_new_failure(user: User, decision: str) -> None:
    key = str(fail().fingerprint)
    decide = {
        "mute": partial(triage.mute, until_ms=None),
        "expect": triage.expect,
        "resolve": partial(triage.resolve, fixed_in=None),
    }[decision]
    decide([key], user=user, at=NOON)
    for number in range(5):
        fail(NOON_MS - 1 - number)
    assert alerts() == []


@pytest.mark.django_db
@pytest.mark.parametrize("source", ["import", "demo"])
def test_imported_and_invented_failures_are_no_news(source: str) -> None:
    rows = [contract.parse(payload(session_id=f"s{number}"), received_at_ms=NOON_MS) for number in range(5)]
    writer.record_many([row._replace(source=source) for row in rows])
    assert FailureGroup.objects.get().accepted == 5
    assert alerts() == []


@pytest.mark.django_db
def test_each_regression_after_a_decision_is_one_alert(user: User) -> None:
    key = str(fail(app_version="old").fingerprint)
    for number, version in enumerate(["old", "mended", "new"]):
        make_event(**success(app_version=version), received_at_ms=NOON_MS + number * HOUR_MS)
    for day in (1, 2):
        decided_at = datetime.fromtimestamp((NOON_MS + day * DAY_MS) / 1000, UTC)
        triage.resolve([key], fixed_in="mended", user=user, at=decided_at)
        for number in range(3):
            fail(NOON_MS + day * DAY_MS + number + 1, app_version="new")
    # The third failure of the group came after its regression, while the group was open again.
    decisions = [f"{key}:{NOON_MS + day * DAY_MS}" for day in (1, 2)]
    assert alerts() == [("regression", decisions[0]), ("new", key), ("regression", decisions[1])]
    assert Alert.objects.filter(kind="regression").values_list("facts", flat=True)[0] == {"version": "new"}


@pytest.mark.django_db
def test_a_version_that_becomes_a_release_later_causes_an_alert_too(user: User) -> None:
    key = str(fail(app_version="old").fingerprint)
    make_event(**success(app_version="old"), received_at_ms=NOON_MS)
    triage.resolve([key], fixed_in="soon", user=user, at=NOON)
    fail(NOON_MS + 1, app_version="soon")
    assert alerts() == []
    make_event(**success(app_version="soon"), received_at_ms=NOON_MS + 2)
    assert alerts() == [("regression", f"{key}:{NOON_MS}")]


@pytest.mark.django_db
def test_without_a_commit_there_is_no_alert() -> None:
    def refuse() -> None:
        raise RuntimeError("the caller's part failed")

    fail()
    fail(NOON_MS + 1)
    third = contract.parse(payload(message="No ACK", session_id="third"), received_at_ms=NOON_MS + 2)
    with transaction.atomic(), pytest.raises(RuntimeError):
        writer.record(third, alongside=refuse)
    assert alerts() == []


@pytest.mark.django_db
def test_ordinary_events_cost_no_statement() -> None:
    for number in range(3):
        fail(NOON_MS + number)
        make_event(**success(), received_at_ms=NOON_MS + number)
    with CaptureQueriesContext(connection) as queries:
        fail(NOON_MS + 3)
        make_event(**success(), received_at_ms=NOON_MS + 3)
    assert queries.captured_queries
    assert [query["sql"] for query in queries if "events_alert" in query["sql"]] == []


@pytest.mark.django_db
def test_an_alert_costs_one_statement() -> None:
    fail()
    fail(NOON_MS + 1)
    with CaptureQueriesContext(connection) as queries:
        fail(NOON_MS + 2)
    assert len([query for query in queries if "events_alert" in query["sql"]]) == 1
    assert len(alerts()) == 1


@pytest.mark.django_db(transaction=True)
def test_of_several_processes_one_writes_the_alert() -> None:
    def write(number: int) -> None:
        with transaction.atomic():
            outbox.write(AlertKind.DISK, "disk", happened_at_ms=NOON_MS + number)

    assert in_threads([partial(write, number) for number in range(6)]) == [None] * 6
    assert alerts() == [("disk", "disk")]


@pytest.mark.django_db
def test_old_alerts_are_deleted_unless_they_wait_or_their_problem_lasts() -> None:
    now_ms = NOON_MS + 200 * DAY_MS
    for key, age_days, planned, facts in [
        ("old", 91, True, {}),
        ("new", 89, True, {}),
        ("waiting", 91, False, {}),
        ("lasting", 91, True, {"problem": "disk", "rule": "disk"}),
        ("ended", 91, True, {"problem": "disk", "rule": "disk", "ended_ms": 1}),
    ]:
        outbox.write(AlertKind.DISK, key, happened_at_ms=now_ms - age_days * DAY_MS, facts=facts)
        if planned:
            Alert.objects.filter(key=key).update(planned_at_ms=NOON_MS)
    assert outbox.delete_old(now_ms) == 2
    assert outbox.delete_old(now_ms) == 0
    assert [key for _, key in alerts()] == ["new", "waiting", "lasting"]
