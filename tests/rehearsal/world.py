"""The processes of a rehearsal: the site, the old Workers, proxies at the old addresses, and one browser."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.browser import front_ends
from tests.browser.chromium import find_chromium
from tests.browser.pages import Browser, Gate, gate_before, page_served
from tests.fixtures import d1
from tests.fixtures.phases import (
    AFTER_NEWEST,
    AFTER_OLDEST,
    DEPLOYED,
    DUAL_WRITING,
    NEWEST,
    OLD_COUNTER,
    OLD_LOG,
    OLDEST,
    ROWS,
)
from tests.fixtures.phases import SITE as SITE_NAME
from tests.fixtures.stand_in import CounterWorker, LogWorker, old_workers
from tests.rehearsal.ledger import Ledger, Stored
from tests.rehearsal.poller import Poller
from tests.servers import PROJECT_DIR, Server, wait_until

BASELINE, COUNTED = 100, 200
DAY_SECONDS = 86_400
# The visitors. A visitor that "moves on" gets the new build.
STAYS_OLDEST, STAYS_NEWEST = "stays on 4778589", "stays on web-dev"
MOVES_FROM_OLDEST, MOVES_FROM_NEWEST = "moves on from 4778589", "moves on from web-dev"


class Rehearsal:
    def __init__(
        self, folder: Path, browser: Browser, workers: tuple[LogWorker, CounterWorker], gates: list[Gate]
    ) -> None:
        self.folder = folder
        self.browser = browser
        self.log_worker, self.counter_worker = workers
        self.log, self.counter, self.site = gates
        self.server = Server(folder / "data", INGEST_RATE="off", READ_RATE="off", PARITY_DAYS="7")
        self.site.site_port = self.server.port
        self.ledger = Ledger(gates)
        self.poller = Poller(
            {
                "old log /metrics/flash-count": (self.log, "/metrics/flash-count"),
                "old counter /count": (self.counter, "/count"),
                "this site /metrics/flash-count": (self.site, "/metrics/flash-count"),
                "this site /count": (self.site, "/count"),
            }
        )
        self.commands: list[str] = []
        self.kills = 0
        self.reported: list[tuple[str, bool]] = []  # by new builds; True if the old counter counts the success
        self._names = iter(range(10**9))

    # --- the operator ------------------------------------------------------------------------------------------------

    def set_clock(self, days_ago: int) -> None:
        """Set the clock of the site's next processes some days back; 0 is the real time."""
        self.server.set_clock(-days_ago)

    def start(self) -> None:
        self.server.start()

    def restart(self, days_ago: int = 0) -> None:
        self.server.stop()
        self.set_clock(days_ago)
        self.start()

    def kill_server(self) -> None:
        """Kill all processes of the site, and start it again."""
        self.kills += 1
        self.server.kill_group()
        self.start()

    def command(self, *args: str, codes: tuple[int, ...] = (0,)) -> str:
        """Run a documented command; return what it printed."""
        self.commands.append(_as_documented(args))
        done = self.server.command(*args)
        if done.returncode not in codes:
            raise AssertionError(f"{' '.join(args)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def kill_command(self, after_seconds: float, *args: str) -> None:
        """Run a command and kill it after a while. The caller must run the same command again."""
        self.kills += 1
        running = subprocess.Popen(
            [sys.executable, "manage.py", *args],
            cwd=PROJECT_DIR,
            env=self.server.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(after_seconds)
        running.kill()
        running.wait()

    def fill(self, rows: int) -> None:
        """Add rows to the log Worker's database: successes, and failures in both tables."""
        for number in (next(self._names) for _ in range(rows)):
            failure = d1.event_row(message=f"old failure {number}", app_version=DUAL_WRITING)
            self.log_worker.events += [failure, d1.success_row(f"old session {number}")]
            self.log_worker.logs.append(d1.twin_of(failure))

    def export(self) -> Path:
        """Export the log Worker's database as `wrangler d1 export` does."""
        path = self.folder / "d1_export.sql"
        path.write_text(self.log_worker.export(), encoding="utf-8")
        return path

    def lead_old_addresses_here(self) -> None:
        self.log.site_port = self.counter.site_port = self.server.port

    def switch(self, mode: str, reason: str) -> None:
        """Switch the mode, and wait until all threads of the server follow."""
        self.command("legacy_mode", mode, "--reason", reason)
        time.sleep(2)

    # --- the visitors ------------------------------------------------------------------------------------------------

    def visit(self, visitor: str, build: str, phase: str, *, times: int = 1, is_killed: bool = False) -> None:
        """Open a page with the build of a row of the phase table, and send successes and failures.

        With `is_killed`, kill the site meanwhile.
        """
        # A deployed build has two rows. The second has the flag on, as phase 2 requires.
        [*_, row] = [row for row in ROWS if (row.build, row.phase) == (build, phase)]
        addresses = {OLD_LOG: self.log.url, OLD_COUNTER: self.counter.url, SITE_NAME: self.site.url, "": ""}
        base, log, counter = (addresses[name] for name in (row.base, row.log, row.counter))
        if row.badge:
            [(place, route)] = row.badge
            # A deployed build always reads the old address.
            place = {OLDEST: OLD_COUNTER, DUAL_WRITING: OLD_LOG, NEWEST: OLD_LOG}.get(build, place)
            self.poller.let_badge_read(visitor, f"{place} {route}")
        front_ends.start(self.browser, build, base=base, log=log, counter=counter, unified=row.unified, afresh=False)
        names = [f"{build} {phase} {next(self._names)}" for _ in range(times)]
        if build not in DEPLOYED:
            is_in_old_counter = (OLD_COUNTER, "/increment") in row.success
            self.reported += [(name, is_in_old_counter) for name in names]
        self.browser.run(
            """
            const event = { model: 'UV-5RM', writeMode: true, connected: true, logLines: ['opened'] };
            window.going = (async () => {
              const failure = { ...event, eventType: 'flash_error', errorName: 'Error', stack: 'Error: no ACK' };
              for (const name of names) {
                await build.success({ ...event, sessionId: name });
                await build.failure({ ...failure, message: name });
              }
              await build.settle();
            })();
            """,
            names=names,
        )
        if is_killed:
            self.kill_server()
        self.browser.run("await window.going;")

    def everybody_visits(self, phase: str, *, new: str = "", times: int = 1, is_killed: bool = False) -> None:
        """Let each visitor visit once. `new` is the phase of the new builds, if it differs from `phase`."""
        self.visit(STAYS_OLDEST, OLDEST, phase, times=times)
        self.visit("stays on 19afc18", DUAL_WRITING, phase, times=times)
        self.visit(STAYS_NEWEST, NEWEST, phase, times=times)
        self.visit(MOVES_FROM_OLDEST, AFTER_OLDEST, new or phase, times=times, is_killed=is_killed)
        self.visit(MOVES_FROM_NEWEST, AFTER_NEWEST, new or phase, times=times, is_killed=is_killed)

    def settle(self) -> None:
        """Send the queue of the browser with the newest build."""
        front_ends.start(self.browser, AFTER_NEWEST, base=self.site.url, log="", counter="", unified="1", afresh=False)
        self.browser.run("await build.settle();")
        wait_until(lambda: self.browser.waiting() == [], "the browser's queue is not empty")

    # --- the proof ---------------------------------------------------------------------------------------------------

    def tables(self) -> set[str]:
        """Return the names of the tables in the site's SQLite file."""
        with closing(sqlite3.connect(self.server.data_dir / "telemetry.sqlite3")) as database:
            return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

    def stored(self, database_url: str = "") -> Stored:
        """Return the events of the unified stream."""
        successes = "SELECT session_id FROM telemetry_events WHERE event_type = 'flash_success'"
        failures = "SELECT message FROM telemetry_events WHERE event_type <> 'flash_success'"
        stored = Stored()
        for query, counter in ((successes, stored.sessions), (failures, stored.messages)):
            if database_url:
                with psycopg.connect(database_url) as postgres:
                    rows: Any = postgres.execute(query).fetchall()
            else:
                with closing(sqlite3.connect(self.server.data_dir / "telemetry.sqlite3")) as database:
                    rows = database.execute(query).fetchall()
            counter.update(text for (text,) in rows)
        return stored


def _as_documented(args: tuple[str, ...]) -> str:
    """Return a command in the form of the documentation, with file names instead of paths."""
    words = [Path(word).name if word.startswith("/") else word for word in args]
    return " ".join(f'"{word}"' if " " in word else word for word in words)


@contextmanager
def prepared(folder: Path, *, rows: int) -> Iterator[Rehearsal]:
    """Start the old Workers with data, the proxies, a browser and the front end's pages, but not the site."""
    with ExitStack() as stack:
        page = folder / "page"
        page.mkdir()
        stack.enter_context(page_served(page))
        (folder / "flasher").mkdir()
        front_ends.bundle(page, folder / "flasher")
        log, counter = stack.enter_context(old_workers(baseline=BASELINE, total=COUNTED))
        ports = (log.server_port, counter.server_port, 0)
        gates = [stack.enter_context(gate_before(port)) for port in ports]
        programs = find_chromium()
        assert programs, "Chromium and its driver are not installed"
        browser = Browser(*programs, folder / "profile")
        stack.callback(browser.driver.quit)
        world = Rehearsal(folder, browser, (log, counter), gates)
        world.fill(rows)
        stack.enter_context(world.server)
        yield world
