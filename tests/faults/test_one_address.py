"""One address sends as much as it can. Each limit applies to it, and other addresses are not affected."""

import json
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from events.api.access import WRONG_TOKENS
from tests.conftest import payload, success
from tests.faults.conftest import FULL, show
from tests.faults.proofs import query
from tests.servers import PATIENCE_SECONDS, Server, served_prepared

TOKEN = "the-token-of-these-tests-alone"
BYTES_A_DAY = 33_554_432 if FULL else 1_000_000
EVENTS_A_MINUTE = 300
OTHER = "127.0.0.2"


@pytest.fixture(scope="module")
def server(make_data_dir: Callable[[], Path]) -> Iterator[Server]:
    limits = {
        "INGEST_RATE": "off",
        "BATCH_RATE": "off",
        "READ_RATE": "off",
        "BATCH_EVENTS_RATE": f"{EVENTS_A_MINUTE}/m",
        "DAILY_BYTES_PER_CLIENT": str(BYTES_A_DAY),
        "ADMIN_TOKEN": TOKEN,
    }
    with served_prepared(make_data_dir(), **limits) as running:
        yield running


class AddressClient:
    """A client with one connection from an address of this machine."""

    def __init__(self, server: Server, address: str) -> None:
        self._connection = HTTPConnection(
            server.address, server.port, timeout=PATIENCE_SECONDS, source_address=(address, 0)
        )

    def __enter__(self) -> "AddressClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def post(self, path: str, body: Any) -> int:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._connection.request("POST", path, data, {"Content-Type": "application/json"})
        return self._status()

    def read(self, path: str, token: str) -> int:
        self._connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        return self._status()

    def _status(self) -> int:
        answer = self._connection.getresponse()
        answer.read()
        return answer.status


@pytest.mark.fault("bytes of a day from one address")
def test_one_address_stores_no_more_than_its_bytes(server: Server, request: pytest.FixtureRequest) -> None:
    long = {"stack": "s" * 4_000, "log_lines_json": json.dumps(["l" * 60_000])}
    largest = 70_000
    with AddressClient(server, "127.0.0.11") as client, AddressClient(server, OTHER) as other:
        sent = 0
        while client.post("/event", payload(message=f"fault {sent}", **long)) == 201:
            sent += 1
            assert sent * 64_000 < BYTES_A_DAY + largest
        bodies = {"/event": success(), "/event/batch": {"events": [success()]}, "/client-log": payload(),
                 "/increment": {"sessionId": "a"}}  # fmt: skip
        assert {client.post(path, body) for path, body in bodies.items()} == {429}
        assert other.post("/event", success()) == 201
    texts = "LENGTH(message) + LENGTH(stack) + LENGTH(log_lines_json)"
    [(stored,)] = query(server, f"SELECT SUM({texts}) FROM telemetry_events WHERE stack IS NOT NULL")
    assert stored < BYTES_A_DAY + largest
    figures = {"limit, bytes": BYTES_A_DAY, "bytes stored": stored, "failures stored": sent}
    show(request, figures, f"{sent} failures of 64 kB, then every route", ("limit, bytes", "bytes stored"))


@pytest.mark.fault("events in batches from one address")
def test_one_address_stores_no_more_than_its_events_of_a_minute(server: Server, request: pytest.FixtureRequest) -> None:
    batches = 100 if FULL else 10
    began = time.time() // 60
    with AddressClient(server, "127.0.0.12") as client, AddressClient(server, OTHER) as other:
        statuses = Counter(
            client.post("/event/batch", {"events": [success() for _ in range(100)]}) for _ in range(batches)
        )
        assert other.post("/event/batch", {"events": [success()]}) == 200
    minutes = int(time.time() // 60 - began) + 1
    assert set(statuses) == {200, 429}
    assert statuses[200] * 100 <= EVENTS_A_MINUTE * minutes
    figures = {"events stored": statuses[200] * 100, "minutes": minutes, "batches refused": statuses[429]}
    show(request, figures, f"{batches} batches of 100, limit {EVENTS_A_MINUTE} a minute", tuple(figures))


@pytest.mark.fault("guesses of ADMIN_TOKEN from one address")
def test_one_address_guesses_no_more_than_the_limit(server: Server, request: pytest.FixtureRequest) -> None:
    guesses = 1_000 if FULL else 30
    paths = ["/recent", "/failures", "/metrics/summary", "/metrics/timeseries"]
    with AddressClient(server, "127.0.0.13") as client, AddressClient(server, OTHER) as other:
        statuses = Counter(client.read(paths[guess % 4], f"guess-{guess:020}") for guess in range(guesses))
        assert {client.read(path, TOKEN) for path in paths} == {429}
        assert {other.read(path, TOKEN) for path in paths} == {200}
    assert set(statuses) == {401, 429}
    assert statuses[401] <= 2 * WRONG_TOKENS.attempts  # the next period of 15 minutes may begin meanwhile
    figures = {"compared": statuses[401], "refused": statuses[429]}
    show(request, figures, f"{guesses:,} guesses, limit {WRONG_TOKENS.attempts}", tuple(figures))


@pytest.mark.fault("large bodies that are only announced")
@pytest.mark.parametrize(
    "framing", [b"Content-Length: 1000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"], ids=["declared", "chunked"]
)
def test_announced_bodies_take_no_budget(server: Server, request: pytest.FixtureRequest, framing: bytes) -> None:
    """The bodies come from several addresses, because one address has a limit of connections."""
    announced = 600 if FULL else 60
    head = b"POST /event/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    before = server.worker_memory_bytes()
    with ExitStack() as stack, AddressClient(server, OTHER) as other:
        for number in range(announced):
            place = (server.address, server.port)
            source = (f"127.0.1.{number // 50}", 0)
            wire = stack.enter_context(closing(socket.create_connection(place, PATIENCE_SECONDS, source)))
            wire.sendall(head + framing)
        time.sleep(0.3)
        body = json.dumps({"events": [success()]}).encode().ljust(900_000)
        statuses = [other.post("/event/batch", body) for _ in range(5)]
        taken = server.worker_memory_bytes() - before
    assert statuses == [200] * 5
    figures = {"announced": announced, "batches stored meanwhile": len(statuses), "memory taken, MB": taken >> 20}
    show(request, figures, f"{announced} bodies, {request.node.callspec.id}", tuple(figures)[1:])
