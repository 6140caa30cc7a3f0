"""Somebody who reads every public count 20 times a second, and writes down each fall."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass

from tests.browser.pages import Gate

INTERVAL_SECONDS = 0.05
PATIENCE_SECONDS = 5


@dataclass
class Series:
    """The counts that one reader was told: how many, the newest, and how often a count was below the one before."""

    reads: int = 0
    newest: int | None = None
    drops: int = 0

    def add(self, count: int) -> None:
        self.drops += self.newest is not None and count < self.newest
        self.newest = count
        self.reads += 1


class Poller:
    """Reads each endpoint, and for each build of the front end the endpoint that its badge reads now."""

    def __init__(self, endpoints: dict[str, tuple[Gate, str]]) -> None:
        self.endpoints = endpoints
        self.by_endpoint = {name: Series() for name in endpoints}
        self.by_badge: dict[str, Series] = {}
        self._badges: dict[str, str] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def let_badge_read(self, visitor: str, endpoint: str) -> None:
        """From now on this visitor has a build whose badge reads another endpoint; its series goes on."""
        assert endpoint in self.endpoints
        with self._lock:
            self._badges[visitor] = endpoint
            self.by_badge.setdefault(visitor, Series())

    def _poll(self, name: str, gate: Gate, path: str) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + INTERVAL_SECONDS, time.monotonic())
            count = _ask(gate, path)
            if count is None:
                continue
            with self._lock:
                self.by_endpoint[name].add(count)
                for visitor, endpoint in self._badges.items():
                    if endpoint == name:
                        self.by_badge[visitor].add(count)

    @contextmanager
    def polling(self) -> Iterator[None]:
        with ThreadPoolExecutor(len(self.endpoints)) as threads:
            polling = [threads.submit(self._poll, name, *endpoint) for name, endpoint in self.endpoints.items()]
            try:
                yield
            finally:
                self._stop.set()
                for one in polling:
                    one.result()


def _ask(gate: Gate, path: str) -> int | None:
    """Return the count; None while no server answers with one, as during a kill or after the end of a route."""
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", gate.server_port, timeout=PATIENCE_SECONDS)) as wire:
            wire.request("GET", path)
            answer = wire.getresponse()
            text = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    return int(json.loads(text)["total"]) if answer.status == 200 else None
