"""`GET /health` and `GET /health/ready`: the process answers; the database takes writes."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client

from events import clock
from events.api import health
from tests.refusals import expect_answer
from tests.storage import locked_events, read_only_database

HEALTHY = {"ok": True, "service": "telemetry-site"}


@pytest.mark.parametrize("path", ["/health", "/health/"])
def test_health_touches_no_database(client: Client, path: str) -> None:
    expect_answer(client.get(path), 200, HEALTHY)  # this test has no right to the database


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/health/ready", "/health/ready/"])
def test_a_database_that_takes_writes_is_ready(client: Client, path: str) -> None:
    expect_answer(client.get(path), 200, HEALTHY)


@pytest.mark.django_db(transaction=True)
def test_a_database_that_takes_no_writes_is_not_ready_and_says_why(client: Client) -> None:
    with read_only_database():
        answer = client.get("/health/ready")
    why = {
        "sqlite": "attempt to write a readonly database",
        "postgresql": "cannot execute SELECT FOR UPDATE in a read-only transaction",
    }
    expect_answer(answer, 503, {"ok": False, "error": f"Storage unavailable: {why[connection.vendor]}"})
    assert int(answer.headers["Retry-After"]) > 0
    health.forget()
    assert client.get("/health/ready").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_a_locked_database_is_not_ready(client: Client) -> None:
    if connection.vendor == "postgresql":
        pytest.skip("about SQLite, which has one lock for all tables")
    with locked_events():
        answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert "locked" in answer.json()["error"]


@pytest.mark.django_db(transaction=True)
def test_a_database_server_that_is_away_is_not_named(client: Client, settings: Any) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("about PostgreSQL, whose errors name the server and its user")
    connection.close()
    real = connection.settings_dict | {}
    connection.settings_dict |= {"PORT": 1, "USER": "the-user", "OPTIONS": {}}
    try:
        answer = client.get("/health/ready")
    finally:
        connection.close()
        connection.settings_dict.update(real)
    expect_answer(answer, 503, {"ok": False, "error": "Storage unavailable: the database does not answer"})


@pytest.mark.django_db
def test_one_answer_serves_everyone_for_a_moment(django_assert_num_queries: Any) -> None:
    health.storage_fault(clock.now_ms())
    with django_assert_num_queries(0):
        assert health.storage_fault(clock.now_ms()) is None


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/health", "/health/ready"])
def test_health_is_only_read(client: Client, method: str, path: str) -> None:
    expect_answer(client.generic(method, path), 405, {"ok": False, "error": "Method not allowed"})


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/health", "/health/ready"])
def test_head_has_no_body(client: Client, path: str) -> None:
    answer = client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
