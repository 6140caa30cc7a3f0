"""What arrived by which route: the marks on the rows of the old tables, and the source of an event."""

import io
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from events import clock
from events.ingest import writer
from events.models import Event
from legacy.cutover import copying, modes, switch
from legacy.models import ClientLog, LegacyCount
from tests.conftest import make_event, payload, success

pytestmark = pytest.mark.django_db
MODES = ["separate", "alias"]


def switch_to(mode: str) -> None:
    switch.to_mode(modes.Mode(mode), reason="a test", user=None, user_name="someone", at=clock.now())


def marks(table: Any) -> list[tuple[bool, bool, bool]]:
    return list(table.objects.order_by("pk").values_list("arrived", "sent_to_event", "in_stream"))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("sent", "marked"),
    [(..., False), (True, True), (False, False), (1, False), ("true", False), (None, False), ([True], False)],
)
def test_a_row_of_an_old_route_arrived_and_only_true_is_the_marker(
    post: Callable[..., Any], mode: str, sent: Any, marked: bool
) -> None:
    switch_to(mode)
    marker = {} if sent is ... else {"sentToEvent": sent}
    assert post("/increment", {"sessionId": "a"} | marker).status_code == 200
    assert post("/client-log", payload() | marker).status_code == 200
    assert marks(LegacyCount) == marks(ClientLog) == [(True, marked, mode == "alias")]
    assert "sentToEvent" not in repr([*Event.objects.values(), *ClientLog.objects.values()])


def test_a_row_that_a_switch_copies_did_not_arrive() -> None:
    make_event(**success())
    make_event()
    make_event(session_id="of a failure", message="another")
    switch_to("separate")
    assert marks(LegacyCount) == [(False, False, True)]
    assert marks(ClientLog) == [(False, False, True)] * 2


def test_a_row_of_the_release_before_has_no_mark() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO legacy_legacycount (session_id, counted_at_ms, in_stream) VALUES (%s, %s, %s)", ["a", 1, False]
        )
        cursor.execute(
            "INSERT INTO client_logs (id, received_at_ms, occurred_at, event_type, message, model, write_mode,"
            " connected, app_version, user_agent, page_url, log_lines_json, event_id, in_stream)"
            " VALUES ('a', 1, '', '', '', '', 1, 1, '', '', '', '', 'a', %s)",
            [False],
        )
    assert marks(LegacyCount) == marks(ClientLog) == [(False, False, False)]
    assert ClientLog.objects.get().refused_fields == ""


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({}, ""),
        ({"message": "x" * 500}, ""),
        ({"message": " "}, "message"),
        ({"message": "x" * 501}, "message"),
        ({"occurred_at": "2026-02-12 18:00:00"}, "occurred_at"),
        ({"event_type": "flash_fail"}, "event_type"),
        ({"event_type": "flash_success"}, "event_type"),
        ({"event_type": "flash_success", "session_id": "a"}, "event_type"),
        ({"session_id": ""}, "session_id"),
        ({"write_mode": True, "model": ...}, "model,write_mode"),
        ({"app_version": "", "stack": 7, "log_lines_json": "{"}, "app_version,log_lines_json,stack"),
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_the_fields_that_event_would_refuse_are_kept(
    post: Callable[..., Any], mode: str, changes: dict[str, Any], fields: str
) -> None:
    switch_to(mode)
    assert post("/client-log", payload(**changes)).status_code == 200
    assert ClientLog.objects.get().refused_fields == fields
    is_refused = post("/event", payload(**changes)).status_code == 400
    assert is_refused == bool(fields) or changes.get("session_id") == "a"


def test_a_repair_leaves_out_what_event_refuses_and_a_switch_copies_it(post: Callable[..., Any]) -> None:
    switch_to("separate")
    post("/client-log", payload(message=" "))
    post("/client-log", payload(message="a failure"))
    post("/increment", {"sessionId": "a"})
    complaints = io.StringIO()
    with suppress(SystemExit):
        call_command("check_parity", "--repair", stdout=io.StringIO(), stderr=complaints)
    assert complaints.getvalue() == "Copied 2 events to the unified stream.\n"
    assert sorted(Event.objects.values_list("message", flat=True)) == ["Flash complete", "a failure"]
    assert ClientLog.objects.get(in_stream=False).refused_fields == "message"
    switch_to("alias")
    assert Event.objects.filter(message="(no message)").count() == 1


# --- an event that arrived by /event has that source ------------------------------------------------------------------


def by_increment(post: Callable[..., Any]) -> None:
    post("/increment", {"sessionId": "a"})


def by_client_log(post: Callable[..., Any]) -> None:
    post("/client-log", payload())


def by_client_log_with_an_old_type(post: Callable[..., Any]) -> None:
    post("/client-log", payload(event_type="flash_fail"))


def copied(post: Callable[..., Any]) -> None:
    switch_to("separate")
    by_increment(post)
    by_client_log(post)
    copying.to_stream(writer.record_many)


OLD_TYPE = {"legacy_event_type": "flash_fail"}


@pytest.mark.parametrize("is_batch", [False, True], ids=["/event", "/event/batch"])
@pytest.mark.parametrize(
    ("old_route", "twin", "metadata"),
    [
        (by_increment, success(session_id="a"), {}),
        (by_increment, success(session_id="a", metadata_json='{"usb":1}'), {"usb": 1}),
        (by_client_log, payload(), {}),
        (by_client_log, payload(metadata_json='{"usb":1}'), {"usb": 1}),
        (by_client_log_with_an_old_type, payload(), OLD_TYPE),
        (by_client_log_with_an_old_type, payload(metadata_json='{"usb":"ä"}'), {"usb": "ä"} | OLD_TYPE),
        (by_client_log_with_an_old_type, payload(metadata_json="[1]"), {"metadata": [1]} | OLD_TYPE),
        (copied, success(session_id="a"), {}),
        (copied, payload(), {}),
    ],
)
def test_a_twin_that_comes_by_event_makes_it_the_source(
    post: Callable[..., Any], old_route: Callable[..., None], twin: dict[str, Any], metadata: Any, is_batch: bool
) -> None:
    old_route(post)
    before = Event.objects.count()
    answer = post("/event/batch", {"events": [twin, twin]}) if is_batch else post("/event", twin)
    assert answer.status_code == 200
    stored = Event.objects.get(event_type=twin["event_type"])
    assert (stored.source, json.loads(stored.metadata_json)) == ("event", metadata)
    assert Event.objects.count() == before


@pytest.mark.parametrize("old_route", [by_increment, by_client_log, copied])
def test_without_its_twin_an_event_has_the_source_of_the_old_route(
    post: Callable[..., Any], old_route: Callable[..., None]
) -> None:
    old_route(post)
    assert not Event.objects.filter(source="event").exists()
