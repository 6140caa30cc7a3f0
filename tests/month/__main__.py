"""A month of one site, day by day under a faked clock, without an operator: `make month`.

The site is `manage.py serve` alone, on a small disk; its backups are on another one. On day 9 the disk fills, on day 14
a job is killed, on day 20 a backup is damaged by one byte, and on day 28 the machine is lost and its newest backup
restored on an empty one. At the end, every acknowledged event is compared with what the site counts. It needs root, to
mount a disk, and faketime.
"""

import argparse
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import psutil

from tests.month import alerts
from tests.servers import Server, wait_until

DAYS = 30
DISK_FILLS, JOB_KILLED, BACKUP_DAMAGED, MACHINE_LOST = 9, 14, 20, 28
RETENTION_DAYS = 7
DISK_MEGABYTES = 400
BATCH = 100
PATIENCE_SECONDS = 240  # a killed job is taken over after a minute
DATABASE = "telemetry.sqlite3"
SETTINGS = {
    "RETENTION_DAYS": str(RETENTION_DAYS),
    "MIN_FREE_BYTES": str(64 * 1024 * 1024),
    "BACKUP_PASSPHRASE": "a passphrase of this rehearsal",
    "BACKUP_KEEP": "7d4w",
    "BATCH_RATE": "off",
    "JOBS_WORKER": "1",
    "ADMIN_TOKEN": "a-token-of-this-rehearsal-only",
}
FAULTS = ["No ACK for block", "Handshake timed out", "The port vanished", "Radio rejected the image"]


class Month:
    """The site, its two disks, and what its clients know: which events were acknowledged."""

    def __init__(self, disk: Path, backups: Path) -> None:
        self.disk, self.backups = disk, backups
        self.server = self._server(disk / "data")
        self.day = 0
        self.acknowledged: dict[str, int] = {}  # the day by id
        self.successes: set[str] = set()
        self.waiting: list[dict[str, object]] = []  # events that a client keeps because of a 503
        self.refused = 0
        self.made = 0

    def _server(self, data_dir: Path) -> Server:
        patched = Path(__file__).parent / "faketime"
        return Server(data_dir, BACKUP_DIR=str(self.backups), PYTHONPATH=str(patched), **SETTINGS)

    # --- clients -----------------------------------------------------------------------------------------------------

    def send(self, count: int) -> None:
        """Send what waits, and so many new events, in batches. What gets a 503 waits for the next day."""
        events = self.waiting + [self._event() for _ in range(count)]
        self.waiting = []
        for start in range(0, len(events), BATCH):
            batch = events[start : start + BATCH]
            status, body = self.server.post("/event/batch", json.dumps({"events": batch}).encode())
            if status == 503:
                self.refused += len(batch)
                self.waiting += batch
                continue
            assert status == 200, body
            for event, result in zip(batch, json.loads(body)["results"], strict=True):
                assert result["ok"], result
                if not result["deduped"]:
                    self.acknowledged[result["id"]] = self.day
                    if event["event_type"] == "flash_success":
                        self.successes.add(result["id"])

    def _now(self) -> datetime:
        """Return the time of the site's clock, and of its clients'."""
        return datetime.now(UTC) + timedelta(days=self.day)

    def _event(self) -> dict[str, object]:
        self.made += 1
        number = self.made
        event = {
            "event_type": "flash_success",
            "occurred_at": self._now().isoformat(),
            "session_id": str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))),
            "message": "Flashed",
            "model": ("UV-5RM", "UV-17R", "DM-32UV")[number % 3],
            "app_version": "19afc18",
            "write_mode": 1,
            "connected": 1,
            "metadata_json": json.dumps({"browser": "Chrome 139", "step": ("read", "write")[number % 2]}),
        }
        if number % 4 == 0:
            lines = [f"{number} block {line:04x} sent" for line in range(20)]
            event |= {
                "event_type": ("flash_error", "connect_error")[number % 8 == 0],
                "message": f"{FAULTS[number // 4 % len(FAULTS)]} 0x{number:06x}",
                "log_lines_json": json.dumps(lines),
            }
        return event

    # --- the site ----------------------------------------------------------------------------------------------------

    @contextmanager
    def running(self) -> Iterator[None]:
        self.server.set_clock(self.day)
        self.server.start()
        try:
            yield
        finally:
            if self.server.is_running():
                self.server.stop()

    def rows(self, query: str) -> list[tuple]:
        file = self.server.data_dir / DATABASE
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)) as database:
            return database.execute(query).fetchall()

    def wait_for_jobs(self) -> None:
        """Wait until no job runs and none is due."""

        def are_done() -> bool:
            now_ms = self._now().timestamp() * 1000
            rows = self.rows("SELECT due_ms, holder FROM events_jobstate")
            return bool(rows) and all(due_ms > now_ms and not holder for due_ms, holder in rows)

        wait_until(are_done, f"jobs are still due: {self.jobs()}", patience_seconds=PATIENCE_SECONDS)

    def jobs(self) -> dict[str, tuple[str, str]]:
        rows = self.rows("SELECT name, outcome, message FROM events_jobstate ORDER BY name")
        return {name: (outcome, message) for name, outcome, message in rows}

    def runs_of(self, job: str, outcome: str) -> list[str]:
        rows = self.rows("SELECT job, outcome, message FROM events_jobrun ORDER BY id")
        return [message for name, ended, message in rows if (name, ended) == (job, outcome)]

    def run_now(self, job: str) -> None:
        """Press *Run now* on the page of the jobs."""
        cookies = self.server.sign_in()
        token = next(part.partition("=")[2] for part in cookies.split("; ") if part.startswith("csrftoken"))
        form = urlencode({"csrfmiddlewaretoken": token, "job": job})
        with self.server.connect() as connection:
            headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookies}
            connection.request("POST", RUN_NOW, form, headers)
            answer = connection.getresponse()
            assert answer.status == 302, answer.read()

    def banners(self) -> str:
        with self.server.connect() as connection:
            connection.request("GET", "/admin/", headers={"Cookie": self.server.sign_in()})
            return connection.getresponse().read().decode()

    def say_day(self, words: str = "") -> None:
        stored, oldest = self.rows("SELECT COUNT(*), MIN(received_at_ms) FROM telemetry_events")[0]
        backups, proven = self.rows("SELECT COUNT(*), COUNT(proven_ms) FROM events_backup")[0]
        megabytes = (self.server.data_dir / DATABASE).stat().st_size / 1_000_000
        now_ms = self._now().timestamp() * 1000
        say(
            f"day {self.day:2}: {len(self.acknowledged):,} acknowledged, {stored:,} stored,"
            f" the oldest {(now_ms - oldest) / 86_400_000:.0f} days old, {megabytes:.0f} MB, {backups} backups,"
            f" {proven} proven. {words}"
        )


