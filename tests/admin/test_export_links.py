"""CSV of events: what the filters show, or the ticked rows."""

import csv
import io
import logging
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.http.response import HttpResponseBase
from django.test import Client
from django.test.utils import CaptureQueriesContext

from events import clock
from events.models import AuditEntry, ResolvedFrame, SourceMap
from events.reports.exports import lists
from tests.conftest import make_event, sign_in, success
from tests.sourcemaps.maps import BUNDLE, V8, store_map

SESSION = "somebodys-session-4711"
pytestmark = pytest.mark.django_db
EVENTS = "/admin/events/event/export/"
FAILURES = "/admin/events/recentfailure/export/"


def rows(answer: HttpResponseBase) -> list[dict[str, str]]:
    assert answer.status_code == 200
    return list(csv.DictReader(io.StringIO(answer.getvalue().decode("utf-8-sig"), newline="")))


@pytest.mark.parametrize("codename", [None, "view_event", "export_event"])
def test_it_takes_the_right_to_look_and_the_right_to_export(client: Client, codename: str | None) -> None:
    user = sign_in(client)
    if codename:
        user.user_permissions.add(Permission.objects.get(codename=codename))
    assert client.get(EVENTS).status_code == 403
    assert client.post(EVENTS, {"id": make_event().id}).status_code == 403
    assert not AuditEntry.objects.exists()


def test_the_page_offers_export_to_those_who_may(client: Client) -> None:
    make_event()
    user = sign_in(client)
    user.user_permissions.add(Permission.objects.get(codename="view_event"))
    text = client.get("/admin/events/event/").content.decode()
    assert "Export" not in text
    assert 'name="id"' not in text


def test_the_file_is_one_that_a_spreadsheet_opens(client: Client) -> None:
    sign_in(client, "Staff")
    event = make_event(
        message='naïve, "quoted"\nand long',
        session_id="sess-1",
        received_at_ms=1_770_000_000_123,
        metadata_json='{"browser":"Chrome 139","step":3,"usb":"=1+1"}',
    )
    answer = client.get(EVENTS)
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"] == f'attachment; filename="events-all-{clock.today()}.csv"'
    assert answer.streaming
    body = answer.getvalue()
    assert body.startswith(b'\xef\xbb\xbf"telemetry_export_v3_id","received_at","occurred_at","event_type",')
    (row,) = csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline=""))
    assert row == {
        "telemetry_export_v3_id": event.id,
        "received_at": "2026-02-02T02:40:00.123Z",
        "occurred_at": "2026-02-12T18:00:00.000Z",
        "event_type": "flash_error",
        "session_id": "sess-1",
        "model": "UV-5RM",
        "app_version": "19afc18",
        "write_mode": "1",
        "connected": "1",
        "message": 'naïve, "quoted"\nand long',
        "error_name": "",
        "stack": "",
        "log_lines_json": "[]",
        "metadata_json": '{"browser":"Chrome 139","step":3,"usb":"=1+1"}',
        "void": "",
        "expected": "0",
        "top_frame": "",
        "facet_browser": "Chrome 139",
        "facet_os": "",
        "facet_usb": "'=1+1",
        "facet_step": "3",
    }


def test_the_top_frame_of_the_pages_own_code_is_a_column(client: Client) -> None:
    sign_in(client, "Staff")
    store_map()
    make_event(stack=V8, message="resolved")
    make_event(stack=V8, message="of another version", app_version="other")
    make_event(stack="Error: no frames", message="none")
    assert {row["message"]: row["top_frame"] for row in rows(client.get(FAILURES))} == {
        "resolved": "writeBlock (src/protocol.ts:8:32)",
        "of another version": "writeBlock (src/protocol.ts:8:32)",  # the hash names one file
        "none": "",
    }
    SourceMap.objects.all().delete()
    ResolvedFrame.objects.all().delete()
    assert {row["top_frame"] for row in rows(client.get(FAILURES))} == {f"writeBlock ({BUNDLE}:1:101)", ""}


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_a_formula_is_only_text(client: Client, begin: str) -> None:
    sign_in(client, "Staff")
    make_event(message=f"{begin}HYPERLINK(1)", model=f"{begin}m", error_name=f"{begin}e", stack=f"{begin}s")
    (row,) = rows(client.get(EVENTS))
    assert row["message"] == f"'{begin}HYPERLINK(1)"
    assert (row["model"], row["error_name"], row["stack"]) == (f"'{begin}m", f"'{begin}e", f"'{begin}s")


