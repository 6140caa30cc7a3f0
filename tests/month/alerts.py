"""A month of one site under a faked clock, and every message that it sends: `make month ARGS=alerts`.

Clients send 20 flashes a day. Day 12 brings a bad release, day 13 a regression, days 20 to 22 nothing at all, and day
25 a storm of 200 failures that nobody has seen before. A web hook gets all kinds of alerts, and a maintainer gets mail.
On all other days, only Monday's digest may be sent.
"""

import json
import random
import sqlite3
import sys
import time
from collections import defaultdict
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.alerts.channels.listeners import hook, mail_server
from tests.servers import Server

DAYS = 30
FLASHES = 20
BAD_RELEASE, REGRESSION, SILENT, STORM = 12, 13, range(20, 23), 25
# The days on which an alert may be sent, with what explains it: the day of an accident, and its end.
INCIDENTS = {
    0: "the first failures of a new site",
    **dict.fromkeys(range(BAD_RELEASE, 16), "the bad release, its repair, and the regression"),
    **dict.fromkeys(range(SILENT.start, SILENT.stop + 1), "silence, and its end"),
    STORM: "the storm",
    STORM + 1: "the storm",
}
USUAL = ["No ACK for block 0x{:04x}", "Handshake timed out", "The device has been lost"]
CAME_BACK = "Radio rejected the clock setting"
SUBSCRIBE = """
from django.contrib.auth.models import User
from django.utils.timezone import now
from events.alerts.channels import roster
User.objects.filter(username="admin").update(email="kim@example.org")
roster.subscribe(User.objects.get(), roster.MailChoice.ALL, at=now())
"""
RESOLVE = f"""
from django.contrib.auth.models import User
from django.utils.timezone import now
from events.grouping import triage
from events.models import FailureGroup
group = FailureGroup.objects.get(title={CAME_BACK!r})
triage.resolve([group.pk], fixed_in="2c87cac", user=User.objects.get(), at=now())
"""


