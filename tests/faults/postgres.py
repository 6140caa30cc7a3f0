"""A PostgreSQL server for one test, which the test can kill."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.servers import PATIENCE_SECONDS, free_port

# The server stops when the test process is killed.
_TIED = ["setpriv", "--pdeathsig", "QUIT"] if shutil.which("setpriv") else []


def find_programs() -> Path | None:
    """Return the folder of the newest installed `initdb` and `postgres`."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    named = shutil.which("initdb")
    if not programs and named:
        programs = [Path(named).resolve()]
    return programs[-1].parent if programs and (programs[-1].parent / "postgres").exists() else None


class Postgres:
    def __init__(self, folder: Path, programs: Path) -> None:
        self.port = free_port()
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/postgres"
        self._folder = folder / "postgres"
        self._programs = programs
        self._log = folder / "postgres.log"
        self._owner = "postgres" if os.getuid() == 0 else None  # PostgreSQL refuses to run as root
        self._folder.mkdir()
        if self._owner:
            shutil.chown(self._folder, self._owner)
        self._run("initdb", "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-sync").wait()

    def _run(self, program: str, *args: str, prefix: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [*prefix, self._programs / program, "-D", self._folder, *args],
                stdout=log,
                stderr=log,
                cwd="/",
                user=self._owner,
                group=self._owner,
                extra_groups=[] if self._owner else None,
                process_group=0,
            )

    def start(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        self.process = self._start()
        while not self._answers():
            assert time.monotonic() < deadline, self._log.read_text()
            if self.process.poll() is not None:  # processes of the previous server still have its memory
                self.process = self._start()
            time.sleep(0.1)

    def _start(self) -> subprocess.Popen[bytes]:
        return self._run("postgres", "-p", str(self.port), "-k", "", "-c", "listen_addresses=127.0.0.1", prefix=_TIED)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=3).close()
        except psycopg.OperationalError:
            return False
        return True

    def kill(self, how: signal.Signals) -> None:
        """End the server at once. SIGKILL kills only the postmaster, SIGQUIT stops all its processes."""
        self.process.send_signal(how)
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.kill(signal.SIGQUIT)


@contextmanager
def own_postgres(folder: Path) -> Iterator[Postgres]:
    programs = find_programs()
    assert programs
    postgres = Postgres(folder, programs)
    try:
        postgres.start()
        yield postgres
    finally:
        postgres.stop()
