"""Triage: what a decision writes and what it clears, and who took it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events.grouping import triage
from events.models import AuditEntry, FailureGroup
from tests.conftest import make_event

pytestmark = pytest.mark.django_db

AT = datetime(2026, 2, 12, 12, tzinfo=UTC)
AT_MS = 1_770_897_600_000


@pytest.fixture
def key() -> str:
    """Return a group that has every mark of its past."""
    key = make_event(message="No ACK").fingerprint or ""
    FailureGroup.objects.filter(pk=key).update(
        fixed_in="old", muted_until_ms=5, regressed_at_ms=6, regressed_by="an event", note="see the wiki"
    )
    return key


def decision(key: str) -> dict[str, Any]:
    return FailureGroup.objects.values(
        "status", "fixed_in", "muted_until_ms", "decided_at_ms", "decided_by_name", "regressed_at_ms", "regressed_by",
        "note",
    ).get(pk=key)  # fmt: skip


def history(key: str) -> list[tuple[str, str]]:
    entries = AuditEntry.objects.filter(subject=key).order_by("pk")
    return list(entries.values_list("who", "what"))


def decided(**changes: Any) -> dict[str, Any]:
    return {
        "status": "open",
        "fixed_in": None,
        "muted_until_ms": None,
        "decided_at_ms": AT_MS,
        "decided_by_name": "olga",
        "regressed_at_ms": None,
        "regressed_by": None,
        "note": "see the wiki",
    } | changes


def test_resolved_in_a_version(key: str, olga: User) -> None:
    assert triage.resolve([key], fixed_in="19afc18", user=olga, at=AT) == 1
    assert decision(key) == decided(status="resolved", fixed_in="19afc18")
    assert history(key) == [("olga", "Resolved in 19afc18.")]


def test_resolved_in_the_next_version(key: str, olga: User) -> None:
    triage.resolve([key], fixed_in=None, user=olga, at=AT)
    assert decision(key) == decided(status="resolved")
    assert history(key) == [("olga", "Resolved in the next version.")]


def test_muted_for_good(key: str, olga: User) -> None:
    triage.mute([key], until_ms=None, user=olga, at=AT)
    assert decision(key) == decided(status="muted")
    assert history(key) == [("olga", "Muted for good.")]


def test_muted_until_a_date(key: str, olga: User) -> None:
    triage.mute([key], until_ms=AT_MS + 86_400_000, user=olga, at=AT)
    assert decision(key) == decided(status="muted", muted_until_ms=AT_MS + 86_400_000)
    assert history(key) == [("olga", "Muted until 2026-02-13.")]


def test_expected(key: str, olga: User) -> None:
    assert triage.expect([key], user=olga, at=AT) == 1
    assert decision(key) == decided(status="expected")
    assert history(key) == [("olga", "Marked as expected.")]


def test_opened_again(key: str, olga: User) -> None:
    triage.mute([key], until_ms=None, user=olga, at=AT)
    triage.reopen([key], user=olga, at=AT)
    assert decision(key) == decided()
    assert history(key)[-1] == ("olga", "Opened again.")


def test_a_note_changes_nothing_else(key: str, olga: User) -> None:
    before = decision(key)
    triage.annotate(key, "ask Robin", user=olga, at=AT)
    assert decision(key) == before | {"note": "ask Robin"}
    triage.annotate(key, "", user=olga, at=AT)
    assert history(key) == [("olga", "Noted: ask Robin"), ("olga", "Took the note away.")]


def test_many_at_once_are_each_in_the_log(key: str, olga: User) -> None:
    keys = [key, *(make_event(message=f"fault {name}").fingerprint or "" for name in "abc")]
    assert triage.resolve([*keys, keys[0], "no such group"], fixed_in=None, user=olga, at=AT) == 4
    assert set(FailureGroup.objects.values_list("status", flat=True)) == {"resolved"}
    assert [len(history(key)) for key in keys] == [1, 1, 1, 1]
    assert not AuditEntry.objects.filter(subject="no such group").exists()


def test_others_are_left_alone(key: str, olga: User) -> None:
    other = make_event(message="another").fingerprint or ""
    triage.resolve([key], fixed_in=None, user=olga, at=AT)
    triage.annotate(key, "x", user=olga, at=AT)
    assert decision(other)["status"] == "open"
    assert decision(other)["note"] == ""
    assert history(other) == []


def test_nothing_is_nothing(olga: User) -> None:
    assert triage.resolve([], fixed_in=None, user=olga, at=AT) == 0
    triage.annotate("no such group", "x", user=olga, at=AT)
    assert not AuditEntry.objects.exists()


def test_groups_are_locked_in_the_order_of_ingest(key: str, olga: User) -> None:
    keys = [key, *(make_event(message=f"fault {name}").fingerprint or "" for name in "abc")]
    with CaptureQueriesContext(
        connection,
    ) as asked:
        triage.reopen(keys[::-1], user=olga, at=AT)
    # Their types come first, because the totals of these are locked before the groups.
    first = next(query["sql"] for query in asked if '"note"' in query["sql"])
    assert 'ORDER BY "events_failuregroup"."fingerprint" ASC' in first
    assert connection.vendor != "postgresql" or "FOR UPDATE" in first


def test_a_long_title_fits_the_log(olga: User) -> None:
    key = make_event(message="no answer " * 50).fingerprint or ""
    triage.reopen([key], user=olga, at=AT)
    assert len(AuditEntry.objects.get().about) == 200


# --- assignments -----------------------------------------------------------------------------------------------------


@pytest.fixture
def kim() -> User:
    """Return an account that can be assigned."""
    user = User.objects.create_user("kim", is_staff=True)
    user.groups.add(Group.objects.get(name="Staff"))
    return user


def assignment(key: str) -> tuple[Any, ...]:
    return FailureGroup.objects.values_list("assigned_to__username", "assigned_at_ms", "assigned_by_name").get(pk=key)


def test_who_can_be_assigned(kim: User) -> None:
    staff = Group.objects.get(name="Staff")
    for name, options in {"left": {"is_staff": True, "is_active": False}, "guest": {"is_staff": False}}.items():
        User.objects.create_user(name, **options).groups.add(staff)
    User.objects.create_user("another", is_staff=True)  # without permission to see groups
    User.objects.create_superuser("admin")
    User.objects.create_superuser("former admin", is_active=False)
    assert [user.get_username() for user in triage.assignable()] == ["admin", "kim"]


def test_assigned_and_unassigned(key: str, olga: User, kim: User) -> None:
    before = decision(key)
    assert triage.assign([key, "no such group"], person=kim, user=olga, at=AT) == 1
    assert assignment(key) == ("kim", AT_MS, "olga")
    triage.assign([key], person=olga, user=kim, at=AT)
    assert assignment(key) == ("olga", AT_MS, "kim")
    triage.assign([key], person=None, user=kim, at=AT)
    assert assignment(key) == (None, None, None)
    assert decision(key) == before
    assert history(key) == [
        ("olga", "Assigned to kim."),
        ("kim", "Assigned to olga instead of kim."),
        ("kim", "No longer assigned to olga."),
    ]


def test_only_a_change_is_in_the_log(key: str, olga: User, kim: User) -> None:
    for _ in range(2):
        assert triage.assign([key], person=kim, user=olga, at=AT) == 1
    assert triage.assign([key], person=None, user=olga, at=AT) == 1
    assert triage.assign([key], person=None, user=olga, at=AT) == 1
    assert len(history(key)) == 2


def test_many_groups_are_assigned_at_once(key: str, olga: User, kim: User) -> None:
    other = make_event(message="another").fingerprint or ""
    third = make_event(message="a third").fingerprint or ""
    assert triage.assign([key, other], person=kim, user=olga, at=AT) == 2
    assert [assignment(one)[0] for one in (key, other, third)] == ["kim", "kim", None]


def test_a_deleted_account_ends_its_assignments_and_can_be_taken_away(key: str, olga: User, kim: User) -> None:
    triage.assign([key], person=kim, user=olga, at=AT)
    kim.delete()
    assert assignment(key) == (None, AT_MS, "olga")
    triage.assign([key], person=None, user=olga, at=AT)
    assert assignment(key) == (None, None, None)
    assert history(key)[-1] == ("olga", "No longer assigned to a deleted account.")


def test_a_decision_keeps_the_assignment(key: str, olga: User, kim: User) -> None:
    triage.assign([key], person=kim, user=olga, at=AT)
    triage.resolve([key], fixed_in=None, user=olga, at=AT)
    triage.reopen([key], user=olga, at=AT)
    assert assignment(key)[0] == "kim"
