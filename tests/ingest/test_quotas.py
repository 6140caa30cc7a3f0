"""What one client may store on a day, and how many events it may send in batches."""

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client, override_settings

from events import clock, process_memory, rates, rows
from events.ingest import guards, quotas
from events.ingest.refusals import RefusalReason
from events.models import Event
from legacy.models import ModeInForce
from tests.conftest import payload, success
from tests.refusals import counted, expect_answer

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _limiter_is_there() -> Iterator[None]:
    guards.forget_absence()
    yield
    guards.forget_absence()


def brought() -> int:
    """Return how many bytes are counted against the only client."""
    return sum(known for known, _ in quotas._brought.values())


def batch(*events: dict[str, Any]) -> dict[str, Any]:
    return {"events": list(events)}


def size_of_stored() -> int:
    columns = rows.EventRow._fields
    return sum(rows.size_of(rows.EventRow(*row)) for row in Event.objects.values_list(*columns))


# --- bytes ----------------------------------------------------------------------------------------------------------

DOORS: dict[str, Callable[[int], tuple[str, Any]]] = {
    "/event": lambda number: ("/event", success(session_id=f"s{number}")),
    "/event/batch": lambda number: ("/event/batch", batch(success(session_id=f"s{number}"))),
    "/client-log": lambda number: ("/client-log", payload(message=f"fault {number}")),
    "/increment": lambda number: ("/increment", {"sessionId": f"s{number}"}),
}


@override_settings(DAILY_BYTES_PER_CLIENT=1)
@pytest.mark.parametrize("path", DOORS)
def test_a_client_over_its_bytes_of_the_day_is_refused_at_every_door(
    post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOON)
    assert post(*DOORS[path](1)).status_code in (200, 201)
    for other in DOORS:
        answer = post(*DOORS[other](2))
        expect_answer(answer, 429, {"ok": False, "error": "Too many requests"})
        assert answer.headers["Retry-After"] == str(12 * 3600 + 1)
    assert Event.objects.count() == 1
    assert counted() == {"quota": 4}


@override_settings(DAILY_BYTES_PER_CLIENT=1)
def test_the_quota_starts_again_on_the_next_day(post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOON)
    assert post("/event", success()).status_code == 201
    refused = post("/event", success())
    assert refused.status_code == 429
    monkeypatch.setattr(clock, "now", lambda: NOON + timedelta(seconds=int(refused.headers["Retry-After"])))
    assert post("/event", success()).status_code == 201


@override_settings(DAILY_BYTES_PER_CLIENT=1)
def test_each_client_has_a_day_of_its_own(client: Client) -> None:
    def status(address: str) -> int:
        return client.post("/event", success(), content_type="application/json", REMOTE_ADDR=address).status_code

    assert [status("192.0.2.1"), status("192.0.2.2"), status("192.0.2.1")] == [201, 201, 429]
    assert [status("2001:db8::1"), status("2001:db8::2")] == [201, 429]


@override_settings(DAILY_BYTES_PER_CLIENT=1)
def test_a_client_over_its_quota_is_refused_before_its_body_is_read(post: Callable[..., Any]) -> None:
    post("/event", success())
    assert post("/event", b"{").status_code == 429


LARGE = {"message": "Ä" * 500, "stack": "é" * 4_000, "log_lines_json": json.dumps(["😀" * 1_000], ensure_ascii=False)}


@override_settings(DAILY_BYTES_PER_CLIENT=10**9)
def test_what_is_stored_is_counted_in_bytes_of_utf8(post: Callable[..., Any]) -> None:
    post("/event", payload(**LARGE))
    assert brought() == size_of_stored() > 500 * 2 + 4_000 * 2 + 1_000 * 4
    post("/event/batch", batch(success(), payload(), payload(model=7)))
    assert brought() == size_of_stored()


@override_settings(DAILY_BYTES_PER_CLIENT=10**9)
def test_the_long_texts_of_the_old_route_count_once(post: Callable[..., Any]) -> None:
    post("/client-log", payload(**LARGE))
    event = rows.EventRow(*Event.objects.values_list(*rows.EventRow._fields).get())
    logged = rows.size_of(event._replace(stack=None, log_lines_json="[]"))
    assert brought() == size_of_stored() + logged
    assert logged < 2_000 < size_of_stored()


@override_settings(DAILY_BYTES_PER_CLIENT=10**9)
def test_in_separate_it_is_stored_and_counted_once(post: Callable[..., Any]) -> None:
    ModeInForce.objects.create(id=1, mode="separate")
    post("/client-log", payload(**LARGE))
    assert not Event.objects.exists()
    once = brought()
    assert once > 500 * 2 + 4_000 * 2 + 1_000 * 4
    post("/client-log", payload(**LARGE))
    assert brought() == once


# Each is sent when its first time is counted already.
UNCOUNTED: dict[str, tuple[str, Any]] = {
    "a duplicate": ("/event", success(session_id="known")),
    "a duplicate in a batch": ("/event/batch", batch(success(session_id="known"))),
    "a duplicate of the old counter": ("/increment", {"sessionId": "known"}),
    "no JSON": ("/event", b"{"),
    "wrong fields": ("/event", payload(model=7)),
    "wrong fields in a batch": ("/event/batch", batch(payload(model=7))),
    "wrong fields of the old log": ("/client-log", payload(message=7)),
    "too large": ("/event", payload(metadata_json="x" * 200_000)),
}


