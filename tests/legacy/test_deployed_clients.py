"""Requests of the deployed clients of every revision, unchanged, to this site."""

import json
from typing import Any

import pytest
from django.test import Client, override_settings

from events.models import Event
from events.reports import metrics
from legacy.models import ClientLog, LegacyCount
from tests.fixtures.deployed_clients import DUAL_WRITING, NEWEST, OLDEST, Sent, cut, everything, failure

pytestmark = pytest.mark.django_db

ORIGIN = "http://localhost:5173"


def replay(client: Client, requests: list[Sent]) -> list[tuple[Sent, Any]]:
    answers = []
    for sent in requests:
        data = sent.body.encode() if sent.body else b""  # a browser sends valid UTF-8
        headers = {"origin": ORIGIN}
        answer = client.generic(sent.method, sent.path, data, content_type="application/json", headers=headers)
        answers.append((sent, answer))
    return answers


def test_the_requests_have_the_shapes_of_those_revisions() -> None:
    units = {
        revision: [
            len(str(failure(revision, "long", 0)[field]).encode("utf-16-le")) // 2
            for field in ("message", "error_name", "stack")
        ]
        for revision in (OLDEST, DUAL_WRITING)
    }
    assert units == {OLDEST: [300, 120, 1_200], DUAL_WRITING: [302, 122, 1_202]}
    assert len(cut("z" * 400, 240, NEWEST)) == 242
    half_pairs = [sent for sent in everything() if sent.body and "\\ud83d" in sent.body]
    assert len(half_pairs) == 5
    assert max(len(sent.body or "") for sent in everything()) > 65_536


def test_every_request_is_accepted_and_may_be_read(client: Client) -> None:
    for sent, answer in replay(client, everything()):
        assert (sent.case, answer.status_code // 100, answer.json()["ok"]) == (sent.case, 2, True)
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN


def test_each_success_counts_once_and_each_failure_is_one(client: Client) -> None:
    replay(client, everything())
    assert client.get("/metrics/flash-count").json() == {"ok": True, "total": 3}
    assert client.get("/count").json() == {"ok": True, "total": 3}
    assert (Event.objects.successes().count(), Event.objects.failures().count()) == (3, 18)
    assert (ClientLog.objects.count(), LegacyCount.objects.count()) == (18, 1)
    by_type = metrics.totals_by_type(0, 2**52)
    assert by_type == {
        "flash_success": 3,
        "flash_error": 9,
        "connect_error": 3,
        "window_error": 3,
        "unhandled_rejection": 3,
    }


def test_a_repeated_request_changes_nothing(client: Client) -> None:
    replay(client, everything())
    before = list(Event.objects.order_by("id").values())
    replay(client, everything())
    assert list(Event.objects.order_by("id").values()) == before
    assert client.get("/metrics/flash-count").json()["total"] == 3


def test_twins_are_one_failure_in_either_order(client: Client) -> None:
    replay(client, list(reversed(everything())))
    assert (Event.objects.successes().count(), Event.objects.failures().count()) == (3, 18)
    assert ClientLog.objects.count() == 18


def test_cut_emoji_are_stored_as_replacement_characters(client: Client) -> None:
    replay(client, everything())
    for event in Event.objects.filter(event_type="connect_error"):
        assert event.message.startswith("📻" * 149 + "\ufffd")
        assert "\ufffd" in json.loads(event.log_lines_json)[1]


def test_the_old_list_contains_all_failures(client: Client) -> None:
    replay(client, everything())
    with override_settings(ADMIN_TOKEN="for-tests"):
        rows = client.get("/recent?limit=200", headers={"authorization": "Bearer for-tests"}).json()["rows"]
    assert len(rows) == 18
    assert {row["appVersion"] for row in rows} == {OLDEST, DUAL_WRITING, NEWEST}
    assert all(isinstance(line, str) for row in rows for line in row["logLines"])
