"""What stands before ingest: origin, rate limits, tokens; and what each costs the honest."""

import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache import cache
from django.core.signing import Signer
from django.test import Client, override_settings

from events import clock
from events.ingest import guards, tokens
from events.ingest.refusals import RefusalReason
from events.ingest.tokens import Scope
from events.models import Event, IngestToken
from tests.conftest import find_redis, payload, success
from tests.refusals import counted, expect_answer, expect_refusal
from tests.storage import away_database

pytestmark = pytest.mark.django_db

# --- origin ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["https://xoniblue.github.io", "http://localhost:5173", "http://127.0.0.1:5173"])
def test_an_allowed_origin_is_let_in(post: Callable[..., Any], origin: str) -> None:
    assert post("/event", payload(), origin=origin).status_code == 201


@pytest.mark.parametrize("path", ["/event", "/event/batch", "/client-log", "/increment"])
@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "",
        "*",
        "https://localhost:5173",
        "http://localhost",
        "http://localhost:51730",
        "http://localhost:5173/",
        "http://localhost:5173.evil.example",
        "https://xoniblue.github.io.evil.example",
        "https://evil-xoniblue.github.io",
        "https://XONIBLUE.github.io",
        "http://localhost:5173,https://evil.example",
        "http://[",
    ],
)
def test_another_origin_is_refused(post: Callable[..., Any], path: str, origin: str) -> None:
    expect_refusal(post(path, payload(), origin=origin), 403, "Origin not allowed", RefusalReason.ORIGIN)


# --- rate limits ----------------------------------------------------------------------------------------------


@pytest.fixture(params=["in this process", pytest.param("in Redis", marks=pytest.mark.needs_redis)])
def limiter(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep the limiter's memory in each of the two places, one after the other."""
    backend: dict[str, Any] = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "limiter"}
    url = ""
    if request.param == "in Redis":
        url = request.getfixturevalue("redis_url")
        backend = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": url}
    backend |= {"KEY_PREFIX": uuid.uuid4().hex}
    with override_settings(CACHES={"default": backend}, CACHE_URL=url):
        yield


@pytest.fixture(autouse=True)
def _limiter_is_there() -> Iterator[None]:
    guards.forget_absence()
    yield
    guards.forget_absence()


@pytest.mark.needs_redis
def test_workers_of_one_test_run_share_no_redis_database(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find_redis.cache_clear()
    other_worker = "gw1" if os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0" else "gw0"
    monkeypatch.setenv("PYTEST_XDIST_WORKER", other_worker)
    monkeypatch.delenv("CACHE_URL", raising=False)
    assert find_redis() not in (None, redis_url)
    find_redis.cache_clear()


@override_settings(INGEST_RATE="2/d")
def test_a_client_over_the_limit_gets_retry_after(limiter: None, post: Callable[..., Any]) -> None:
    for _ in range(2):
        assert post("/event", success()).status_code == 201
    answer = post("/event", success())
    expect_answer(answer, 429, {"ok": False, "error": "Too many requests"})
    assert 1 <= int(answer.headers["Retry-After"]) <= 86_400
    assert Event.objects.count() == 2
    assert counted() == {"rate_limited": 1}


@override_settings(INGEST_RATE="1/10s")
def test_a_client_is_accepted_after_retry_after(
    limiter: None, post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def turn_clock_to(seconds: int) -> None:
        monkeypatch.setattr("django_ratelimit.core.time", SimpleNamespace(time=lambda: seconds))

    for start in range(1_800_000_000, 1_800_000_500, 51):  # every second of a window
        turn_clock_to(start)
        assert post("/event", success()).status_code == 201
        refused = post("/event", success())
        assert refused.status_code == 429
        turn_clock_to(start + int(refused.headers["Retry-After"]))
        assert post("/event", success()).status_code == 201


@override_settings(INGEST_RATE="1/d")
def test_each_client_has_a_limit_of_its_own(limiter: None, client: Client) -> None:
    def status(address: str) -> int:
        body = success()
        return client.post("/event", body, content_type="application/json", REMOTE_ADDR=address).status_code

    assert [status("192.0.2.1"), status("192.0.2.2"), status("192.0.2.1")] == [201, 201, 429]


@override_settings(INGEST_RATE="1/d")
@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::9", 429),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", 201),
        ("::ffff:192.0.2.1", "192.0.2.1", 429),
        ("fe80::1%eth0", "fe80::2%eth0", 429),
        ("", "", 429),
        ("no address", "no: address", 201),
    ],
)
def test_a_client_of_ipv6_is_its_network(client: Client, first: str, second: str, status: int) -> None:
    for address, expected in ((first, 201), (second, status)):
        answer = client.post("/event", success(), content_type="application/json", REMOTE_ADDR=address)
        assert answer.status_code == expected


