"""Memory, database size and rates while a million events arrive over HTTP."""

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import rates, servers
from benchmarks.servers import Running

FEW = 1_000
ROUNDS = 3
_FILL_SECONDS = 5
_PLAN = """
import django; django.setup()
from django.db import connection
from django.test.utils import CaptureQueriesContext
from events.reports import metrics
with CaptureQueriesContext(connection) as captured:
    metrics.flash_count()
with connection.cursor() as cursor:
    cursor.execute("EXPLAIN QUERY PLAN " + captured[0]["sql"])
    print("; ".join(row[-1] for row in cursor.fetchall()))
"""


def through_http(folder: Path, events: int) -> Iterator[str]:
    """Yield lines: the memory after each quarter, and the rates compared with a site that has only FEW events."""
    with servers.site(folder / "few") as few, servers.site(folder / "many") as many:
        yield f"memory with no event: {many.memory_mb:.0f} MB"
        stored, step = 0, events // 4
        while stored < events:
            begun_at = time.monotonic()
            received = _fill(many, step)
            rate, stored = received / (time.monotonic() - begun_at), stored + received
            size = sum(file.stat().st_size for file in (folder / "many").glob("*.sqlite3*"))
            yield (
                f"after {stored:,} events: memory {many.memory_mb:.0f} MB, database {size / 1e6:,.0f} MB;"
                f" rate of the last quarter, in batches: {rate:,.0f}/s"
            )
        _post(few, FEW)
        for name in ("few", "many"):
            yield f"query plan of the count, site with {name} events: {_plan(folder / name)}"
        for work in (rates.COUNT, rates.SUCCESS):
            runs: dict[Running, list[rates.Measured]] = {few: [], many: []}
            for _ in range(ROUNDS):
                for site, measured in runs.items():
                    measured.append(rates.measure(work, site))
            small, large = (rates.medians(measured) for measured in runs.values())
            yield (
                f"{work.words}: {large.per_second:,.0f}/s, with few events {small.per_second:,.0f}/s,"
                f" ratio {large.per_second / small.per_second:.2f}; p50 {large.p50_ms:.1f} ms, with few events"
                f" {small.p50_ms:.1f} ms"
            )


def _fill(site: Running, least: int) -> int:
    stored = 0
    while stored < least:
        stored += round(rates.measure(rates.BATCH, site, seconds=_FILL_SECONDS).per_second * _FILL_SECONDS)
    return stored


def _post(site: Running, events: int) -> None:
    fields = {
        "event_type": "flash_success", "occurred_at": "2026-02-12T18:00:00.000Z", "message": "Flash complete",
        "model": "UV-5RM", "write_mode": 1, "connected": 1, "app_version": "19afc18",
    }  # fmt: skip
    connection = http.client.HTTPConnection("127.0.0.1", site.port)
    for start in range(0, events, 50):
        batch = [{**fields, "session_id": f"few-{number}"} for number in range(start, start + 50)]
        body = json.dumps({"events": batch})
        connection.request("POST", "/event/batch", body, {"Content-Type": "application/json"})
        connection.getresponse().read()
    connection.close()


def _plan(data_dir: Path) -> str:
    env = servers.environment(data_dir, DJANGO_SETTINGS_MODULE="telemetry_site.settings")
    command = [sys.executable, "-c", _PLAN]
    result = subprocess.run(command, cwd=servers.PROJECT_DIR, env=env, capture_output=True, text=True, check=True)
    return result.stdout.strip()
