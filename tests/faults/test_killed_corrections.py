"""`void_flashes`, killed in the middle again and again: the public count is its rows at every moment."""

import json
import random
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest

from tests.faults.conftest import show
from tests.faults.proofs import expect_counts_agree, query
from tests.faults.writers import success
from tests.servers import PROJECT_DIR, Server, wait_until

SEED = 17
FORGED = 20_000
KILLS = 10


def kill_correction(server: Server, *arguments: str, after: float) -> None:
    """Run `void_flashes`, and kill it `after` seconds after its first batch."""
    before = void_now(server)
    process = subprocess.Popen(
        [sys.executable, "manage.py", "void_flashes", *arguments],
        cwd=PROJECT_DIR,
        env=server.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with process:
        wait_until(lambda: void_now(server) != before or process.poll() is not None, "the command changed nothing")
        time.sleep(after)
        process.kill()


def void_now(server: Server) -> int:
    [(void,)] = query(server, "SELECT COUNT(*) FROM telemetry_events WHERE correction IS NOT NULL")
    return int(void)


def expect_count_agrees(server: Server) -> None:
    """Assert that the public count and the corrections equal the stored rows."""
    void = void_now(server)
    assert json.loads(server.get("/metrics/flash-count")[1])["total"] == FORGED - void
    assert query(server, "SELECT COALESCE(SUM(voided - restored), 0) FROM events_correction") == [(void,)]


@pytest.mark.fault("a correction of the count is killed")
def test_a_killed_correction_leaves_counts_agreed(server: Server, request: pytest.FixtureRequest) -> None:
    """After the kills, the same command voids all forged successes. An undo after a kill restores all of them."""
    rng = random.Random(SEED)
    for start in range(0, FORGED, 100):
        forged = [success(f"{number}") for number in range(start, start + 100)]
        assert server.post("/event/batch", json.dumps({"events": forged}).encode())[0] == 200
    period = ("--since", "2026-01-01", "--until", datetime.now(UTC).isoformat(), "--reason", "forged")
    for _ in range(KILLS):
        kill_correction(server, *period, after=rng.uniform(0, 0.1))
        expect_count_agrees(server)
    left_by_kills = FORGED - void_now(server)
    server.command("void_flashes", *period)
    expect_count_agrees(server)
    assert void_now(server) == FORGED
    for (correction,) in query(server, "SELECT id FROM events_correction WHERE voided > 0"):
        undo = ("--undo", str(correction), "--reason", "real")
        kill_correction(server, *undo, after=rng.uniform(0, 0.1))
        expect_count_agrees(server)
        server.command("void_flashes", *undo)
    assert void_now(server) == 0
    expect_count_agrees(server)
    expect_counts_agree(server)
    figures = {"successes": FORGED, "kills": KILLS, "not void after the kills": left_by_kills, "counted wrongly": 0}
    show(request, figures, f"{KILLS} kills, and one of each undo", ("successes", "counted wrongly"))
