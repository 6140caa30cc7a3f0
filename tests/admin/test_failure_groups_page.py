"""Failure groups: the list, its filters, every order, and its CSV."""

import csv
import io
import itertools
from collections.abc import Callable
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from events import clock
from events.counting.buckets import DAY_MS, HOUR_MS
from events.grouping import triage
from events.models import AuditEntry, FailureGroup
from events.reports.groups import ranking
from tests.conftest import BANNER_QUERIES, VIEW_QUERIES, make_event, sign_in, success

pytestmark = pytest.mark.django_db
PATH = "/admin/events/failuregroup/"


def titles(client: Client, **query: object) -> list[str]:
    answer = client.get(PATH, query)
    assert answer.status_code == 200
    return [row.group.title for row, _ in answer.context["rows"]]


def decided(decide: Callable[..., int], message: str, **decision: object) -> None:
    group = FailureGroup.objects.get(title=message)
    user, _ = User.objects.get_or_create(username="kim")
    decide([group.pk], user=user, at=clock.now(), **decision)


@pytest.fixture
def reader(client: Client) -> Client:
    sign_in(client, "Maintainers")
    return client


# --- who may, and the empty pages ------------------------------------------------------------------------------


def test_staff_look_and_export_but_have_nothing_to_decide_with(client: Client) -> None:
    make_event()
    sign_in(client, "Staff")
    text = client.get(PATH).content.decode()
    assert "Export…" in text
    assert 'name="id"' not in text
    assert "Resolve…" not in text


def test_an_empty_site_says_what_makes_the_first_failure_come(reader: Client) -> None:
    assert b"curl http://testserver/event" in reader.get(PATH).content


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"status": "regression"}, b"No regression"),
        ({"status": "resolved"}, b"No resolved group"),
        ({"status": "muted"}, b"No muted group"),
        ({"status": "expected"}, b"No expected group"),
        ({"q": "unheard of"}, b"No group matches these filters"),
    ],
)
def test_each_empty_list_says_what_belongs_there(reader: Client, query: dict[str, str], words: bytes) -> None:
    make_event()
    assert words in reader.get(PATH, query).content


def test_a_site_on_which_all_is_resolved_says_so(reader: Client) -> None:
    make_event(message="No ACK")
    decided(triage.resolve, "No ACK", fixed_in="19afc18")
    assert b"No open group" in reader.get(PATH).content


# --- rows ---------------------------------------------------------------------------------------------------------


def test_failures_that_are_the_same_stand_in_one_row_with_all_that_is_asked_for(reader: Client) -> None:
    now_ms = clock.now_ms()
    for number, (age_ms, model, version) in enumerate(
        [(3 * DAY_MS, "UV-5RM", "19afc18"), (HOUR_MS, "UV-17R", "19afc18"), (60_500, "UV-17R", "7c1d2e3")]
    ):
        make_event(
            message=f"No ACK for block 0x{number:04x}",
            error_name="ProtocolError",
            stack="ProtocolError: x\n    at writeBlock (protocol.ts:88:13)",
            model=model,
            app_version=version,
            received_at_ms=now_ms - age_ms,
        )
    make_event(**success())
    answer = reader.get(PATH)
    ((row, line),) = answer.context["rows"]
    assert (row.group.title, row.group.accepted, row.last_day) == ("No ACK for block …", 3, 2)
    assert (row.models, row.versions, row.status) == (["UV-17R", "UV-5RM"], ["19afc18", "7c1d2e3"], "open")
    assert (sum(row.days), row.days[-4]) == (3, 1)
    text = unescape(answer.content.decode())
    for part in ("▲", "flash_error", "ProtocolError", "writeBlock (protocol.ts)", "1 min ago", "3 days ago", line):
        assert part in text


