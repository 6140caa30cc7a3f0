"""Clients that send requests of every kind, repeat them until they are acknowledged, and record acknowledged events."""

import http.client
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.conftest import payload
from tests.servers import PATIENCE_SECONDS, wait_until

WRITERS = 32
PAUSE_SECONDS = 0.05
JSON = {"Content-Type": "application/json", "Origin": "http://localhost:5173"}
_NOT_SENT = (OSError, http.client.HTTPException)


class Post(NamedTuple):
    """One request, with the sessions and the messages of its events."""

    path: str
    body: dict[str, Any]
    names: tuple[str, ...]


class Writers:
    """Threads that post until `finish`. Each repeats a request until it is acknowledged.

    `series` is a hexadecimal beginning of all names, so that several crowds can send different events to one site.
    """

    def __init__(self, port: int, *, seed: int, again: bool = True, series: str = "") -> None:
        self.port = port
        self._series = series
        self.sent: set[str] = set()
        self.acknowledged: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.unanswered = 0
        self.found_stored = 0  # events that were stored without a response, and then sent again
        self.wrong: list[str] = []
        self._again = again
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._work, args=(number, random.Random(seed + number)), daemon=True)
            for number in range(WRITERS)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wait_for(self, events: int) -> None:
        """Wait until this many events are acknowledged."""
        wait_until(lambda: len(self.acknowledged) >= events, "nothing was stored")

    def finish(self) -> None:
        """Start no further requests, and wait until all sent requests are acknowledged."""
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), "a writer never got its answer"

    def _work(self, number: int, chance: random.Random) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        for request in _requests(f"{self._series}{number:02x}", chance):
            if self._stop.is_set():
                break
            self.sent.update(request.names)
            if not self._send(connection, request):
                break
        connection.close()

    def _send(self, connection: http.client.HTTPConnection, request: Post) -> bool:
        """Send until the request is acknowledged, or once; return whether to continue."""
        body = json.dumps(request.body).encode()
        for attempt in itertools.count():
            try:
                connection.request("POST", request.path, body, JSON)
                answer = connection.getresponse()
                content = json.loads(answer.read())
            except _NOT_SENT:
                connection.close()
                with self._lock:
                    self.unanswered += 1
            else:
                self._note(request, answer, content, was_sent_before=attempt > 0)
                if answer.status < 300:
                    return True
            if not self._again:
                return False
            time.sleep(PAUSE_SECONDS)
        return False

    def _note(self, request: Post, answer: http.client.HTTPResponse, content: Any, *, was_sent_before: bool) -> None:
        with self._lock:
            self.statuses[answer.status] += 1
            if answer.status < 300:
                results = content.get("results", [content])
                if len(results) != len(request.names) or not all(result["ok"] for result in results):
                    self.wrong.append(f"{request.path}: {content}")
                for name, result in zip(request.names, results, strict=False):
                    deduped = result.get("deduped", False)
                    if name in self.acknowledged and result.get("deduped") is False:
                        self.wrong.append(f"{name} was acknowledged, and taken as new afterwards")
                    self.found_stored += deduped and was_sent_before and name not in self.acknowledged
                    self.acknowledged[name] += 1
            elif answer.status != 503 or content.get("ok") is not False or not _has_headers(answer):
                self.wrong.append(f"{request.path}: {answer.status} {content} {answer.getheaders()}")


def _has_headers(answer: http.client.HTTPResponse) -> bool:
    """Return whether a browser may read the refusal, and whether it has Retry-After."""
    return (
        int(answer.headers.get("Retry-After", "0")) > 0
        and answer.headers.get("Access-Control-Allow-Origin") == JSON["Origin"]
        and answer.headers.get("Cache-Control") == "no-store"
        and answer.headers.get("Content-Type") == "application/json"
    )


def _requests(writer: str, chance: random.Random) -> Iterator[Post]:
    """Yield an endless mix of requests to all routes; some are repeated."""
    earlier: list[Post] = []
    for number in itertools.count():
        if earlier and chance.random() < 0.1:
            yield chance.choice(earlier)
            continue
        name = f"{writer}{number:06x}"
        match chance.choices(["success", "failure", "alone", "batch", "client-log", "increment"], [8, 4, 4, 2, 1, 1])[
            0
        ]:
            case "success":
                request = Post("/event", success(name), (f"session-{name}",))
            case "failure":
                request = Post("/event", failure(name, chance, session_id=f"session-{name}"), (f"session-{name}",))
            case "alone":
                request = Post("/event", alone := failure(name, chance), (alone["message"],))
            case "batch":
                events = [success(f"{name}-{item}") for item in range(5)]
                events += [failure(f"{name}-{item}", chance) for item in range(5)]
                names = tuple(event.get("session_id") or event["message"] for event in events)
                request = Post("/event/batch", {"events": events}, names)
            case "client-log":
                request = Post("/client-log", logged := failure(name, chance), (logged["message"],))
            case _:
                request = Post("/increment", {"sessionId": f"session-{name}"}, (f"session-{name}",))
        earlier = [*earlier[-20:], request]
        yield request


def success(name: str) -> dict[str, Any]:
    return payload(event_type="flash_success", session_id=f"session-{name}", message="Flash complete")


def failure(name: str, chance: random.Random, **changes: Any) -> dict[str, Any]:
    """Return one of ten failures. Fingerprints mask numbers, so all failures of one kind are in one group."""
    kind = chance.choice(["flash_error", "connect_error"]), chance.choice("abcde")
    return payload(
        event_type=kind[0],
        message=f"Step {kind[1]} stopped at block 0x{name.replace('-', '')}",
        error_name="ProtocolError",
        stack=f"ProtocolError: no answer\n    at step{kind[1]} (https://tool.example/assets/uploader.ts:41:13)",
        model=chance.choice(["UV-5RM", "UV-82", "BF-F8HP"]),
        write_mode=chance.randrange(2),
        connected=chance.randrange(2),
        app_version=chance.choice(["19afc18", "2b94ada"]),
        **changes,
    )
