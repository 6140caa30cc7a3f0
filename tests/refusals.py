"""What a refusal is: the answer in full, the tables as they were, and one more in the count of its reason."""

from collections.abc import Mapping
from typing import Any

from django.apps import apps

from events.ingest import writer
from events.ingest.refusals import RefusalReason
from events.models import Event, HourlyRollup, IngestTally, LifetimeTotal


def counted() -> dict[str, int]:
    """Return how many requests ended without a stored event, by outcome."""
    writer.flush_refusals()
    return dict(IngestTally.objects.values_list("outcome", "count"))


def expect_answer(answer: Any, status: int, body: Mapping[str, Any]) -> None:
    """Look at what every answer of a public route has in common."""
    assert (answer.status_code, answer.json()) == (status, body)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Type"] == "application/json"
    assert not answer.cookies


def expect_refusal(
    answer: Any, status: int, error: str, outcome: RefusalReason | None, fields: Mapping[str, list[str]] | None = None
) -> None:
    """Look at the refusal of the only request of a test."""
    body: dict[str, Any] = {"ok": False, "error": error}
    expect_answer(answer, status, body if fields is None else body | {"fields": fields})
    old_tables = apps.all_models["legacy"].values()  # none where the old system is taken away
    for table in (Event, LifetimeTotal, HourlyRollup, *old_tables):
        assert not table.objects.exists()
    assert counted() == ({outcome.value: 1} if outcome else {})
