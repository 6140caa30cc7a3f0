"""`regroup_failures`, killed in the middle again and again while failures arrive: it ends as an unbroken run would."""

import json
import random
import subprocess
import sys
import time

import pytest

from tests.conftest import payload
from tests.faults.conftest import show
from tests.faults.proofs import expect_counts_agree, query
from tests.servers import PROJECT_DIR, Server, wait_until

SEED = 23
FAILURES = 8_000
MESSAGES = [f"fault {letter}{letter}" for letter in "klmnopqrstuvw"]
KILLS = 6

# Puts every failure into one of five groups of an earlier algorithm, and merges two of them.
_PREPARE = """
from django.contrib.auth.models import User
from django.db import transaction
from django.utils.timezone import now
from events.grouping import groups, merges, moves
from events.grouping.fingerprints import Fingerprint
from events.models import Event, FailureGroup
with transaction.atomic():
    events = list(Event.objects.failures().order_by("id").values_list(*moves.COLUMNS, named=True))
    names = {event.id: f"old {sum(event.message.encode()) % 5}" for event in events}
    groups.join([(event, Fingerprint(names[event.id], names[event.id], "")) for event in events])
    for name in set(names.values()):
        Event.objects.filter(pk__in=[one for one in names if names[one] == name]).update(fingerprint=name)
    groups.subtract([(event, event.fingerprint) for event in events])
    FailureGroup.objects.update(algorithm=0)
merges.merge("old 0", "old 1", user=User.objects.get(username="admin"), at=now())
"""


def post(server: Server, numbers: range) -> None:
    for start in range(numbers.start, numbers.stop, 100):
        failures = [
            payload(message=MESSAGES[number % len(MESSAGES)], session_id=f"{number}")
            for number in range(start, start + 100)
        ]
        assert server.post("/event/batch", json.dumps({"events": failures}).encode())[0] == 200


def in_old_groups(server: Server) -> int:
    [(left,)] = query(server, "SELECT COUNT(*) FROM telemetry_events WHERE fingerprint LIKE 'old%'")
    return int(left)


def addresses(server: Server) -> dict[str, str]:
    return dict(query(server, "SELECT fingerprint, joined FROM events_formergroup"))


def kill_regrouping(server: Server, *, after: float) -> None:
    """Run `regroup_failures`, and kill it `after` seconds after its first batch."""
    before = in_old_groups(server)
    process = subprocess.Popen(
        [sys.executable, "manage.py", "regroup_failures"],
        cwd=PROJECT_DIR,
        env=server.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with process:
        wait_until(lambda: in_old_groups(server) != before or process.poll() is not None, "nothing moved")
        time.sleep(after)
        process.kill()


@pytest.mark.fault("a regrouping is killed")
def test_a_killed_regrouping_ends_as_an_unbroken_one(server: Server, request: pytest.FixtureRequest) -> None:
    rng = random.Random(SEED)
    post(server, range(FAILURES))
    prepared = server.command("shell", "--no-imports", "-c", _PREPARE)
    assert prepared.returncode == 0, prepared.stderr
    known: dict[str, str] = {}
    left: list[int] = []
    for kill in range(KILLS):
        kill_regrouping(server, after=rng.uniform(0, 0.15))
        assert known.items() <= addresses(server).items()
        known = addresses(server)
        left.append(in_old_groups(server))
        post(server, range(FAILURES + kill * 100, FAILURES + kill * 100 + 100))
    done = server.command("regroup_failures")
    assert done.returncode == 0, done.stderr
    assert known == addresses(server)
    assert in_old_groups(server) == 0
    expect_counts_agree(server)
    stored = query(server, "SELECT COUNT(*) FROM telemetry_events")
    assert stored == query(server, "SELECT SUM(accepted) FROM events_failuregroup") == [(FAILURES + KILLS * 100,)]
    # Each group has one message, but for the two that were merged.
    of_group = query(server, "SELECT COUNT(DISTINCT message) FROM telemetry_events GROUP BY fingerprint")
    merged = max(messages for (messages,) in of_group)
    assert sorted(messages for (messages,) in of_group) == [1] * (len(MESSAGES) - merged) + [merged]
    assert merged > 1
    figures = {"failures": FAILURES, "kills": KILLS, "in old groups after the kills": left[-1], "counted wrongly": 0}
    show(request, figures, f"{KILLS} kills", ("failures", "counted wrongly"))