RUN_NOW = "/admin/events/jobstate/run/"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make month", description=__doc__)
    parser.add_argument("--events", type=int, default=60_000, help="how many events (default: 60000)")
    parser.add_argument(
        "part", nargs="?", choices=["site", "alerts"], default="site", help="which month (default: site)"
    )
    options = parser.parse_args()
    if options.part == "alerts":
        return alerts.main()
    events_a_day = options.events // DAYS
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="month-") as name:
        folder = Path(name)
        (folder / "backups").mkdir(mode=0o700)
        with disk_of(folder / "disk", DISK_MEGABYTES) as disk:
            month = Month(disk, folder / "backups")
            for month.day in range(1, MACHINE_LOST):
                live(month, events_a_day)
            faults = lose_machine(month, events_a_day, folder)
            for month.day in range(MACHINE_LOST + 1, DAYS + 1):
                live(month, events_a_day)
            faults += settle(month)
    for fault in faults:
        say(f"FAULT: {fault}")
    say(f"{time.monotonic() - began:.0f} s. {'Failed.' if faults else 'Passed.'}")
    return bool(faults)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@contextmanager
def disk_of(folder: Path, megabytes: int) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def live(month: Month, events: int) -> None:
    """One day: clients send, the jobs run, and on some days something happens."""
    special = {DISK_FILLS: fill_disk, JOB_KILLED: kill_job, BACKUP_DAMAGED: damage_backup}.get(month.day)
    with month.running():
        if special is not None:
            say(f"day {month.day:2}: {special(month, events)}")
        else:
            month.send(events)
        month.wait_for_jobs()
        failed = {
            name: message for name, (outcome, message) in month.jobs().items() if outcome not in (None, "succeeded")
        }
        month.say_day(f"Failed jobs: {failed}" if failed else "")


