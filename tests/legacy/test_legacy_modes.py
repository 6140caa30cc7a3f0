"""The modes of the old routes: what the routes write and read in each, and the switch between modes."""

import getpass
import io
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import Client, override_settings

from events import clock
from events.counting import site_days
from events.counting.buckets import DAY_MS
from events.ingest import writer
from events.models import Event
from legacy.cutover import modes, old_counts, parity
from legacy.models import ClientLog, Cutover, LegacyCount, Mode, Verdict
from tests.conftest import make_event, payload, success
from tests.fixtures.arrivals import success_arrived
from tests.fixtures.both_sides import dump
from tests.other_process import manage, shared_site
from tests.refusals import expect_answer
from tests.servers import served, wait_until
from tests.storage import locked_events

pytestmark = pytest.mark.django_db
ORIGIN = "http://localhost:5173"
TOKEN = "a token of the tests"


def switch(mode: str, *options: str) -> str:
    output = io.StringIO()
    call_command("legacy_mode", mode, *options, stdout=output)
    return output.getvalue()


def test_a_new_site_begins_in_alias() -> None:
    assert modes.current() == Mode.ALIAS
    assert not modes.was_ever_switched()


# --- what each mode writes and reads ------------------------------------------------------------------------------


@override_settings(ADMIN_TOKEN=TOKEN)
def test_separate_writes_and_reads_only_the_old_tables(client: Client, post: Callable[..., Any]) -> None:
    make_event(message="in the stream before")
    switch("separate")
    stream = dump()["events"]
    post("/event", success(session_id="new"))
    answer = post("/increment", {"sessionId": "old"})
    expect_answer(answer, 200, {"ok": True, "total": 1, "deduped": False})
    expect_answer(post("/increment", {"sessionId": "old"}), 200, {"ok": True, "total": 1, "deduped": True})
    expect_answer(post("/client-log", payload(event_type="flash_fail", message="old")), 200, {"ok": True})
    assert [event["session_id"] for event in dump()["events"] if event not in stream] == ["new"]
    assert LegacyCount.objects.values_list("session_id", "in_stream").get() == ("old", False)
    assert ClientLog.objects.values_list("event_type", "in_stream").get(message="old") == ("flash_fail", False)
    assert client.get("/count").json()["total"] == 1
    assert client.get("/metrics/flash-count").json()["total"] == 1
    recent = client.get("/recent", headers={"Authorization": f"Bearer {TOKEN}"}).json()
    assert [(row["eventType"], row["message"]) for row in recent["rows"]] == [
        ("flash_fail", "old"),
        ("flash_error", "in the stream before"),
    ]


@override_settings(ADMIN_TOKEN=TOKEN)
def test_alias_writes_both_sides_and_reads_the_stream(client: Client, post: Callable[..., Any]) -> None:
    post("/event", success(session_id="new"))
    post("/event", payload(message="new"))
    expect_answer(post("/increment", {"sessionId": "old"}), 200, {"ok": True, "total": 2, "deduped": False})
    post("/client-log", payload(event_type="flash_fail", message="old"))
    assert Event.objects.count() == 4
    assert LegacyCount.objects.values_list("session_id", "in_stream").get() == ("old", True)
    assert ClientLog.objects.values_list("message", "in_stream").get() == ("old", True)
    recent = client.get("/recent", headers={"Authorization": f"Bearer {TOKEN}"}).json()
    assert {(row["eventType"], row["message"]) for row in recent["rows"]} == {
        ("flash_error", "old"),
        ("flash_error", "new"),
    }


OLD_ROUTES = [("POST", "/client-log"), ("GET", "/count"), ("POST", "/increment"), ("GET", "/recent")]


@override_settings(ADMIN_TOKEN=TOKEN)
@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(("method", "path"), OLD_ROUTES)
def test_gone_answers_410_and_writes_nothing(client: Client, method: str, path: str, slash: str) -> None:
    switch("gone", "--force", "--reason", "a test")
    before = dump()
    headers = {"Origin": ORIGIN, "Authorization": f"Bearer {TOKEN}"}
    body = json.dumps(payload(sessionId="a"))
    answer = client.generic(method, path + slash, body, content_type="application/json", headers=headers)
    expect_answer(answer, 410, {"ok": False, "error": "Gone", "successor": "/event"})
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert answer.headers["Deprecation"].startswith("@")
    assert answer.headers["Link"] == '</event>; rel="successor-version"'
    writer.flush_refusals()
    assert dump() == before | {"tallies": [(clock.today(), f"gone {path}", 1)]}
    assert old_counts.gone_by_route(clock.today()) == {path: 1}


def test_gone_does_not_affect_the_new_routes(client: Client, post: Callable[..., Any]) -> None:
    post("/increment", {"sessionId": "a"})
    switch("gone", "--force", "--reason", "a test")
    assert post("/event", success()).status_code == 201
    expect_answer(client.get("/metrics/flash-count"), 200, {"ok": True, "total": 2})


@pytest.mark.parametrize("mode", ["separate", "alias"])
def test_an_event_is_stored_in_any_mode(post: Callable[..., Any], mode: str) -> None:
    switch(mode)
    assert post("/event", success(session_id="a")).status_code == 201
    assert Event.objects.get().session_id == "a"


@pytest.mark.django_db(transaction=True)
def test_a_session_that_arrives_many_times_at_once_is_counted_once() -> None:
    switch("separate")

    def increment(_: int) -> Any:
        try:
            answer = Client().post("/increment", {"sessionId": "a"}, content_type="application/json")
            return answer.status_code, answer.json()["deduped"]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(increment, range(40)))
    assert sorted(answers) == [(200, False)] + [(200, True)] * 39
    assert LegacyCount.objects.count() == 1


# --- the switch ---------------------------------------------------------------------------------------------------


def test_a_switch_prints_its_effect_and_the_log_records_user_and_reason(post: Callable[..., Any]) -> None:
    post("/event", success())
    post("/event", payload())
    output = switch("separate", "--reason", "the plan's first phase")
    assert output == (
        "The old routes are in separate.\n"
        "  public count   1 before, 1 after\n"
        "  copied         0 to the unified stream, 2 to the old tables\n"
    )
    cutover = Cutover.objects.get()
    assert (cutover.mode, cutover.reason, cutover.switched_by_name, cutover.switched_by) == (
        "separate",
        "the plan's first phase",
        getpass.getuser(),
        None,
    )
    assert abs((clock.now() - cutover.switched_at).total_seconds()) < 600
    assert (cutover.count_before, cutover.count_after, cutover.copied_to_legacy) == (1, 1, 2)
    shown = io.StringIO()
    call_command("legacy_mode", stdout=shown)
    assert "The old routes are in separate; the public count is 1." in shown.getvalue()
    assert f"separate  {getpass.getuser()}: the plan's first phase" in shown.getvalue()


def test_events_that_arrived_meanwhile_are_on_both_sides_after_a_switch(
    client: Client, post: Callable[..., Any]
) -> None:
    switch("separate")
    post("/increment", {"sessionId": "old"})
    post("/client-log", payload(message="old"))
    post("/event", success(session_id="new"))
    post("/event", payload(message="new", session_id="of a session"))
    post("/event", success(session_id="both"))
    post("/increment", {"sessionId": "both"})
    assert client.get("/count").json()["total"] == client.get("/metrics/flash-count").json()["total"] == 2
    switch("alias")
    assert client.get("/count").json()["total"] == client.get("/metrics/flash-count").json()["total"] == 3
    assert set(LegacyCount.objects.values_list("session_id", "in_stream")) == {
        ("old", True),
        ("new", True),
        ("both", True),
    }
    assert set(Event.objects.failures().values_list("message", flat=True)) == {"old", "new"}
    assert set(ClientLog.objects.values_list("message", "in_stream")) == {("old", True), ("new", True)}


