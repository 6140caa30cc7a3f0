"""PostgreSQL servers for one test, which the test can kill: one alone, or a primary with a synchronous standby."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import psycopg

from tests.servers import PATIENCE_SECONDS, free_port, wait_until

# The server stops when the test process is killed.
_TIED = ["setpriv", "--pdeathsig", "QUIT"] if shutil.which("setpriv") else []


def find_programs() -> Path | None:
    """Return the folder of the newest installed `initdb` and `postgres`."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    named = shutil.which("initdb")
    if not programs and named:
        programs = [Path(named).resolve()]
    return programs[-1].parent if programs and (programs[-1].parent / "postgres").exists() else None


def find_pgbouncer() -> str | None:
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class Postgres:
    """A server with a new database, or a standby with a copy of the database of `primary`."""

    def __init__(self, folder: Path, programs: Path, *options: str, primary: "Postgres | None" = None) -> None:
        self.options = options
        self.port = free_port()
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/postgres"
        name = "standby" if primary else "postgres"
        self._folder = folder / name
        self.programs = programs
        self._log = folder / f"{name}.log"
        self._owner = "postgres" if os.getuid() == 0 else None  # PostgreSQL refuses to run as root
        self._folder.mkdir(mode=0o700)
        if self._owner:
            shutil.chown(self._folder, self._owner)
        if primary is None:
            made = self._run("initdb", "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
        else:
            address = f"{primary.url}?application_name={name}"
            made = self._run("pg_basebackup", "-d", address, "-R", "-c", "fast", "--no-sync")
        assert made.wait() == 0, self._log.read_text()

    def _run(self, program: str, *args: str, prefix: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [*prefix, self.programs / program, "-D", self._folder, *args],
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
        while not _answers(self.url):
            assert time.monotonic() < deadline, self._log.read_text()
            if self.process.poll() is not None:  # processes of the previous server still have its memory
                self.process = self._start()
            time.sleep(0.1)

    def _start(self) -> subprocess.Popen[bytes]:
        options = ["listen_addresses=127.0.0.1", *self.options]
        arguments = [argument for option in options for argument in ("-c", option)]
        return self._run("postgres", "-p", str(self.port), "-k", "", *arguments, prefix=_TIED)

    def kill(self, how: signal.Signals) -> None:
        """End the server at once. SIGKILL kills only the postmaster, SIGQUIT stops all its processes."""
        self.process.send_signal(how)
        self.process.wait()

    def kill_all(self) -> None:
        """Kill all processes of the server at one moment, as a power cut would."""
        processes = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        psutil.wait_procs(processes, PATIENCE_SECONDS)

    def run(self, sql: str) -> list[tuple[object, ...]]:
        """Run one statement; return its rows."""
        with psycopg.connect(self.url, autocommit=True, options="-c default_transaction_read_only=off") as database:
            cursor = database.execute(sql)  # type: ignore[arg-type]
            return list(cursor.fetchall()) if cursor.description else []

    def stop(self) -> None:
        if hasattr(self, "process") and self.process.poll() is None:
            self.kill(signal.SIGQUIT)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=3).close()
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def own_postgres(folder: Path, *options: str) -> Iterator[Postgres]:
    programs = find_programs()
    assert programs
    postgres = Postgres(folder, programs, *options)
    try:
        postgres.start()
        yield postgres
    finally:
        postgres.stop()


class Pair(NamedTuple):
    """A primary and its synchronous standby. `url` names both."""

    primary: Postgres
    standby: Postgres

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self)
        return f"postgres://postgres@{hosts}/postgres?target_session_attrs=read-write"


@contextmanager
def own_pair(folder: Path) -> Iterator[Pair]:
    """Start a primary and a standby. Each commit on the primary waits until the standby has it on disk."""
    # Without fsync the set-up takes a fifth of the time. A killed process loses nothing by it, only a power cut would.
    with own_postgres(folder, "fsync=off") as primary:
        standby = Postgres(folder, primary.programs, *primary.options, primary=primary)
        try:
            standby.start()
            # After the copy: a promoted standby must not wait for a standby of its own.
            primary.run("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
            primary.run("SELECT pg_reload_conf()")
            wait_until(
                lambda: primary.run("SELECT sync_state FROM pg_stat_replication") == [("sync",)],
                "the standby never became synchronous",
            )
            yield Pair(primary, standby)
        finally:
            standby.stop()


# Two connections to the server, far fewer than the site opens. So the statements of one connection of the site go to
# different ones, unless they are in one transaction.
_BOUNCER = """
[databases]
postgres = host=127.0.0.1 port={server} dbname=postgres user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
"""


@contextmanager
def own_pgbouncer(folder: Path, postgres: Postgres) -> Iterator[str]:
    """Start PgBouncer in transaction mode in front of a server; yield its URL."""
    program, port = find_pgbouncer(), free_port()
    assert program
    settings, log = folder / "pgbouncer.ini", folder / "pgbouncer.log"
    settings.write_text(_BOUNCER.format(server=postgres.port, port=port))
    settings.chmod(0o644)
    owner = "postgres" if os.getuid() == 0 else None  # PgBouncer refuses to run as root
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*_TIED, program, settings],
            stdout=output,
            stderr=output,
            cwd="/",
            user=owner,
            group=owner,
            extra_groups=[] if owner else None,
        )
    try:
        url = f"postgres://postgres@127.0.0.1:{port}/postgres"
        wait_until(lambda: _answers(url), "PgBouncer never answered")
        yield url
    finally:
        process.kill()
        process.wait()