def test_the_filters_of_the_page_hold(client: Client) -> None:
    sign_in(client, "Staff")
    make_event(message="a", model="UV-17R")
    make_event(message="b")
    make_event(**success(message="c", model="UV-17R"))
    assert {row["message"] for row in rows(client.get(EVENTS, {"model": "UV-17R"}))} == {"a", "c"}
    assert [row["message"] for row in rows(client.get(FAILURES, {"model": "UV-17R"}))] == ["a"]
    assert [row["message"] for row in rows(client.get(EVENTS, {"q": "b"}))] == ["b"]


def test_a_wrong_filter_leads_back_to_the_page_that_says_so(client: Client) -> None:
    sign_in(client, "Staff")
    answer = client.get(EVENTS, {"type": "nope"}, follow=True)
    assert answer.status_code == 400
    assert b"nope is not one of the available choices" in answer.content


def test_ticked_rows_are_exported_and_no_other(client: Client) -> None:
    sign_in(client, "Staff")
    first, second, good = make_event(message="1"), make_event(message="2"), make_event(**success(message="3"))
    make_event(message="4")
    ticked = {"id": [first.id, second.id, good.id, "unknown"]}
    assert {row["message"] for row in rows(client.post(EVENTS, ticked))} == {"1", "2", "3"}
    assert {row["message"] for row in rows(client.post(FAILURES, ticked))} == {"1", "2"}


def test_ticked_rows_need_the_forms_token(client: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    sign_in(strict, "Staff")
    answer = strict.post(EVENTS, {"id": make_event().id})
    assert answer.status_code == 403
    assert b"This form is out of date" in answer.content


def test_nothing_ticked_exports_nothing_and_says_so(client: Client) -> None:
    sign_in(client, "Staff")
    make_event()
    answer = client.post(FAILURES, follow=True)
    assert "No row is selected" in answer.content.decode()
    assert not AuditEntry.objects.exists()


def test_who_exported_what_is_kept(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    user = sign_in(client, "Staff")
    with caplog.at_level(logging.INFO, "events.reports.exports.making"):
        client.get(FAILURES, {"model": "UV-17R"})
    kept = AuditEntry.objects.get()
    assert (kept.kind, kept.who) == ("export", user.username)
    assert kept.what == "Exported Recent failures: model=UV-17R"
    assert f"{user.username} made an export" in caplog.text
    assert "UV-17R" not in caplog.text  # a filter may quote an event


def test_what_is_kept_of_an_export_names_no_session(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    sign_in(client, "Staff")
    with caplog.at_level(logging.INFO, "events.reports.exports.making"):
        client.get(FAILURES, {"session": "somebody-4711", "q": "somebody-4711", "type": "flash_error"})
    assert AuditEntry.objects.get().what == "Exported Recent failures: session=…&q=…&type=flash_error"
    assert "somebody-4711" not in caplog.text


EVENT_PATHS = {"/admin/events/event/export/": "Events", FAILURES: "Recent failures"}
GROUPS = "/admin/events/failuregroup/export/"


@pytest.mark.parametrize("path", EVENT_PATHS)
@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ({}, "everything"),
        ({"q": SESSION, "session": SESSION, "group": SESSION}, "q=…&session=…&group=…"),
        ({"model": SESSION}, "model=…"),
        ({"version": SESSION}, "version=…"),
        ({"model": "UV 5R\n=1", "version": "19afc18"}, "model=UV+5R%0A%3D1&version=19afc18"),
        ({"model": "x" * 64}, f"model={'x' * 64}"),
        ({"since": f"2026-01-01T00:00:00Z{' ' * 60_000}"}, "since=2026-01-01T00%3A00%3A00%2B00%3A00"),
        ({"type": "flash_error", "mode": "1", "connected": ""}, "type=flash_error&mode=1"),
        ({"window": "7d", "released": "1", "q": " "}, "window=7d&released=1"),
    ],
)
def test_of_a_query_only_valid_filters_are_kept(
    client: Client, caplog: pytest.LogCaptureFixture, path: str, query: dict[str, str], kept: str
) -> None:
    sign_in(client, "Staff")
    make_event(session_id=SESSION)
    with caplog.at_level(logging.INFO, "events.reports.exports.making"):
        assert client.get(path, query).status_code == 200
    entry = AuditEntry.objects.get()
    assert (entry.what, entry.why, entry.about, entry.subject) == (f"Exported {EVENT_PATHS[path]}: {kept}", "", "", "")
    assert [one.getMessage() for one in caplog.records if one.name == "events.reports.exports.making"] == [
        "someone-Staff made an export; the audit log says of what"
    ]


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ({}, "open groups"),
        ({"q": SESSION, "status": "all", "sort": "title"}, "q=…&status=all&sort=title"),
        ({"model": SESSION, "version": SESSION, "new": "7d"}, "model=…&version=…&new=7d"),
    ],
)
def test_of_a_query_for_groups_only_valid_filters_are_kept(client: Client, query: dict[str, str], kept: str) -> None:
    sign_in(client, "Staff")
    make_event(session_id=SESSION)
    assert client.get(GROUPS, query).status_code == 200
    assert AuditEntry.objects.get().what == f"Exported Failure groups: {kept}"


