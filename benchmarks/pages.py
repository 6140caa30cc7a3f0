"""Measures the queries and the time of each admin page in this process, with the database of DATA_DIR or DATABASE_URL.

Run it with `DATA_DIR=… .venv/bin/python -m benchmarks.pages`. It creates a user and otherwise only reads.
"""

import gc
import os
import statistics
import time
from collections.abc import Iterator
from typing import NamedTuple

import django
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

ROUNDS = 20
FAILURES = "/admin/events/recentfailure/"
EVENTS = "/admin/events/event/"
GROUPS = "/admin/events/failuregroup/"
DEEP_PAGES = 1_000


class Timed(NamedTuple):
    queries: int
    counts_events: bool
    p50_ms: float
    p95_ms: float


def timed(client: Client, url: str) -> Timed:
    """Open a page once for its queries and ROUNDS times for its time; the first is warm-up."""
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(url)
        queries = [query["sql"] for query in captured]  # the next request clears them
    if answer.status_code != 200:
        raise RuntimeError(f"{url} answered {answer.status_code}")
    spans = []
    for _ in range(ROUNDS):
        begun_at = time.perf_counter()
        client.get(url)
        spans.append((time.perf_counter() - begun_at) * 1000)
    counts = any("COUNT(" in query and "telemetry_events" in query for query in queries)
    return Timed(len(queries), counts, statistics.median(spans), statistics.quantiles(spans, n=20)[-1])


def pages(client: Client) -> Iterator[tuple[str, str]]:
    """Yield the description and the address of each page."""
    from events.models import Event, FailureGroup
    from events.reports import failures
    from events.reports.failures import Criteria
    from events.reports.groups import ranking

    for days in (1, 7, 30, 90):
        yield f"overview, {days} days", f"/admin/?days={days}"
    yield "overview, 90 days, released", "/admin/?days=90&released=1"
    yield "failures", FAILURES
    newest = Event.objects.failures().newest_first()[0]
    group = FailureGroup.objects.order_by("-accepted")[0]
    for name, query in (
        ("by type", f"type={newest.event_type}"),
        ("by model", f"model={newest.model}"),
        ("by version", f"version={newest.app_version}"),
        ("by mode", "mode=0"),
        ("by connection", "connected=0"),
        ("of a day", "window=24h"),
        ("released", "released=1"),
        ("of a group", f"group={group.pk}"),
        ("of a group and model", f"group={group.pk}&model={newest.model}"),
        ("without a match", "model=no+such+model"),
        ("search for words", "q=handshake"),
        ("search for a number", "q=0x001f"),
        ("search without a match", "q=no+such+words"),
    ):
        yield f"failures {name}", f"{FAILURES}?{query}"
    after = None
    for _ in range(DEEP_PAGES):
        after = failures.page(Criteria(), limit=50, after=after).older or after
    yield f"failures after {DEEP_PAGES:,} × next", f"{FAILURES}?cursor={after}"
    yield "events", EVENTS
    yield "an event", f"{FAILURES}{newest.pk}/"
    for sort in ranking.COLUMNS:
        yield f"groups by {sort}", f"{GROUPS}?status=all&sort=-{sort}"
    yield "groups of a model", f"{GROUPS}?model={newest.model}"
    yield "groups, a search", f"{GROUPS}?q=timed"
    yield "the largest group", f"{GROUPS}{group.pk}/"
    yield "the largest group, 90 days", f"{GROUPS}{group.pk}/?span=90"
    for sort in ("last", "day", "count", "title"):
        query = f"/groups?status=all&sort=-{sort}"
        yield f"`GET /groups` by {sort}", query
        yield f"`GET /groups` by {sort}, 200 groups", f"{query}&limit=200"
        yield f"`GET /groups` by {sort}, the next page", client.get(query).json()["next"] or query
    yield "`GET /groups/{key}`, the largest group", f"/groups/{group.pk}"
    yield "`GET /groups/{key}`, the largest group, all days", f"/groups/{group.pk}?span=all"


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "telemetry_site.settings")
    django.setup()
    from django.contrib.auth.models import User
    from django.test.utils import setup_test_environment

    from events import clock
    from events.models import Event, FailureGroup
    from events.reports.metrics import lifetime_figures

    setup_test_environment()
    client = Client(headers={"host": "127.0.0.1"})
    maintainer, _ = User.objects.get_or_create(username="benchmark", is_staff=True, is_superuser=True)
    client.force_login(maintainer)
    client.get("/admin/")
    # The server does the same after it has loaded the application.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)
    print(
        f"{connection.vendor}: {lifetime_figures(clock.now_ms()).flashes.accepted:,} successes,"
        f" {FailureGroup.objects.count():,} groups,",
        end="",
    )
    print(f" {Event.objects.failures().count():,} failures\n")
    print("| page | queries | p50 ms | p95 ms |\n|---|--:|--:|--:|")
    for name, url in pages(client):
        figure = timed(client, url)
        counts = ", counts events" if figure.counts_events else ""
        print(f"| {name} | {figure.queries}{counts} | {figure.p50_ms:.0f} | {figure.p95_ms:.0f} |", flush=True)


if __name__ == "__main__":
    main()
