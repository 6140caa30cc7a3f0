"""Memory, database size and rates while a million events arrive over HTTP; then an export of a million events."""

import http.client
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

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


def export(folder: Path, events: int) -> Iterator[str]:
    """Yield lines about the CSV export of all demo events in `folder`: speed, memory, and ingest meanwhile."""
    with servers.site(folder) as site:
        usual = statistics.median(rates.measure(rates.SUCCESS, site).per_second for _ in range(ROUNDS))
        with sampled(site) as memory:
            seconds, size = _export(site)
        yield (
            f"the CSV of {events:,} events: {events / seconds:,.0f} rows/s, {size / 1e6:,.0f} MB; memory"
            f" {max(memory):.0f} MB at most, {memory[0]:.0f} MB before"
        )
        exporting = threading.Thread(target=_export, args=(site,))
        exporting.start()
        meanwhile = rates.measure(rates.SUCCESS, site).per_second
        exporting.join()
        yield f"POST /event meanwhile: {meanwhile:,.0f}/s, otherwise {usual:,.0f}/s, ratio {meanwhile / usual:.2f}"


@contextmanager
def sampled(site: Running) -> Iterator[list[float]]:
    """Yield a list that receives the memory of a site, in MB: at once, and then five times a second."""
    samples, done = [site.memory_mb], threading.Event()

    def sample() -> None:
        while not done.wait(0.2):
            samples.append(site.memory_mb)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()


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


def _export(site: Running) -> tuple[float, int]:
    """Download all events as CSV; return the seconds and the bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=600)
    connection.request("GET", "/admin/login/")
    answer = connection.getresponse()
    answer.read()
    csrf = answer.headers["Set-Cookie"].partition(";")[0]
    form = {
        "username": "admin",
        "password": servers.PASSWORD,
        "csrfmiddlewaretoken": csrf.partition("=")[2],
        "next": "/admin/",
    }
    headers = {"Cookie": csrf, "Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/admin/login/", urlencode(form), headers)
    answer = connection.getresponse()
    answer.read()
    cookies = "; ".join(cookie.partition(";")[0] for cookie in answer.headers.get_all("Set-Cookie", []))
    begun_at = time.monotonic()
    connection.request("GET", "/admin/events/event/export/", headers={"Cookie": cookies})
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"the export answered {answer.status}")
    size = 0
    while chunk := answer.read(1 << 20):
        size += len(chunk)
    connection.close()
    return time.monotonic() - begun_at, size
