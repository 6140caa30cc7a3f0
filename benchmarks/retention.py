"""Measures ingest beside the scheduled retention, in alternating rounds with and without it."""

import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import rates, servers
from benchmarks.rates import Measured, Work

WORKS = [Work("POST /event, a success", "success", 8), Work("POST /event, a success", "success", 32)]
_ROUND_SECONDS = 6
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
_PRUNE = """
import django; django.setup()
from events.maintenance.retention_policy import pruning
print(pruning.delete_old_events())
"""
_COUNT = """
import django; django.setup()
from events.models import Event
print(Event.objects.count())
"""


def beside_ingest(folder: Path, events: int, rounds: int, **changes: str) -> Iterator[str]:
    """Yield lines of a table: rate and latency of ingest in each round, without and with a running retention."""
    folder.mkdir(exist_ok=True)
    changes |= {"RETENTION_DAYS": "30"}
    _manage(folder, changes, "migrate", "--verbosity=0")
    _manage(folder, changes, "demo_data", f"--events={events}", "--days=80", "--seed=7")
    _python(folder, changes, _SETUP)
    figures: dict[tuple[Work, bool], list[Measured]] = {}
    deleted = 0.0
    with servers.site(folder, sys.executable, servers.PROJECT_DIR, **changes) as site:
        for number in range(rounds):
            for work in WORKS:
                for is_pruning in (False, True) if number % 2 else (True, False):
                    prune = _start(folder, changes) if is_pruning else None
                    try:
                        if prune:
                            time.sleep(3)  # its start, and its counts
                        before = _count(folder, changes)
                        measured = rates.measure(work, site, seconds=_ROUND_SECONDS)
                        after = _count(folder, changes)
                        if prune:
                            deleted += before + measured.per_second * _ROUND_SECONDS - after
                    finally:
                        if prune:
                            prune.send_signal(signal.SIGKILL)  # a run may be killed at any time
                            prune.wait()
                    figures.setdefault((work, is_pruning), []).append(measured)
    yield "| connections | retention | events a second | p50 ms | p99 ms | max ms | errors |"
    yield "|--:|---|--:|--:|--:|--:|--:|"
    for (work, is_pruning), runs in figures.items():
        middle = rates.medians(runs)
        yield (
            f"| {work.connections} | {'runs' if is_pruning else 'none'} | {middle.per_second:,.0f} |"
            f" {middle.p50_ms:.1f} | {middle.p99_ms:.1f} | {middle.max_ms:.0f} | {middle.errors} |"
        )
    for work in WORKS:
        pairs = zip(figures[work, True], figures[work, False], strict=True)
        ratios = [beside.p99_ms / alone.p99_ms for beside, alone in pairs]
        yield (
            f"\n{work.connections} connections: p99 with ÷ without: median {statistics.median(ratios):.2f},"
            f" {min(ratios):.2f} to {max(ratios):.2f}"
        )
    yield f"deleted about {deleted / (rounds * len(WORKS) * _ROUND_SECONDS):,.0f} events a second meanwhile"


def _count(folder: Path, changes: dict[str, str]) -> int:
    return int(_python(folder, changes, _COUNT).split()[0])


def _start(folder: Path, changes: dict[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", _PRUNE], cwd=servers.PROJECT_DIR, env=_environment(folder, changes),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _environment(folder: Path, changes: dict[str, str]) -> dict[str, str]:
    return servers.environment(folder, DJANGO_SETTINGS_MODULE="telemetry_site.settings", **changes)


def _python(folder: Path, changes: dict[str, str], code: str) -> str:
    return _run(folder, changes, "-c", code)


def _manage(folder: Path, changes: dict[str, str], *command: Any) -> str:
    return _run(folder, changes, "manage.py", *command)


def _run(folder: Path, changes: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=servers.PROJECT_DIR, env=_environment(folder, changes),
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout
