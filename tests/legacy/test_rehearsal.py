"""The whole migration, from the first import to `drop_legacy`, on a running server. The count must never fall."""

import io
import itertools
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from events.models import Event
from legacy.models import ClientLog, LegacyCount
from tests.conftest import payload, success
from tests.fixtures.d1 import EXPORT
from tests.other_process import shared_site
from tests.servers import Server, served

pytestmark = pytest.mark.django_db(transaction=True)

_names = itertools.count()


class Clients:
    """Simulates browsers with each revision of the front end, and records the responses."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.successes = 0

    def send(self, path: str, body: dict[str, Any]) -> int:
        return self.server.post(path, json.dumps(body).encode())[0]

    def old(self, count: int) -> None:
        """Send `count` flashes of the first revision, which only uses the old routes. Every second one fails."""
        for _ in range(count):
            assert self.send("/increment", {"sessionId": f"old-{next(_names)}"}) == 200
            failure = payload(app_version="4778589", message=f"old {next(_names)}")
            assert self.send("/client-log", failure) == 200
            self.successes += 1

    def dual(self, count: int, *, lost: int = 0) -> tuple[set[str], set[str]]:
        """Send flashes of `telemetry.js` to both routes, with `sentToEvent`. `lost` of each kind do not reach `/event`.

        Returns the sessions and the messages that were lost.
        """
        sessions, messages = set(), set()
        for number in range(count):
            attempt, failure = success(session_id=f"dual-{next(_names)}"), payload(message=f"dual {next(_names)}")
            assert self.send("/increment", {"sessionId": attempt["session_id"], "sentToEvent": True}) == 200
            assert self.send("/client-log", failure | {"sentToEvent": True}) == 200
            if number < lost:
                sessions.add(attempt["session_id"])
                messages.add(failure["message"])
            else:
                assert self.send("/event", attempt) in (200, 201)
                assert self.send("/event", failure) in (200, 201)
            self.successes += 1
        return sessions, messages

    def new(self, count: int) -> None:
        """Send flashes of the newest revision, which sends everything only to `/event`."""
        for _ in range(count):
            assert self.send("/event", success(session_id=f"new-{next(_names)}")) == 201
            assert self.send("/event", payload(message=f"new {next(_names)}")) == 201
            self.successes += 1


class Watcher:
    """Polls both public counts, and records the totals."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.totals_by_path: dict[str, list[int]] = {"/count": [], "/metrics/flash-count": []}
        self.ended: list[int] = []
        self.stop = threading.Event()

    def watch(self) -> None:
        while not self.stop.wait(0.02):
            for path, totals in self.totals_by_path.items():
                status, body = self.server.get(path)
                if status == 200:
                    totals.append(json.loads(body)["total"])
                else:
                    self.ended.append(status)

    @contextmanager
    def watching(self) -> Iterator[None]:
        with ThreadPoolExecutor(1) as threads:
            watching = threads.submit(self.watch)
            try:
                yield
            finally:
                self.stop.set()
            watching.result()


def test_the_whole_migration(tmp_path: Path) -> None:
    environment = shared_site(tmp_path / "data")

    def command(*args: str, code: int = 0) -> str:
        said, ended = io.StringIO(), 0
        try:
            call_command(*args, stdout=said)
        except CommandError as error:
            ended = error.returncode
        except SystemExit as end:
            ended = int(end.code or 0)
        assert ended == code, said.getvalue()
        return said.getvalue()

    def switch(mode: str, *options: str, to_stream: int, to_legacy: int) -> None:
        said = command("legacy_mode", mode, "--reason", "the plan", *options)
        assert f"public count   {total()} before, {total()} after" in said
        assert f"copied         {to_stream} to the unified stream, {to_legacy} to the old tables" in said
        wait()

    def total() -> int:
        return 43 + clients.successes  # the successes of the export, and the later ones

    def counts() -> dict[str, int]:
        return {path: json.loads(server.get(path)[1])["total"] for path in watcher.totals_by_path}

    with served(tmp_path / "data", **environment, INGEST_RATE="off", READ_RATE="off") as server:
        clients, watcher = Clients(server), Watcher(server)
        with watcher.watching():
            # Phase 0: the old system's data, and only old clients.
            command("import_d1", str(EXPORT))
            wait()
            clients.old(5)
            assert counts() == {"/count": 48, "/metrics/flash-count": 43}

            assert "Parity: no evidence" in command("check_parity", "--days", "1", code=2)

            # Phase 1: dual-writing clients; a tenth of their requests to /event is lost.
            clients.dual(3)
            assert "Parity: proven on 1 day" in command("check_parity", "--days", "1")
            sessions, messages = clients.dual(20, lost=2)
            finding = json.loads(command("check_parity", "--days", "1", "--json", code=1))
            missing = {
                row["id"] if row["type"] == "flash_success" else row["message"] for row in finding["examples_missing"]
            }
            assert missing == sessions | messages
            assert (finding["verdict"], finding["cut_off"]) == ("drift", {"sessions": 5, "failures": 5})

            # Phase 2: a repair copies missing events, but proves nothing.
            command("check_parity", "--days", "1", "--repair", code=1)
            assert counts() == {"/count": total(), "/metrics/flash-count": total()}
            assert "no such" not in command("import_d1", str(EXPORT))

            # Phase 3: the old routes write to the unified stream; clients of every revision are active.
            switch("alias", to_stream=0, to_legacy=2)
            clients.old(3)
            clients.dual(3)
            clients.new(3)
            assert counts() == {"/count": total(), "/metrics/flash-count": total()}

            # Back to separate, and again to alias.
            switch("separate", to_stream=0, to_legacy=6)
            clients.old(2)
            clients.dual(2)
            clients.new(2)
            assert counts() == {"/count": total() - 2, "/metrics/flash-count": total() - 2}
            said = command("legacy_mode", "alias", "--reason", "the plan")
            assert f"{total() - 2} before, {total()} after" in said
            assert "copied         4 to the unified stream, 4 to the old tables" in said
            wait()
            assert "Parity: drift on 1 of 1 day" in command("check_parity", "--days", "1", code=1)

            # Phase 4: gone, and the old tables are dropped.
            command("legacy_mode", "gone", code=1)
            command("drop_legacy", code=1)
            switch("gone", "--force", to_stream=0, to_legacy=0)
            assert clients.send("/increment", {"sessionId": "too late"}) == 410
            clients.new(2)
            events = Event.objects.count(), Event.objects.successes().count()
            rows = f"{ClientLog.objects.count()} rows of client_logs, {LegacyCount.objects.count()} rows"
            try:
                assert rows in command("drop_legacy")
                assert not {"client_logs", "legacy_legacycount"} & set(connection.introspection.table_names())
                clients.new(1)
                assert json.loads(server.get("/metrics/flash-count")[1])["total"] == total()
                assert server.get("/count")[0] == 410
                assert (Event.objects.count(), Event.objects.successes().count()) == (events[0] + 2, events[1] + 1)
            finally:
                make_old_tables()

    assert watcher.totals_by_path["/count"] == sorted(watcher.totals_by_path["/count"])
    assert watcher.totals_by_path["/metrics/flash-count"] == sorted(watcher.totals_by_path["/metrics/flash-count"])
    assert len(watcher.totals_by_path["/count"]) > 50
    assert set(watcher.ended) == {410}


def wait() -> None:
    """Wait until the server follows a switch. Before, it may still use the earlier mode."""
    time.sleep(2)


def make_old_tables() -> None:
    """Recreate the tables for the next test."""
    missing = {"client_logs", "legacy_legacycount"} - set(connection.introspection.table_names())
    with connection.schema_editor() as editor:
        for table in (ClientLog, LegacyCount):
            if table._meta.db_table in missing:
                editor.create_model(table)
