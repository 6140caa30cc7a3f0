"""Executes each row of the phase table: the routes that a build writes and reads, in each phase and rollback."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.browser import front_ends
from tests.browser.pages import Browser, Gate, gate_before
from tests.fixtures.phases import AFTER_NEWEST, DEPLOYED, OLD_COUNTER, OLD_LOG, ROWS, SITE, PhaseRow, as_markdown
from tests.fixtures.stand_in import CounterWorker, LogWorker, old_workers
from tests.servers import PATIENCE_SECONDS, PROJECT_DIR, Server, served, wait_until

pytestmark = [pytest.mark.needs_chromium, pytest.mark.needs_npm]

MODES = ("separate", "alias", "gone")
# The routes that only read; a browser's preflights and a question for a batch store nothing either.
STORING = ("/event", "/client-log", "/increment")


def test_the_documentation_shows_this_table() -> None:
    assert as_markdown() in (PROJECT_DIR / "docs/frontend.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def builds(page_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    front_ends.bundle(page_folder, tmp_path_factory.mktemp("flasher"))


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """Return a site in each mode."""
    with ExitStack() as stack:
        found = {}
        for mode in MODES:
            folder = tmp_path_factory.mktemp(mode) / "data"
            server = stack.enter_context(served(folder, INGEST_RATE="off", READ_RATE="off"))
            switched = server.command("legacy_mode", mode, "--force", "--reason", "a test of this mode")
            assert switched.returncode == 0, switched.stderr
            found[mode] = server
        for mode, server in found.items():  # the server reads the mode once a second
            wait_until(lambda mode=mode, server=server: _mode_of(server) == mode, f"never in {mode}")
        yield found


def _mode_of(server: Server) -> str:
    if server.get("/count")[0] == 410:
        return "gone"
    server.post("/increment", json.dumps({"sessionId": "asks for the mode"}).encode())
    [[found]] = _query(server, "SELECT COUNT(*) FROM telemetry_events WHERE session_id = 'asks for the mode'")
    return "alias" if found else "separate"


def _query(server: Server, sql: str, *values: str) -> list[Any]:
    with closing(sqlite3.connect(server.data_dir / "telemetry.sqlite3", timeout=PATIENCE_SECONDS)) as database:
        return database.execute(sql, values).fetchall()


class Backends:
    """The services behind the addresses of one row."""

    def __init__(
        self, row: PhaseRow, log: LogWorker, counter: CounterWorker, gate: Gate | None, site: Server | None
    ) -> None:
        self.row, self.log, self.counter, self.gate, self.site = row, log, counter, gate, site

    def address(self, name: str) -> str:
        if not name:
            return ""
        if self.gate is not None:  # the old addresses lead to the site too
            return self.gate.url
        return {OLD_LOG: self.log.url, OLD_COUNTER: self.counter.url}[name]

    def stored_at(self, body: str) -> list[tuple[str, str]]:
        """Return the places that accepted a request which holds this text."""
        if self.gate is not None:
            stored = [answered for answered in self.gate.answered if answered.status in (200, 201)]
            return sorted((SITE, one.path) for one in stored if one.path in STORING and body in one.body)
        workers = [(OLD_LOG, self.log), (OLD_COUNTER, self.counter)]
        return sorted(
            (name, seen.path)
            for name, worker in workers
            for seen in worker.seen
            if seen.path in STORING and body in seen.body
        )

    def is_gone(self, body: str) -> bool:
        """Return whether the site has answered 410 to a request which holds this text."""
        return self.gate is not None and any(one.status == 410 and body in one.body for one in self.gate.answered)

    def count(self, address: str, route: str) -> int:
        if self.site is not None:
            return int(json.loads(self.site.get(route)[1])["total"])
        assert (address, route) in ((OLD_LOG, "/metrics/flash-count"), (OLD_COUNTER, "/count"))
        return self.log.total() if address == OLD_LOG else self.counter.count


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.build} {row.phase} {row.unified or '0'}")
@pytest.mark.usefixtures("builds")
def test_a_row_of_the_phase_table_holds(row: PhaseRow, browser: Browser, sites: dict[str, Server]) -> None:
    session, message = f"session of row {ROWS.index(row)}", f"Failure of row {ROWS.index(row)}"
    with ExitStack() as stack:
        log, counter = stack.enter_context(old_workers(baseline=100, total=200))
        site = sites[row.mode] if row.mode else None
        backends = Backends(row, log, counter, stack.enter_context(gate_before(site.port)) if site else None, site)
        base, old_log, old_counter = (backends.address(name) for name in (row.base, row.log, row.counter))
        front_ends.start(browser, row.build, base=base, log=old_log, counter=old_counter, unified=row.unified)

        before = front_ends.badge(browser)
        front_ends.flash(browser, session)
        front_ends.flash(browser, session)
        front_ends.fail(browser, message)
        expected = sorted(row.success), sorted(row.failure)
        wait_until(
            lambda: all(
                len(backends.stored_at(text)) >= len(places) and (places or backends.is_gone(text))
                for places, text in ((row.success, session), (row.failure, message))
            ),
            "not all was answered as the table says",
        )
        # A deployed build reports the same session twice; the drop-in does not.
        twice = 2 if row.build in DEPLOYED else 1
        assert (backends.stored_at(session), backends.stored_at(message)) == (
            sorted(expected[0] * twice),
            expected[1],
        )
        if not row.badge:
            assert before is None
        else:
            [(address, route)] = row.badge
            assert before is not None
            assert front_ends.badge(browser) == backends.count(address, route)
            # The strict stand-in counts an increment that is sent twice, as the deployed client would not send it.
            assert front_ends.badge(browser) == before + (twice if address == OLD_COUNTER else 1)
        if site:
            _holds_at_the_site(row, site, session, message)
        if row.build not in DEPLOYED:
            assert browser.waiting() == []


def _holds_at_the_site(row: PhaseRow, site: Server, session: str, message: str) -> None:
    """Check the tables: one event and one old row where the table says so, none elsewhere."""
    for places, text, old in (
        (row.success, session, "SELECT 1 FROM legacy_legacycount WHERE session_id = ?"),
        (row.failure, message, "SELECT 1 FROM client_logs WHERE message = ?"),
    ):
        routes = {route for _, route in places}
        is_old = bool(routes & {"/increment", "/client-log"})
        column = "session_id" if text == session else "message"
        events = _query(site, f"SELECT source, metadata_json FROM telemetry_events WHERE {column} = ?", text)
        assert len(events) == ("/event" in routes or (is_old and row.mode == "alias")), (text, events)
        assert len(_query(site, old, text)) == is_old
        if "/event" in routes:
            assert [source for source, _ in events] == ["event"]
            assert json.loads(events[0][1])["source"] == "web-v2"


@pytest.mark.parametrize("mode", ["separate", "alias"])
@pytest.mark.usefixtures("builds")
def test_a_failure_without_a_message_is_one_failure_by_both_routes(
    mode: str, browser: Browser, sites: dict[str, Server]
) -> None:
    site = sites[mode]
    url = f"http://127.0.0.1:{site.port}"
    front_ends.start(browser, AFTER_NEWEST, base=url, log=url, counter="", unified="1")
    front_ends.fail(browser, "")
    blank = "SELECT {} FROM {} WHERE message = '(no message)'"
    wait_until(lambda: len(_query(site, blank.format("id", "client_logs"))) == 1, "the copy was lost")
    [(event_id,)] = _query(site, blank.format("id", "telemetry_events"))
    assert _query(site, blank.format("event_id", "client_logs")) == [(event_id,)]
    assert browser.waiting() == []
