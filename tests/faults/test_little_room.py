"""A small disk fills in steps. First failures are stored without long texts, then the site refuses events."""

import json
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import payload
from tests.faults.conftest import show
from tests.faults.disks import small_disk
from tests.faults.proofs import expect_counts_agree, query
from tests.servers import Server, served

ROUNDS = 10
LEAST = 12_000_000
LITTLE, NEARLY_NONE = LEAST * 2 // 3, LEAST // 6


def leave(free_bytes: int, disk: Path) -> None:
    """Leave `free_bytes` on the disk, and wait until the site measures the disk, which it does once a second."""
    ballast = disk / "ballast"
    ballast.unlink(missing_ok=True)
    ballast.write_bytes(b"x" * max(0, shutil.disk_usage(disk).free - free_bytes))
    time.sleep(1.1)


def report(server: Server, name: str) -> str:
    """Send a failure; return its outcome."""
    body = payload(message=f"fault {name}", stack="at flash", log_lines_json='["open"]')
    status, _ = server.post("/event", json.dumps(body).encode())
    stacks = [stack for (stack,) in query(server, f"SELECT stack FROM telemetry_events WHERE message = 'fault {name}'")]
    return {
        (201, ("at flash",)): "stored whole",
        (201, (None,)): "stored without long texts",
        (200, ("at flash",)): "completed",
        (503, ()): "refused",
    }[status, tuple(stacks)]


@pytest.mark.fault("a disk with little room")
@pytest.mark.needs_small_disk
def test_little_room_leaves_out_long_texts_and_nearly_none_refuses(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """With enough room again, a failure without texts gets them when it is sent again, and a refused one is stored."""
    answers: Counter[str] = Counter()
    with small_disk(tmp_path / "disk") as disk, served(disk / "data", MIN_FREE_BYTES=str(LEAST)) as server:
        for number in range(ROUNDS):
            for name, room in (("whole", 2 * LEAST), ("little", LITTLE), ("none", NEARLY_NONE)):
                leave(room, disk)
                answers[report(server, f"{name} {number}")] += 1
            leave(2 * LEAST, disk)
            answers[report(server, f"little {number}")] += 1
            answers[report(server, f"none {number}")] += 1
        expect_counts_agree(server)
    assert answers == {
        "stored whole": 2 * ROUNDS,
        "stored without long texts": ROUNDS,
        "refused": ROUNDS,
        "completed": ROUNDS,
    }
    show(request, answers, f"{ROUNDS} times enough, little, nearly none, enough", tuple(answers))
