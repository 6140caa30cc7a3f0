"""Measures requests per second with wrk, in interleaved rounds: medians, and the spread of ratios to a reference."""

import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import servers
from benchmarks.servers import Running

ROUNDS = 5
SECONDS = 4
_SCRIPT = Path(__file__).with_name("requests.lua")


class Work(NamedTuple):
    """One kind of request. `events` is the number in each request.

    `least` and `goal` are ratios to DRF's hello world with as many connections. `kind` is a kind of `requests.lua`.
    """

    words: str
    kind: str
    connections: int
    events: int = 1
    least: float | None = None
    goal: float | None = None


HELLO, FLOOR = "hello", "floor"
SUCCESS = Work("POST /event, a success", "success", 32, least=0.9, goal=1.1)
BATCH = Work("the same, random sessions", "batch", 8, events=50)
COUNT = Work("GET /metrics/flash-count", "count", 32, least=1.5, goal=2)
WORKS = [
    *(Work(f"{words}, {number} connection{'s' * (number > 1)}", kind, number)
      for kind, words in ((HELLO, "DRF's hello world"), (FLOOR, "the floor"))
      for number in (32, 8, 1)),
    SUCCESS,
    Work("POST /event, a long failure without a session", "failure", 32, least=0.7, goal=0.9),
    Work("POST /event, every second a duplicate", "duplicates", 32),
    Work("POST /event, one connection", "success", 1, least=0.5, goal=0.65),
    Work("POST /event/batch of 50, sessions of version 7", "drawn", 8, events=50, least=11, goal=14),
    BATCH,
    COUNT,
]  # fmt: skip

ON_POSTGRES = [work for work in WORKS if work.kind in (HELLO, FLOOR, "success", "drawn", "count")]


class Subject(NamedTuple):
    """The site to measure: its Python and its checkout."""

    python: str = sys.executable
    checkout: Path = servers.PROJECT_DIR


class Measured(NamedTuple):
    per_second: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    cpu_us: float  # CPU time of the server per event, in microseconds
    errors: int


def measure(work: Work, server: Running, *, seconds: int = SECONDS) -> Measured:
    """Send requests with one thread of wrk; raises CalledProcessError if wrk fails."""
    command = [
        "wrk", "--threads=1", f"--connections={work.connections}", f"--duration={seconds}s", "--timeout=10s",
        f"--script={_SCRIPT}", server.url, "--", work.kind, secrets.token_hex(4),
    ]  # fmt: skip
    cpu_before = server.cpu_seconds
    wrk = subprocess.run(command, capture_output=True, text=True, check=True)
    cpu_seconds = server.cpu_seconds - cpu_before
    result: dict[str, Any] = json.loads(wrk.stdout.splitlines()[-1])
    events = result["requests"] * work.events
    cpu_us = cpu_seconds / events * 1e6
    return Measured(
        events / result["seconds"], result["p50_ms"], result["p99_ms"], result["max_ms"], cpu_us, result["errors"]
    )


def medians(runs: list[Measured]) -> Measured:
    *figures, errors = zip(*runs, strict=True)
    per_second, p50_ms, p99_ms, max_ms, cpu_us = (statistics.median(figure) for figure in figures)
    return Measured(per_second, p50_ms, p99_ms, max_ms, cpu_us, sum(errors))


def durable_commits_per_second(folder: Path, seconds: float = 2.0) -> float:
    """Return how often per second the disk of `folder` completes a small write with fdatasync."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        number, until = 0, time.monotonic() + seconds
        while time.monotonic() < until:
            os.pwrite(file.fileno(), b"x" * 4096, number % 256 * 4096)
            os.fdatasync(file.fileno())
            number += 1
    return number / seconds


def run(
    folder: Path,
    *,
    works: list[Work] = WORKS,
    rounds: int = ROUNDS,
    subjects: Sequence[Subject] = (Subject(),),
    **environment: str,
) -> list[str]:
    """Measure each work `rounds` times on a new site of each subject; return the tables of each subject."""
    with ExitStack() as stack:
        references = [stack.enter_context(servers.references(python=python)) for python, _ in subjects]
        sites = [
            stack.enter_context(servers.site(folder / f"rates{number}", python, checkout, **environment))
            for number, (python, checkout) in enumerate(subjects)
        ]
        idle_mb = [site.memory_mb for site in sites]
        runs: list[dict[Work, list[Measured]]] = [{work: [] for work in works} for _ in subjects]
        for _ in range(rounds):
            for work in works:
                for reference, site, measured in zip(references, sites, runs, strict=True):
                    measured[work].append(measure(work, reference if work.kind in (HELLO, FLOOR) else site))
        return [
            f"{table(measured)}\n\n"
            f"memory of the site: {idle:.0f} MB idle, {site.memory_mb:.0f} MB after"
            + ("" if measured is runs[0] else f"\n\n{comparison(runs[0], measured)}")
            for measured, idle, site in zip(runs, idle_mb, sites, strict=True)
        ]


def comparison(first: dict[Work, list[Measured]], other: dict[Work, list[Measured]]) -> str:
    """Return a table of the ratios of the first subject's figures to the other's: median, lowest and highest round.

    Other load of the machine hardly changes the ratio of the CPU time.
    """
    lines = [
        "| the first ÷ this one | connections | rate | lowest | highest | processor time | lowest | highest |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for work, runs in first.items():
        pairs = list(zip(runs, other[work], strict=True))
        rates = [new.per_second / old.per_second for new, old in pairs]
        times = [new.cpu_us / old.cpu_us for new, old in pairs]
        figures = " | ".join(f"{of(ratios):.3f}" for ratios in (rates, times) for of in (statistics.median, min, max))
        lines.append(f"| {work.words} | {work.connections} | {figures} |")
    return "\n".join(lines)


def table(measured: dict[Work, list[Measured]]) -> str:
    """Return the table of all works. A ratio is the median of the rounds, with the lowest and the highest round."""
    lines = [
        "| work | connections | a second | × hello | lowest | highest | must | goal | × floor | p50 ms | p99 ms"
        " | max ms | CPU µs | errors |",
        f"|---|{'--:|' * 13}",
    ]
    for work, runs in measured.items():
        figure = medians(runs)
        to_hello, to_floor = (_ratios(measured, work, reference) for reference in (HELLO, FLOOR))
        cells = (
            work.words, f"{work.connections}", f"{figure.per_second:,.0f}", f"{statistics.median(to_hello):.2f}",
            f"{min(to_hello):.2f}", f"{max(to_hello):.2f}", f"{work.least or ''}", f"{work.goal or ''}",
            f"{statistics.median(to_floor):.2f}", f"{figure.p50_ms:.1f}", f"{figure.p99_ms:.1f}",
            f"{figure.max_ms:.0f}", f"{figure.cpu_us:.0f}", f"{figure.errors}",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _ratios(measured: dict[Work, list[Measured]], work: Work, reference: str) -> list[float]:
    """Return the rate of each round, divided by the rate of the reference with as many connections in this round."""
    others = next(
        runs for other, runs in measured.items() if (other.kind, other.connections) == (reference, work.connections)
    )
    return [run.per_second / other.per_second for run, other in zip(measured[work], others, strict=True)]
