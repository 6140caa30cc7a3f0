"""`events/ingest/tokens.py`: what makes a token good, when it was last used, and how one follows another."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction

from events.counting import site_days
from events.ingest import tokens
from events.ingest.tokens import Scope
from events.models import AuditEntry, IngestToken
from tests.tokens import admit

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 2, 12, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    turn_clock_to(monkeypatch, NOON)


def turn_clock_to(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    monkeypatch.setattr("events.clock.now", lambda: moment)


def last_used(name: str = "web") -> datetime | None:
    return IngestToken.objects.get(name=name).last_used_at


def test_a_token_that_nobody_used_says_so() -> None:
    tokens.issue("web", who="someone", now=NOON, expires_at=None)
    assert last_used() is None


def test_its_use_is_kept_to_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    token = tokens.issue("web", who="someone", now=NOON, expires_at=None)
    kept = []
    for minutes in (0, 9, 10, 19, 20):
        turn_clock_to(monkeypatch, NOON + timedelta(minutes=minutes))
        assert admit(token)
        kept.append(last_used())
    assert kept == [NOON + timedelta(minutes=minutes) for minutes in (0, 0, 10, 10, 20)]


def test_most_events_cost_no_write(django_assert_num_queries) -> None:
    token = tokens.issue("web", who="someone", now=NOON, expires_at=None)
    admit(token)
    with django_assert_num_queries(1):
        assert admit(token)


def test_a_refused_token_was_not_used() -> None:
    token = tokens.issue("web", who="someone", now=NOON, expires_at=NOON)
    assert not admit(token)
    assert not admit("web:forged")
    assert last_used() is None


def test_of_two_names_both_are_good_until_the_old_one_is_revoked() -> None:
    old, new = (tokens.issue(name, who="someone", now=NOON, expires_at=None) for name in ("web", "web-2"))
    assert admit(old)
    assert admit(new)
    tokens.revoke(IngestToken.objects.get(name="web"), who="someone", now=NOON)
    assert not admit(old)
    assert admit(new)


def test_a_token_ends_at_its_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    token = tokens.issue("web", who="someone", now=NOON, expires_at=NOON + timedelta(days=90))
    turn_clock_to(monkeypatch, NOON + timedelta(days=90, seconds=-1))
    assert admit(token)
    turn_clock_to(monkeypatch, NOON + timedelta(days=90))
    assert not admit(token)


@pytest.mark.parametrize("scopes", [[Scope.INGEST], [Scope.SOURCE_MAPS], [Scope.TRIAGE, Scope.READ], list(Scope)])
def test_a_token_is_valid_for_its_scopes_and_no_others(scopes: list[Scope]) -> None:
    token = tokens.issue("web", who="someone", now=NOON, expires_at=None, scopes=scopes)
    assert [scope for scope in Scope if admit(token, scope)] == sorted(scopes, key=list(Scope).index)
    kept = IngestToken.objects.get()
    kept.refresh_from_db()
    assert kept.scopes.split() == sorted(scopes, key=list(Scope).index)
    assert AuditEntry.objects.get().what.startswith(f"Issued for {', '.join(kept.scopes.split())}, ")


def test_a_token_without_the_scope_was_not_used() -> None:
    token = tokens.issue("web", who="someone", now=NOON, expires_at=None, scopes=[Scope.SOURCE_MAPS])
    assert not admit(token, Scope.INGEST)
    assert last_used() is None


@pytest.mark.parametrize(
    ("rate", "of_site", "limit"),
    [("", "600/m", "600/m"), ("", None, None), ("off", "600/m", None), ("5/10s", None, "5/10s")],
)
def test_a_token_has_its_own_rate_or_that_of_the_route(rate: str, of_site: str | None, limit: str | None) -> None:
    tokens.issue("web", who="someone", now=NOON, expires_at=None, rate=tokens.parse_rate(rate))
    assert tokens.rate_of(IngestToken.objects.get(), of_site) == limit


def test_the_database_refuses_a_token_without_scopes() -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        tokens.issue("web", who="someone", now=NOON, expires_at=None, scopes=[])
    assert not AuditEntry.objects.exists()


def test_a_token_that_expired_a_month_ago_is_revoked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    expired = {
        name: tokens.issue(name, who="ada", now=NOON, expires_at=NOON + timedelta(days=days))
        for name, days in (("old", -31), ("recent", -29), ("good", 1))
    }
    assert tokens.revoke_expired() == (
        "Revoked no expired token: no event and no start of the server in the last day confirms that it is 2026-02-12."
    )
    site_days.note_start(NOON)
    assert tokens.revoke_expired() == "Revoked 1 expired token."
    assert tokens.revoke_expired() == "Revoked 0 expired tokens."
    entry = AuditEntry.objects.latest("id")
    assert (entry.who, entry.what, entry.about) == ("the site", "Revoked.", "old")
    turn_clock_to(monkeypatch, NOON - timedelta(days=32))  # a wrong clock
    assert {name: admit(token) for name, token in expired.items()} == {
        "old": False, "recent": True, "good": True,
    }  # fmt: skip
    # The name stays taken: a new token of this name would be the same text.
    with pytest.raises(IntegrityError), transaction.atomic():
        tokens.issue("old", who="ada", now=NOON, expires_at=None)
