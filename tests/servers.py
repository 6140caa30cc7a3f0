"""The real server, as `manage.py serve` starts it, for tests that look at it from outside."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Self
from urllib.parse import urlencode

import psutil

PROJECT_DIR = Path(__file__).resolve().parent.parent
PATIENCE_SECONDS = 60  # for a loaded machine; nothing here waits longer than it must
COMMANDS_IN_ONE_PROCESS = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
import manage

ended = []
for sys.argv[1:] in json.loads(sys.argv[1]):
    code = 0
    with redirect_stdout(io.StringIO()) as said, redirect_stderr(io.StringIO()) as complained:
        try:
            manage.main()
        except SystemExit as end:
            code = end.code or 0
    ended.append((code, said.getvalue(), complained.getvalue()))
print(json.dumps(ended))
"""


class Server:
    """One site, started as often as a test likes. As a context manager it ends what still runs.

    On Linux the server also ends when the process of the tests is killed.
    """

    process: subprocess.Popen[bytes]  # the main process, which a service manager would hold

    def __init__(self, data_dir: Path, **env: str) -> None:
        self.address = "127.0.0.1"
        self.port = free_port()
        self.data_dir = data_dir
        self.env = {
            **inherited(),
            "DATA_DIR": str(data_dir),
            "DJANGO_SETTINGS_MODULE": "telemetry_site.settings",
            "PORT": str(self.port),
            "BATCH_EVENTS_RATE": "off",
            "DAILY_BYTES_PER_CLIENT": "off",
            "MIN_FREE_BYTES": "off",
            "JOBS_WORKER": "0",  # the process of the jobs takes a second of processor time for each server
            "ADMIN_PASSWORD": "a password for tests",
            "PYTEST_VERSION": "as in tests: no .env is read",
        } | env
        self.log = data_dir.parent / f"{data_dir.name}.log"
        self.project = PROJECT_DIR
        self.prefix: list[str] = []  # a program that starts the server with fewer rights

    def command(self, *args: str) -> subprocess.CompletedProcess[str]:
        return self._python("manage.py", *args)

    def commands(self, *each: tuple[str, ...]) -> list[subprocess.CompletedProcess[str]]:
        """Run several commands in one process, as most of a command's time is the start of its process."""
        process = self._python("-c", COMMANDS_IN_ONE_PROCESS, json.dumps(each))
        assert process.returncode == 0, process.stderr
        return [
            subprocess.CompletedProcess(args, *ended)
            for args, ended in zip(each, json.loads(process.stdout), strict=True)
        ]

    def _python(self, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *args],
            cwd=self.project,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_running():
            try:
                self.stop()
            finally:
                if self.is_running():
                    self.kill_group()

    def set_clock(self, days: float) -> None:
        """Let the next processes believe that it is so many days later, or earlier; 0 is now. Needs faketime."""
        for name in ("LD_PRELOAD", "FAKETIME", "FAKETIME_DONT_FAKE_MONOTONIC"):
            self.env.pop(name, None)
        if days:
            library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
            self.env |= {"LD_PRELOAD": str(library), "FAKETIME": f"{days:+}d", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    def start(self) -> None:
        self._start([sys.executable, "manage.py", "serve", "--stop-with-parent"])

    def start_prepared(self) -> None:
        """Start only the process that `serve` becomes at its end, which takes half the time.

        The data folder must be that of a site that `serve` has started before.
        """
        from telemetry_site.management.commands import serve  # only a process with Django can import it

        def prepare_process() -> None:
            serve.stop_with_parent()
            serve.prepare_process()

        self._start(serve.granian_command(self.address, self.port, int(self.env.get("WORKERS", "1"))), prepare_process)

    def _start(self, command: list[str], prepare_process: Callable[[], None] | None = None) -> None:
        with self.log.open("a") as log:
            try:
                self.process = subprocess.Popen(
                    [*self.prefix, *command],
                    cwd=self.project,
                    preexec_fn=prepare_process,
                    env=self.env,
                    stdout=log,
                    stderr=log,
                    process_group=0,  # so that a test can end the whole of it at one moment
                )
            except KeyboardInterrupt:  # Popen has started it, and nobody holds its handle
                for child in psutil.Process().children():
                    with suppress(psutil.Error):
                        if child.environ().get("DATA_DIR") == str(self.data_dir):
                            child.kill()
                raise
        wait_until(self.answers, f"the server never answered:\n{self.log.read_text()}")

    def is_running(self) -> bool:
        return hasattr(self, "process") and self.process.poll() is None

    def answers(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended:\n{self.log.read_text()}")
        try:
            return self.get("/health")[0] == 200
        except OSError:
            return False

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        with self.connect() as connection:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def post(self, path: str, body: bytes, **headers: str) -> tuple[int, bytes]:
        with self.connect() as connection:
            connection.request("POST", path, body, {"Content-Type": "application/json"} | headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def connect(self) -> closing[http.client.HTTPConnection]:
        return closing(http.client.HTTPConnection(self.address, self.port, timeout=PATIENCE_SECONDS))

    def raw(self, data: bytes) -> socket.socket:
        """Open a connection and send bytes as they are."""
        wire = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)
        wire.sendall(data)
        return wire

    def sign_in(self, name: str = "admin") -> str:
        """Sign someone in, the first maintainer unless another is named; return the cookies to send."""
        with self.connect() as connection:
            connection.request("GET", "/admin/login/")
            csrf = connection.getresponse().headers["Set-Cookie"].partition(";")[0]
            form = {
                "username": name,
                "password": self.env["ADMIN_PASSWORD"],
                "csrfmiddlewaretoken": csrf.partition("=")[2],
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": csrf}
        with self.connect() as connection:
            connection.request("POST", "/admin/login/?next=/admin/", urlencode(form), headers)
            answer = connection.getresponse()
            assert answer.status == 302, answer.read()
            return "; ".join(cookie.partition(";")[0] for cookie in answer.headers.get_all("Set-Cookie"))

    def worker_memory_bytes(self) -> int:
        return int(psutil.Process(self.workers[0]).memory_info().rss)

    @property
    def workers(self) -> list[int]:
        return [child.pid for child in psutil.Process(self.process.pid).children()]

    @property
    def jobs_processes(self) -> list[int]:
        """Return the processes that run the jobs: children of the workers."""
        with suppress(psutil.NoSuchProcess):
            children = [child for worker in self.workers for child in psutil.Process(worker).children()]
            return [child.pid for child in children if "run_jobs" in child.cmdline()]
        return []

    def stop(self) -> int:
        """Stop as a service manager would; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """Kill the main process, which leaves it no chance to tell its workers."""
        self.process.kill()
        self.process.wait()

    def kill_group(self) -> None:
        """Kill every process of the server at one moment, as a power cut would."""
        killed = psutil.Process(self.process.pid).children(recursive=True)
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        psutil.wait_procs(killed, PATIENCE_SECONDS)  # their locks end with them


@contextmanager
def served(data_dir: Path, **env: str) -> Iterator[Server]:
    with Server(data_dir, **env) as server:
        server.start()
        yield server


@contextmanager
def served_prepared(data_dir: Path, **env: str) -> Iterator[Server]:
    """Serve a copy of a site that was started before; see `Server.start_prepared`."""
    with Server(data_dir, **env) as server:
        server.start_prepared()
        yield server


def inherited() -> dict[str, str]:
    """Return what another process needs of our environment: where programs are, and how coverage is measured.

    The data of a test may be lost with the container that runs the tests.
    """
    known = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("COVERAGE_")}
    return known | {"EPHEMERAL_DATA": "1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_alive(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def wait_until(holds, what: str, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + patience_seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
