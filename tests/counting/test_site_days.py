"""One row a day: the last start, the size of the database, and what the overview makes of it."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.test import Client, override_settings

from events import clock
from events.counting import site_days
from events.maintenance import disk
from events.models import SiteDay
from events.templatetags.telemetry import in_bytes
from telemetry_site.server import rsgi
from telemetry_site.server.threads import ThreadPool
from tests.conftest import make_event, sign_in, success
from tests.servers import PATIENCE_SECONDS

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def known() -> list[tuple[date, int | None]]:
    return list(SiteDay.objects.order_by("seen_on").values_list("seen_on", "started_at_ms"))


def test_a_start_and_a_size_share_the_row_of_their_day() -> None:
    site_days.note_size(NOON.date())
    assert known() == [(NOON.date(), None)]
    for hours in (0, 3):
        site_days.note_start(NOON + timedelta(hours=hours))
    site_days.note_size(NOON.date())
    assert known() == [(NOON.date(), int((NOON + timedelta(hours=3)).timestamp() * 1000))]
    assert 100_000 < SiteDay.objects.get().database_bytes <= site_days.database_bytes()


@pytest.mark.parametrize(
    ("rows", "growth"),
    [
        ({}, None),
        ({0: 900}, None),  # today's own
        ({8: 100}, None),
        ({-1: 100}, None),  # from a clock that was ahead
        ({1: 900}, 100.0),
        ({7: 300, 1: 900}, 100.0),
        ({3: 1_300}, -100.0),
        ({2: 1_000}, 0.0),
    ],
)
def test_growth_is_by_the_oldest_size_of_the_last_seven_days(rows: dict[int, int], growth: float | None) -> None:
    for days_ago, size in rows.items():
        SiteDay.objects.create(seen_on=NOON.date() - timedelta(days=days_ago), database_bytes=size)
    assert site_days.growth_per_day(NOON.date(), 1_000) == growth


@pytest.mark.parametrize(
    ("size_yesterday", "free", "days"),
    [
        (None, 10_000_000, None),
        (-1_000_000, 10_000_000, 9),
        (-1_000_000, 1_000_000, 0),
        (-1_000_000, 100_000, 0),
        (0, 10_000_000, None),
        (1_000_000, 10_000_000, None),
    ],
)
@override_settings(MIN_FREE_BYTES=4_000_000)
def test_days_until_full(
    client: Client, monkeypatch: pytest.MonkeyPatch, size_yesterday: int | None, free: int, days: int | None
) -> None:
    """Full is where ingest stops: at a quarter of MIN_FREE_BYTES."""
    monkeypatch.setattr(disk, "free_bytes", lambda: free)
    sign_in(client, "Staff")
    make_event(**success())
    size = site_days.database_bytes()
    if size_yesterday is not None:
        SiteDay.objects.create(seen_on=clock.today() - timedelta(days=1), database_bytes=size + size_yesterday)
    context = client.get("/admin/").context
    assert context["database_bytes"] >= size
    assert context["free_bytes"] == free
    assert context["days_until_full"] == (days if connection.vendor == "sqlite" else None)


def test_the_overview_leaves_out_what_is_not_known(client: Client) -> None:
    sign_in(client, "Staff")
    make_event(**success())
    text = " ".join(client.get("/admin/").content.decode().split())
    assert "<dt>Storage</dt> <dd>Database " in text
    assert "more a day" not in text
    assert "full in" not in text


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (None, "–"),
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 KiB"),
        (1_048_576, "1.0 MiB"),
        (33_554_432, "32.0 MiB"),
        (123 * 1024**3, "123 GiB"),
        (5_000 * 1024**4, "5000 TiB"),
        (-2_097_152, "−2.0 MiB"),
        (-0.2, "0 B"),
    ],
)
def test_bytes_in_words(number: float | None, words: str) -> None:
    assert in_bytes(number) == words


@pytest.mark.django_db(transaction=True)
def test_the_server_notes_the_size_when_a_day_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    today = NOON.date()
    monkeypatch.setattr(rsgi, "DAY_POLL_SECONDS", 0.01)
    monkeypatch.setattr(clock, "now", lambda: datetime.combine(today, NOON.timetz()))

    async def run() -> Any:
        nonlocal today
        pool = ThreadPool(1, asyncio.get_running_loop())
        task = asyncio.create_task(rsgi.note_days(pool))
        await asyncio.sleep(0.05)
        assert await pool.run(known) == []  # `serve` noted the first day
        today += timedelta(days=1)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await pool.run(known):
                await asyncio.sleep(0.01)
        task.cancel()
        result = await pool.run(known)
        await pool.run(connections.close_all)
        return result

    assert asyncio.run(run()) == [(today, None)]