def test_noise_is_marked_and_can_be_left_out(reader: Client) -> None:
    make_event(message="No ACK")
    make_event(message="Script error.", event_type="window_error")
    make_event(message="Lost", event_type="window_error", stack="scan@moz-extension://0b6c1f0e/content.js:1:2")
    shown = {
        noise: sorted(row.group.title for row, _ in reader.get(PATH, {"noise": noise}).context["rows"])
        for noise in ("", "hidden", "only")
    }
    assert shown == {
        "": ["Lost", "No ACK", "Script error."],
        "hidden": ["No ACK"],
        "only": ["Lost", "Script error."],
    }
    text = reader.get(PATH).content.decode()
    assert (text.count("browser extension"), text.count("browser noise")) == (1, 2)  # the filter names the latter too


def test_a_group_shows_the_error_without_the_words_of_a_browser(reader: Client) -> None:
    event = make_event(message="undefined is not an object (evaluating 'e.zones')", error_name="TypeError")
    text = reader.get(f"{PATH}{event.fingerprint}/").content.decode()
    assert "In every browser: <bdi>access to a property of undefined: zones</bdi>" in text
    plain = make_event(message="No ACK")
    assert "In every browser" not in reader.get(f"{PATH}{plain.fingerprint}/").content.decode()


def test_a_title_is_text_whatever_is_in_it(reader: Client) -> None:
    make_event(message="<script>alert(1)</script> {{ 7*7 }}")
    text = reader.get(PATH).content.decode()
    assert "&lt;script&gt;alert(…)&lt;/script&gt; {{ …*… }}" in text
    assert "<script>alert" not in text


# --- filters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["refused", "timed out", "No ACK"]),
        ({"type": "connect_error"}, ["refused"]),
        ({"model": "UV-17R"}, ["timed out"]),
        ({"version": "7c1d2e3"}, ["refused"]),
        ({"q": "no ack"}, ["No ACK"]),
        ({"q": "TimeoutError"}, ["timed out"]),
        ({"q": "handshake"}, ["timed out"]),
        ({"new": "24h"}, ["refused"]),
        ({"new": "7d"}, ["refused", "timed out"]),
        ({"type": "flash_error", "model": "UV-17R", "q": "timed"}, ["timed out"]),
        ({"type": "connect_error", "model": "UV-17R"}, []),
    ],
)
def test_filters_keep_what_meets_them_and_combine(reader: Client, query: dict[str, str], expected: list[str]) -> None:
    now_ms = clock.now_ms()
    make_event(message="No ACK", received_at_ms=now_ms - 9 * DAY_MS)
    make_event(
        message="timed out",
        error_name="TimeoutError",
        stack="TimeoutError: timed out\n    at handshake (uploader.ts:120:11)",
        model="UV-17R",
        received_at_ms=now_ms - 3 * DAY_MS,
    )
    make_event(message="refused", event_type="connect_error", app_version="7c1d2e3", received_at_ms=now_ms - HOUR_MS)
    assert titles(reader, **query) == expected


def test_each_status_has_its_list(reader: Client) -> None:
    for number, message in enumerate(
        ["still open", "mended", "known", "known for a while", "came back", "a closed picker"]
    ):
        make_event(message=message, received_at_ms=clock.now_ms() - number)
    decided(triage.resolve, "mended", fixed_in="7c1d2e3")
    decided(triage.mute, "known", until_ms=None)
    decided(triage.expect, "a closed picker")
    decided(triage.mute, "known for a while", until_ms=clock.now_ms() - 1)
    make_event(**success())
    decided(triage.resolve, "came back", fixed_in="19afc18")
    make_event(message="came back", write_mode=0)
    assert set(titles(reader)) == {"still open", "known for a while", "came back"}
    assert titles(reader, status="regression") == ["came back"]
    assert titles(reader, status="resolved") == ["mended"]
    assert titles(reader, status="muted") == ["known"]
    assert titles(reader, status="expected") == ["a closed picker"]
    assert [row["status"] for row in exported(reader, status="expected")] == ["expected"]
    assert len(titles(reader, status="all")) == 6