class AlertMonth:
    """The site, its clients and the messages of each day."""

    def __init__(self, data_dir: Path, web_hook: Any, port: int, box: Any) -> None:
        self.web_hook, self.box = web_hook, box
        self.random = random.Random(18)
        self.sent = 0
        self.messages: defaultdict[int, list[tuple[str, str]]] = defaultdict(list)  # (recipient, subject) by day
        patched = Path(__file__).parent / "faketime"
        self.server = Server(
            data_dir,
            PYTHONPATH=str(patched),
            SITE_URL="http://telemetry.test",
            ALLOWED_HOSTS="127.0.0.1,telemetry.test",
            ALERT_ALLOW_HOSTS="127.0.0.1",
            EMAIL_URL=f"smtp://127.0.0.1:{port}",
            BATCH_RATE="off",
        )

    def at(self, day: int, hour: int, minute: int = 0) -> None:
        """Turn the clock of the next processes to this time of a day."""
        wanted = self.midnight + timedelta(days=day, hours=hour, minutes=minute)
        self.server.set_clock((wanted - datetime.now(UTC)).total_seconds() / 86_400)

    @property
    def midnight(self) -> datetime:
        return (datetime.now(UTC) + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)

    def begin(self) -> None:
        self.at(0, 7)
        self.server.start()
        self.server.stop()
        for command in (
            ("add_channel", "ops", f"json://127.0.0.1:{self.web_hook.port}/"),
            ("shell", "--no-imports", "-c", SUBSCRIBE),
        ):
            self.run(*command)

    def run(self, *command: str) -> str:
        ended = self.server.command(*command)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def live(self, day: int) -> None:
        """Send the events of a day at eight, then let the jobs run until no message waits."""
        if events := self.events_of(day):
            self.at(day, 8)
            self.server.start()
            for start in range(0, len(events), 100):
                body = json.dumps({"events": events[start : start + 100]}).encode()
                status, answer = self.server.post("/event/batch", body)
                assert status == 200, answer
                assert all(result["ok"] for result in json.loads(answer)["results"]), answer
            self.server.stop()
        for minutes in (6, 18, 30, 80):
            self.at(day, 8 + minutes // 60, minutes % 60)
            self.run("run_jobs", "--once")
            self.collect(day)
            if not self.waiting():
                break
        if day == 5:
            self.run("shell", "--no-imports", "-c", RESOLVE)

    def collect(self, day: int) -> None:
        for request in self.web_hook.requests:
            self.messages[day].append(("ops (web hook)", json.loads(request.body)["title"]))
        for delivered in self.box.delivered:
            self.messages[day].append((", ".join(delivered.recipients), str(delivered.mail["Subject"])))
        self.web_hook.requests.clear()
        self.box.delivered.clear()

    def waiting(self) -> int:
        file = self.server.data_dir / "telemetry.sqlite3"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            (number,) = database.execute(
                "SELECT (SELECT COUNT(*) FROM events_alertdelivery WHERE state = 'waiting')"
                " + (SELECT COUNT(*) FROM events_alert WHERE planned_at_ms IS NULL)"
            ).fetchone()
        return int(number)

    # --- clients -----------------------------------------------------------------------------------------------------

    def events_of(self, day: int) -> list[dict[str, object]]:
        if day in SILENT:
            return []
        version = self.version_of(day)
        if day == 0:  # the usual failures are known from the first day
            known = [message for message in [*USUAL, CAME_BACK] for _ in range(4)]
            return [self.event(day, version, message) for message in known] + self.flashes(day, version, 60, 0)
        if day == STORM:
            letters = "abcdefghijklmnopqrstuvwxyz"
            names = [f"{first}{second}" for first in letters for second in letters][:200]
            storm = [f"Module {name}{name} is missing" for name in names for _ in range(3)]
            return [self.event(day, version, message) for message in storm] + self.flashes(day, version, FLASHES, 0.08)
        if version == "c0ffee1":
            return self.flashes(day, version, FLASHES, 0.5, "The port vanished while writing") + [
                self.event(day, version, CAME_BACK) for _ in range(2 if day == REGRESSION else 0)
            ]
        return self.flashes(day, version, FLASHES, 0.08)

    @staticmethod
    def version_of(day: int) -> str:
        if day < 6:
            return "19afc18"
        if day < BAD_RELEASE:
            return "2c87cac"
        return "c0ffee1" if day < 15 else "3fa81c2"

    def flashes(self, day: int, version: str, number: int, rate: float, message: str = "") -> list[dict[str, object]]:
        """Return flashes of which each fails by chance, so a quiet day may have no failure, and another one five."""
        return [
            self.event(day, version, (message or self.random.choice(USUAL)) if self.random.random() < rate else "")
            for _ in range(number)
        ]

    def event(self, day: int, version: str, message: str) -> dict[str, object]:
        self.sent += 1
        return {
            "event_type": "flash_error" if message else "flash_success",
            "occurred_at": (self.midnight + timedelta(days=day, hours=8)).isoformat(),
            "session_id": f"session-{self.sent}",
            "message": message.format(self.sent) if message else "Flashed",
            "model": ("UV-5RM", "UV-17R", "DM-32UV")[self.sent % 3],
            "app_version": version,
            "write_mode": 1,
            "connected": 1,
        }


def main() -> int:
    began = time.monotonic()
    with (
        TemporaryDirectory(prefix="alert-month-") as folder,
        hook() as web_hook,
        mail_server() as (port, box),
    ):
        month = AlertMonth(Path(folder) / "data", web_hook, port, box)
        month.begin()
        for day in range(DAYS + 1):
            month.live(day)
            for recipient, subject in month.messages[day]:
                weekday = (month.midnight + timedelta(days=day)).strftime("%a")
                write(f"| day {day} ({weekday}) | {recipient} | {subject} |")
        faults = list(found_faults(month))
    for fault in faults:
        write(f"FAULT: {fault}")
    number = sum(len(messages) for messages in month.messages.values())
    write(f"{number} messages in {time.monotonic() - began:.0f} s. {'Failed.' if faults else 'Passed.'}")
    return bool(faults)


def found_faults(month: AlertMonth) -> Any:
    for day, messages in month.messages.items():
        for recipient, subject in messages:
            if day not in INCIDENTS and not subject.startswith("[summary]"):
                yield f"day {day} is quiet, but {recipient} got {subject}"
    for days, kind in (
        ({BAD_RELEASE, BAD_RELEASE + 1, BAD_RELEASE + 2}, "[release]"),
        ({BAD_RELEASE}, "[new]"),
        ({REGRESSION}, "[regression]"),
        (set(SILENT), "[silence]"),
        ({STORM}, "[new]"),
    ):
        for recipient in ("ops (web hook)", "kim@example.org"):
            got = [s for day in sorted(days) for r, s in month.messages[day] if r == recipient and s.startswith(kind)]
            if len(got) != 1:
                yield f"{recipient} got {len(got)} messages {kind} on days {sorted(days)}: {got}"
    summaries = sum(subject.startswith("[summary]") for messages in month.messages.values() for _, subject in messages)
    if summaries < 2 * (DAYS // 7):
        yield f"only {summaries} digests were sent"
    if waiting := month.waiting():
        yield f"{waiting} messages still wait"


def write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
