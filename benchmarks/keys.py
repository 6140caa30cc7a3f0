"""Measures the cost of random and of time-ordered session ids in SQLite.

It inserts successes into our table, with one thread, 400 in each commit, and without the site.

Run it with `.venv/bin/python -m benchmarks.keys`.
"""

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from benchmarks import servers

COMMITS, ROWS, ROWS_A_STATEMENT = 400, 400, 50
_COLUMNS = (
    "id, received_at_ms, occurred_at, event_type, session_id, model, write_mode, connected, app_version, message,"
    " log_lines_json, metadata_json, source"
)
_REST = ("UV-5RM", 1, 1, "19afc18", "Flash complete", "[]", "{}", "event")


def random_id(_: int) -> str:
    return str(uuid.uuid4())


def time_ordered_id(ms: int) -> str:
    """Return a session id of the form that telemetry.js creates: it begins with the time."""
    random_bits = int.from_bytes(os.urandom(10), "big")
    return str(uuid.UUID(int=ms << 80 | random_bits))


def microseconds_a_row(file: Path, session_of: Callable[[int], str]) -> float:
    """Return the time for each row, with its share of the commit."""
    row = f"({', '.join('?' * (_COLUMNS.count(',') + 1))})"
    values = ", ".join([row] * ROWS_A_STATEMENT)
    statement = f"INSERT INTO telemetry_events ({_COLUMNS}) VALUES {values} ON CONFLICT DO NOTHING"
    spent = 0.0
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("PRAGMA synchronous=FULL")
        for ms in range(COMMITS):
            rows = [
                (
                    f"{ms:012x}{os.urandom(10).hex()}",
                    ms,
                    "2026-02-12T18:00:00.000Z",
                    "flash_success",
                    session_of(ms),
                    *_REST,
                )
                for _ in range(ROWS)
            ]
            begun_at = time.perf_counter()
            database.execute("BEGIN IMMEDIATE")
            for start in range(0, ROWS, ROWS_A_STATEMENT):
                chunk = rows[start : start + ROWS_A_STATEMENT]
                database.execute(statement, [value for row in chunk for value in row])
            database.execute("COMMIT")
            spent += time.perf_counter() - begun_at
    return spent / (COMMITS * ROWS) * 1e6


def main() -> None:
    for session_of in (random_id, time_ordered_id):
        with tempfile.TemporaryDirectory() as folder:
            env = servers.environment(Path(folder))
            command = [sys.executable, "manage.py", "migrate", "--verbosity=0"]
            subprocess.run(command, cwd=servers.PROJECT_DIR, env=env, check=True)
            spent = microseconds_a_row(Path(folder) / "telemetry.sqlite3", session_of)
            print(f"{session_of.__name__}: {spent:.1f} µs a row", flush=True)


if __name__ == "__main__":
    main()
