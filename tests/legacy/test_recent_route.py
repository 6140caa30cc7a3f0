"""`GET /recent`: the old list of failures, for clients with ADMIN_TOKEN."""

from typing import Any

import pytest
from django.test import Client, override_settings

from legacy import translate
from tests.conftest import make_event, success
from tests.refusals import expect_answer

pytestmark = pytest.mark.django_db

BEARER = {"authorization": "Bearer for-tests"}


@pytest.fixture
def admin_token(settings: Any) -> None:
    settings.ADMIN_TOKEN = "for-tests"


def test_without_a_configured_token_there_is_nothing_to_read(client: Client, admin_client: Client) -> None:
    make_event()
    for browser in (client, admin_client):
        for headers in ({}, BEARER, {"authorization": "Bearer "}):
            answer = browser.get("/recent", headers=headers)
            assert (answer.status_code, answer.json()["ok"], "rows" in answer.json()) == (503, False, False)


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer for-test",
        "Bearer for-testsx",
        "for-tests",
        "Basic for-tests",
        "Bearer FOR-TESTS",
        "Bearer é",
        "Bearer for-tests for-tests",
    ],
)
@pytest.mark.usefixtures("admin_token")
def test_a_wrong_token_reads_nothing(client: Client, authorization: str) -> None:
    make_event()
    answer = client.get("/recent?token=for-tests", headers={"authorization": authorization})
    expect_answer(answer, 401, {"ok": False, "error": "Unauthorized"})
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.usefixtures("admin_token")
def test_a_sign_in_session_does_not_count(admin_client: Client) -> None:
    expect_answer(admin_client.get("/recent"), 401, {"ok": False, "error": "Unauthorized"})


@pytest.mark.usefixtures("admin_token")
def test_failures_have_the_form_of_the_old_worker(client: Client) -> None:
    make_event(**success())
    older = make_event(
        received_at_ms=1_770_919_200_000,
        error_name="ProtocolError",
        stack="at flash",
        write_mode=0,
        log_lines_json='["open", 5, null, ["é"], {"a": 1}]',
    )
    newer = make_event(received_at_ms=1_770_919_200_001, message="Another", connected=0, log_lines_json='{"a": "é"}')
    shared = {"eventType": "flash_error", "model": "UV-5RM", "appVersion": "19afc18", "pageUrl": ""}
    rows = [
        {
            "id": newer.id,
            "receivedAtMs": 1_770_919_200_001,
            "occurredAt": "2026-02-12T18:00:00.000Z",
            "message": "Another",
            "errorName": None,
            "writeMode": True,
            "connected": False,
            "logLines": ['{"a": "é"}'],
        },
        {
            "id": older.id,
            "receivedAtMs": 1_770_919_200_000,
            "occurredAt": "2026-02-12T18:00:00.000Z",
            "message": "No ACK for block 0x001f (got 0x15)",
            "errorName": "ProtocolError",
            "writeMode": False,
            "connected": True,
            "logLines": ["open", "5", "null", '["é"]', '{"a": 1}'],
        },
    ]
    answer = client.get("/recent", headers=BEARER)
    expect_answer(answer, 200, {"ok": True, "count": 2, "rows": [row | shared for row in rows]})


@pytest.mark.parametrize(
    ("limit", "count"),
    [
        ("", 50),
        ("?limit=", 50),
        ("?limit=nonsense", 50),
        ("?limit=nan", 50),
        ("?limit=0", 1),
        ("?limit=-3", 1),
        ("?limit=2.9", 2),
        ("?limit=52", 52),
        ("?limit=1e9", 60),
        ("?limit=201", 60),
    ],
)
@pytest.mark.usefixtures("admin_token")
def test_the_limit_is_clamped(client: Client, limit: str, count: int) -> None:
    for number in range(60):
        make_event(message=f"Failure {number}")
    answer = client.get(f"/recent/{limit}", headers=BEARER).json()
    assert (answer["count"], len(answer["rows"])) == (count, count)


@pytest.mark.usefixtures("admin_token")
def test_an_empty_site_has_no_rows(client: Client) -> None:
    expect_answer(client.get("/recent", headers=BEARER), 200, {"ok": True, "count": 0, "rows": []})


@override_settings(ADMIN_TOKEN="for-tests")
def test_only_get_is_allowed(client: Client) -> None:
    expect_answer(client.post("/recent", headers=BEARER), 405, {"ok": False, "error": "Method not allowed"})


def test_digits_with_underscores_are_invalid() -> None:
    assert translate.recent_limit("1_0") == 50
