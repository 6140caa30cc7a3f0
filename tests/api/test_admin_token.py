"""`ADMIN_TOKEN`: who guesses it waits, and keeps nobody else out."""

import uuid
from typing import Any

import pytest
from django.core.cache import caches
from django.test import Client, override_settings

from events import clock
from events.api.access import WRONG_TOKENS
from events.ingest import guards, tokens, writer
from events.ingest.tokens import Scope
from events.reports import metrics
from tests.conftest import sign_in, turn_clock_to

pytestmark = pytest.mark.django_db
TOKEN = "the-token-of-these-tests-alone"
MINE, GUESSER = "192.0.2.1", "203.0.113.66"
PATHS = ("/recent", "/failures", "/metrics/summary", "/metrics/timeseries")


@pytest.fixture(autouse=True)
def _admin_token(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ADMIN_TOKEN = TOKEN
    turn_clock_to(monkeypatch, 1_800_000_000)


def read(token: str = "a wrong one", path: str = "/failures", *, address: str = GUESSER, method: str = "get") -> Any:
    return getattr(Client(), method)(path, headers={"authorization": f"Bearer {token}"}, REMOTE_ADDR=address)


def guess_up_to_the_limit(path: str = "/failures") -> None:
    for _ in range(WRONG_TOKENS.attempts):
        assert read(path=path).status_code == 401


@pytest.mark.parametrize("path", PATHS)
def test_past_the_limit_no_token_is_looked_at(path: str, memory: None) -> None:
    guess_up_to_the_limit(path)
    for token in ("a wrong one", TOKEN):
        answer = read(token, path)
        assert (answer.status_code, answer.json()) == (429, {"ok": False, "error": "Too many wrong tokens"})
        assert 1 <= int(answer.headers["Retry-After"]) <= WRONG_TOKENS.seconds
    assert read(TOKEN, path, address=MINE).status_code == 200


def test_guesses_are_counted_over_all_routes_and_methods_together() -> None:
    for number in range(WRONG_TOKENS.attempts):
        method = "get" if number % 2 else "head"
        assert read(path=PATHS[number % len(PATHS)], method=method).status_code == 401
    assert [read(TOKEN, path, method=method).status_code for path in PATHS for method in ("get", "head")] == [429] * 8
    assert read(TOKEN, "/failures", method="options").status_code == 429


def test_a_client_may_try_again_after_retry_after(memory: None, monkeypatch: pytest.MonkeyPatch) -> None:
    guess_up_to_the_limit()
    turn_clock_to(monkeypatch, 1_800_000_000 + int(read(TOKEN).headers["Retry-After"]))
    assert read(TOKEN).status_code == 200


def test_a_right_token_is_never_counted(memory: None) -> None:
    for _ in range(WRONG_TOKENS.attempts * 2):
        assert read(TOKEN).status_code == 200
    assert read().status_code == 401


def test_addresses_of_one_ipv6_network_are_one() -> None:
    for number in range(WRONG_TOKENS.attempts):
        assert read(address=f"2001:db8:0:1::{number:x}").status_code == 401
    assert read(TOKEN, address="2001:db8:0:1:ffff::1").status_code == 429
    assert read(TOKEN, address="2001:db8:0:2::1").status_code == 200


@pytest.mark.parametrize("headers", [{}, {"authorization": "Basic abc"}, {"authorization": "Bearer "}])
def test_a_request_without_a_token_is_no_guess(headers: dict[str, str]) -> None:
    for _ in range(WRONG_TOKENS.attempts + 1):
        assert Client().get("/failures", headers=headers, REMOTE_ADDR=GUESSER).status_code == 401
    assert read(TOKEN).status_code == 200


def test_a_signed_in_maintainer_reads_on_at_the_address_of_a_guesser(client: Client) -> None:
    sign_in(client, "Staff")
    guess_up_to_the_limit()
    assert client.get("/failures", REMOTE_ADDR=GUESSER).status_code == 200


@override_settings(ADMIN_TOKEN="")
def test_guesses_at_a_signed_token_are_counted_without_an_admin_token() -> None:
    signed = tokens.issue("ci", who="someone", now=clock.now(), expires_at=None, scopes=[Scope.READ])
    assert read(signed).status_code == 200
    guess_up_to_the_limit()
    assert read(signed).status_code == 429
    assert read(signed, address=MINE).status_code == 200


def test_a_signed_token_of_another_scope_is_refused_and_is_no_guess() -> None:
    signed = tokens.issue("web", who="someone", now=clock.now(), expires_at=None, scopes=[Scope.INGEST])
    for _ in range(WRONG_TOKENS.attempts + 1):
        answer = read(signed)
        assert (answer.status_code, answer.json()["error"]) == (401, "This token lacks the scope read")
    assert read(TOKEN).status_code == 200


@pytest.mark.parametrize("path", PATHS[1:])
def test_a_token_of_scope_read_reads_what_staff_may(path: str) -> None:
    signed = tokens.issue("ci", who="someone", now=clock.now(), expires_at=None, scopes=[Scope.READ])
    assert read(signed, path).status_code == 200


def test_the_old_route_accepts_no_signed_token() -> None:
    signed = tokens.issue("ci", who="someone", now=clock.now(), expires_at=None, scopes=list(Scope))
    assert read(signed, "/recent").status_code == 401


def test_each_wrong_token_is_counted_by_a_reason_of_its_own_and_refuses_no_event() -> None:
    guess_up_to_the_limit("/recent")
    read(path="/failures")
    read(TOKEN, address=MINE)
    writer.flush_refusals()
    today = clock.today()
    assert metrics.tallies(today, today.replace(year=today.year + 1)) == {"admin_token": WRONG_TOKENS.attempts + 1}


def test_neither_token_nor_address_is_remembered() -> None:
    backend = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": uuid.uuid4().hex}
    with override_settings(CACHES={"default": backend}):
        read("a guess to look for")
        kept = repr(caches["default"]._cache)  # type: ignore[attr-defined]
    assert kept.count("admin-token.") == 1
    assert "a guess to look for" not in kept
    assert GUESSER not in kept


def test_without_its_redis_each_process_counts_for_itself() -> None:
    away = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}
    process = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": uuid.uuid4().hex}
    with override_settings(CACHE_URL=away["LOCATION"], CACHES={"default": away, "process": process}):
        guards.forget_absence()
        guess_up_to_the_limit()
        assert read(TOKEN).status_code == 429
        assert read(TOKEN, address=MINE).status_code == 200
    guards.forget_absence()
