"""Several servers share PostgreSQL and Redis. An event that all of them receive is stored once."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tests.conftest import success
from tests.faults.conftest import FULL, NO_LIMITS, show
from tests.faults.postgres import own_postgres
from tests.faults.proofs import expect_nothing_lost
from tests.faults.writers import Writers
from tests.servers import Server, served

SEED = 31
pytestmark = [pytest.mark.needs_postgres_programs, pytest.mark.needs_redis]


@contextmanager
def two_servers(folder: Path, redis_url: str, **env: str) -> Iterator[list[Server]]:
    """Start two servers with two processes each, from two folders, as on two machines."""
    env = {"CACHE_URL": redis_url, "SECRET_KEY": "one for both " * 5, "WORKERS": "2", "THREADS": "8"} | env
    with (
        own_postgres(folder) as postgres,
        served(folder / "one", DATABASE_URL=postgres.url, **env) as one,
        served(folder / "other", DATABASE_URL=postgres.url, **env) as other,
    ):
        yield [one, other]


@pytest.mark.fault("the same sessions at two servers")
def test_the_same_sessions_at_both_at_once_are_stored_once(
    open_folder: Path, redis_url: str, request: pytest.FixtureRequest
) -> None:
    with two_servers(open_folder, redis_url, **NO_LIMITS) as servers:
        # Writers with one seed send the same events.
        crowds = [Writers(server.port, seed=SEED) for server in servers]
        for writers in crowds:
            writers.start()
        for writers in crowds:
            writers.wait_for(20_000 if FULL else 1_000)
        for writers in crowds:
            writers.finish()
        figures = expect_nothing_lost(servers[0], *crowds)
        both = crowds[0].acknowledged.keys() & crowds[1].acknowledged.keys()
        assert len(both) > len(crowds[0].acknowledged) / 2
        assert figures["answers of 503"] == figures["other answers from 400 on"] == 0
        assert "deadlock" not in open_folder.joinpath("postgres.log").read_text()
    figures["of them, sent to both"] = len(both)
    show(request, figures, f"{len(both):,} events sent to both", ("lost", "doubled"))


@pytest.mark.fault("one client at two servers")
def test_a_client_has_one_rate_at_both(open_folder: Path, redis_url: str, request: pytest.FixtureRequest) -> None:
    with redis.Redis.from_url(redis_url) as server:
        server.flushdb()  # delete the rate counts of other tests
    with two_servers(open_folder, redis_url, INGEST_RATE="30/h") as servers, ThreadPoolExecutor(8) as senders:
        bodies = [json.dumps(success()).encode() for _ in range(80)]
        statuses = Counter(senders.map(lambda at: servers[at % 2].post("/event", bodies[at])[0], range(len(bodies))))
        assert statuses == {201: 30, 429: 50}
    show(request, {"stored": statuses[201], "refused": statuses[429]}, "80 requests, limit 30", ("stored", "refused"))
