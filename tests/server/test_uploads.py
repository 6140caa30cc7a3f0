"""Uploads on the real server: the head is judged before the body is read, and the body does not fill the memory."""

import gzip
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import success
from tests.fixtures.uploaded_maps import MEBIBYTE, source_map
from tests.servers import Server, served_prepared

TOKEN = "the-token-of-these-tests-alone"
MAP = source_map()


@pytest.fixture(scope="module")
def server(make_data_dir: Callable[[], Path]) -> Iterator[Server]:
    with served_prepared(make_data_dir(), ADMIN_TOKEN=TOKEN, INGEST_RATE="off", THREADS="2") as running:
        yield running


def head(name: str, *lines: str, token: str = TOKEN) -> bytes:
    start = [f"PUT /sourcemaps/19afc18/{name}.js.map HTTP/1.1", "Host: localhost", f"Authorization: Bearer {token}"]
    return "\r\n".join([*start, *lines, "", ""]).encode()


def answer_of(wire: socket.socket) -> tuple[int, dict[str, object]]:
    answer = http.client.HTTPResponse(wire)
    answer.begin()
    return answer.status, json.loads(answer.read())


def put(server: Server, name: str, body: bytes, *lines: str) -> tuple[int, dict[str, object]]:
    with server.raw(head(name, f"Content-Length: {len(body)}", "Connection: close", *lines) + body) as wire:
        return answer_of(wire)


def test_a_map_is_stored_plain_packed_and_in_chunks(server: Server) -> None:
    expected = {"ok": True, "version": "19afc18", "sources": 1}
    assert put(server, "plain", MAP) == (201, expected | {"file": "plain.js"})
    assert put(server, "packed", gzip.compress(MAP), "Content-Encoding: gzip") == (
        201,
        expected | {"file": "packed.js"},
    )
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (MAP[:7], MAP[7:], b""))
    with server.raw(head("chunked", "Transfer-Encoding: chunked", "Connection: close") + chunks) as wire:
        assert answer_of(wire) == (201, expected | {"file": "chunked.js"})


def test_a_map_of_several_mebibytes_is_stored(server: Server) -> None:
    status, body = put(server, "large", source_map(sourcesContent=["x" * 9 * MEBIBYTE]))
    assert (status, body["ok"]) == (201, True)


def test_without_a_token_the_body_is_not_asked_for(server: Server) -> None:
    lines = (f"Content-Length: {15 * MEBIBYTE}", "Expect: 100-continue")
    with server.raw(head("refused", *lines, token="wrong")) as wire:
        status, body = answer_of(wire)  # the server closes the connection
    assert (status, body) == (401, {"ok": False, "error": "Unauthorized"})


def test_a_client_that_sends_at_once_can_read_the_refusal(server: Server) -> None:
    body = b" " * (MEBIBYTE // 2)
    with server.raw(head("refused", f"Content-Length: {len(body)}", token="wrong") + body) as wire:
        assert answer_of(wire)[0] == 401


@pytest.mark.parametrize("lines", [(f"Content-Length: {17 * MEBIBYTE}",), ("Transfer-Encoding: chunked",)])
def test_a_body_over_the_limit_is_refused_while_it_arrives(server: Server, lines: tuple[str, ...]) -> None:
    with server.raw(head("over", *lines)) as wire:
        if "chunked" in lines[0]:
            for _ in range(17):  # and no end of it
                wire.sendall(b"%x\r\n%s\r\n" % (MEBIBYTE, b" " * MEBIBYTE))
        status, body = answer_of(wire)
    assert (status, body["error"]) == (413, "The body is larger than 16,777,216 bytes")


def test_slow_uploads_delay_no_events(server: Server) -> None:
    """More than there are threads for uploads, each with a body that does not arrive."""
    with ExitStack() as wires:
        for _ in range(3):
            wires.enter_context(server.raw(head("slow", "Content-Length: 9999")))
        assert server.post("/event", json.dumps(success()).encode())[0] == 201
        assert server.get("/sourcemaps/19afc18", Authorization=f"Bearer {TOKEN}")[0] == 200
    assert put(server, "after", MAP)[0] == 201


def test_an_upload_that_breaks_off_stores_nothing(server: Server) -> None:
    with server.raw(head("broken", f"Content-Length: {len(MAP)}") + MAP[:-1]) as wire:
        wire.shutdown(socket.SHUT_WR)
        wire.recv(65536)
    _, listed = server.get("/sourcemaps/19afc18", Authorization=f"Bearer {TOKEN}")
    assert "broken.js" not in [file["file"] for file in json.loads(listed)["files"]]
    assert put(server, "broken", MAP)[0] == 201


def test_an_upload_has_no_name_in_the_folder_while_it_arrives(server: Server) -> None:
    before = {path.name for path in server.data_dir.iterdir()}
    with server.raw(head("killed", f"Content-Length: {9 * MEBIBYTE}") + b" " * MEBIBYTE):
        time.sleep(0.2)
        assert {path.name for path in server.data_dir.iterdir()} <= before
    assert put(server, "killed", MAP)[0] == 201