@override_settings(INGEST_RATE="1/d")
def test_the_next_window_lets_in_again(
    limiter: None, post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [post("/event", success()).status_code for _ in range(2)] == [201, 429]
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 86_400)
    assert post("/event", success()).status_code == 201


@override_settings(INGEST_RATE="1/d", BATCH_RATE="1/d", READ_RATE="1/d")
def test_ingest_batches_and_reads_are_counted_apart(client: Client, post: Callable[..., Any]) -> None:
    for status in (True, False):
        assert (post("/event", success()).status_code < 400) is status
        assert (post("/event/batch", {"events": [success()]}).status_code < 400) is status
        assert (client.get("/metrics/flash-count").status_code < 400) is status


@override_settings(INGEST_RATE="3/d", READ_RATE="2/d", ADMIN_TOKEN="for-tests")
def test_the_old_routes_share_the_limits_of_the_new(client: Client, post: Callable[..., Any]) -> None:
    assert post("/event", success()).status_code == 201
    assert post("/client-log", payload()).status_code == 200
    assert post("/increment", {"sessionId": "a"}).status_code == 200
    for path in ("/event", "/client-log", "/increment"):
        answer = post(path, payload())
        assert (answer.status_code, "Retry-After" in answer.headers) == (429, True)
    assert client.get("/count").status_code == 200
    assert client.get("/recent", headers={"authorization": "Bearer for-tests"}).status_code == 200
    for path in ("/count", "/recent", "/metrics/flash-count"):
        assert client.get(path).status_code == 429


@override_settings(READ_RATE="1/d", INGEST_RATE="1/d")
def test_health_is_never_limited(client: Client) -> None:
    assert {client.get(path).status_code for path in ("/health", "/health/ready") for _ in range(5)} == {200}


@override_settings(INGEST_RATE="1/d")
def test_a_refused_request_is_counted_against_its_client(post: Callable[..., Any]) -> None:
    assert post("/event", b"{").status_code == 400
    assert post("/event", payload()).status_code == 429


@override_settings(INGEST_RATE=None, BATCH_RATE=None, READ_RATE=None)
def test_a_limit_that_is_off_lets_everyone_in(client: Client, post: Callable[..., Any]) -> None:
    assert {post("/event", success()).status_code for _ in range(200)} == {201}
    assert cache.get_or_set("anything", 1) == 1


