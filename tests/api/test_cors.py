"""Who may read an answer in a browser: allowed origins, on public routes, whatever the answer is."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings

from tests.conftest import payload, success
from tests.storage import locked_events

pytestmark = pytest.mark.django_db

ORIGIN = "http://localhost:5173"
PUBLIC = [
    ("POST", "/event"),
    ("POST", "/event/batch"),
    ("GET", "/metrics/flash-count"),
    ("GET", "/health"),
    ("GET", "/health/ready"),
    ("POST", "/client-log"),
    ("GET", "/count"),
    ("POST", "/increment"),
    ("GET", "/recent"),
    ("GET", "/badge.svg"),
    ("GET", "/badge.json"),
    ("GET", "/stats"),
    ("GET", "/stats.json"),
]
STAFF = ["/metrics/summary", "/metrics/timeseries", "/failures"]


@pytest.fixture(autouse=True)
def _stats_are_public(settings: Any) -> None:
    settings.PUBLIC_STATS = True


def cors(answer: Any) -> dict[str, str]:
    """Return the CORS headers of an answer, by name."""
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return {name: value for name, value in headers.items() if name.startswith("access-control-")}


READABLE = {
    "access-control-allow-origin": ORIGIN,
    "access-control-allow-credentials": "true",
    "access-control-expose-headers": "Retry-After",
}


def ask(client: Client, method: str, path: str, body: Any = None, **headers: str) -> Any:
    data = body if isinstance(body, str) else json.dumps(body)
    content_type = headers.pop("content_type", "application/json")
    return client.generic(method, path, data, content_type=content_type, headers={"origin": ORIGIN} | headers)


@pytest.mark.parametrize(("method", "path"), PUBLIC)
def test_every_public_route_may_be_read(client: Client, method: str, path: str) -> None:
    for slash in ("", "/"):
        answer = ask(client, method, path + slash, payload())
        assert cors(answer) == READABLE
        assert "origin" in answer.headers["Vary"].lower()


@pytest.mark.parametrize(
    ("status", "method", "path", "body", "headers"),
    [
        (201, "POST", "/event", payload(), {}),
        (400, "POST", "/event", "{", {}),
        (400, "POST", "/event", {}, {}),
        (400, "POST", "/event", payload(), {"host": "evil.example"}),
        (404, "POST", "/event/nowhere", payload(), {}),
        (404, "GET", "/nowhere", None, {}),
        (405, "PUT", "/event", payload(), {}),
        (405, "DELETE", "/count", None, {}),
        (413, "POST", "/event", "x" * 200_000, {}),
        (415, "POST", "/event", payload(), {"content_type": "text/html"}),
        (415, "POST", "/event", payload(), {"content-encoding": "gzip"}),
        (503, "GET", "/recent", None, {}),
    ],
)
def test_a_refusal_may_be_read_too(
    client: Client, status: int, method: str, path: str, body: Any, headers: dict[str, str]
) -> None:
    answer = ask(client, method, path, body, **headers)
    assert (answer.status_code, answer.headers["Cache-Control"], cors(answer)) == (status, "no-store", READABLE)


@override_settings(INGEST_TOKEN_REQUIRED=True, ADMIN_TOKEN="for-tests")
@pytest.mark.parametrize(("method", "path"), [("POST", "/event"), ("POST", "/event/batch"), ("GET", "/recent")])
def test_a_401_may_be_read_too(client: Client, method: str, path: str) -> None:
    answer = ask(client, method, path, payload())
    assert (answer.status_code, cors(answer)) == (401, READABLE)


@override_settings(INGEST_RATE="1/d", BATCH_RATE="1/d", READ_RATE="1/d")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/event"),
        ("POST", "/event/batch"),
        ("GET", "/metrics/flash-count"),
        ("GET", "/badge.svg"),
        ("GET", "/stats"),
    ],
)
def test_a_429_may_be_read_too_and_its_retry_after(client: Client, method: str, path: str) -> None:
    ask(client, method, path, success())
    answer = ask(client, method, path, success())
    assert (answer.status_code, cors(answer)) == (429, READABLE)
    assert "Retry-After" in answer.headers


@pytest.mark.django_db(transaction=True)
def test_a_503_may_be_read_too(client: Client) -> None:
    with locked_events():
        answer = ask(client, "POST", "/event", payload())
    assert (answer.status_code, cors(answer)) == (503, READABLE)


@override_settings(READ_RATE="a broken setting")
def test_a_500_may_be_read_too(caplog: pytest.LogCaptureFixture) -> None:
    answer = ask(Client(raise_request_exception=False), "GET", "/metrics/flash-count")
    assert (answer.status_code, answer.json()) == (500, {"ok": False, "error": "Internal error"})
    assert answer.headers["Cache-Control"] == "no-store"
    assert cors(answer) == READABLE


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:51730"])
@pytest.mark.parametrize(("method", "path"), PUBLIC)
def test_another_origin_reads_nothing(client: Client, origin: str, method: str, path: str) -> None:
    answer = ask(client, method, path, payload(), origin=origin)
    assert cors(answer) == {}
    assert answer.status_code == 403 if method == "POST" else answer.status_code in (200, 503)


def test_a_request_without_an_origin_is_served(client: Client, post: Callable[..., Any]) -> None:
    answer = post("/event", payload())
    assert (answer.status_code, cors(answer)) == (201, {})


PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "content-type,authorization"}


@pytest.mark.parametrize(("method", "path"), PUBLIC)
def test_a_preflight_allows_what_a_beacon_needs(client: Client, method: str, path: str) -> None:
    answer = client.options(path, headers={"origin": ORIGIN} | PREFLIGHT)
    assert (answer.status_code, answer.content, dict(answer.cookies)) == (200, b"", {})
    assert answer.headers["Cache-Control"] == "no-store"
    assert cors(answer) == READABLE | {
        "access-control-allow-headers": "accept, authorization, content-type",
        "access-control-allow-methods": "GET, HEAD, POST, OPTIONS",
        "access-control-max-age": "86400",
    }


@override_settings(INGEST_RATE="1/d", INGEST_TOKEN_REQUIRED=True)
def test_a_preflight_is_no_request_yet(client: Client) -> None:
    for _ in range(3):
        assert client.options("/event", headers={"origin": ORIGIN} | PREFLIGHT).status_code == 200


def test_a_preflight_of_another_origin_allows_nothing(client: Client) -> None:
    answer = client.options("/event", headers={"origin": "https://evil.example"} | PREFLIGHT)
    assert cors(answer) == {}


@override_settings(ADMIN_TOKEN="for-tests")
@pytest.mark.parametrize("path", [*STAFF, "/admin/", "/admin/login/", "/admin/nowhere/", "/api/", "/api/schema/", "/"])
def test_nothing_that_is_not_public_may_be_read(
    admin_client: Client, client: Client, django_user_model: type[User], path: str
) -> None:
    for browser in (admin_client, client):
        for headers in ({}, {"authorization": "Bearer for-tests"}):
            answer = browser.get(path, headers={"origin": ORIGIN} | headers)
            assert answer.status_code < 500
            assert cors(answer) == {}
        assert cors(browser.options(path, headers={"origin": ORIGIN} | PREFLIGHT)) == {}


@override_settings(CORS_ALLOWED_ORIGINS=["https://tool.example"])
def test_the_list_is_a_setting(client: Client) -> None:
    answer = ask(client, "POST", "/event", payload(), origin="https://tool.example")
    assert (answer.status_code, cors(answer)["access-control-allow-origin"]) == (201, "https://tool.example")
    assert ask(client, "POST", "/event", payload()).status_code == 403
