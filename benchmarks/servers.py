"""Starts the site, as `make serve` does, and the references."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg

PROJECT_DIR = Path(__file__).resolve().parent.parent
_START_SECONDS = 60.0
PASSWORD = "for benchmarks"
# Limits that no client reaches, so that each request pays for its check.
_HIGH_LIMITS = {"CONNECTIONS_PER_CLIENT": "4096", "DAILY_BYTES_PER_CLIENT": "1000000000000"} | dict.fromkeys(
    ("INGEST_RATE", "BATCH_RATE", "BATCH_EVENTS_RATE", "READ_RATE"), "100000000/m"
)


class Running:
    """A running server on a port of this machine.

    `memory_mb` is the memory of all its processes, with those of the jobs. A page that several share counts once (PSS).
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def memory_mb(self) -> float:
        return sum(process.memory_full_info().pss for process in self._processes()) / 1024**2

    @property
    def cpu_seconds(self) -> float:
        """Return the processor time that all processes have used, in user and system mode."""
        times = [process.cpu_times() for process in self._processes()]
        return float(sum(time.user + time.system for time in times))

    def _processes(self) -> list[psutil.Process]:
        main = psutil.Process(self.process.pid)
        return [main, *main.children(recursive=True)]

    def answers(self, path: str) -> bool:
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)) as connection:
                connection.request("GET", path)
                return connection.getresponse().status == 200
        except OSError:
            return False


def environment(data_dir: Path, **changes: str) -> dict[str, str]:
    """Return the environment of a site, without the other variables of this process."""
    known = {"PATH": os.environ["PATH"], "DATA_DIR": str(data_dir), "ADMIN_PASSWORD": PASSWORD, "EPHEMERAL_DATA": "1"}
    return known | changes


@contextmanager
def site(
    data_dir: Path, python: str = sys.executable, checkout: Path = PROJECT_DIR, **changes: str
) -> Iterator[Running]:
    """Serve the site of a checkout as `make serve` does, with limits that no client reaches."""
    port = _free_port()
    env = environment(data_dir, PORT=str(port), **_HIGH_LIMITS, **changes)
    with _started([python, "manage.py", "serve"], env, port, "/health", checkout) as running:
        yield running


@contextmanager
def references(*, python: str = sys.executable) -> Iterator[Running]:
    port = _free_port()
    command = [
        python, "-m", "granian", "benchmarks.references:application", "--interface=wsgi", "--blocking-threads=32",
        f"--port={port}", "--host=127.0.0.1", "--log-level=warning", "--no-ws", "--http=1",
    ]  # fmt: skip
    with _started(command, {"PATH": os.environ["PATH"]}, port, "/event") as running:
        yield running


def with_requirements(python: str, folder: Path) -> str:
    """Create a virtual environment with the site's requirements; return its interpreter."""
    subprocess.run([python, "-m", "venv", folder], check=True)
    own = str(folder / "bin" / "python")
    quiet = ("--quiet", "--disable-pip-version-check", "--require-hashes")
    subprocess.run([own, "-m", "pip", "install", *quiet, "-r", PROJECT_DIR / "requirements.txt"], check=True)
    return own


@contextmanager
def postgres_database(url: str) -> Iterator[str]:
    """Create a database on the server at `url`, yield its URL, and drop it."""
    name = f"telemetry_bench_{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        try:
            yield urlsplit(url)._replace(path=f"/{name}").geturl()
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def _started(
    command: list[str], env: dict[str, str], port: int, path: str, cwd: Path = PROJECT_DIR
) -> Iterator[Running]:
    process = subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.DEVNULL)
    running = Running(process, port)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not running.answers(path):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[2]} did not start")
            time.sleep(0.05)
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
