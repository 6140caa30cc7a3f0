"""The admin page *Old log*: the newest rows, each with a link to its event in the unified stream."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from events import clock
from events.counting.rollups import DAY_MS
from events.models import AuditEntry, Event
from legacy.admin import pages
from legacy.models import ClientLog, Mode, ModeInForce
from tests.conftest import BANNER_QUERIES, payload, sign_in, text_of

pytestmark = pytest.mark.django_db
PATH = "/admin/legacy/clientlog/"


def test_an_empty_log_explains_how_it_fills(client: Client) -> None:
    sign_in(client, "Staff")
    text = text_of(client.get(PATH))
    assert "No row yet" in text
    assert "manage.py import_d1" in text


def test_the_newest_row_comes_first_with_a_link_to_its_event(client: Client, post: Callable[..., Any]) -> None:
    post("/client-log", payload(message="the younger", event_type="connect_fail"))
    post("/client-log", payload(message="the elder"))
    ClientLog.objects.filter(message="the elder").update(received_at_ms=clock.now_ms() - DAY_MS)
    sign_in(client, "Staff")
    text = text_of(client.get(PATH))
    assert text.index("the younger") < text.index("the elder")
    event = Event.objects.get(message="the younger")
    url = f"/admin/events/event/{event.pk}/"
    assert f'<a href="{url}"><bdi>the younger</bdi></a>' in text
    assert client.get(url).status_code == 200
    assert "was <bdi" in text
    assert "connect_fail" in text


def test_a_row_that_the_stream_lacks_has_no_link(client: Client, post: Callable[..., Any]) -> None:
    ModeInForce.objects.create(id=1, mode=Mode.SEPARATE)
    post("/client-log", payload(message="old side alone", event_type="tape_jam"))
    sign_in(client, "Staff")
    text = text_of(client.get(PATH))
    assert '<th scope="row" class="message"><bdi>old side alone</bdi></th>' in text
    assert '<span class="type window_error">' in text
    assert "not yet" in text


def test_a_row_whose_twin_arrived_by_event_is_in_the_stream(client: Client, post: Callable[..., Any]) -> None:
    ModeInForce.objects.create(id=1, mode=Mode.SEPARATE)
    post("/client-log", payload(message="both ways"))
    post("/event", payload(message="both ways"))
    sign_in(client, "Staff")
    text = text_of(client.get(PATH))
    assert "<bdi>both ways</bdi></a>" in text
    assert "not yet" not in text


def test_the_texts_of_a_row_are_escaped(client: Client, post: Callable[..., Any]) -> None:
    post("/client-log", payload(message="<script>1</script>", event_type="<i>odd", model='"><img src=x>'))
    sign_in(client, "Staff")
    text = text_of(client.get(PATH))
    for markup in ("<script>1", "<i>odd", "<img src=x"):
        assert markup not in text
    assert "&lt;script&gt;1" in text


def test_the_page_says_that_the_tables_were_dropped(client: Client, settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    call_command("legacy_mode", "gone", "--force", "--reason", "a test", stdout=io.StringIO())
    call_command("drop_legacy", stdout=io.StringIO())
    sign_in(client, "Staff")
    text = text_of(client.get(PATH))
    assert "contains the old log" in text


def test_only_the_newest_rows_are_read_and_none_are_counted(
    client: Client, post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "OLD_LOG_ROWS", 2)
    for name in ("of today", "of yesterday", "of old"):
        post("/client-log", payload(message=name))
    for days_ago, name in ((1, "of yesterday"), (9, "of old")):
        ClientLog.objects.filter(message=name).update(received_at_ms=clock.now_ms() - days_ago * DAY_MS)
    sign_in(client, "Staff")
    with CaptureQueriesContext(connection) as queries:
        text = text_of(client.get(PATH))
    assert "of yesterday" in text
    assert "of old" not in text
    assert len(queries) <= 7 + BANNER_QUERIES, [query["sql"] for query in queries]
    assert not [query for query in queries if "COUNT(" in query["sql"]]


# --- CSV ----------------------------------------------------------------------------------------------------------


def test_the_whole_log_is_exported_newest_first(
    client: Client, post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("legacy.admin.lists.ROWS_A_CHUNK", 2)
    sign_in(client, "Staff")
    for number in range(5):
        assert post("/client-log", payload(message=f"=fault {number}")).status_code == 200
    answer = client.get(f"{PATH}export/")
    lines = b"".join(answer.streaming_content).decode("utf-8-sig").splitlines()
    exported = list(csv.DictReader(lines))
    rows = list(ClientLog.objects.order_by("-received_at_ms", "-id"))
    assert [row["telemetry_old_log_v1_id"] for row in exported] == [row.id for row in rows]
    assert [row["message"] for row in exported] == [f"'{row.message}" for row in rows]
    assert exported[0]["received_at"] == clock.iso(rows[0].received_at_ms)
    assert AuditEntry.objects.get().what == "Exported Old log"


def test_an_export_requires_the_view_and_the_export_permission(client: Client) -> None:
    user = sign_in(client)
    for codename in ("view_clientlog", "export_event"):
        user.user_permissions.set(Permission.objects.filter(codename=codename))
        assert client.get(f"{PATH}export/").status_code == 403


def test_only_those_who_may_see_recent_failures_get_a_link_to_them(client: Client) -> None:
    ModeInForce.objects.create(id=1, mode="gone", tables_dropped=True)
    link = '<a href="/admin/events/recentfailure/">recent failures</a>'
    sign_in(client, "Staff")
    assert link in text_of(client.get(PATH))
    reader = User.objects.create_user("reader", is_staff=True)
    reader.user_permissions.add(Permission.objects.get(codename="view_clientlog"))
    client.force_login(reader)
    text = text_of(client.get(PATH))
    assert "Its failures are also in the list of recent failures." in text
    assert "/recentfailure/" not in text


def test_a_dropped_log_cannot_be_exported(client: Client) -> None:
    ModeInForce.objects.create(id=1, mode="gone", tables_dropped=True)
    sign_in(client, "Staff")
    assert client.get(f"{PATH}export/")["Location"] == PATH
    assert not AuditEntry.objects.exists()
