"""Measures ingest beside a scheduled job: retention, backup or restore drill. Rounds with and without it alternate."""

import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import rates, servers
from benchmarks.rates import Measured, Work

WORKS = [Work("POST /event, a success", "success", 8), Work("POST /event, a success", "success", 32)]
_ROUND_SECONDS = 6
CHANGES = {"RETENTION_DAYS": "30"}
_SETUP = """
import django; django.setup()
from django.db import connection
from events import clock
from events.counting import site_days
from events.models import SiteDay
site_days.note_start(clock.now())
SiteDay.objects.update(clock_confirmed_ms=clock.now_ms())  # the events of wrk have a fixed time
with connection.cursor() as cursor:
    cursor.execute("UPDATE telemetry_events SET source = 'event', received_at_ms = received_at_ms - 8640000000")
"""
JOBS = {
    "retention": "events.maintenance.retention_policy.pruning.delete_old_events",
    "backup": "events.maintenance.backups.schedule._back_up",
    "restore drill": "events.maintenance.backups.schedule._prove",
}
_RUN_JOB = """
import os, sys
import django; django.setup()
from django.utils.module_loading import import_string
os.nice(10)  # as the process of a job
print(import_string(sys.argv[1])())
"""
_COUNT = """
import django; django.setup()
from events.models import Event
print(Event.objects.count())
"""


def prepare(folder: Path, events: int) -> None:
    """Make a site with these events, of which most are older than its RETENTION_DAYS."""
    folder.mkdir()
    _manage(folder, "migrate", "--verbosity=0")
    _manage(folder, "demo_data", f"--events={events}", "--days=80", "--seed=7")
    _python(folder, _SETUP)


def beside_ingest(folder: Path, job: str, rounds: int) -> Iterator[str]:
    """Yield lines of a table: rate and latency of ingest in each round, without the job of JOBS and with it."""
    if job == "restore drill":
        _python(folder, _RUN_JOB, JOBS["backup"])
    figures: dict[tuple[Work, bool], list[Measured]] = {}
    deleted = 0.0
    with servers.site(folder, sys.executable, servers.PROJECT_DIR, **CHANGES) as site:
        for number in range(rounds):
            for work in WORKS:
                for is_running in (False, True) if number % 2 else (True, False):
                    running = _start(folder, job) if is_running else None
                    try:
                        if running:
                            time.sleep(3)  # its start, and its counts
                        before = _count(folder)
                        measured = rates.measure(work, site, seconds=_ROUND_SECONDS)
                        after = _count(folder)
                        if running:
                            deleted += before + measured.per_second * _ROUND_SECONDS - after
                    finally:
                        if running:
                            running.send_signal(signal.SIGKILL)  # a run may be killed at any time
                            running.wait()
                    figures.setdefault((work, is_running), []).append(measured)
    yield f"| connections | {job} | events a second | p50 ms | p99 ms | max ms | errors |"
    yield "|--:|---|--:|--:|--:|--:|--:|"
    for (work, is_running), runs in figures.items():
        middle = rates.medians(runs)
        yield (
            f"| {work.connections} | {'runs' if is_running else 'none'} | {middle.per_second:,.0f} |"
            f" {middle.p50_ms:.1f} | {middle.p99_ms:.1f} | {middle.max_ms:.0f} | {middle.errors} |"
        )
    for work in WORKS:
        pairs = zip(figures[work, True], figures[work, False], strict=True)
        ratios = [beside.p99_ms / alone.p99_ms for beside, alone in pairs]
        yield (
            f"\n{work.connections} connections: p99 with ÷ without: median {statistics.median(ratios):.2f},"
            f" {min(ratios):.2f} to {max(ratios):.2f}"
        )
    if job == "retention":
        yield f"deleted about {deleted / (rounds * len(WORKS) * _ROUND_SECONDS):,.0f} events a second meanwhile"


def _count(folder: Path) -> int:
    return int(_python(folder, _COUNT).split()[0])


def _start(folder: Path, job: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", _RUN_JOB, JOBS[job]], cwd=servers.PROJECT_DIR, env=_environment(folder),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _environment(folder: Path) -> dict[str, str]:
    return servers.environment(folder, DJANGO_SETTINGS_MODULE="telemetry_site.settings", **CHANGES)


def _python(folder: Path, code: str, *arguments: str) -> str:
    return _run(folder, "-c", code, *arguments)


def _manage(folder: Path, *command: str) -> str:
    return _run(folder, "manage.py", *command)


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=servers.PROJECT_DIR, env=_environment(folder),
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout
