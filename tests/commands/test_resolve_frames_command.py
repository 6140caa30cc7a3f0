"""`manage.py resolve_frames`: by hand, and as the process that the server starts for a large map."""

import json
import os
import sqlite3
import time
import zlib
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.core.management import call_command

from tests.conftest import payload
from tests.servers import PATIENCE_SECONDS, Server
from tests.sourcemaps.maps import large_map

TOKEN = "a token of at least 24 characters"[:24].replace(" ", "-")
FILE = "large-A1b2C3d4.js"


@pytest.mark.django_db
def test_without_waiting_frames_there_is_nothing_to_do() -> None:
    out = StringIO()
    call_command("resolve_frames", stdout=out)
    assert out.getvalue() == "0 frames resolved.\n"


def store_large_map(database: Path) -> None:
    text = json.dumps(large_map(20_000) | {"padding": "x" * 1_000_000}).encode()
    columns = "app_version, file, digest, bytes, sources, uploaded_at_ms, uploaded_by_name, content"
    row = ("19afc18", FILE, "digest", len(text), 40, 1, "ci", zlib.compress(text))
    with closing(sqlite3.connect(database, timeout=10)) as connection, connection:
        connection.execute(f"INSERT INTO events_sourcemap ({columns}) VALUES ({','.join('?' * len(row))})", row)


def frame_of(server: Server) -> dict[str, Any]:
    status, body = server.get("/failures", authorization=f"Bearer {TOKEN}")
    assert status == 200, body
    (frame,) = json.loads(body)["results"][0]["frames"]
    return frame  # type: ignore[no-any-return]


def workers_of(server: Server) -> list[psutil.Process]:
    processes = psutil.Process(server.process.pid).children(recursive=True)
    return [process for process in processes if "resolve_frames" in _command_of(process)]


def _command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_the_server_resolves_the_frames_of_a_large_map_in_one_process(data_dir: Path) -> None:
    with Server(data_dir, ADMIN_TOKEN=TOKEN) as server:
        server.start_prepared()
        store_large_map(data_dir / "telemetry.sqlite3")
        stack = f"at a (https://flash.example.org/{FILE}:1:5000)"
        status, _ = server.post("/event", json.dumps(payload(stack=stack)).encode())
        assert status == 201
        assert [frame_of(server)["unresolved"] for _ in range(5)] == ["resolving"] * 5
        killed = workers_of(server)
        assert len(killed) <= 1
        for process in killed:
            os.kill(process.pid, 9)  # the next view starts another one
        end = time.monotonic() + PATIENCE_SECONDS
        while (frame := frame_of(server))["unresolved"] is not None:
            assert time.monotonic() < end, server.log.read_text()
            time.sleep(0.2)
        assert frame["file"].startswith("src/part")
