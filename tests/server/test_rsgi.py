"""The adapter between Granian and Django, seen from the wire."""

import json
import select
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path

import pytest

from telemetry_site.server.lanes import lane_of
from tests.conftest import payload, success
from tests.servers import PATIENCE_SECONDS, Server, served_prepared, wait_until

HEAD = b"POST /event HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nOrigin: http://localhost:5173\r\n"


@pytest.fixture(scope="module")
def server(make_data_dir: Callable[[], Path]) -> Iterator[Server]:
    with served_prepared(make_data_dir(), INGEST_RATE="off", BATCH_RATE="off", READ_RATE="off") as running:
        yield running


@pytest.fixture(scope="module")
def server_of_two_threads(make_data_dir: Callable[[], Path]) -> Iterator[Server]:
    with served_prepared(make_data_dir(), THREADS="2", INGEST_RATE="off", DATABASE_URL="") as running:
        yield running


@pytest.fixture(scope="module")
def server_behind_a_proxy(make_data_dir: Callable[[], Path]) -> Iterator[Server]:
    """Start a server that answers one read an hour to each address, as its proxy names it."""
    with served_prepared(make_data_dir(), TRUSTED_PROXY_COUNT="1", READ_RATE="1/h") as running:
        yield running


def answer_to(server: Server, data: bytes) -> bytes:
    with server.raw(data) as wire:
        return b"".join(iter(lambda: wire.recv(65536), b""))


def test_a_chunked_body_without_a_length_is_taken(server: Server) -> None:
    body = json.dumps(success()).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:]))
    answer = answer_to(
        server, HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunks + b"0\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 201 ")


def test_a_body_that_is_declared_too_large_is_refused_before_it_is_sent(server: Server) -> None:
    with server.raw(HEAD + b"Content-Length: 131073\r\n\r\n") as wire:
        answer = wire.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"access-control-allow-origin: http://localhost:5173" in answer
    assert answer.endswith(b'{"ok":false,"error":"Payload too large"}')


def test_a_chunked_body_is_refused_while_it_is_read(server: Server) -> None:
    chunk = b"%x\r\n%s\r\n" % (65536, b" " * 65536)
    with server.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 3) as wire:  # and no end of it
        answer = wire.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"access-control-allow-origin" in answer


@pytest.mark.parametrize("framing", [b"Content-Length: 500\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n1f4\r\n"])
def test_who_breaks_an_upload_off_is_no_fault_for_the_log(server: Server, framing: bytes) -> None:
    before = len(server.log.read_text())
    for _ in range(3):
        server.raw(HEAD + framing + b'{"eve').close()
    with server.raw(HEAD + framing + b'{"eve') as wire:
        wire.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: wire.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b'{"ok":false,"error":' in answer
    wait_until(lambda: answer_to(server, HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}"), "no answer")
    time.sleep(0.3)
    assert server.log.read_text()[before:] == ""


def test_the_largest_body_is_taken(server: Server) -> None:
    body = json.dumps(payload(message="as large as may be", padding="x"))
    body = body[:-2] + "x" * (131_072 - len(body)) + body[-2:]
    assert len(body) == 131_072
    assert server.post("/event", body.encode())[0] == 201


def test_head_has_the_headers_and_no_body(server: Server) -> None:
    with server.connect() as connection:
        connection.request("HEAD", "/metrics/flash-count")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"")
        connection.request("GET", "/health")  # the connection is still in step
        assert json.loads(connection.getresponse().read())["ok"] is True


