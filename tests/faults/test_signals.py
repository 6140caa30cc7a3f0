"""Signals that do not request a stop, under 32 writers: the site ignores them."""

import os
import random
import signal
import time

import pytest

from tests.faults.conftest import show
from tests.faults.proofs import expect_nothing_lost
from tests.faults.writers import Writers
from tests.servers import Server

SEED = 13
COUNT = 300
SIGNALS = ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGWINCH", "SIGCONT", "SIGURG"]


@pytest.mark.fault("signals that are no request to stop")
def test_signals_under_load_do_nothing(server: Server, request: pytest.FixtureRequest) -> None:
    chance = random.Random(SEED)
    workers = server.workers
    writers = Writers(server.port, seed=SEED)
    writers.start()
    writers.wait_for(50)
    for _ in range(COUNT):
        os.kill(chance.choice([server.process.pid, *workers]), signal.Signals[chance.choice(SIGNALS)])
        time.sleep(chance.uniform(0, 0.05))
    assert server.workers == workers
    writers.finish()
    figures = {"signals": COUNT, **expect_nothing_lost(server, writers)}
    assert writers.unanswered == 0
    assert server.stop() == 0
    members = f"{COUNT} of {len(SIGNALS)} signals, to both processes"
    show(request, figures, members, ("lost", "doubled", "requests that got no answer"))
