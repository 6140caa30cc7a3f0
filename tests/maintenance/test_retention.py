"""The deleter of events: made-up ones go with their counts, real ones and theirs stay as they are."""

from typing import Any

import pytest
from django.db import connection, transaction

from events.counting import buckets, rollups
from events.ingest import writer
from events.maintenance import database_file, demo, retention
from events.models import Event, HourlyRollup, LifetimeTotal, Source
from tests.conftest import make_event, payload, success

pytestmark = pytest.mark.django_db

NOON_MS = 1_770_897_600_000  # 2026-02-12 12:00 UTC


def make_up(count: int) -> None:
    outcomes = writer.record_many(list(demo.generate(count, days=3, now_ms=NOON_MS, seed=1)))
    assert all(outcome.stored for outcome in outcomes)


def counts() -> dict[str, Any]:
    """Return every count of which something is left."""
    columns = [field.attname for field in HourlyRollup._meta.fields if field.name != "id"]
    return {
        "hours": set(HourlyRollup.objects.filter(accepted__gt=0).values_list(*columns)),
        "totals": set(LifetimeTotal.objects.filter(accepted__gt=0).values_list()),
    }


def test_real_events_and_their_counts_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH_EVENTS", 100)
    made = [make_event(**success(), received_at_ms=NOON_MS - 60_000), make_event(**payload(), received_at_ms=NOON_MS)]
    before = counts()
    make_up(450)
    assert counts() != before
    assert list(retention.delete_demo()) == [100, 100, 100, 100, 50]
    assert counts() == before
    assert set(Event.objects.all()) == set(made)


def test_what_went_to_other_is_taken_from_other() -> None:
    make_event(**payload(model="real"), received_at_ms=NOON_MS)
    before = counts()
    rows = list(demo.generate(260, days=1, now_ms=NOON_MS, seed=1))
    many = [event._replace(model=f"m{number}", app_version=f"v{number}") for number, event in enumerate(rows)]
    writer.record_many(many)
    assert HourlyRollup.objects.filter(model=buckets.OTHER, app_version=buckets.OTHER).exists()
    assert list(retention.delete_demo()) == [260]
    assert counts() == before


def test_real_ones_under_other_stay_there() -> None:
    rows = list(demo.generate(60, days=1, now_ms=NOON_MS, seed=1))
    writer.record_many([event._replace(model=f"m{number}") for number, event in enumerate(rows)])
    make_event(**payload(model="real"), received_at_ms=NOON_MS - 60_000)
    list(retention.delete_demo())
    left = HourlyRollup.objects.get()
    assert (left.event_type, left.model, left.accepted) == ("flash_error", buckets.OTHER, 1)
    assert set(LifetimeTotal.objects.filter(accepted__gt=0).values_list("event_type", "accepted")) == {
        ("flash_error", 1)
    }


def test_the_last_event_is_a_real_one_again() -> None:
    make_event(**payload(), received_at_ms=NOON_MS - 7_200_000)
    rows = list(demo.generate(50, days=1, now_ms=NOON_MS, seed=1))
    writer.record_many([event._replace(event_type="flash_error") for event in rows])
    assert LifetimeTotal.objects.get().last_received_at_ms == rows[-1].received_at_ms
    list(retention.delete_demo())
    assert LifetimeTotal.objects.get().last_received_at_ms == NOON_MS - 7_200_000


def test_stopping_between_batches_leaves_events_and_counts_agreed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH_EVENTS", 100)
    make_up(450)
    assert next(retention.delete_demo()) == 100
    assert Event.objects.count() == 350
    assert [difference for day in rollups.days_in_use(0, None) for difference in rollups.compare(day)] == []
    assert rollups.compare_totals() == []


def test_nothing_made_up_is_nothing_to_do() -> None:
    make_event(**payload())
    assert list(retention.delete_demo()) == []


def pragma(name: str) -> int:
    with connection.cursor() as cursor:
        return int(cursor.execute(f"PRAGMA {name}").fetchall()[0][0])


@pytest.mark.django_db(transaction=True)
def test_a_file_shrinks_again() -> None:
    if connection.vendor != "sqlite":  # PostgreSQL looks after its own
        assert list(database_file.free_pages()) == []
        return
    make_up(3_000)
    full = pragma("page_count")
    list(retention.delete_demo())
    assert pragma("freelist_count") > full / 2
    assert list(database_file.free_pages()) == [0]  # in one step, not page by page
    assert pragma("page_count") < full / 2


@pytest.mark.django_db(transaction=True)
def test_freeing_pages_does_not_commit_what_a_caller_has_begun() -> None:
    make_up(300)
    list(retention.delete_demo())
    with transaction.atomic():
        LifetimeTotal.objects.update(baseline=7)
        assert list(database_file.free_pages()) == []
        transaction.set_rollback(True)
    assert not LifetimeTotal.objects.filter(baseline=7).exists()


def test_sources_other_than_demo_are_never_deleted() -> None:
    for source in Source:
        row = next(iter(demo.generate(1, days=1, now_ms=NOON_MS, seed=len(source))))
        writer.record(row._replace(source=source.value))
    list(retention.delete_demo())
    assert set(Event.objects.values_list("source", flat=True)) == set(Source.values) - {"demo"}
