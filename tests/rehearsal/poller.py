"""Reads every public count 20 times a second, and counts how often one falls."""

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
    """The counts that one reader received; `drops` says how often a count was lower than the one before."""

    reads: int = 0
    newest: int | None = None
    drops: int = 0

    def add(self, count: int) -> None:
        self.drops += self.newest is not None and count < self.newest
        self.newest = count
        self.reads += 1


class Poller:
    """Reads each endpoint. It also keeps the series of each visitor, whose badge reads one of the endpoints."""

    def __init__(self, endpoints: dict[str, tuple[Gate, str]]) -> None:
        self.endpoints = endpoints
        self.by_endpoint = {name: Series() for name in endpoints}
        self.by_badge: dict[str, Series] = {}
        self._badges: dict[str, str] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def let_badge_read(self, visitor: str, endpoint: str) -> None:
        """Continue the visitor's series with the endpoint that the badge of the visitor's new build reads."""
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
                for future in polling:
                    future.result()


def _ask(gate: Gate, path: str) -> int | None:
    """Return the count, or None without one: the server was killed, or the route answers 410."""
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", gate.server_port, timeout=PATIENCE_SECONDS)) as wire:
            wire.request("GET", path)
            answer = wire.getresponse()
            text = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    return int(json.loads(text)["total"]) if answer.status == 200 else None
