"""The decision *expected*, killed in the middle again and again while its failures arrive: the counts end exact."""

import json
import random
import subprocess
import sys
import time

import pytest

from tests.conftest import payload
from tests.faults.conftest import FULL, show
from tests.faults.proofs import expect_counts_agree, query
from tests.servers import PROJECT_DIR, Server, wait_until

SEED = 29
FAILURES = 3_000 if FULL else 1_000
KILLS = 5 if FULL else 2
# Small batches, so that a kill finds the decision in the middle.
_DECIDE = """
from django.contrib.auth.models import User
from django.utils.timezone import now
from events.grouping import triage
from events.models import FailureGroup
triage.COUNTED_AT_ONCE = 20
pickers = FailureGroup.objects.filter(title__startswith="picker").exclude(status="expected")
triage.expect(list(pickers.values_list("pk", flat=True)), user=User.objects.get(username="admin"), at=now())
"""


def post(server: Server, numbers: range) -> None:
    for start in range(numbers.start, numbers.stop, 100):
        failures = [
            payload(
                message=f"{('picker', 'no answer')[number % 2]} {'abcde'[number // 2 % 5] * 2}",
                session_id=f"{number}",
                model=f"m{number % 7}",
            )
            for number in range(start, start + 100)
        ]
        assert server.post("/event/batch", json.dumps({"events": failures}).encode())[0] == 200


def spread_over_hours(server: Server) -> None:
    """Move the failures to many hours, as if they had arrived over two months, and count them there."""
    moved = server.command(
        "shell", "--no-imports", "-c",
        "from django.db.models import F\n"
        "from events.models import *\n"
        "from events.grouping import groups, moves\n"
        "from events.counting import rollups\n"
        "from django.db import transaction\n"
        "from events.grouping.fingerprints import fingerprint_of\n"
        "with transaction.atomic():\n"
        "    columns = [*moves.COLUMNS]\n"
        "    events = list(Event.objects.order_by('id').values_list(*columns, named=True))\n"
        "    groups.subtract([(event, event.fingerprint) for event in events])\n"
        "    rollups.subtract_demo(events, [])\n"
        "    for number, event in enumerate(events):\n"
        "        at_ms = event.received_at_ms - number % 700 * 7_200_000\n"
        "        Event.objects.filter(pk=event.id).update(received_at_ms=at_ms)\n"
        "    events = list(Event.objects.order_by('id').values_list(*columns, named=True))\n"
        "    rollups.add(events)\n"
        "    groups.join([(event, fingerprint_of(event)) for event in events])\n",
    )  # fmt: skip
    assert moved.returncode == 0, moved.stderr


def counted(server: Server) -> int:
    [(number,)] = query(server, "SELECT COALESCE(SUM(accepted), 0) FROM events_expectedrollup")
    return int(number)


def uncounted(server: Server) -> int:
    [(number,)] = query(server, "SELECT COUNT(*) FROM events_failuregroup WHERE uncounted_before_ms IS NOT NULL")
    return int(number)


def kill_decision(server: Server, *, after: float) -> None:
    """Take or continue the decision, and kill the process `after` seconds after its first batch."""
    before = counted(server)
    process = subprocess.Popen(
        [sys.executable, "manage.py", "shell", "--no-imports", "-c", _DECIDE],
        cwd=PROJECT_DIR,
        env=server.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with process:
        wait_until(lambda: counted(server) != before or process.poll() is not None, "nothing was counted")
        time.sleep(after)
        process.kill()


@pytest.mark.fault("a decision about expected failures is killed")
def test_a_killed_decision_ends_with_exact_counts(server: Server, request: pytest.FixtureRequest) -> None:
    rng = random.Random(SEED)
    post(server, range(FAILURES))
    spread_over_hours(server)
    interrupted = 0
    for kill in range(KILLS):
        kill_decision(server, after=rng.uniform(0, 0.1))
        interrupted += uncounted(server) > 0
        post(server, range(FAILURES + kill * 100, FAILURES + kill * 100 + 100))
    assert interrupted
    checked = server.command("rebuild_rollups", "--check")
    assert (checked.returncode == 0) == (uncounted(server) == 0), checked.stdout + checked.stderr
    done = server.command("rebuild_rollups")
    assert done.returncode == 0, done.stdout + done.stderr
    assert uncounted(server) == 0
    expect_counts_agree(server)
    expected = query(
        server,
        "SELECT COUNT(*) FROM telemetry_events WHERE fingerprint IN"
        " (SELECT fingerprint FROM events_failuregroup WHERE status = 'expected')",
    )
    assert expected == [(counted(server),)] == [((FAILURES + KILLS * 100) // 2,)]
    figures = {"failures": FAILURES, "interrupted": interrupted, "counted wrongly": 0}
    show(request, figures, f"{KILLS} kills", ("failures", "counted wrongly"))
