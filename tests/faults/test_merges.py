"""Failures arrive at several processes, each with its own cache of rules, while another process merges their groups."""

import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import payload
from tests.faults.conftest import FULL, show
from tests.faults.proofs import expect_counts_agree, query
from tests.faults.test_several_servers import two_servers
from tests.servers import Server

TURNS = 30 if FULL else 3
# The command is one more process: it merges and splits the groups, and merges them at the end.
_MERGES = """
from django.contrib.auth.models import User
from django.utils.timezone import now
from events.grouping import merges
from events.models import FailureGroup
olga = User(username="olga")
one, two = (FailureGroup.objects.get(title=title).pk for title in ("fault one", "fault two"))
for turn in range(TURNS):
    if turn:
        merges.split(one, user=olga, at=now())
    merges.merge(one, two, user=olga, at=now())
print(one, two)
"""


def fail(server: Server, name: str) -> int:
    """Store one failure of each of two groups."""
    failures = [
        payload(message=f"fault {word}", session_id=f"{name} {word}", app_version="dev") for word in ("one", "two")
    ]
    status, _ = server.post("/event/batch", json.dumps({"events": failures}).encode())
    assert status == 200
    return len(failures)


def merge_while_failing(servers: Sequence[Server]) -> int:
    """Merge and split the two groups while failures arrive at all servers; return the number of failures."""
    stop = threading.Event()

    def keep_failing(server: Server, name: str) -> int:
        stored = 0
        while not stop.is_set():
            stored += fail(server, f"{name} {stored}")
        return stored

    with ThreadPoolExecutor(4) as pool:
        stored = fail(servers[0], "first")
        crowds = [pool.submit(keep_failing, server, f"{number}") for number, server in enumerate([*servers] * 2)]
        try:
            done = servers[0].command("shell", "--no-imports", "-c", f"TURNS = {TURNS}\n{_MERGES}")
            # These are the first events that some of the processes store after the last merge.
            stored += sum(fail(server, f"after {number}") for number, server in enumerate([*servers] * 4))
        finally:
            stop.set()
        stored += sum(crowd.result() for crowd in crowds)
    assert done.returncode == 0, done.stderr
    one, two = done.stdout.split()
    of_each = "SELECT message, fingerprint, merged_from, COUNT(*) FROM telemetry_events GROUP BY 1, 2, 3 ORDER BY 1"
    half = stored // 2
    assert query(servers[0], of_each) == [("fault one", two, one, half), ("fault two", two, None, half)]
    assert query(servers[0], "SELECT fingerprint, accepted FROM events_failuregroup") == [(two, stored)]
    expect_counts_agree(servers[0])
    return stored


@pytest.mark.fault("merges of groups while their failures arrive")
def test_a_merge_holds_in_the_server_from_its_commit_on(server: Server, request: pytest.FixtureRequest) -> None:
    stored = merge_while_failing([server])
    show(request, {"failures": stored, "in a wrong group": 0}, f"{TURNS} merges", ("failures", "in a wrong group"))


@pytest.mark.needs_postgres_programs
@pytest.mark.needs_redis
@pytest.mark.fault("merges of groups while their failures arrive at two servers")
def test_a_merge_holds_at_two_servers_from_its_commit_on(request: pytest.FixtureRequest) -> None:
    with two_servers() as site:
        stored = merge_while_failing(site.servers)
        assert "deadlock" not in site.postgres_log.read_text()
    show(request, {"failures": stored, "in a wrong group": 0}, f"{TURNS} merges", ("failures", "in a wrong group"))
