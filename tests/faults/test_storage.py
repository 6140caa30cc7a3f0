"""Faults of the storage under 32 writers: 503 with Retry-After. Afterwards the site recovers, and no event is lost."""

import json
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import success
from tests.faults.conftest import FULL, NO_LIMITS, show
from tests.faults.disks import fill, small_disk
from tests.faults.proofs import expect_counts_agree, expect_nothing_lost, query
from tests.faults.writers import WRITERS, Writers
from tests.servers import Server, served, wait_until

SEED = 7
TAKEN = {"alone": ("",), "with-its-log": ("", "-wal", "-shm")}


def expect_fault_then_healing(
    server: Server,
    writers: Writers,
    reason: str,
    heal: Callable[[], object],
    request: pytest.FixtureRequest,
    *,
    lasting_seconds: float = 0,
) -> None:
    """Assert that `/health/ready` names the fault; repair it, and check all sent events."""
    wait_until(lambda: writers.statuses[503] > 0, "no request was refused")
    wait_until(lambda: fault_of(server) is not None, "the site never noticed")
    assert re.search(reason, str(fault_of(server)))
    assert server.get("/health")[0] == 200
    time.sleep(lasting_seconds)
    heal()
    wait_until(lambda: fault_of(server) is None, "the site did not heal")
    writers.finish()
    figures = expect_nothing_lost(server, writers)
    assert figures["other answers from 400 on"] == 0
    assert writers.unanswered == 0
    members = f"{WRITERS} writers, {len(writers.sent):,} events"
    show(request, figures, members, ("lost", "doubled", "answers of 503", "other answers from 400 on"))


def fault_of(server: Server) -> str | None:
    """Return why the site is not ready, or None if it is."""
    status, body = server.get("/health/ready")
    return None if status == 200 else str(json.loads(body)["error"])


def started(server: Server) -> Writers:
    writers = Writers(server.port, seed=SEED)
    writers.start()
    writers.wait_for(50)
    return writers


# --- a full disk --------------------------------------------------------------------------------------------------


@pytest.mark.fault("a full disk")
@pytest.mark.needs_small_disk
def test_a_full_disk_refuses_and_heals_when_there_is_room(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with small_disk(tmp_path / "disk") as disk, served(disk / "data", **NO_LIMITS) as server:
        writers = started(server)
        ballast = fill(disk)
        expect_fault_then_healing(server, writers, "full", ballast.unlink, request)


# --- a locked database --------------------------------------------------------------------------------------------


@pytest.mark.fault("a locked database")
def test_a_locked_database_refuses_and_heals_when_it_is_free(server: Server, request: pytest.FixtureRequest) -> None:
    writers = started(server)
    with closing(sqlite3.connect(server.data_dir / "telemetry.sqlite3", timeout=60, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        def heal() -> None:
            other.execute("ROLLBACK")

        expect_fault_then_healing(server, writers, "locked", heal, request, lasting_seconds=30 if FULL else 0)


# --- a file that cannot be written --------------------------------------------------------------------------------


@pytest.mark.fault("a file that can only be read")
def test_a_file_that_can_only_be_read_refuses_and_heals(data_dir: Path, request: pytest.FixtureRequest) -> None:
    files = [data_dir / f"telemetry.sqlite3{end}" for end in ("", "-wal", "-shm")]
    files[0].chmod(0o400)
    with Server(data_dir, **NO_LIMITS) as server:
        if os.getuid() == 0:
            server.prefix = [
                "setpriv",
                "--inh-caps=-all",
                "--bounding-set=-dac_override",
            ]  # applies file modes
        server.start()
        writers = Writers(server.port, seed=SEED)
        writers.start()

        def heal() -> None:
            for file in files:
                if file.exists():
                    file.chmod(0o600)

        expect_fault_then_healing(server, writers, "attempt to write a readonly database", heal, request)


# --- a missing file -----------------------------------------------------------------------------------------------


@pytest.mark.fault("a database file that is gone")
@pytest.mark.parametrize("taken", TAKEN if FULL else ["with-its-log"])
def test_nothing_is_acknowledged_into_a_file_that_is_gone(
    server: Server, request: pytest.FixtureRequest, tmp_path: Path, taken: str
) -> None:
    """The file is moved away under the writers, and moved back. It contains every acknowledged event.

    The short form moves the file with its log only.
    """
    writers = started(server)
    away = tmp_path / "away"
    away.mkdir()
    for end in TAKEN[taken]:
        (server.data_dir / f"telemetry.sqlite3{end}").rename(away / f"telemetry.sqlite3{end}")

    def heal() -> None:
        assert not (server.data_dir / "telemetry.sqlite3").exists()  # the site did not create an empty file
        for end in reversed(TAKEN[taken]):
            (away / f"telemetry.sqlite3{end}").rename(server.data_dir / f"telemetry.sqlite3{end}")

    # The first message lasts until every thread has closed the old file; then the second follows.
    reason = "the database file was removed or replaced|unable to open database file"
    expect_fault_then_healing(server, writers, reason, heal, request)


@pytest.mark.fault("a database file that is restored")
def test_a_deleted_file_takes_nothing_with_it_that_is_acknowledged_later(
    server: Server, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    copy = tmp_path / "backup.sqlite3"
    with closing(sqlite3.connect(server.data_dir / "telemetry.sqlite3")) as database:
        database.execute("VACUUM INTO ?", [str(copy)])
    assert server.post("/event", json.dumps(success()).encode())[0] == 201
    for file in server.data_dir.glob("telemetry.sqlite3*"):
        file.unlink()
    assert [server.post("/event", json.dumps(success()).encode())[0] for _ in range(40)] == [503] * 40
    shutil.copy(copy, server.data_dir / "telemetry.sqlite3")
    wait_until(lambda: fault_of(server) is None, "the site did not heal")
    kept = [success() for _ in range(40)]
    assert [server.post("/event", json.dumps(event).encode())[0] for event in kept] == [201] * 40
    server.kill_group()
    stored = {name for (name,) in query(server, "SELECT session_id FROM telemetry_events")}
    assert stored == {event["session_id"] for event in kept}
    server.start()
    expect_counts_agree(server)
    show(request, {"acknowledged later": len(kept), "lost": 0}, f"{len(kept)} events", ("lost",))


@pytest.mark.fault("a deleted write-ahead log")
def test_what_is_acknowledged_after_its_log_was_deleted_is_in_another(
    server: Server, request: pytest.FixtureRequest
) -> None:
    """Events that only the deleted log contained are lost. Later events must not be written into the deleted log."""
    for _ in range(40):
        assert server.post("/event", json.dumps(success()).encode())[0] == 201
    server.sign_in()  # a thread of the page pool opens the file too, and stays idle afterwards
    (server.data_dir / "telemetry.sqlite3-wal").unlink()
    sent = [success() for _ in range(80)]
    statuses = [server.post("/event", json.dumps(event).encode())[0] for event in sent]
    assert set(statuses) <= {201, 503}
    assert 503 in statuses
    wait_until(lambda: fault_of(server) is None, "the site did not heal")
    sent.append(success())
    assert server.post("/event", json.dumps(sent[-1]).encode())[0] == 201
    server.kill_group()
    stored = {name for (name,) in query(server, "SELECT session_id FROM telemetry_events")}
    acknowledged = {event["session_id"] for event, status in zip(sent, [*statuses, 201], strict=True) if status == 201}
    lost = acknowledged - stored
    assert lost == set()
    figures = {"acknowledged later": len(acknowledged), "lost": len(lost)}
    show(request, figures, f"{len(sent)} events", ("acknowledged later", "lost"))