def test_switching_back_and_forth_changes_no_count(client: Client, post: Callable[..., Any]) -> None:
    for n in range(3):
        post("/event", success(session_id=f"new {n}"))
        post("/event", payload(message=f"new {n}"))
        post("/increment", {"sessionId": f"old {n}"})
        post("/client-log", payload(message=f"old {n}", event_type="flash_fail"))
    switch("separate")
    settled = dump()
    assert (len(settled["events"]), len(settled["old log"]), len(settled["old counter"])) == (12, 6, 6)
    for mode in ("alias", "separate", "gone", "alias", "separate"):
        output = switch(mode, "--force", "--reason", "to and fro")
        assert "public count   6 before, 6 after" in output
        assert "copied         0 to the unified stream, 0 to the old tables" in output
    assert dump() == settled


def test_gone_requires_a_complete_window() -> None:
    with pytest.raises(CommandError, match="Parity is proven on 0 of 7 days in a row"):
        switch("gone")
    assert modes.in_force().mode == Mode.ALIAS
    assert not Cutover.objects.exists()


def test_gone_can_be_forced_with_a_reason() -> None:
    for reason in ([], ["--reason", " "]):
        with pytest.raises(CommandError, match="--force requires a --reason"):
            switch("gone", "--force", *reason)
    switch("gone", "--force", "--reason", "nobody is left")
    assert modes.in_force().mode == Mode.GONE


def test_gone_needs_no_force_after_a_complete_window() -> None:
    for days_ago in range(1, 8):
        success_arrived(days_ago, by_event=True)
        success_arrived(days_ago)
    with override_settings(PARITY_DAYS=8), pytest.raises(CommandError) as refused:
        switch("gone")
    assert str(refused.value).startswith("Parity is proven on 7 of 8 days in a row. To end the old routes anyway")
    output = switch("gone")
    assert output.splitlines()[0] == str(parity.CutOff(sessions=6))
    assert modes.in_force().mode == Mode.GONE


def test_days_without_evidence_do_not_allow_gone() -> None:
    for days_ago in range(1, 20):
        success_arrived(days_ago)
    with pytest.raises(CommandError, match=r"Parity is proven on 0 of 7 days in a row\."):
        switch("gone")
    assert "cut off" not in switch("separate")
    output = switch("gone", "--force", "--reason", "nobody is left")
    assert output.startswith("6 sessions in the last 7 days would be cut off by `gone`, and 0 failures")


@pytest.mark.django_db(transaction=True)
def test_a_switch_that_the_database_refuses_is_reported_and_changes_nothing(post: Callable[..., Any]) -> None:
    switch("separate")
    post("/increment", {"sessionId": "a"})
    before = dump()
    with locked_events(), pytest.raises(CommandError, match="Not switched"):
        switch("alias")
    assert dump() == before
    switch("alias")
    assert Event.objects.get().session_id == "a"


# --- other processes ----------------------------------------------------------------------------------------------


def run(environment: dict[str, str], *args: str) -> str:
    command = manage(environment, *args)
    output, complaints = command.communicate()
    assert command.returncode == 0, complaints
    return output


@pytest.mark.django_db(transaction=True)
def test_a_running_server_follows_a_switch_within_two_seconds(tmp_path: Path) -> None:
    environment = shared_site(tmp_path / "data")
    with served(tmp_path / "data", **environment) as server:
        assert server.get("/count") == (200, b'{"ok":true,"total":0}')
        for mode, status in (("gone", 410), ("separate", 200)):
            switch(mode, "--force", "--reason", "a test")
            time.sleep(2)
            assert server.get("/count")[0] == status
        assert server.post("/increment", b'{"sessionId": "a"}')[0] == 200
    assert (LegacyCount.objects.count(), Event.objects.count()) == (1, 0)


