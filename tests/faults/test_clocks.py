"""The clock of a running site jumps ahead. A prune must not delete events that it would keep with the right clock."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.conftest import payload
from tests.faults.conftest import show
from tests.faults.proofs import query
from tests.servers import Server

EVENTS = 5
DAYS_AHEAD = (2, 30, 300, 400, 5_000)


def post(server: Server) -> None:
    """Send failures from a client with the right clock."""
    for number in range(EVENTS):
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        assert server.post("/event", json.dumps(payload(message=f"fault {number}", occurred_at=at)).encode())[0] == 201


def stored(server: Server) -> int:
    [(count,)] = query(server, "SELECT COUNT(*) FROM telemetry_events")
    return int(count)


def prune(server: Server) -> subprocess.CompletedProcess[str]:
    """Prune with the clock of the server. libfaketime breaks `time.sleep` with the real monotonic clock."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(server.env, "FAKETIME_DONT_FAKE_MONOTONIC")
        return server.command("prune_events", "--older-than-days", "1")


@pytest.mark.fault("a clock that jumps ahead")
@pytest.mark.needs_faketime
@pytest.mark.parametrize("days", DAYS_AHEAD)
def test_a_prune_under_a_wrong_clock_deletes_nothing(tmp_path: Path, request: pytest.FixtureRequest, days: int) -> None:
    """New events under the wrong clock then count as evidence for it, if it is at most a year ahead."""
    with Server(tmp_path / "data") as server:
        server.start()
        post(server)
        server.stop()
        server.set_clock(days)
        refused = prune(server)
        assert refused.returncode == 1
        assert "Nothing was deleted: no event and no start of the server in the last day confirms" in refused.stderr
        assert stored(server) == EVENTS
        server.start()
        post(server)
        server.stop()
        pruned = prune(server)
        assert (pruned.returncode == 0) is (days <= 366), pruned.stderr
        left = stored(server)
        assert left == (EVENTS if days <= 366 else 2 * EVENTS)
        assert query(server, "SELECT SUM(accepted) FROM events_lifetimetotal") == [(2 * EVENTS,)]
    figures = {"days ahead": days, "deleted at once": 0, "deleted after a start and events": 2 * EVENTS - left}
    show(request, figures, f"{days:,} days ahead", tuple(figures)[1:])