@override_settings(DAILY_BYTES_PER_CLIENT=10**9)
@pytest.mark.parametrize("case", UNCOUNTED)
def test_duplicates_and_refusals_are_not_counted(post: Callable[..., Any], case: str) -> None:
    post("/event", success(session_id="known"))
    post("/increment", {"sessionId": "known"})
    before = brought()
    post(*UNCOUNTED[case])
    assert brought() == before


@override_settings(DAILY_BYTES_PER_CLIENT=None)
def test_a_quota_that_is_off_counts_nothing(post: Callable[..., Any]) -> None:
    assert {post("/event", success()).status_code for _ in range(5)} == {201}
    assert quotas._brought == {}


@override_settings(DAILY_BYTES_PER_CLIENT=1)
def test_the_quota_remembers_no_address(post: Callable[..., Any]) -> None:
    post("/event", payload())
    assert quotas._brought
    assert "127.0.0.1" not in repr(quotas._brought)


@override_settings(DAILY_BYTES_PER_CLIENT=1)
def test_of_too_many_clients_the_first_is_forgotten(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas, "MOST_CLIENTS", 2)

    def status(number: int) -> int:
        address = f"192.0.2.{number}"
        return client.post("/event", success(), content_type="application/json", REMOTE_ADDR=address).status_code

    assert [status(number) for number in (1, 2, 3, 2, 1)] == [201, 201, 201, 429, 201]


# --- several processes ----------------------------------------------------------------------------------------------


@pytest.mark.needs_redis
def test_processes_share_the_count_by_redis(post: Callable[..., Any], redis_url: str) -> None:
    """This process forgets its own memory, and so becomes another one."""
    backend = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": redis_url}
    caches = {"default": backend | {"KEY_PREFIX": uuid.uuid4().hex}}
    with override_settings(CACHES=caches, CACHE_URL=redis_url, DAILY_BYTES_PER_CLIENT=64_000):
        while post("/event", success(stack="x" * 4_000)).status_code == 201:
            pass
        first = size_of_stored()
        process_memory.clear()
        # A process reads the shared count after a sixteenth of the quota.
        assert [post("/event", success(stack="x" * 4_000)).status_code for _ in range(2)] == [201, 429]
    assert 64_000 <= first < 64_000 + 4_500


@override_settings(
    CACHE_URL="redis://127.0.0.1:1/0",
    CACHES={"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}},
    DAILY_BYTES_PER_CLIENT=16,
)
def test_without_its_redis_each_process_counts_for_itself(post: Callable[..., Any]) -> None:
    assert [post("/event", success()).status_code for _ in range(2)] == [201, 429]


# --- events in batches ----------------------------------------------------------------------------------------------


@override_settings(BATCH_EVENTS_RATE="250/m")
def test_a_batch_over_the_rate_of_events_is_refused_whole(
    post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOON + timedelta(seconds=10))
    for _ in range(2):
        assert post("/event/batch", batch(*(success() for _ in range(100)))).status_code == 200
    answer = post("/event/batch", batch(*(success() for _ in range(100))))
    expect_answer(answer, 429, {"ok": False, "error": "Too many requests"})
    assert answer.headers["Retry-After"] == "50"
    assert Event.objects.count() == 200
    assert counted() == {RefusalReason.RATE_LIMITED: 1}
    assert post("/event/batch", batch(*(success() for _ in range(50)))).status_code == 200


@override_settings(BATCH_EVENTS_RATE="2/m")
def test_events_that_are_no_events_count_too(post: Callable[..., Any]) -> None:
    assert post("/event/batch", batch({}, {})).status_code == 200
    assert post("/event/batch", batch({})).status_code == 429


@pytest.mark.parametrize("rate", ["300/m", "100/m", "50/m", "1/10s", "250/h"])
def test_a_full_queue_of_our_client_gets_through_by_retry_after(
    post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, rate: str
) -> None:
    """Ten batches of 100; each that is refused is sent again when the answer says."""
    now = NOON
    monkeypatch.setattr(clock, "now", lambda: now)
    with override_settings(BATCH_EVENTS_RATE=rate):
        refused = 0
        for _ in range(10):
            events = batch(*(success() for _ in range(100)))
            while (answer := post("/event/batch", events)).status_code == 429:
                refused += 1
                now += timedelta(seconds=int(answer.headers["Retry-After"]))
            assert answer.status_code == 200
    assert refused < 10
    assert Event.objects.count() == 1_000


@override_settings(BATCH_EVENTS_RATE="1/d")
def test_the_rate_of_events_remembers_no_address(post: Callable[..., Any]) -> None:
    backend = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": uuid.uuid4().hex}
    with override_settings(CACHES={"default": backend}):
        post("/event/batch", batch(success()))
        kept = repr(cache._cache)  # type: ignore[attr-defined]
    assert kept != repr({})
    assert "127.0.0.1" not in kept


@pytest.mark.parametrize(
    ("rate", "split"),
    [("120/m", (120, 60)), ("5/10s", (5, 10)), ("1/d", (1, 86_400)), ("9/2h", (9, 7_200)), ("3/s", (3, 1))],
)
def test_a_rate_in_parts(rate: str, split: tuple[int, int]) -> None:
    assert rates.split(rate) == split
