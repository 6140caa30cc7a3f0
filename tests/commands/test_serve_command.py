"""`manage.py serve`: starting, stopping, being killed, and keeping a second one away."""

import gzip
import json
import os
import pty
import signal
import socket
import sqlite3
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.conftest import payload, success
from tests.servers import PROJECT_DIR, Server, is_alive, served, wait_until

PASSWORD = "correct horse battery"


@pytest.fixture
def new_dir(tmp_path: Path) -> Path:
    return tmp_path / "new"


@pytest.fixture(scope="module")
def new_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("serve") / "data", ADMIN_PASSWORD=PASSWORD, JOBS_WORKER="1") as running:
        yield running


class Starts(NamedTuple):
    """The log of two starts of one site, and its public count at the second."""

    port: int
    first: str
    second: str
    count: tuple[int, bytes]


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> Starts:
    """Start a new site, store a success and a failure, remove the failure's group, and start the site again."""
    folder = tmp_path_factory.mktemp("starts") / "data"
    with served(folder, ADMIN_PASSWORD="") as server:
        first = server.log.read_text()
        assert stat.S_IMODE((folder / "secret_key").stat().st_mode) == 0o600
        assert (folder / "telemetry.sqlite3").exists()
        for body in (success(), payload()):
            assert server.post("/event", json.dumps(body).encode())[0] == 201
    with closing(sqlite3.connect(folder / "telemetry.sqlite3")) as database:
        database.execute("UPDATE telemetry_events SET fingerprint = NULL")
        database.commit()
    server.env["ADMIN_PASSWORD"] = "short"
    with server:
        server.start()
        second = server.log.read_text().removeprefix(first)
        count = server.get("/metrics/flash-count")
        assert server.stop() == 0
    return Starts(server.port, first, second, count)


def test_a_first_start_makes_everything_that_is_needed(starts: Starts) -> None:
    assert f"http://127.0.0.1:{starts.port}/admin/" in starts.first
    password = starts.first.split("admin / ")[1].split()[0]
    assert password not in starts.second
    assert starts.count == (200, b'{"ok":true,"total":1}')


def test_a_configured_password_is_never_shown(new_server: Server) -> None:
    banner = new_server.log.read_text()
    assert PASSWORD not in banner
    assert "First maintainer  admin, with the password in ADMIN_PASSWORD" in banner


def test_made_up_events_are_offered_to_an_empty_site_alone(starts: Starts) -> None:
    assert "manage.py demo_data" in starts.first
    assert "demo_data" not in starts.second


def test_failures_without_a_group_are_reported(starts: Starts) -> None:
    assert "regroup_failures" not in starts.first
    assert "manage.py regroup_failures" in starts.second


def test_a_second_server_on_the_same_data_is_refused_in_words(new_server: Server) -> None:
    refused = Server(new_server.data_dir).command("serve")
    assert refused.returncode == 1
    assert "serves it already" in refused.stderr


def test_a_second_server_on_the_same_port_is_refused_in_words(new_server: Server, data_dir: Path) -> None:
    refused = Server(data_dir, PORT=str(new_server.port)).command("serve")
    assert refused.returncode == 1
    assert "Address already in use" in refused.stderr


# tests/faults/test_starts.py has more ways, and tests/site/test_settings.py the address that each of them gives.
@pytest.mark.parametrize(
    ("host", "shown", "reached_at"),
    [("0.0.0.0", "localhost", "127.0.0.1"), ("[::1]", "[::1]", "::1")],
)
def test_every_way_to_write_a_host_is_served(data_dir: Path, host: str, shown: str, reached_at: str) -> None:
    server = Server(data_dir, HOST=host)
    server.address = reached_at
    server.start()
    try:
        assert f"  Telemetry site    http://{shown}:{server.port}/admin/\n" in server.log.read_text()
    finally:
        server.stop()


def why_unresolved(host: str) -> str:
    """Return this machine's reason: without a network it is a temporary failure."""
    with pytest.raises(socket.gaierror) as refused:
        socket.getaddrinfo(host, None)
    return str(refused.value.strerror)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (
            {"HOST": "no-such-host.invalid"},
            f"CommandError: HOST='no-such-host.invalid' cannot be resolved: {why_unresolved('no-such-host.invalid')}."
            " Set HOST to an IP address of this machine, or to a name that resolves to one.",
        ),
        (
            {"HOST": "x" * 70},
            f"CommandError: HOST='{'x' * 70}' cannot be resolved: it is not a host name."
            " Set HOST to an IP address of this machine, or to a name that resolves to one.",
        ),
        (
            {"HOST": "192.0.2.1", "PORT": "8000"},
            "CommandError: 192.0.2.1:8000 cannot be used: Cannot assign requested address."
            " Set PORT or HOST to another value.",
        ),
        (
            {"HOST": "fe80::1%lo"},
            "CommandError: HOST='fe80::1%lo' has a zone, which the server cannot use. Set HOST to another address.",
        ),
    ],
)
def test_an_unusable_host_is_explained_in_one_line(new_dir: Path, environment: dict[str, str], words: str) -> None:
    refused = Server(new_dir, **environment).command("serve")
    assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", f"{words}\n")


