"""More clients than the site can serve. It refuses requests, limits its memory, and serves other clients."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import success
from tests.faults.conftest import FULL, NO_LIMITS, show
from tests.faults.proofs import expect_counts_agree, query
from tests.servers import PATIENCE_SECONDS, Server, served_prepared, wait_until

CONNECTIONS = 1_000
ORIGIN = b"http://localhost:5173"
BUSY = (503, b'{"ok":false,"error":"Too busy"}')
OVER_THE_RATE = (429, b'{"ok":false,"error":"Too many requests"}')
MOST_MEMORY = 300 << 20
LIMITS = {"different-clients": NO_LIMITS, "one-client-over-its-rate": {"CONNECTIONS_PER_CLIENT": "0"}}


class Crowd:
    """Connections that post events without a pause, also after a refusal."""

    def __init__(self, port: int, connections: int, seconds: float) -> None:
        self.port = port
        self.seconds = seconds
        self.acknowledged: set[str] = set()
        self.took: dict[int, list[float]] = {}
        self.wrong: list[bytes] = []
        self._connections = connections
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    @contextmanager
    def posting(self) -> Iterator[None]:
        self._thread.start()
        wait_until(lambda: self.took, "the crowd got no response")
        yield
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()

    def is_posting(self) -> bool:
        return self._thread.is_alive()

    async def _run(self) -> None:
        end = time.monotonic() + self.seconds
        await asyncio.gather(*(self._post(number, end) for number in range(self._connections)))

    async def _post(self, number: int, end: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        sent = 0
        while time.monotonic() < end:
            name = f"crowd-{number}-{sent}"
            sent += 1
            body = json.dumps(success(session_id=name)).encode()
            began = time.monotonic()
            writer.write(
                b"POST /event HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Origin: %s\r\nContent-Length: %d\r\n\r\n%s" % (ORIGIN, len(body), body)
            )
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"content-length: ")[2].partition(b"\r")[0]
            body_received = await reader.readexactly(int(length))
            status = int(head[9:12])
            self.took.setdefault(status, []).append(time.monotonic() - began)
            if status == 201:
                self.acknowledged.add(name)
            elif not is_refusal(status, head, body_received):
                self.wrong.append(head + body_received)
        writer.close()

    def p99(self, status: int) -> str:
        took = sorted(self.took.get(status, [0.0]))
        return f"{took[int(len(took) * 0.99)] * 1_000:.0f} ms"


def is_refusal(status: int, head: bytes, body_received: bytes) -> bool:
    """Return whether this is a refusal that a browser may read, with Retry-After and keep-alive."""
    return (
        (status, body_received) in (BUSY, OVER_THE_RATE)
        and b"\r\nretry-after: " in head
        and b"\r\naccess-control-allow-origin: %s\r\n" % ORIGIN in head
        and b"\r\ncache-control: no-store\r\n" in head
        and b"\r\ncontent-type: application/json\r\n" in head
        and b"\r\nconnection: close\r\n" not in head
    )


def expect_refusals_counted(server: Server, crowd: Crowd) -> None:
    """Assert that each refusal is counted by its reason. A later commit writes the last ones."""
    outcomes = {503: "overloaded", 429: "rate_limited"}
    answered = {outcomes[status]: len(took) for status, took in crowd.took.items() if status in outcomes}

    def are_counted() -> bool:
        server.post("/event", json.dumps(success()).encode())
        counted = dict(query(server, "SELECT outcome, SUM(count) FROM events_ingesttally GROUP BY 1"))
        return all(counted.get(outcome, 0) >= number for outcome, number in answered.items())

    wait_until(are_counted, "refusals are missing")


@pytest.mark.fault("a thousand connections that post")
@pytest.mark.parametrize("case", LIMITS if FULL else ["different-clients"])
def test_a_thousand_connections_leave_the_admin_open(data_dir: Path, request: pytest.FixtureRequest, case: str) -> None:
    """The short form has the clients that overload the site; other tests send more than a rate allows."""
    with served_prepared(data_dir, **LIMITS[case]) as server:
        cookies = server.sign_in()
        crowd = Crowd(server.port, CONNECTIONS, seconds=15 if FULL else 2)
        before, slowest, most = server.worker_memory_bytes(), 0.0, 0
        with crowd.posting():
            while crowd.is_posting():
                began = time.monotonic()
                for path in ("/admin/", "/static/admin/css/base.css", "/health"):
                    assert server.get(path, Cookie=cookies)[0] == 200
                slowest = max(slowest, time.monotonic() - began)
                most = max(most, server.worker_memory_bytes())
        assert crowd.wrong == []
        assert most < MOST_MEMORY
        assert server.get("/health/ready")[0] == 200
        expect_refusals_counted(server, crowd)
        stored = {name for (name,) in query(server, "SELECT session_id FROM telemetry_events")}
        assert crowd.acknowledged <= stored
        expect_counts_agree(server)
    figures = {
        "connections": CONNECTIONS,
        "events acknowledged": len(crowd.acknowledged),
        "their p99": crowd.p99(201),
        "refused, 503": len(crowd.took.get(503, [])),
        "their p99, 503": crowd.p99(503),
        "refused, 429": len(crowd.took.get(429, [])),
        "other answers": len(crowd.wrong),
        "slowest page, style and health, together": f"{slowest * 1_000:.0f} ms",
        "memory before, MB": before >> 20,
        "memory at most, MB": most >> 20,
    }
    shown = ("other answers", "slowest page, style and health, together", "memory at most, MB")
    show(request, figures, case.replace("-", " "), shown)
