"""CSV of events: what the filters show, or the ticked rows."""

import csv
import io
import logging

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.http.response import HttpResponseBase
from django.test import Client
from django.test.utils import CaptureQueriesContext

from events import clock, export
from events.models import AuditEntry
from tests.conftest import make_event, sign_in, success

pytestmark = pytest.mark.django_db
EVENTS = "/admin/events/event/export/"
FAILURES = "/admin/events/recentfailure/export/"


def rows(answer: HttpResponseBase) -> list[dict[str, str]]:
    assert answer.status_code == 200
    return list(csv.DictReader(io.StringIO(answer.getvalue().decode("utf-8-sig"), newline="")))


def test_a_stranger_is_sent_to_the_login(client: Client) -> None:
    assert client.get(EVENTS).status_code == 302


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
    assert "checkbox" not in text


def test_the_file_is_one_that_a_spreadsheet_opens(client: Client) -> None:
    sign_in(client, "Staff")
    event = make_event(message='naïve, "quoted"\nand long', session_id="sess-1", received_at_ms=1_770_000_000_123)
    answer = client.get(EVENTS)
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"] == f'attachment; filename="events-{clock.today()}.csv"'
    assert answer.streaming
    body = answer.getvalue()
    assert body.startswith(b'\xef\xbb\xbf"telemetry_export_v2_id","received_at","occurred_at","event_type",')
    (row,) = csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline=""))
    assert row == {
        "telemetry_export_v2_id": event.id,
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
        "metadata_json": "{}",
        "void": "",
    }


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
    assert "No row is ticked" in answer.content.decode()
    assert not AuditEntry.objects.exists()


def test_who_exported_what_is_kept(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    user = sign_in(client, "Staff")
    with caplog.at_level(logging.INFO, "events.export"):
        client.get(FAILURES, {"model": "UV-17R"})
    kept = AuditEntry.objects.get()
    assert (kept.kind, kept.who) == ("export", user.username)
    assert kept.what == "Exported Recent failures: model=UV-17R"
    assert f"{user.username} exported Recent failures: model=UV-17R" in caplog.text


def test_what_is_kept_of_an_export_names_no_session(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    sign_in(client, "Staff")
    with caplog.at_level(logging.INFO, "events.export"):
        client.get(FAILURES, {"session": "somebody-4711", "q": "somebody-4711", "type": "flash_error"})
    assert AuditEntry.objects.get().what == "Exported Recent failures: session=…&q=…&type=flash_error"
    assert "somebody-4711" not in caplog.text


def test_rows_come_in_chunks_each_a_query_of_its_own(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "ROWS_A_CHUNK", 4)
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
    assert [row["telemetry_export_v2_id"] for row in rows(answer)] == [event.id]