def test_a_weak_first_password_is_refused_and_makes_nobody(new_dir: Path) -> None:
    for password in ("tiny", "administrator"):  # tests/faults/test_starts.py has more
        refused = Server(new_dir, ADMIN_PASSWORD=password).command("serve")
        assert refused.returncode == 1, password
        assert "CommandError: ADMIN_PASSWORD cannot be used: " in refused.stderr
        assert "or leave it empty: the site generates a random password and shows it once." in refused.stderr
        assert "Traceback" not in refused.stderr
        assert password not in refused.stderr
        with closing(sqlite3.connect(new_dir / "telemetry.sqlite3")) as database:
            assert database.execute("SELECT count(*) FROM auth_user").fetchone() == (0,), password


def test_a_weak_password_that_is_not_used_stops_no_start(starts: Starts) -> None:
    assert starts.second
    assert "First maintainer" not in starts.second


def test_bad_configuration_is_refused_in_words(new_dir: Path) -> None:
    refused = Server(new_dir, PORT="eighty", INGEST_RATE="lots").command("serve")
    assert refused.returncode == 1
    assert "PORT='eighty' is not a whole number from 1 to 65535." in refused.stderr
    assert "INGEST_RATE='lots' is not a rate such as 120/m, or off." in refused.stderr
    assert "Traceback" not in refused.stderr


def test_several_workers_on_sqlite_are_refused_with_the_reason(new_dir: Path) -> None:
    refused = Server(new_dir, WORKERS="2", DATABASE_URL="").command("serve")
    assert refused.returncode == 1
    assert "telemetry_site.E001" in refused.stderr