@pytest.mark.parametrize("path", [*EVENT_PATHS, GROUPS])
@pytest.mark.parametrize(
    "query",
    [
        *({"model": "x" * 65}, {"version": "x" * 65}, {"type": "x"}, {"q": "x" * 201}, {"typ": "flash_error"}),
        *(
            {"": "y"},
            {"utm_source": SESSION},
            {"cursor": "1770000000000.a"},
            {"f.nothing": "1"},
            {"x.column": "nothing"},
            {"junk": "a" * 60_000},
        ),
    ],
)
def test_a_filter_that_is_not_valid_exports_and_keeps_nothing(client: Client, path: str, query: dict[str, str]) -> None:
    sign_in(client, "Staff")
    assert client.get(path, query).status_code == 302
    assert not AuditEntry.objects.exists()


def test_a_session_that_is_called_like_a_model_hides_no_model(client: Client) -> None:
    sign_in(client, "Staff")
    make_event(session_id="UV-5RM", model="UV-5RM")
    client.get(FAILURES, {"model": "UV-5RM"})
    assert AuditEntry.objects.get().what == "Exported Recent failures: model=UV-5RM"


@pytest.mark.parametrize("path", [*EVENT_PATHS, GROUPS, "/admin/legacy/clientlog/export/"])
@pytest.mark.parametrize(
    ("site", "is_exported"),
    [("cross-site", False), ("same-site", False), ("same-origin", True), ("none", True), (None, True)],
)
def test_a_link_on_another_site_exports_nothing(client: Client, path: str, site: str | None, is_exported: bool) -> None:
    sign_in(client, "Staff")
    answer = client.get(path, {"type": "flash_error"}, headers={"sec-fetch-site": site} if site else {})
    assert AuditEntry.objects.exists() is is_exported
    assert answer.status_code == (200 if is_exported else 302)
    if not is_exported:
        assert answer.headers["Location"].partition("?")[0] == path.removesuffix("export/")
        assert "Another site opened this export" in client.get(answer.headers["Location"]).content.decode()


def test_rows_come_in_chunks_each_a_query_of_its_own(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "ROWS_A_CHUNK", 4)
    sign_in(client, "Staff")
    now_ms = clock.now_ms()
    for number in range(10):
        make_event(message=str(number), received_at_ms=now_ms - number // 3)
    answer = client.get(EVENTS)
    with CaptureQueriesContext(connection) as queries:
        chunks = list(answer.streaming_content)
    selects = [query["sql"] for query in queries if "telemetry_events" in query["sql"]]
    assert len(selects) == 3
    assert all("LIMIT 4" in sql for sql in selects)
    assert len(chunks) == 2 + 3  # the mark, the header, the rows
    body = b"".join(chunks).decode("utf-8-sig")
    assert sorted(row["message"] for row in csv.DictReader(io.StringIO(body))) == [str(number) for number in range(10)]


def test_a_separator_of_another_country_parts_no_cell(client: Client) -> None:
    sign_in(client, "Staff")
    make_event(message="x;=1+1;y")
    assert b'"x;=1+1;y"' in client.get(EVENTS).getvalue()


@pytest.mark.django_db
def test_a_ticked_id_with_nul_is_no_event(client: Client) -> None:
    sign_in(client, "Staff")
    event = make_event()
    answer = client.post(EVENTS, {"id": ["\0", event.id]})
    assert [row["telemetry_export_v3_id"] for row in rows(answer)] == [event.id]


def test_the_filter_of_a_facet_and_the_setting_decide_what_is_exported(client: Client, settings: Any) -> None:
    settings.FACETS = ("browser",)
    sign_in(client, "Staff")
    make_event(message="one", metadata_json='{"browser":"Chrome 139"}')
    make_event(message="two", metadata_json='{"browser":"Edge 139"}')
    body = client.get(EVENTS, {"f.browser": "Edge 139"}).getvalue().decode("utf-8-sig")
    (row,) = csv.DictReader(io.StringIO(body, newline=""))
    assert [name for name in row if name.startswith("facet_")] == ["facet_browser"]
    assert (row["message"], row["facet_browser"]) == ("two", "Edge 139")
    assert client.get(EVENTS, {"f.os": "Windows"}).status_code == 302  # back to the list, which names the fault