def test_a_connection_stays_open_after_an_answer(server: Server) -> None:
    with server.connect() as connection:
        for _ in range(2):
            connection.request("POST", "/event", json.dumps(success()), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            assert (answer.status, answer.will_close) == (201, False), answer.read()
            answer.read()
            connection.request("GET", "/metrics/flash-count")
            answer = connection.getresponse()
            assert (answer.status, answer.will_close) == (200, False), answer.read()
            answer.read()


def test_a_header_with_an_underscore_is_dropped(server_behind_a_proxy: Server) -> None:
    get = partial(server_behind_a_proxy.get, "/metrics/flash-count")
    assert get(**{"X-Forwarded-For": "198.51.100.1"})[0] == 200
    assert get(**{"X-Forwarded-For": "198.51.100.1"})[0] == 429
    assert get(**{"X-Forwarded-For": "198.51.100.1", "X_Forwarded_For": "198.51.100.9"})[0] == 429


def test_slow_senders_hold_no_thread(server_of_two_threads: Server) -> None:
    slow = [server_of_two_threads.raw(HEAD + b'Content-Length: 100\r\n\r\n{"') for _ in range(10)]
    try:
        assert server_of_two_threads.get("/metrics/flash-count")[0] == 200
    finally:
        for wire in slow:
            wire.close()


def test_large_bodies_together_are_bounded_and_small_ones_do_not_wait_for_them(server: Server) -> None:
    batch = HEAD.replace(b"/event", b"/event/batch") + b"Content-Length: 1000000\r\n\r\n"
    with ExitStack() as stack:
        coming = [stack.enter_context(server.raw(batch + b" " * 999_999)) for _ in range(34)]  # there is room for 33
        refused = select.select(coming, [], [], 10)[0][0]
        answer = b"".join(iter(lambda: refused.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"access-control-allow-origin: http://localhost:5173\r\n" in answer
        assert b"retry-after: 2\r\n" in answer
        assert b"connection: close\r\n" in answer
        assert answer.endswith(b'{"ok":false,"error":"Too busy"}')
        assert server.post("/event", json.dumps(success(session_id="a small one")).encode())[0] == 201
        for wire in coming:
            wire.close()
        body = json.dumps({"events": [success(session_id="after them")]}).encode().ljust(500_000)
        wait_until(lambda: server.post("/event/batch", body)[0] == 200, "what went away still counts")


@pytest.mark.parametrize("framing", [b"Content-Length: 1000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
def test_large_bodies_that_are_only_announced_take_nothing_of_the_budget(server: Server, framing: bytes) -> None:
    batch = HEAD.replace(b"/event", b"/event/batch") + framing
    with ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(server.raw(batch))
        time.sleep(0.3)
        body = json.dumps({"events": [success()]}).encode().ljust(900_000)
        assert server.post("/event/batch", body)[0] == 200


def test_a_client_that_leaves_in_the_middle_stores_nothing(server: Server) -> None:
    body = json.dumps(success(session_id="left in the middle")).encode()
    server.raw(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[:-1]).close()
    status, answer = server.post("/event", body)
    assert (status, json.loads(answer)["deduped"]) == (201, False)


def test_a_path_with_bytes_that_are_no_utf8_is_not_found(server: Server) -> None:
    answer = answer_to(server, b"GET /%FF%FE HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    ("path", "media_type", "part"),
    [
        ("admin/css/base.css", "text/css", b"body"),
        ("events/telemetry.js", "text/javascript", b"export"),
        ("events/telemetry.d.ts", "text/plain", b"export"),
    ],
)
def test_static_files_are_served_with_their_types(server: Server, path: str, media_type: str, part: bytes) -> None:
    with server.connect() as connection:
        connection.request("GET", f"/static/{path}")
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("content-type")) == (200, f'{media_type}; charset="utf-8"')
        assert answer.getheader("x-content-type-options") == "nosniff"
        assert part in answer.read()


def test_a_slow_reader_fills_no_memory(server_of_two_threads: Server) -> None:
    server = server_of_two_threads
    assert server.command("demo_data", "--days", "5", "--events", "6000").returncode == 0
    with closing(sqlite3.connect(server.data_dir / "telemetry.sqlite3", timeout=PATIENCE_SECONDS)) as database:
        database.execute("CREATE TEMPORARY TABLE copies AS SELECT * FROM telemetry_events")
        for _ in range(9):
            database.execute("UPDATE copies SET id = lower(hex(randomblob(16))), session_id = session_id || '+'")
            database.execute("INSERT INTO telemetry_events SELECT * FROM copies")
        database.commit()
    cookies = server.sign_in()
    status, whole = server.get("/admin/events/event/export/", Cookie=cookies)
    assert (status, whole.count(b"\r\n") > 60_000, len(whole) > 20_000_000) == (200, True, True)
    before = server.worker_memory_bytes()
    request = f"GET /admin/events/event/export/ HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n\r\n"
    with server.raw(request.encode()) as wire:
        assert wire.recv(1024).startswith(b"HTTP/1.1 200 ")
        time.sleep(4)  # long enough to make the whole file, for a server that doesn't wait
        assert server.worker_memory_bytes() - before < 10_000_000
        read = 1024
        while part := wire.recv(1 << 20):
            read += len(part)
            if read > len(whole):
                break
    assert read > len(whole)  # and it gets everything all the same


def test_an_export_that_fails_does_not_look_complete(data_dir: Path) -> None:
    with served_prepared(data_dir, DATABASE_URL="") as server:
        assert server.command("demo_data", "--days", "5", "--events", "12000").returncode == 0
        cookies = server.sign_in()
        request = f"GET /admin/events/event/export/ HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n\r\n"
        with socket.socket() as wire:
            wire.settimeout(PATIENCE_SECONDS)
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            wire.connect((server.address, server.port))
            wire.sendall(request.encode())
            received = wire.recv(1024)
            assert received.startswith(b"HTTP/1.1 200 ")
            (data_dir / "telemetry.sqlite3").unlink()
            with suppress(ConnectionResetError):
                while part := wire.recv(1 << 20):
                    received = received[-100:] + part
        assert not received.endswith(b"0\r\n\r\n")


def test_the_head_of_an_export_makes_no_export(server: Server) -> None:
    cookies = server.sign_in()
    with server.connect() as connection:
        connection.request("HEAD", "/admin/events/event/export/", headers={"Cookie": cookies})
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("content-type")) == (200, "text/csv; charset=utf-8")
        assert answer.read() == b""


def test_text_in_a_query_that_is_not_percent_encoded_is_read(server: Server) -> None:
    request = "GET /admin/login/?next=日 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert answer_to(server, request.encode()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("header", "status"), [("Origin: https://evil.example/é", 403), ("Host: localhost\r\nX-Other: é", 201)]
)
def test_a_header_cannot_hide_behind_bytes_that_are_no_text(server: Server, header: str, status: int) -> None:
    body = json.dumps(success())
    host = "" if header.startswith("Host") else "Host: localhost\r\n"
    head = f"POST /event HTTP/1.1\r\n{host}{header}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    answer = answer_to(server, f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize("path", ["/event", "/admin/login/", "/static/admin/css/base.css", "/api/", "/nowhere"])
def test_bytes_that_are_no_text_fail_no_route_in_any_header(server: Server, path: str) -> None:
    for header in ("Cookie", "Accept", "Authorization", "Referer", "Origin", "User-Agent", "Range", "If-None-Match"):
        for value in (b"\x80", b"sessionid=\xc3\xa9", b"a=b; c=\xff"):
            head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}: "
            answer = answer_to(server, head.encode() + value + b"\r\n\r\n")
            assert int(answer[9:12]) < 500, (header, value)


def test_a_refused_body_ends_the_connection_and_says_so(server: Server) -> None:
    with server.raw(HEAD + b"Content-Length: 131073\r\n\r\n") as wire:
        assert b"\r\nconnection: close\r\n" in wire.recv(65536)


def test_a_watchdog_does_not_wait_behind_a_locked_database(server_of_two_threads: Server) -> None:
    server = server_of_two_threads
    lock = sqlite3.connect(server.data_dir / "telemetry.sqlite3", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    answered: list[int] = []
    posting = [
        threading.Thread(target=lambda: answered.append(server.post("/event", json.dumps(success()).encode())[0]))
        for _ in range(6)
    ]
    for thread in posting:
        thread.start()
    assert server.get("/health")[0] == 200
    assert answered == []  # it did not wait for them
    lock.execute("ROLLBACK")
    lock.close()
    for thread in posting:
        thread.join()
    assert answered == [201] * 6


@pytest.mark.parametrize(
    ("method", "path", "pool"),
    [
        ("POST", "/event", "events"),
        ("POST", "/client-log/", "events"),
        ("post", "/event", "reads"),
        ("GET", "/count", "reads"),
        ("HEAD", "/metrics/flash-count", "reads"),
        ("GET", "/badge.svg", "reads"),
        ("GET", "/stats", "reads"),
        ("GET", "/health", "health"),
        ("GET", "/health/", "health"),
        ("GET", "/health/ready", "health"),
        ("GET", "/healthz", "reads"),
        ("GET", "/health/x", "reads"),
        ("GET", "/health//", "reads"),
        ("GET", "/Health", "reads"),
        ("GET", "/health/ready/x", "reads"),
        ("GET", "/admin", "pages"),
        ("GET", "/admin/login/", "pages"),
        ("POST", "/adminx", "events"),
        ("GET", "/statics", "reads"),
        ("GET", "/static/x", "pages"),
        ("GET", "/groups", "reads"),
        ("POST", "/groups/0a4e2f6d9c1b7e35/decision", "pages"),
        ("POST", "/groupsx", "events"),
    ],
)
def test_a_pool_is_for_its_own_paths_alone(method: str, path: str, pool: str) -> None:
    assert lane_of(path).pool(method) == pool


@pytest.mark.parametrize(("path", "limit"), [("/event/batchx", 131_072), ("/adminx", 131_072), ("/admin/x", 1_048_576)])
def test_a_larger_body_is_for_its_own_paths_alone(server: Server, path: str, limit: int) -> None:
    head = HEAD.replace(b"/event", path.encode())
    with server.raw(head + b"Content-Length: %d\r\n\r\n" % (limit + 1)) as wire:
        assert b"\r\nconnection: close\r\n" in wire.recv(65536)  # it was not read
    with server.raw(head + b"Content-Length: %d\r\n\r\n" % limit + b" " * limit) as wire:
        assert b"\r\nconnection: close\r\n" not in wire.recv(65536)


@pytest.mark.parametrize("path", ["/event", "/event/batch", "/health", "/admin/login/", "/nowhere", "/static/x"])
@pytest.mark.parametrize(
    ("line", "headers", "status", "error"),
    [
        ("POST", "Content-Type: application/x-www-form-urlencoded; charset=punycode", 415, "Unsupported media type"),
        ("GET", "Content-Type: text/plain; charset=hex", 415, "Unsupported media type"),
        ("POST", "Content-Type: text/plain\r\nContent-Type: text/plain; charset=hex", 415, "Unsupported media type"),
        ("POST", "Content-Type: text/plain\r\nContent-Type: text/plain", 415, "Unsupported media type"),
        ("POST", "Content-Type: application/json; charset=é", 415, "Unsupported media type"),
        ("post", "Content-Type: application/json", 405, "Method not allowed"),
        ("GET", f"X-Large: {'x' * 16_384}", 431, "Request header fields too large"),
        ("GET", f"X-Large: {'x' * 60_000}", 431, "Request header fields too large"),
        ("POST", f"Cookie: {'x' * 8_193}", 431, "Request header fields too large"),
        ("GET", f"Cookie: {'x' * 5_000}\r\nCookie: {'x' * 5_000}", 431, "Request header fields too large"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_hostile_head_is_refused_on_every_route_and_the_connection_stays_in_step(
    server: Server, path: str, line: str, headers: str, status: int, error: str
) -> None:
    body = "" if line == "GET" else "a=%ff"
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    request = f"{line} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{length}\r\n{body}"
    after = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = answer_to(server, (request + after).encode()).decode()
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert f'\r\n\r\n{{"ok":false,"error":"{error}"}}HTTP/1.1 200 OK\r\n' in answer


def test_a_large_body_with_a_hostile_head_is_read_and_refused(server: Server) -> None:
    content_type = {"Content-Type": "application/x-www-form-urlencoded; charset=punycode"}
    status, answer = server.post("/admin/login/", b"a" * 1_000_000, **content_type)
    assert (status, answer) == (415, b'{"ok":false,"error":"Unsupported media type"}')


def test_a_readable_header_does_not_hide_one_that_is_no_text(server: Server) -> None:
    body = json.dumps(success())
    head = "POST /event HTTP/1.1\r\nHost: localhost\r\nAccept: a\r\nAccept: b\r\nOrigin: https://evil.example/é\r\n"
    head += "Content-Type: application/json\r\nConnection: close\r\n"
    answer = answer_to(server, f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    assert answer.startswith(b"HTTP/1.1 403 ")


def test_no_bytes_hide_the_address_that_a_proxy_appended(server_behind_a_proxy: Server) -> None:
    """The server keeps such a value from us, so the request is refused: nobody is counted as the proxy by that."""
    for lines, status in (
        (["192.0.2.1"], 200),
        (["192.0.2.1"], 429),
        (["é, 192.0.2.1"], 400),
        (["é, 192.0.2.1", "192.0.2.9"], 400),
        (["192.0.2.9, é", "192.0.2.1"], 400),
        (["203.0.113.1", "192.0.2.1"], 429),
        (["", "192.0.2.1"], 429),
        (["192.0.2.2", "192.0.2.1"], 429),
    ):
        head = "GET /metrics/flash-count HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        forwarded = "".join(f"X-Forwarded-For: {line}\r\n" for line in lines)
        assert int(answer_to(server_behind_a_proxy, f"{head}{forwarded}\r\n".encode())[9:12]) == status, lines