def test_sigterm_under_load_finishes_what_was_accepted(data_dir: Path) -> None:
    """Every event that was answered 201 is stored, and no request that was begun is cut off."""
    acknowledged: list[str] = []
    broken: list[str] = []
    begun = threading.Event()

    def post_until_refused(server: Server) -> None:
        while True:
            body = success()
            with server.connect() as connection:
                try:
                    connection.connect()
                except OSError:
                    return
                try:
                    connection.request("POST", "/event", json.dumps(body), {"Content-Type": "application/json"})
                    status = connection.getresponse().status
                except ConnectionError:  # it was in the backlog, and the listener is gone
                    return
                (acknowledged if status == 201 else broken).append(body["session_id"])
                begun.set()

    with served(data_dir, INGEST_RATE="off") as server:
        threads = [threading.Thread(target=post_until_refused, args=(server,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        assert begun.wait(30)
        assert server.stop() == 0
        for thread in threads:
            thread.join()
    assert broken == []
    with closing(sqlite3.connect(data_dir / "telemetry.sqlite3")) as database:
        stored = {row[0] for row in database.execute("SELECT session_id FROM telemetry_events")}
        assert set(acknowledged) <= stored
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_stalled_body_does_not_hold_a_stop_up(data_dir: Path) -> None:
    with served(data_dir) as server:
        head = b"POST /event HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n"
        with closing(server.raw(head + b"{")):
            assert server.stop() == 0


def test_a_killed_worker_is_replaced(new_server: Server) -> None:
    first = new_server.workers
    os.kill(first[0], signal.SIGKILL)
    wait_until(lambda: new_server.workers not in ([], first) and new_server.answers(), "no new worker came")


def test_the_process_of_the_jobs_is_small_and_replaced(new_server: Server) -> None:
    wait_until(lambda: new_server.jobs_processes, "no process runs the jobs")
    [first] = new_server.jobs_processes
    with closing(sqlite3.connect(new_server.data_dir / "telemetry.sqlite3", timeout=60)) as database:
        wait_until(lambda: database.execute("SELECT * FROM events_jobstate").fetchone(), "no job is planned")
    process = psutil.Process(first)
    assert process.memory_full_info().pss < 60 * 1024 * 1024
    assert process.num_threads() == 1
    assert process.net_connections() == []  # not even the listening socket
    process.kill()
    wait_until(lambda: new_server.jobs_processes not in ([], [first]), "no new process came")


SIGNALS_THAT_DO_NOTHING = ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGWINCH"]


def test_a_signal_that_is_no_request_to_stop_does_nothing(data_dir: Path) -> None:
    with served(data_dir) as server:
        workers = server.workers
        for receivers in ([server.process.pid], workers, [server.process.pid, *workers]):
            for name in SIGNALS_THAT_DO_NOTHING:
                for pid in receivers:
                    os.kill(pid, signal.Signals[name])
                assert server.post("/event", json.dumps(success()).encode())[0] == 201, name
            assert server.workers == workers
        assert server.stop() == 0
        assert "crash loop" not in server.log.read_text()


def test_sigquit_ends_the_main_process_and_its_worker(data_dir: Path) -> None:
    server = Server(data_dir)
    server.start()
    workers = server.workers
    server.process.send_signal(signal.SIGQUIT)
    assert server.process.wait(60) == -signal.SIGQUIT
    wait_until(lambda: not any(map(is_alive, workers)), "an orphan is left")


def test_the_site_goes_on_when_its_terminal_is_closed(data_dir: Path) -> None:
    server = Server(data_dir)
    pid, terminal = pty.fork()
    if pid == 0:  # this process has the terminal, and becomes the server
        os.chdir(PROJECT_DIR)
        os.execve(sys.executable, [sys.executable, "manage.py", "serve"], server.env)
    try:
        wait_until(lambda: has_answered(server), "the server never answered")
        os.close(terminal)  # the kernel sends SIGHUP to the processes of the terminal
        assert server.post("/event", json.dumps(success()).encode())[0] == 201
        assert os.waitpid(pid, os.WNOHANG) == (0, 0)
        assert server.post("/event", json.dumps(success()).encode())[0] == 201
    finally:
        os.kill(pid, signal.SIGTERM)
        _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def has_answered(server: Server) -> bool:
    try:
        return server.get("/health")[0] == 200
    except OSError:
        return False


def test_no_process_outlives_a_killed_main_process(data_dir: Path) -> None:
    with served(data_dir, JOBS_WORKER="1") as server:
        wait_until(lambda: server.jobs_processes, "no process runs the jobs")
        workers = server.workers + server.jobs_processes
        server.kill()
        try:
            wait_until(lambda: not any(map(is_alive, workers)), "an orphan is left")
        finally:
            for orphan in filter(is_alive, workers):
                os.kill(orphan, signal.SIGKILL)


# --- an upgrade ------------------------------------------------------------------------------------------------------

RELEASES = PROJECT_DIR / "tests" / "fixtures" / "releases"
COUNTED = ("telemetry_events", "events_failuregroup", "events_sourcemap", "events_correction", "events_auditentry")


def released_site(data_dir: Path, release: str) -> dict[str, int]:
    """Make the folder of a site that a release has left; return the number of rows by table."""
    data_dir.mkdir(mode=0o700)
    with closing(sqlite3.connect(data_dir / "telemetry.sqlite3")) as database:
        database.execute("PRAGMA auto_vacuum=INCREMENTAL")
        database.executescript(gzip.decompress((RELEASES / f"{release}.sql.gz").read_bytes()).decode())
    return rows_of(data_dir / "telemetry.sqlite3")


def rows_of(file: Path) -> dict[str, int]:
    with closing(sqlite3.connect(file)) as database:
        return {name: database.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0] for name in COUNTED}


@pytest.mark.parametrize(("release", "count"), [("0.1.0", 528), ("0.2.0", 528)])
def test_an_earlier_release_is_backed_up_and_migrated(new_dir: Path, release: str, count: int) -> None:
    rows = released_site(new_dir, release)
    full = Server(new_dir, MIN_FREE_BYTES=str(10**15)).command("serve")
    assert full.returncode == 1
    assert full.stderr.startswith(
        "CommandError: The database needs a migration, and the backup before it failed: The disk of "
    )
    assert "To migrate without a backup, run `manage.py migrate`" in full.stderr
    with served(new_dir, NIGHTLY_BACKUP="0") as server:  # switches off the job, but not this backup
        greeting = server.log.read_text()
        assert server.get("/metrics/flash-count") == (
            200,
            json.dumps({"ok": True, "total": count}, separators=(",", ":")).encode(),
        )
    (backup,) = (new_dir / "backups").glob("telemetry-*.sqlite3")
    assert f"Backup            made before the migration: {backup.name}: 160 events" in greeting
    assert rows_of(new_dir / "telemetry.sqlite3") == rows_of(backup) == rows
    with closing(sqlite3.connect(new_dir / "telemetry.sqlite3")) as database:
        assert database.execute("SELECT name FROM events_backup").fetchall() == [(backup.name,)]
