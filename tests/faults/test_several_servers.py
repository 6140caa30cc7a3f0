"""Several servers share PostgreSQL and Redis. An event that all of them receive is stored once."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
import redis

from tests.conftest import find_redis
from tests.faults.conftest import FULL, NO_LIMITS, made_open_folder, show
from tests.faults.postgres import own_postgres
from tests.faults.proofs import expect_nothing_lost
from tests.faults.writers import Writers
from tests.servers import Server, served, wait_until

SEED = 31
READS_AN_HOUR = 30
pytestmark = [pytest.mark.needs_postgres_programs, pytest.mark.needs_redis]


class Site(NamedTuple):
    servers: list[Server]
    postgres_log: Path


@contextmanager
def two_servers() -> Iterator[Site]:
    """Start two servers with two processes each, from two folders, as on two machines. Only reads have a limit."""
    redis_url = find_redis()
    assert redis_url
    with redis.Redis.from_url(redis_url) as server:
        server.flushdb()  # delete the rate counts of other tests
    env = NO_LIMITS | {
        "CACHE_URL": redis_url,
        "READ_RATE": f"{READS_AN_HOUR}/h",
        "SECRET_KEY": "one for both " * 5,
        "THREADS": "8",
        "WORKERS": "2",
    }
    with (
        made_open_folder() as folder,
        own_postgres(folder) as postgres,
        served(folder / "one", DATABASE_URL=postgres.url, JOBS_WORKER="1", **env) as one,
        served(folder / "other", DATABASE_URL=postgres.url, JOBS_WORKER="1", **env) as other,
    ):
        yield Site([one, other], folder / "postgres.log")


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with two_servers() as site:
        yield site


@pytest.mark.fault("the same sessions at two servers")
def test_the_same_sessions_at_both_at_once_are_stored_once(site: Site, request: pytest.FixtureRequest) -> None:
    # Writers with one seed send the same events.
    crowds = [Writers(server.port, seed=SEED) for server in site.servers]
    for writers in crowds:
        writers.start()
    for writers in crowds:
        writers.wait_for(20_000 if FULL else 500)
    for writers in crowds:
        writers.finish()
    figures = expect_nothing_lost(site.servers[0], *crowds)
    both = crowds[0].acknowledged.keys() & crowds[1].acknowledged.keys()
    assert len(both) > len(crowds[0].acknowledged) / 2
    assert figures["answers of 503"] == figures["other answers from 400 on"] == 0
    assert "deadlock" not in site.postgres_log.read_text()
    figures["of them, sent to both"] = len(both)
    show(request, figures, f"{len(both):,} events sent to both", ("lost", "doubled"))


@pytest.mark.fault("one client at two servers")
def test_a_client_has_one_rate_at_both(site: Site, request: pytest.FixtureRequest) -> None:
    with ThreadPoolExecutor(8) as readers:
        answers = readers.map(lambda number: site.servers[number % 2].get("/metrics/flash-count")[0], range(80))
        statuses = Counter(answers)
    assert statuses == {200: READS_AN_HOUR, 429: 80 - READS_AN_HOUR}
    figures = {"answered": statuses[200], "refused": statuses[429]}
    show(request, figures, f"80 requests, limit {READS_AN_HOUR}", tuple(figures))


@pytest.mark.fault("due jobs at two servers")
def test_each_due_job_runs_once(site: Site, request: pytest.FixtureRequest) -> None:
    """Each server has two workers, and one process for the jobs."""
    wait_until(lambda: [len(server.jobs_processes) for server in site.servers] == [1, 1], "no process runs the jobs")
    with psycopg.connect(site.servers[0].env["DATABASE_URL"], autocommit=True) as database:

        def count(sql: str) -> int:
            row = database.execute(sql).fetchone()  # type: ignore[arg-type]
            return int(row[0]) if row else 0

        wait_until(lambda: count("SELECT COUNT(*) FROM events_jobstate") > 4, "no job is planned")
        due = ["expired-sessions", "counts", "source-maps", "expired-tokens"]
        database.execute("UPDATE events_jobstate SET due_ms = 0 WHERE name = ANY(%s)", [due])
        wait_until(lambda: count("SELECT COUNT(*) FROM events_jobstate WHERE due_ms = 0") == 0, "a job did not run")
        runs = Counter(dict(database.execute("SELECT job, COUNT(*) FROM events_jobrun GROUP BY job").fetchall()))
        outcomes = {row[0] for row in database.execute("SELECT outcome FROM events_jobrun")}
    assert runs == dict.fromkeys(due, 1)
    assert outcomes == {"succeeded"}
    show(request, {"jobs": len(due), "runs": runs.total()}, f"{len(due)} jobs", ("runs",))
