"""Assertions about a site's data after a fault: no event is lost or duplicated, and all counts equal the rows."""

import sqlite3
from collections import Counter
from contextlib import closing
from typing import Any

import psycopg

from tests.faults.writers import Writers
from tests.servers import Server

NAMES = "SELECT COALESCE(session_id, message), COUNT(*) FROM telemetry_events GROUP BY 1"
_AGREE = {
    "lifetime totals": (
        "SELECT event_type, COUNT(*) FROM telemetry_events WHERE correction IS NULL GROUP BY 1",
        "SELECT event_type, accepted FROM events_lifetimetotal WHERE accepted > 0",
    ),
    "modes": (
        "SELECT event_type, write_mode, connected, COUNT(*) FROM telemetry_events WHERE correction IS NULL"
        " GROUP BY 1, 2, 3",
        "SELECT event_type, write_mode, connected, SUM(accepted) FROM events_moderollup WHERE accepted > 0"
        " GROUP BY 1, 2, 3",
    ),
    "hours": (
        "SELECT event_type, received_at_ms / 3600000, COUNT(*) FROM telemetry_events WHERE correction IS NULL"
        " GROUP BY 1, 2",
        "SELECT event_type, hour_ms / 3600000, SUM(accepted) FROM events_hourlyrollup WHERE accepted > 0 GROUP BY 1, 2",
    ),
    "groups": (
        "SELECT fingerprint, COUNT(*) FROM telemetry_events WHERE fingerprint IS NOT NULL GROUP BY 1",
        "SELECT fingerprint, accepted FROM events_failuregroup",
    ),
    "hours of groups": (
        "SELECT fingerprint, COUNT(*) FROM telemetry_events WHERE fingerprint IS NOT NULL GROUP BY 1",
        "SELECT fingerprint, SUM(accepted) FROM events_grouphour GROUP BY 1",
    ),
}


def query(server: Server, sql: str) -> list[tuple[Any, ...]]:
    """Query the site's database directly."""
    if url := server.env.get("DATABASE_URL"):
        with psycopg.connect(url) as database:
            return database.execute(sql).fetchall()  # type: ignore[arg-type]
    with closing(sqlite3.connect(server.data_dir / "telemetry.sqlite3", timeout=60)) as database:
        return database.execute(sql).fetchall()


def expect_nothing_lost(server: Server, *crowds: Writers) -> dict[str, int]:
    """Check all sent events and all counts; return the figures."""
    assert [wrong for writers in crowds for wrong in writers.wrong] == []
    acknowledged = {name for writers in crowds for name in writers.acknowledged}
    sent = {name for writers in crowds for name in writers.sent}
    statuses = sum((writers.statuses for writers in crowds), Counter[int]())
    stored = Counter(dict(query(server, NAMES)))
    lost = acknowledged - stored.keys()
    doubled = {name for name, count in stored.items() if count > 1}
    assert (lost, doubled, stored.keys() - sent) == (set(), set(), set())
    open_to_others = [path for path in server.data_dir.rglob("*") if path.stat().st_mode & 0o077]
    assert open_to_others == []
    expect_counts_agree(server)
    return {
        "events acknowledged": len(acknowledged),
        "lost": len(lost),
        "doubled": len(doubled),
        "files that others may open": len(open_to_others),
        "requests that got no answer": sum(writers.unanswered for writers in crowds),
        "of their events, stored all the same": sum(writers.found_stored for writers in crowds),
        "answers of 503": statuses[503],
        "other answers from 400 on": sum(n for status, n in statuses.items() if status >= 400) - statuses[503],
    }


def expect_counts_agree(server: Server) -> None:
    for what, (rows, counts) in _AGREE.items():
        assert sorted(query(server, rows)) == sorted(query(server, counts)), what
    for proved in server.commands(("rebuild_rollups", "--check"), ("regroup_failures", "--check")):
        assert proved.returncode == 0, proved.stdout + proved.stderr
    if "DATABASE_URL" not in server.env:
        assert query(server, "PRAGMA integrity_check") == [("ok",)]