class Traffic:
    """Clients of all revisions send events at the same time, and one thread reads the count. Records all responses."""

    def __init__(self) -> None:
        self.sessions: list[str] = []
        self.messages: list[str] = []
        self.counts: list[int] = []
        self.stop = threading.Event()
        self.names = itertools.count()

    def increments(self, client: Client) -> None:
        session = f"old {next(self.names)}"
        if post_to(client, "/increment", {"sessionId": session}) == 200:
            self.sessions.append(session)

    def logs(self, client: Client) -> None:
        message = f"message {next(self.names)}"
        if post_to(client, "/client-log", payload(message=message)) == 200:
            self.messages.append(message)

    def events(self, client: Client) -> None:
        session = f"new {next(self.names)}"
        if post_to(client, "/event", success(session_id=session)) == 201:
            self.sessions.append(session)

    def watches(self, client: Client) -> None:
        self.counts.append(client.get("/count").json()["total"])

    def repeat(self, what: Callable[[Client], None]) -> None:
        client = Client()
        try:
            while not self.stop.wait(0.02):
                what(client)
        finally:
            connections.close_all()

    @contextmanager
    def flowing(self) -> Iterator[None]:
        with ThreadPoolExecutor(6) as threads:
            doings = [self.increments, self.increments, self.logs, self.logs, self.events, self.watches]
            running = [threads.submit(self.repeat, what) for what in doings]
            try:
                yield
            finally:
                self.stop.set()
        for thread in running:
            thread.result()


def post_to(client: Client, path: str, body: dict[str, Any]) -> int:
    return client.post(path, body, content_type="application/json").status_code


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("to", ["alias", "separate"])
def test_no_event_that_was_acknowledged_during_a_switch_is_lost(tmp_path: Path, to: str) -> None:
    switch("separate" if to == "alias" else "alias")
    environment = shared_site(tmp_path / "data")
    traffic = Traffic()
    with traffic.flowing():
        wait_until(lambda: len(traffic.sessions) > 50 and len(traffic.messages) > 20, "no traffic arrived")
        run(environment, "legacy_mode", to)
        acknowledged = len(traffic.sessions) + len(traffic.messages), time.monotonic()
        wait_until(
            lambda: (
                len(traffic.sessions) + len(traffic.messages) > acknowledged[0] + 50
                and time.monotonic() > acknowledged[1] + 1.5
            ),
            "the traffic ended",
        )
    assert modes.in_force().mode == to
    assert traffic.counts == sorted(traffic.counts)
    counted = set(LegacyCount.objects.values_list("pk", flat=True))
    logged = set(ClientLog.objects.values_list("message", flat=True))
    assert {session for session in traffic.sessions if session.startswith("old")} <= counted
    assert set(traffic.messages) <= logged
    if to == "alias":
        assert set(traffic.sessions) <= set(Event.objects.values_list("session_id", flat=True))
        assert set(traffic.messages) <= set(Event.objects.values_list("message", flat=True))
    switch("alias")
    switch("separate")
    assert set(traffic.sessions) == set(LegacyCount.objects.values_list("pk", flat=True))
    assert set(traffic.sessions) == set(Event.objects.successes().values_list("session_id", flat=True))
    assert Client().get("/count").json()["total"] == len(traffic.sessions)


def test_a_count_that_outlived_its_events_goes_back_with_the_others() -> None:
    """Pruned and erased sessions count on the old side under anonymous names."""
    old_ms = clock.now_ms() - 100 * DAY_MS
    for number in range(10):
        make_event(**success(session_id=f"old-{number}"), received_at_ms=old_ms)
    for number in range(3):
        make_event(**success(session_id=f"new-{number}"))
    site_days.note_start(clock.now())
    call_command("prune_events", "--older-than-days", "90", stdout=io.StringIO())
    call_command("erase_session", "new-0", stdout=io.StringIO())
    for _ in range(2):
        for mode in ("separate", "alias"):
            switch(mode)
            assert old_counts.public_count(Mode(mode)) == 13
    assert set(Cutover.objects.values_list("count_before", "count_after")) == {(13, 13)}
    known = [name for name in LegacyCount.objects.values_list("session_id", flat=True) if "erased-" not in name]
    assert sorted(known) == ["new-1", "new-2"]
    assert parity.check(14, clock.today()).verdict == Verdict.NO_EVIDENCE