def fill_disk(month: Month, events: int) -> str:
    """Fill the disk. Nothing is acknowledged and lost, the jobs say what is wrong, and a free disk mends it."""
    month.send(events // 2)
    ballast = month.disk / "ballast"
    free = shutil.disk_usage(month.disk).free
    ballast.write_bytes(b"x" * (free - 8 * 1024 * 1024))
    time.sleep(2)  # the site looks once a second
    before = month.refused
    month.send(events // 2)
    refused = month.refused - before
    assert refused, "the full disk refused nothing"
    page = month.banners()
    assert 'class="banner' in page, page
    ended = month.server.command("doctor")
    assert ended.returncode == 1, ended.stdout
    ballast.unlink()
    time.sleep(2)
    month.send(0)
    return f"the disk was full: {refused:,} events got 503 and were stored later. The overview and doctor said so."


def kill_job(month: Month, events: int) -> str:
    """Kill the process of a running backup."""
    month.send(events)
    month.wait_for_jobs()
    month.run_now("backup")
    killed: list[int] = []

    def kill() -> bool:
        if month.rows("SELECT 1 FROM events_jobstate WHERE name = 'backup' AND holder <> ''"):
            for process in psutil.Process(month.server.process.pid).children(recursive=True):
                with suppress(psutil.Error):
                    if "run_jobs" in process.cmdline():
                        process.send_signal(signal.SIGKILL)
                        killed.append(process.pid)
        return bool(killed)

    wait_until(kill, "the backup never ran", patience_seconds=PATIENCE_SECONDS)
    began = time.monotonic()
    month.wait_for_jobs()
    assert month.runs_of("backup", "abandoned"), "the killed run was not recorded"
    seconds = time.monotonic() - began
    return f"{len(killed)} processes of the jobs were killed during a backup, which was made {seconds:.0f} s later."


def damage_backup(month: Month, events: int) -> str:
    """Change one byte of the newest backup. The restore drill finds it."""
    month.send(events)
    month.wait_for_jobs()
    name = month.rows("SELECT name FROM events_backup ORDER BY made_ms DESC LIMIT 1")[0][0]
    with (month.backups / name).open("r+b") as file:
        file.seek(file.seek(0, 2) // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    failed = len(month.runs_of("restore-drill", "failed"))  # day 9 had no room for one
    month.run_now("restore-drill")
    wait_until(
        lambda: len(month.runs_of("restore-drill", "failed")) > failed,
        "the drill found nothing",
        patience_seconds=PATIENCE_SECONDS,
    )
    assert month.rows(f"SELECT 1 FROM events_backup WHERE name = '{name}' AND problem <> ''"), (
        "the backup has no problem"
    )
    assert 'class="banner' in month.banners()
    return f"one byte of {name} was changed. The drill: {month.runs_of('restore-drill', 'failed')[-1]}"


def lose_machine(month: Month, events: int, folder: Path) -> list[str]:
    """Lose the machine in the middle of a day, and restore the newest backup on an empty one."""
    month.day = MACHINE_LOST
    with month.running():
        month.send(events // 2)
        month.wait_for_jobs()
        before = {name for (name,) in month.rows("SELECT id FROM telemetry_events")}
        cookies = month.server.sign_in()
        made = len(month.runs_of("backup", "succeeded"))
        month.run_now("backup")
        wait_until(
            lambda: len(month.runs_of("backup", "succeeded")) > made, "no backup", patience_seconds=PATIENCE_SECONDS
        )
        newest = month.rows("SELECT name FROM events_backup WHERE problem = '' ORDER BY made_ms DESC LIMIT 1")[0][0]
        month.send(events // 2)  # after the backup
        month.server.kill_group()
    shutil.rmtree(month.server.data_dir)
    other = month._server(folder / "other machine")
    other.set_clock(MACHINE_LOST)
    month.server = other
    restored = other.command("restore", str(month.backups / newest))
    assert restored.returncode == 0, restored.stdout + restored.stderr
    lost_ids = set(month.acknowledged) - {name for (name,) in month.rows("SELECT id FROM telemetry_events")}
    lost = {name for name in lost_ids if month.acknowledged[name] == MACHINE_LOST and name not in before}
    month.acknowledged = {name: day for name, day in month.acknowledged.items() if name not in lost}
    month.successes -= lost
    with month.running():
        status, _ = other.get("/admin/", Cookie=cookies)
        say(f"day {MACHINE_LOST}: the machine was lost. {restored.stdout.strip()}")
        say(f"day {MACHINE_LOST}: {len(lost):,} acknowledged events were lost, all received after the backup.")
        month.say_day()
    faults = []
    if status != 200:
        faults.append(f"the session of a maintainer is not valid on the new machine: {status}")
    if before - {name for (name,) in month.rows("SELECT id FROM telemetry_events")}:
        faults.append("events from before the backup are missing")
    return faults


def settle(month: Month) -> list[str]:
    """Compare the clients' acknowledgements with the site's counts and rows."""
    faults = []
    with month.running():
        total = json.loads(month.server.get("/metrics/flash-count")[1])["total"]
        say(f"Public count {total:,}; acknowledged successes {len(month.successes):,}.")
        if total != len(month.successes):
            faults.append("the public count differs from the acknowledged successes")
        sums = Counter(dict(month.rows("SELECT event_type, accepted FROM events_lifetimetotal"))).total()
        if sums != len(month.acknowledged):
            faults.append(f"the totals count {sums:,} events, {len(month.acknowledged):,} were acknowledged")
        stored = {name for (name,) in month.rows("SELECT id FROM telemetry_events")}
        kept = {name for name, day in month.acknowledged.items() if day > month.day - RETENTION_DAYS}
        if missing := kept - stored:
            faults.append(f"{len(missing):,} acknowledged events of the last {RETENTION_DAYS} days are not stored")
        if unknown := stored - set(month.acknowledged):
            faults.append(f"{len(unknown):,} stored events were never acknowledged")
        for command in (("rebuild_rollups", "--check"), ("doctor",)):
            ended = month.server.command(*command)
            say(f"manage.py {' '.join(command)}: exit {ended.returncode}\n{ended.stdout.strip()}")
            if ended.returncode:
                faults.append(f"manage.py {' '.join(command)} found a fault: {ended.stdout}{ended.stderr}")
    return faults


if __name__ == "__main__":
    sys.exit(main())
