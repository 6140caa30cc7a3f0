"""Clients that send or read one byte a second do not slow other clients. The site closes them at a deadline."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import success
from tests.faults.conftest import FULL, NO_LIMITS, show
from tests.servers import PATIENCE_SECONDS, Server, served_prepared, wait_until

SENDERS = 500
READERS = 50
SHARE = 64
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEAD = b"POST /event HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def server(make_data_dir: Callable[[], Path]) -> Iterator[Server]:
    with served_prepared(make_data_dir(), **NO_LIMITS) as running:
        yield running


@pytest.fixture(scope="module")
def server_with_a_share(make_data_dir: Callable[[], Path]) -> Iterator[Server]:
    """Start a server that limits the connections of one address."""
    with served_prepared(make_data_dir()) as running:
        yield running


@contextmanager
def dribbling(
    wires: list[socket.socket], act: Callable[[socket.socket], object]
) -> Iterator[dict[socket.socket, float]]:
    """Let each connection act once a second. Yields a list that receives the time at which each was closed."""
    closed: dict[socket.socket, float] = {}
    began = time.monotonic()
    stop = threading.Event()

    def dribble() -> None:
        while not stop.is_set() and len(closed) < len(wires):
            for wire in wires:
                if wire not in closed:
                    try:
                        act(wire)
                    except OSError:
                        closed[wire] = time.monotonic() - began
            stop.wait(1)

    thread = threading.Thread(target=dribble, daemon=True)
    thread.start()
    try:
        yield closed
    finally:
        stop.set()
        thread.join()
        for wire in wires:
            wire.close()


def send_a_byte(wire: socket.socket) -> None:
    wire.setblocking(False)
    try:
        if wire.recv(65536) == b"":
            raise ConnectionError
    except BlockingIOError:
        wire.send(b"x")


def latencies(server: Server, seconds: float) -> list[float]:
    """Return the latency of other clients meanwhile, for an event and for a page."""
    took = []
    end = time.monotonic() + seconds
    while time.monotonic() < end or not took:
        began = time.monotonic()
        assert server.post("/event", json.dumps(success()).encode())[0] == 201
        assert server.get("/admin/login/")[0] == 200
        took.append(time.monotonic() - began)
    return sorted(took)


@pytest.mark.fault("senders of a byte a second")
@pytest.mark.parametrize(
    "begin", [HEAD + b"X-Slow: ", HEAD + b"Content-Length: 1000\r\n\r\n"], ids=["of-the-head", "of-the-body"]
)
def test_a_client_that_sends_a_byte_a_second_delays_nobody_and_is_disconnected(
    server: Server, request: pytest.FixtureRequest, begin: bytes
) -> None:
    """The short form checks only that other clients are not slower. Other tests wait for the deadlines."""
    senders = SENDERS if FULL else 100
    wires = [server.raw(begin) for _ in range(senders)]
    with dribbling(wires, send_a_byte) as closed:
        took = latencies(server, 6 if FULL else 1)
        assert not closed  # the site kept them open all the time
        figures: dict[str, object] = {
            "slow clients": senders,
            "an event and a page meanwhile, median": f"{took[len(took) // 2] * 1_000:.0f} ms",
            "at most": f"{took[-1] * 1_000:.0f} ms",
        }
        if FULL:
            wait_until(lambda: len(closed) == senders, "some connections are still open")
            figures["the last was let go after"] = f"{max(closed.values()):.0f} s"
    part = "the head" if b"X-Slow" in begin else "the body"
    result = f"others waited {figures['at most']} at most, all let go after {figures.get('the last was let go after')}"
    show(request, figures, f"{senders} clients, in {part}", result)


@pytest.mark.fault("silent connections")
def test_who_sends_nothing_more_on_a_kept_connection_is_let_go(server: Server, request: pytest.FixtureRequest) -> None:
    began = time.monotonic()
    with server.raw(HEALTH) as wire:
        while wire.recv(65536):
            pass
    after = f"{time.monotonic() - began:.0f} s"
    show(request, {"let go after": after}, "1 connection", ("let go after",))


@pytest.mark.fault("readers of a byte a second")
def test_a_client_that_reads_a_byte_a_second_delays_nobody_and_is_disconnected(
    data_dir: Path, request: pytest.FixtureRequest
) -> None:
    """The file is larger than all buffers. The short form checks only that other clients are not slower."""
    readers = READERS if FULL else 20
    with served_prepared(data_dir, **NO_LIMITS) as server:
        assert server.command("demo_data", "--days", "5", "--events", "20000").returncode == 0
        cookies = server.sign_in()
        export = f"GET /admin/events/event/export/ HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n\r\n"
        wires = []
        for _ in range(readers):
            wire = socket.socket()
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            wire.connect(("127.0.0.1", server.port))
            wire.sendall(export.encode())
            wires.append(wire)
        with dribbling(wires, lambda wire: wire.recv(1)):
            took = latencies(server, 6 if FULL else 1)
            figures: dict[str, object] = {
                "slow readers": readers,
                "an event and a page meanwhile, median": f"{took[len(took) // 2] * 1_000:.0f} ms",
                "at most": f"{took[-1] * 1_000:.0f} ms",
                "memory, MB": server.worker_memory_bytes() >> 20,
            }
            if FULL:
                began = time.monotonic()
                # The client notices the end late, because it first reads its buffer. So check the server's connections.
                wait_until(lambda: connections(server) == 0, "some connections are still open", patience_seconds=150)
                figures["the last was let go after, beside that"] = f"{time.monotonic() - began:.0f} s"
        server.kill_group()  # a stop would wait for the readers that are left
    show(request, figures, f"{readers} clients", f"others waited {figures['at most']} at most")


@pytest.mark.fault("connections of one address")
@pytest.mark.parametrize(
    "begin", [b"", HEAD, HEALTH.replace(b"/health", b"/nowhere")], ids=["silent", "unfinished", "kept"]
)
def test_one_address_has_no_more_than_its_share_of_connections(
    server_with_a_share: Server, request: pytest.FixtureRequest, begin: bytes
) -> None:
    """The full form opens more connections than the server accepts. It needs a higher `ulimit -n`."""
    count = 4_150 if FULL else 300
    server = server_with_a_share
    wait_until(lambda: connections(server) == 0, "connections of another test are still open")
    with ExitStack() as stack:
        site = ("127.0.0.1", server.port)
        busy = stack.enter_context(socket.create_connection(site, PATIENCE_SECONDS, source_address=("127.0.0.2", 0)))

        def expect_busy_stays() -> None:
            busy.sendall(HEALTH)
            assert busy.recv(65536).startswith(b"HTTP/1.1 200 ")

        for number in range(count):
            wire = socket.socket()
            stack.callback(wire.close)
            wire.bind(("127.0.0.2", 0))
            wire.connect(site)
            with suppress(OSError):  # the site has closed it
                wire.sendall(begin)
            if number % 50 == 0:
                expect_busy_stays()
        began = time.monotonic()
        assert server.get("/health")[0] == 200
        took = time.monotonic() - began

        wait_until(lambda: connections(server) <= SHARE, "one address holds more than its share")
        expect_busy_stays()
        assert server.get("/health")[0] == 200
        assert server.log.read_text().count("ERROR") == 0
    waited = f"{took * 1_000:.0f} ms"
    show(
        request,
        {"connections of one address": count, "/health from another waited": waited},
        f"{count:,} connections, {request.node.callspec.id}",
        f"{SHARE} left, /health from another waited {waited}",
    )


@pytest.mark.fault("unfinished heads")
def test_unfinished_heads_fill_no_memory(server: Server, request: pytest.FixtureRequest) -> None:
    """100 heads in short form. With the server's own limit, each would need 400 kB."""
    heads = 1_000 if FULL else 100
    with ExitStack() as stack:
        before = server.worker_memory_bytes()
        for _ in range(heads):
            wire = stack.enter_context(server.raw(HEAD + b"X-Large: "))
            wire.setblocking(False)
            with suppress(OSError):  # the site has refused it
                wire.send(b"x" * 400_000)
        time.sleep(1)
        taken = server.worker_memory_bytes() - before
        assert server.get("/health")[0] == 200
    assert taken < heads * 200_000
    figures = {"unfinished heads of 400 kB": heads, "memory taken, MB": taken >> 20}
    show(request, figures, f"{heads:,} heads of 400 kB", ("memory taken, MB",))


@pytest.mark.fault("connections behind a proxy")
@pytest.mark.parametrize("environment", [{"CONNECTIONS_PER_CLIENT": "0"}, {"TRUSTED_PROXY_COUNT": "1"}], ids=str)
def test_an_address_may_hold_any_number_behind_a_proxy_or_by_choice(
    data_dir: Path, request: pytest.FixtureRequest, environment: dict[str, str]
) -> None:
    with served_prepared(data_dir, **environment) as server, ExitStack() as stack:
        wires = [stack.enter_context(server.raw(b"GET /health HTTP/1.1\r\n")) for _ in range(2 * SHARE)]
        time.sleep(1)  # the site counts connections several times
        assert connections(server) == len(wires)
    show(request, {"connections": len(wires)}, f"{len(wires)} connections, {next(iter(environment))}", "none closed")


def connections(server: Server) -> int:
    """Return how many connections the server holds. The kernel can list one twice while others come and go."""
    port = f":{server.port:04X}"
    rows = (line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:])
    return len({(row[1], row[2]) for row in rows if row[1].endswith(port) and row[3] == "01"})
