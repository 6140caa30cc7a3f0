"""Measures the queries and the time of each admin page in this process, with the database of DATA_DIR or DATABASE_URL.

Run it with `DATA_DIR=… .venv/bin/python -m benchmarks.pages`. It creates a user and otherwise only reads. Words after
the command select pages by their names: `-m benchmarks.pages "a group"`.

The CPU time is that of the thread. It does not depend on other programs, as the time of the answer does.
"""

import gc
import os
import re
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import django
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

ROUNDS = 20
FAILURES = "/admin/events/recentfailure/"
EVENTS = "/admin/events/event/"
GROUPS = "/admin/events/failuregroup/"
RELEASES = "/admin/events/release/"
DEEP_PAGES = 1_000


class Timed(NamedTuple):
    """`counts` says which rows of tables the page counts: none, at most so many, or all that match."""

    queries: int
    counts: str
    cpu_ms: float
    p50_ms: float
    p95_ms: float


def timed(client: Client, url: str) -> Timed:
    """Open a page twice for its queries, and ROUNDS times for its time.

    At the first view the process reads the figures of past days, which it keeps. The queries are those of the second.
    """
    client.get(url)
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(url)
        queries = [query["sql"] for query in captured]  # the next request clears them
    if answer.status_code != 200:
        raise RuntimeError(f"{url} answered {answer.status_code}")
    spans, cpu_times = [], []
    for _ in range(ROUNDS):
        begun_at, cpu_begun_at = time.perf_counter(), time.thread_time()
        client.get(url)
        spans.append((time.perf_counter() - begun_at) * 1000)
        cpu_times.append((time.thread_time() - cpu_begun_at) * 1000)
    p50, p95 = statistics.median(spans), statistics.quantiles(spans, n=20)[-1]
    return Timed(len(queries), _counts(queries), statistics.median(cpu_times), p50, p95)


def _counts(queries: list[str]) -> str:
    """Return which rows of tables the queries count. A count of what the same query computes is none."""
    counted = [found for query in queries for found in _COUNTED.findall(query)]
    if any(not limit for _, limit in counted):
        return "all"
    return f"≤ {max(int(limit) for _, limit in counted):,}" if counted else "none"


# A count of a table, or of a subquery with or without a limit.
_COUNTED = re.compile(r'COUNT\([^)]*\)[^()]*? FROM ("?(?:events|telemetry)_\w+|\(SELECT(?:.*? LIMIT (\d+)\))?)')


def pages(client: Client) -> Iterator[tuple[str, str]]:
    """Yield the description and the address of each page."""
    from events.models import Event, FailureGroup
    from events.reports.groups import ranking
    from events.reports.groups.breakdowns import SPANS

    for days in (1, 7, 30, 90):
        yield f"overview, {days} days", f"/admin/?days={days}"
    yield "overview, 90 days, released", "/admin/?days=90&released=1"
    newest = Event.objects.failures().newest_first()[0]
    group = FailureGroup.objects.order_by("-accepted")[0]
    yield from _lists_of_events(newest, group.pk)
    yield "an event", f"{FAILURES}{newest.pk}/"
    yield "groups, open", GROUPS
    for sort in ranking.COLUMNS:
        yield f"groups by {sort}", f"{GROUPS}?status=all&sort=-{sort}"
    for name, query in (
        ("of a model", {"model": newest.model}),
        ("of a version", {"version": newest.app_version}),
        ("still failing", {"status": "still_failing"}),
        ("search for words", {"status": "all", "q": "timed"}),
        ("search with a filter", {"q": f"is:all model:{newest.model} timed out"}),
        ("search without a match", {"status": "all", "q": "no such words"}),
    ):
        yield f"groups {name}", f"{GROUPS}?{urlencode(query)}"
    for span, words in SPANS.items():
        yield f"the largest group, {words}", f"{GROUPS}{group.pk}/?span={span}"
    rare = FailureGroup.objects.order_by("accepted", "pk")[0]
    yield "the smallest group", f"{GROUPS}{rare.pk}/"
    yield from _releases()
    for sort in ("last", "day", "count", "title"):
        address = f"/groups?status=all&sort=-{sort}"
        yield f"`GET /groups` by {sort}", address
        yield f"`GET /groups` by {sort}, 200 groups", f"{address}&limit=200"
        yield f"`GET /groups` by {sort}, the next page", client.get(address).json()["next"] or address
    yield "`GET /groups/{key}`, the largest group", f"/groups/{group.pk}"
    yield "`GET /groups/{key}`, the largest group, all days", f"/groups/{group.pk}?span=all"


def _lists_of_events(newest: Any, group: str) -> Iterator[tuple[str, str]]:
    from events.reports import failures
    from events.reports.failures import Criteria

    for name, query in (
        ("", {}),
        ("by type", {"type": newest.event_type}),
        ("by model", {"model": newest.model}),
        ("by version", {"version": newest.app_version}),
        ("by mode", {"mode": "0"}),
        ("by connection", {"connected": "0"}),
        *((f"by {facet}", {facet: value}) for facet, value in _facet_values().items()),
        ("by a rare facet", {"f.browser": "no such browser"}),
        ("of a day", {"window": "24h"}),
        ("released", {"released": "1"}),
        ("of a group", {"group": group}),
        ("of a group and model", {"group": group, "model": newest.model}),
        ("without a match", {"model": "no such model"}),
        ("search for words", {"q": "handshake"}),
        ("search for a number", {"q": "0x001f"}),
        ("search with a filter", {"q": f"model:{newest.model} timed out"}),
        ("search without a match", {"q": "no such words"}),
    ):
        yield f"failures {name}".rstrip(), f"{FAILURES}?{urlencode(query)}"
    after = None
    for _ in range(DEEP_PAGES):
        after = failures.page(Criteria(), limit=50, after=after).older or after
    yield f"failures after {DEEP_PAGES:,} × next", f"{FAILURES}?cursor={after}"
    yield "events", EVENTS
    yield "events search for words", f"{EVENTS}?q=handshake"


def _facet_values() -> dict[str, str]:
    """Return the most frequent value of each facet among the failures."""
    from django.db.models import Sum

    from events.models import FacetRollup
    from events.querysets import SUCCESS

    totals = (
        FacetRollup.objects.exclude(event_type=SUCCESS).values_list("facet", "name").annotate(total=Sum("accepted"))
    )
    return {facet: name for facet, name, _ in totals.order_by("total")}


def _releases() -> Iterator[tuple[str, str]]:
    from events import clock
    from events.reports.releases import figures

    yield "releases", RELEASES
    names = figures.names(clock.now())
    yield "the newest release", f"{RELEASES}{quote(names[0])}/"
    yield "the release in the middle", f"{RELEASES}{quote(names[len(names) // 2])}/"
    yield "the oldest release", f"{RELEASES}{quote(names[-1])}/"
    yield "the newest release against the oldest", f"{RELEASES}{quote(names[0])}/?{urlencode({'against': names[-1]})}"


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
    print("| page | queries | counted rows | CPU ms | p50 ms | p95 ms |\n|---|--:|--:|--:|--:|--:|")
    for name, url in pages(client):
        if not sys.argv[1:] or any(words in name for words in sys.argv[1:]):
            queries, counts, *times = timed(client, url)
            print(f"| {name} | {queries} | {counts} |", *(f"{ms:.0f} |" for ms in times), flush=True)


if __name__ == "__main__":
    main()