@pytest.mark.parametrize(
    "query",
    [
        {"status": "closed"},
        {"sort": "password"},
        {"sort": "--count"},
        {"new": "forever"},
        {"cursor": "nonsense"},
        {"cursor": "."},
        {"sort": "-count", "cursor": "x.y"},
        {"model": "x" * 65},
        {"q": "a\0b"},
    ],
)
def test_nonsense_is_told_in_words_and_shows_nothing(reader: Client, query: dict[str, str]) -> None:
    make_event()
    answer = reader.get(PATH, query)
    assert answer.status_code == 400
    heading = b"This search cannot be read" if "q" in query else b"These filters are invalid"
    assert heading in answer.content
    assert not answer.context["rows"]


# --- orders and pages ----------------------------------------------------------------------------------------------


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make seven groups, some of which are equal in each column, and pages of two."""
    now_ms = clock.now_ms()
    for number, message in enumerate("gfedcba"):
        for times in range(1 + number % 3):
            make_event(
                message=f"fault {message}",
                event_type="flash_error" if number % 2 else "connect_error",
                occurred_at=f"2026-02-12T18:00:{times:02}Z",
                model=f"model {times}",
                app_version=f"version {times % 2}",
                received_at_ms=now_ms - number * 9 * HOUR_MS,
            )
    monkeypatch.setattr("events.admin.groups.FailureGroupAdmin.list_per_page", 2)


@pytest.mark.parametrize("sort", ["", *ranking.COLUMNS, *(f"-{name}" for name in ranking.COLUMNS)])
@pytest.mark.usefixtures("many")
def test_every_order_pages_through_every_group_once(reader: Client, sort: str) -> None:
    shown: list[object] = []
    query: dict[str, str] = {"sort": sort}
    while True:
        answer = reader.get(PATH, query)
        shown += [row for row, _ in answer.context["rows"]]
        further = answer.context["next"]
        if further is None:
            break
        assert len(answer.context["rows"]) == 2
        query["cursor"] = further
    assert len(shown) == len({row.group.pk for row in shown}) == 7  # type: ignore[attr-defined]
    name = (sort or "-last").lstrip("-")
    values = [
        row.last_day if name == "day" else getattr(row.group, ranking.COLUMNS[name])  # type: ignore[attr-defined]
        for row in shown
    ]
    assert values == sorted(values, reverse=(sort or "-last").startswith("-"))
    assert name == "status" or len(set(values)) > 1


@pytest.mark.usefixtures("many")
def test_a_cursor_is_refused_by_another_list(reader: Client) -> None:
    cursor = reader.get(PATH, {"sort": "-count"}).context["next"]
    assert reader.get(PATH, {"sort": "-count", "cursor": cursor}).status_code == 200
    for query in ({}, {"sort": "count"}, {"sort": "-count", "q": "fault"}, {"sort": "-count", "status": "all"}):
        answer = reader.get(PATH, query | {"cursor": cursor})
        assert (answer.status_code, "Not a cursor of this list." in answer.content.decode()) == (400, True)


@pytest.mark.usefixtures("many")
def test_a_heading_sorts_by_its_column_and_then_the_other_way(reader: Client) -> None:
    (count,) = [column for column in reader.get(PATH).context["columns"] if column.name == "count"]
    assert (count.query, count.order) == ("sort=-count", "")
    (count,) = [column for column in reader.get(PATH, {"sort": "-count"}).context["columns"] if column.name == "count"]
    assert (count.query, count.order) == ("sort=count", "descending")


@pytest.mark.usefixtures("many")
def test_the_link_of_a_row_keeps_the_list_it_came_from(reader: Client) -> None:
    text = unescape(reader.get(PATH, {"sort": "title", "type": "flash_error"}).content.decode())
    first = FailureGroup.objects.filter(event_type="flash_error").order_by("title").first()
    assert first
    link = next(part for part in text.split('"') if part.startswith(f"{PATH}{first.pk}/"))
    assert parse_qs(urlsplit(link).query) == {"sort": ["title"], "type": ["flash_error"]}


def test_a_page_takes_few_queries_whatever_there_is(reader: Client) -> None:
    call_command("demo_data", events=400, days=3, seed=7, verbosity=0)
    for sort in ("-last", "-day"):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert len(titles(reader, sort=sort, status="all")) > 5
        assert len(queries) <= 14 + BANNER_QUERIES + VIEW_QUERIES
        assert not [query for query in queries if "COUNT(" in query["sql"] and "telemetry_events" in query["sql"]]


# --- CSV ----------------------------------------------------------------------------------------------------------


def exported(client: Client, **query: object) -> list[dict[str, str]]:
    answer = client.get(f"{PATH}export/", query)
    assert answer.status_code == 200
    return list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode("utf-8-sig"), newline="")))


def test_the_file_holds_what_the_filters_show_in_their_order(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("events.reports.exports.lists.ROWS_A_CHUNK", 2)
    for message in ("d", "b", "a", "c"):
        make_event(message=message, received_at_ms=1_770_000_000_123)
    make_event(message="x", event_type="connect_error")
    found = exported(reader, type="flash_error", sort="title")
    assert [row["title"] for row in found] == ["a", "b", "c", "d"]
    group = FailureGroup.objects.get(title="a")
    assert found[0] == {
        "telemetry_groups_v2_fingerprint": group.pk,
        "first_seen": "2026-02-02T02:40:00.123Z",
        "last_seen": "2026-02-02T02:40:00.123Z",
        "event_type": "flash_error",
        "error_name": "",
        "title": "a",
        "frame": "",
        "events": "1",
        "last_24_hours": "0",
        "models": "1",
        "versions": "1",
        "status": "open",
        "fixed_in": "",
        "still_failing": "0",
        "assigned_to": "",
        "note": "",
        "issue_url": "",
    }
    assert AuditEntry.objects.get().what == "Exported Failure groups: type=flash_error&sort=title"


def test_a_group_that_fails_meanwhile_is_in_the_file_once(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("events.reports.exports.lists.ROWS_A_CHUNK", 2)
    for number, message in enumerate("abcdef"):
        make_event(message=message, received_at_ms=1_770_000_000_000 + number)
    content = reader.get(f"{PATH}export/").streaming_content
    first = b"".join(itertools.islice(content, 3))  # the mark, the header, the first chunk
    make_event(message="b", write_mode=0)
    rows = csv.DictReader(io.StringIO((first + b"".join(content)).decode("utf-8-sig"), newline=""))
    assert [row["title"] for row in rows] == ["f", "e", "d", "c", "b", "a"]


def test_a_title_that_a_spreadsheet_would_run_is_defused(reader: Client) -> None:
    make_event(message='=HYPERLINK("http://x")')
    assert exported(reader)[0]["title"].startswith("'=HYPERLINK(")


def test_it_takes_the_right_to_export(client: Client) -> None:
    sign_in(client)
    assert client.get(f"{PATH}export/").status_code == 403
    assert not AuditEntry.objects.exists()


def test_filters_that_are_nonsense_export_nothing(reader: Client) -> None:
    assert reader.get(f"{PATH}export/", {"status": "closed"})["Location"] == f"{PATH}?status=closed"
    assert not AuditEntry.objects.exists()


def test_a_facet_filters_groups_and_stays_in_the_decision_about_all(client: Client) -> None:
    sign_in(client, "Maintainers")
    make_event(message="First fault", metadata_json='{"browser":"Chrome 139","os":"Windows"}')
    make_event(message="Other cause", metadata_json='{"browser":"Edge 139","os":"Windows"}')
    answer = client.get(PATH, {"f.browser": "Edge 139", "f.os": "Windows"})
    assert [row.group.title for row, _ in answer.context["rows"]] == ["Other cause"]
    assert '<option value="Chrome 139"></option>' in answer.content.decode()
    assert 'name="f.usb"' not in answer.content.decode()  # nothing has a value of it
    assert client.get(PATH, {"f.colour": "red"}).status_code == 400
    decision = client.get(f"{PATH}decide/", {"action": "mute", "all": "1", "f.browser": "Edge 139"})
    assert ("f.browser", "Edge 139") in decision.context["hidden"]
    assert [group.title for group in decision.context["chosen"]] == ["Other cause"]