@override_settings(INGEST_RATE="1/d")
def test_the_limiter_remembers_no_address(post: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    backend = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": uuid.uuid4().hex}
    with override_settings(CACHES={"default": backend}):
        post("/event", payload())
        kept = repr(cache._cache)  # type: ignore[attr-defined]
    assert kept != repr({})
    assert "127.0.0.1" not in kept


@override_settings(
    CACHE_URL="redis://127.0.0.1:1/0",
    CACHES={"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}},
    INGEST_RATE="1/d",
)
def test_without_its_redis_ingest_stays_open_and_says_so(
    post: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, logger="events.ingest.guards"):
        assert [post("/event", success()).status_code for _ in range(3)] == [201, 201, 201]
    assert [record.getMessage()[:53] for record in caplog.records] == [
        "Rate limits are off for 5 s, the cache does not answe"
    ]


# --- tokens ---------------------------------------------------------------------------------------------------


@pytest.fixture
def token() -> Iterator[str]:
    """Switch tokens on, and return one that is valid for an hour."""
    with override_settings(INGEST_TOKEN_REQUIRED=True):
        yield tokens.issue("web", who="someone", now=clock.now(), expires_at=clock.now() + timedelta(hours=1))


def test_a_token_in_the_header_is_let_in(post: Callable[..., Any], token: str) -> None:
    assert post("/event", payload(), authorization=f"Bearer {token}").status_code == 201
    answer = post("/event/batch", {"events": [success()]}, authorization=f"bearer  {token} ")
    assert answer.status_code == 200


def test_a_beacon_brings_its_token_in_the_query(post: Callable[..., Any], token: str) -> None:
    assert post(f"/event?token={token}", payload(), content_type="text/plain").status_code == 201
    assert post(f"/event/batch/?token={token}", {"events": [success()]}).status_code == 200


def test_a_token_without_an_end_stays_valid(post: Callable[..., Any], token: str) -> None:
    endless = tokens.issue("server", who="someone", now=clock.now(), expires_at=None)
    assert post("/event", payload(), authorization=f"Bearer {endless}").status_code == 201


def test_a_token_of_another_scope_sends_no_events(post: Callable[..., Any], token: str) -> None:
    scopes = [scope for scope in Scope if scope is not Scope.INGEST]
    other = tokens.issue("ci", who="someone", now=clock.now(), expires_at=None, scopes=scopes)
    for answer in (
        post("/event", payload(), authorization=f"Bearer {other}"),
        post(f"/event?token={other}", payload(), content_type="text/plain"),
    ):
        expect_answer(answer, 401, {"ok": False, "error": "This token lacks the scope ingest"})
    assert counted() == {"token": 2}


def forged(token: str) -> dict[str, str]:
    name, _, signature = token.rpartition(":")
    return {
        "none": "",
        "its name alone": name,
        "a signature alone": f":{signature}",
        "another name": f"other:{signature}",
        "a cut signature": token[:-1],
        "a longer signature": f"{token}A",
        "another alphabet": f"{name}:é",
        "nul": f"{name}\x00:{signature}",
        "long": f"{name}:{'A' * 10_000}",
    }


@pytest.mark.parametrize("path", ["/event", "/event/batch"])
@pytest.mark.parametrize("kind", forged("web:x"))
def test_a_forged_token_is_refused(post: Callable[..., Any], token: str, path: str, kind: str) -> None:
    answer = post(path, payload(), authorization=f"Bearer {forged(token)[kind]}")
    expect_refusal(answer, 401, "Token required", RefusalReason.TOKEN)
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("query", ["", "?token=", "?token=web", "?token=%00", "?token=%ff", "?Token=x"])
def test_a_forged_token_in_the_query_is_refused(post: Callable[..., Any], token: str, query: str) -> None:
    expect_refusal(post(f"/event{query}", payload()), 401, "Token required", RefusalReason.TOKEN)


@pytest.mark.parametrize("scheme", ["Basic", "Token", "", "Bearer:"])
def test_a_token_under_another_scheme_is_refused(post: Callable[..., Any], token: str, scheme: str) -> None:
    answer = post("/event", payload(), authorization=f"{scheme} {token}")
    expect_refusal(answer, 401, "Token required", RefusalReason.TOKEN)


@pytest.mark.parametrize("end", ["expires_at", "revoked_at"])
def test_an_expired_or_revoked_token_is_refused(post: Callable[..., Any], token: str, end: str) -> None:
    IngestToken.objects.update(**{end: clock.now()})
    answer = post("/event", payload(), authorization=f"Bearer {token}")
    expect_refusal(answer, 401, "Token required", RefusalReason.TOKEN)


def test_a_token_signed_with_another_key_is_refused(post: Callable[..., Any], token: str) -> None:
    stranger = Signer(key="another key", salt="events.ingest-token").sign("web")
    expect_refusal(post(f"/event?token={stranger}", payload()), 401, "Token required", RefusalReason.TOKEN)


def test_a_signature_made_for_something_else_is_no_token(post: Callable[..., Any], token: str) -> None:
    expect_refusal(post(f"/event?token={Signer().sign('web')}", payload()), 401, "Token required", RefusalReason.TOKEN)


def test_the_admin_token_is_no_ingest_token(post: Callable[..., Any], token: str) -> None:
    with override_settings(ADMIN_TOKEN="for-tests"):
        answer = post("/event", payload(), authorization="Bearer for-tests")
    expect_refusal(answer, 401, "Token required", RefusalReason.TOKEN)


def test_the_old_routes_never_ask_for_a_token(post: Callable[..., Any], token: str) -> None:
    assert post("/client-log", payload()).status_code == 200
    assert post("/increment", {"sessionId": "a"}).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_a_token_that_cannot_be_looked_up_is_no_wrong_one(post: Callable[..., Any], token: str) -> None:
    with away_database():
        answer = post("/event", payload(), authorization=f"Bearer {token}")
        expect_answer(answer, 503, {"ok": False, "error": "Storage unavailable"})
    assert counted() == {"storage": 1}


def test_nobody_is_asked_for_a_token_while_they_are_off(post: Callable[..., Any]) -> None:
    assert post("/event?token=forged", payload(), authorization="Bearer forged").status_code == 201


@pytest.mark.django_db
def test_a_page_of_our_own_may_post(client: Client, post: Callable[..., Any]) -> None:
    assert post("/event", payload(), Origin="http://testserver").status_code == 201
    assert post("/event", payload(message="other"), Origin="https://testserver").status_code == 403
    assert post("/event", payload(message="other"), Origin="http://testserver.evil.example").status_code == 403
