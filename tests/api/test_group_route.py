"""`GET /groups/{key}`: one failure group, its shares, its newest event, and the keys that lead to it."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from events import clock
from events.grouping import merges
from events.models import Event, FailureGroup, FormerGroup
from events.reports.groups import breakdowns
from tests.conftest import make_event, success
from tests.fixtures.flashes import NOW, NOW_MS
from tests.refusals import expect_answer
from tests.sourcemaps.maps import BUNDLE, V8, store_map

pytestmark = pytest.mark.django_db

BEARER = {"authorization": "Bearer for-tests"}
NOT_FOUND = {"ok": False, "error": "No such group"}
DAY_MS = 86_400_000


@pytest.fixture(autouse=True)
def _at_a_fixed_time(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ADMIN_TOKEN = "for-tests"
    monkeypatch.setattr(clock, "now", lambda: NOW)


def fail(message: str, *, days_ago: int = 0, **changes: Any) -> str:
    return make_event(message=message, received_at_ms=NOW_MS - days_ago * DAY_MS, **changes).fingerprint or ""


def ask(client: Client, key: str, query: str = "") -> dict[str, Any]:
    answer = client.get(f"/groups/{key}{query}", headers=BEARER)
    assert answer.status_code == 200, answer.json()
    return answer.json()  # type: ignore[no-any-return]


def part(name: str, events: int, of_group: float, of_flashes: float | None) -> dict[str, Any]:
    return {"name": name, "events": events, "of_group": of_group, "of_flashes": of_flashes}


def test_the_item_has_shares_and_the_newest_event(client: Client) -> None:
    key = fail("x", days_ago=1, metadata_json='{"browser":"Chrome 139"}')
    fail("x", write_mode=0, occurred_at="2026-02-12T18:00:01Z", model="DM-32", session_id="of-x")
    for number in range(4):
        browser = f"Chrome 13{8 + number // 3}"
        make_event(
            **success(write_mode=number % 2, metadata_json=f'{{"browser":"{browser}"}}'), received_at_ms=NOW_MS - DAY_MS
        )
    fail("not a flash", event_type="window_error")
    body = ask(client, key)
    (item,) = client.get("/groups?q=x&type=flash_error", headers=BEARER).json()["results"]
    event = Event.objects.get(session_id="of-x")
    assert body == {
        "ok": True,
        **item,
        "span": "30",
        "events_of_span": 2,
        "shares": {
            "model": [part("DM-32", 1, 0.5, 0.0), part("UV-5RM", 1, 0.5, 1.0)],
            "version": [part("19afc18", 2, 1.0, 1.0)],
            "mode": [part("0", 1, 0.5, 0.5), part("1", 1, 0.5, 0.5)],
            "connected": [part("1", 2, 1.0, 1.0)],
            "f.browser": [part("Chrome 139", 1, 1.0, 0.25), part("(not told)", 1, 0.5, 0.0)],
        },
        "newest_event": {
            "id": event.pk,
            "received_at_ms": NOW_MS,
            "occurred_at": "2026-02-12T18:00:01.000Z",
            "event_type": "flash_error",
            "session_id": "of-x",
            "model": "DM-32",
            "write_mode": 0,
            "connected": 1,
            "app_version": "19afc18",
            "message": "x",
            "error_name": None,
            "stack": None,
            "log_lines_json": [],
            "metadata_json": {},
        },
    }


@pytest.mark.parametrize(("span", "events"), [("", 2), ("1", 1), ("7", 1), ("30", 2), ("90", 3), ("all", 3)])
def test_the_shares_are_those_of_the_page(client: Client, admin_client: Client, span: str, events: int) -> None:
    key = fail("x", days_ago=60)
    fail("x", days_ago=20, write_mode=0)
    fail("x", connected=0)
    body = ask(client, key, f"?span={span}")
    assert (body["span"], body["events_of_span"]) == (span or "30", events)
    page = admin_client.get(f"/admin/events/failuregroup/{key}/", {"span": span or "30"})
    compared: breakdowns.Comparison = page.context["compared"]
    shown = {facet: [(one.name, one.events) for one in parts] for facet, parts in compared.parts.items()}
    assert {name: [(one["name"], one["events"]) for one in parts] for name, parts in body["shares"].items()} == shown


def test_the_frames_of_the_newest_event_are_resolved(client: Client) -> None:
    store_map()
    key = make_event(error_name="ProtocolError", stack=V8).fingerprint or ""
    first = ask(client, key)["newest_event"]["frames"][0]
    assert (first["file"], first["raw"]) == ("src/protocol.ts", V8.splitlines()[1].strip())
    assert BUNDLE in first["raw"]


def test_a_group_whose_events_were_deleted_has_none(client: Client) -> None:
    key = fail("x")
    Event.objects.all().delete()
    body = ask(client, key)
    assert (body["newest_event"], body["events"]) == (None, 1)


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("?span=2", {"span": ["Select a valid choice. 2 is not one of the available choices."]}),
        ("?days=7&span=", {"days": ["This list has no such filter."]}),
    ],
)
def test_a_wrong_parameter_is_refused(client: Client, query: str, fields: dict[str, list[str]]) -> None:
    answer = client.get(f"/groups/{fail('x')}{query}", headers=BEARER)
    expect_answer(answer, 400, {"ok": False, "error": "Invalid parameters", "fields": fields})


def test_the_number_of_queries_depends_on_nothing(client: Client) -> None:
    key = fail("x")
    ask(client, key)  # reads past days, once in a process
    with CaptureQueriesContext(connection) as queries:
        ask(client, key)
    few = len(queries)
    for number in range(12):
        fail(
            "x", model=f"model {number}", app_version=f"version {number}", occurred_at=f"2026-02-12T18:01:{number:02}Z"
        )
    with CaptureQueriesContext(connection) as queries:
        ask(client, key)
    assert len(queries) == few < 20
    assert not [query for query in queries if "COUNT(" in query["sql"]]


# --- keys -------------------------------------------------------------------------------------------------------


def rename(old: str, new: str) -> str:
    """Give a group another key, so that two of them begin alike."""
    FailureGroup.objects.filter(pk=old).update(fingerprint=new)
    return new


def test_the_beginning_of_a_key_is_enough(client: Client) -> None:
    one = rename(fail("one"), "3fa81c22aaaaaaaa")
    other = rename(fail("two"), "3fa81c22aaaaaabb")
    far = fail("three")
    for beginning, key in {one: one, one[:15]: one, other[:15]: other, far[:8]: far, far: far}.items():
        assert ask(client, beginning)["key"] == key
    for beginning in ("3fa81c22", "3fa81c22aaaaaa"):
        words = f"The keys of several groups begin with {beginning}. Send more characters of the key."
        expect_answer(client.get(f"/groups/{beginning}", headers=BEARER), 409, {"ok": False, "error": words})


@pytest.mark.parametrize(
    "key",
    [
        "3fa81c2", "3FA81C22", "3fa81c22b", "3fa81c22aaaaaaaaa", "ffffffff", "3fa81c2%25", "3fa81c2_", "%00", "a%00b",
        "3fa81c22%0A", "é" * 8, "x" * 5000, "overflow", "..%2f", "3fa81c22%20", "٣٣٣٣٣٣٣٣",
    ],
)  # fmt: skip
def test_an_unknown_key_is_not_found(client: Client, key: str) -> None:
    rename(fail("one"), "3fa81c22aaaaaaaa")
    expect_answer(client.get(f"/groups/{key}", headers=BEARER), 404, NOT_FOUND)


def test_the_key_of_a_merged_group_leads_to_the_other_one(client: Client) -> None:
    old, middle, whole = fail("old"), fail("middle"), fail("whole")
    who = User(username="olga")
    merges.merge(old, middle, user=who, at=NOW)
    merges.merge(middle, whole, user=who, at=NOW + timedelta(seconds=1))
    for key in (old, middle, whole, old[:8], middle[:9]):
        body = ask(client, key)
        assert (body["key"], body["events"]) == (whole, 3)
    assert client.get("/groups?status=all", headers=BEARER).json()["results"][0]["key"] == whole


def test_a_beginning_is_compared_with_former_keys_too(client: Client) -> None:
    old, whole, third = fail("old"), fail("whole"), fail("third")
    merges.merge(old, whole, user=User(username="olga"), at=NOW)
    FormerGroup.objects.filter(pk=old).update(fingerprint="3fa81c22aaaaaaaa")
    assert ask(client, "3fa81c22")["key"] == whole
    rename(whole, "3fa81c22bbbbbbbb")
    FormerGroup.objects.update(joined="3fa81c22bbbbbbbb")
    assert ask(client, "3fa81c22")["key"] == "3fa81c22bbbbbbbb"  # both lead to one group
    rename(third, "3fa81c22cccccccc")
    assert client.get("/groups/3fa81c22", headers=BEARER).status_code == 409


def test_an_overflow_group_has_a_key_in_words(client: Client) -> None:
    key = rename(fail("x"), "overflow-flash_error")
    body = ask(client, key)
    assert body["url"] == f"http://127.0.0.1:8000/admin/events/failuregroup/{key.replace('_', '_5F')}/"
    assert client.get("/groups/overflow-", headers=BEARER).status_code == 404
