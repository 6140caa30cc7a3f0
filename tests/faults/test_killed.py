"""The site or its database server is killed under 32 writers. No acknowledged event is lost, and none is duplicated."""

import random
import signal
import time
from pathlib import Path

import pytest

from tests.faults.conftest import FULL, NO_LIMITS, show
from tests.faults.postgres import own_postgres
from tests.faults.proofs import expect_nothing_lost
from tests.faults.writers import Writers
from tests.servers import Server, served

SEED = 20260212


KEPT = ("lost", "doubled", "files that others may open")


def survive(server: Server, kills: int) -> Writers:
    """Kill all processes of the server at random times while the writers write, and start it again."""
    chance = random.Random(SEED)
    writers = Writers(server.port, seed=SEED)
    writers.start()
    for _ in range(kills):
        time.sleep(chance.uniform(0.3, 2))
        server.kill_group()
        server.start()
    time.sleep(0.5)
    writers.finish()
    return writers


@pytest.mark.fault("the site is killed, on SQLite")
def test_what_was_acknowledged_outlives_a_kill(server: Server, request: pytest.FixtureRequest) -> None:
    kills = 20 if FULL else 1
    writers = survive(server, kills)
    show(request, {"kills survived": kills, **expect_nothing_lost(server, writers)}, f"{kills} kills", KEPT)


@pytest.mark.fault("the site is killed, on PostgreSQL")
@pytest.mark.needs_postgres_programs
def test_what_was_acknowledged_outlives_a_kill_on_postgresql(open_folder: Path, request: pytest.FixtureRequest) -> None:
    kills = 20 if FULL else 1
    with (
        own_postgres(open_folder) as postgres,
        served(open_folder / "data", DATABASE_URL=postgres.url, **NO_LIMITS) as server,
    ):
        writers = survive(server, kills)
        show(request, {"kills survived": kills, **expect_nothing_lost(server, writers)}, f"{kills} kills", KEPT)


@pytest.mark.fault("the database server is killed")
@pytest.mark.needs_postgres_programs
def test_what_was_acknowledged_outlives_a_kill_of_the_database_server(
    open_folder: Path, request: pytest.FixtureRequest
) -> None:
    kills = 10 if FULL else 1
    chance = random.Random(SEED)
    with (
        own_postgres(open_folder) as postgres,
        served(open_folder / "data", DATABASE_URL=postgres.url, **NO_LIMITS) as server,
    ):
        writers = Writers(server.port, seed=SEED)
        writers.start()
        for kill in range(kills):
            time.sleep(chance.uniform(0.3, 2))
            postgres.kill(signal.SIGKILL if kill % 2 else signal.SIGQUIT)
            time.sleep(chance.uniform(0, 1))
            postgres.start()
        time.sleep(0.5)
        writers.finish()
        figures = expect_nothing_lost(server, writers)
    assert writers.unanswered == 0  # the site answered all the time
    show(request, {"kills survived": kills, **figures}, f"{kills} kills", KEPT)
