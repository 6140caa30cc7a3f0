"""The site is stopped under 32 writers, as a service manager does. Every received request gets a response."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import FULL, NO_LIMITS, show
from tests.faults.proofs import expect_counts_agree, query
from tests.faults.writers import Writers
from tests.servers import PATIENCE_SECONDS, served_prepared

SEED = 11


@pytest.mark.fault("the site is stopped")
def test_a_stop_under_load_answers_everything_that_it_stored(
    make_data_dir: Callable[[], Path], request: pytest.FixtureRequest
) -> None:
    stops = 10 if FULL else 1
    figures = {"stops": stops, "events acknowledged": 0, "stored, but never answered": 0, "connections closed": 0}
    for _ in range(stops):
        with served_prepared(make_data_dir(), **NO_LIMITS) as server:
            writers = Writers(server.port, seed=SEED + figures["events acknowledged"], again=False)
            writers.start()
            writers.wait_for(50)
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(PATIENCE_SECONDS) == 0
            writers.finish()
            assert (writers.wrong, {status for status in writers.statuses if status >= 400}) == ([], set())
            names = "SELECT DISTINCT COALESCE(session_id, message) FROM telemetry_events"
            stored = {name for (name,) in query(server, names)}
            assert writers.acknowledged.keys() <= stored
            unanswered = (stored & writers.sent) - writers.acknowledged.keys()
            assert unanswered == set()
            figures["events acknowledged"] += len(writers.acknowledged)
            figures["connections closed"] += writers.unanswered
            expect_counts_agree(server)
    show(request, figures, f"{stops} stops", ("stored, but never answered",))
