"""The measurements of commits: in memory at first, then with the next commit into rows that all processes share."""

import time
from typing import Any

import pytest

from events import clock
from events.ingest import contract, writer
from events.models import CommitBucket
from events.monitoring import commits
from tests.conftest import make_event, payload, success

pytestmark = pytest.mark.django_db


def stored() -> dict[str, dict[str, tuple[int, float]]]:
    """Return the count and the sum of each bucket by its measure."""
    found: dict[str, dict[str, tuple[int, float]]] = {}
    for row in CommitBucket.objects.order_by("pk"):
        found.setdefault(row.measure, {})[row.bound] = (row.count, row.total)
    return found


def a_second_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "_last_written", commits._last_written - commits.WRITE_AFTER_SECONDS)


def test_the_next_commit_writes_the_measurements_at_most_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "_last_written", time.monotonic())
    make_event(**success())
    make_event(**success())
    assert stored() == {}  # within the second
    a_second_passes(monkeypatch)
    make_event(**success())
    assert stored()["events"] == {"1": (2, 2.0)}
    a_second_passes(monkeypatch)
    writer.flush_if_due()
    assert stored()["events"] == {"1": (3, 3.0)}
    assert sum(count for count, _ in stored()["seconds"].values()) == 3
    assert stored()["queued"] == {"0": (3, 0.0)}


def test_a_flush_is_no_commit_of_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or each flush would make the next one due, for ever."""
    a_second_passes(monkeypatch)
    writer.flush_refusals()
    assert not commits.are_due()


def test_a_failed_commit_keeps_the_measurements_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    make_event(**success())
    a_second_passes(monkeypatch)

    def fail() -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        writer.record(contract.parse(payload(), received_at_ms=clock.now_ms()), alongside=fail)
    assert stored() == {}
    a_second_passes(monkeypatch)
    writer.flush_if_due()
    assert stored()["events"] == {"1": (1, 1.0)}  # the failed one was none


@pytest.mark.parametrize(
    ("measure", "value", "bound"),
    [
        ("seconds", 0.0, "0.001"), ("seconds", 0.001, "0.001"), ("seconds", 0.0011, "0.0025"), ("seconds", 11, "+Inf"),
        ("events", 1, "1"), ("events", 1000, "1000"), ("events", 1001, "+Inf"),
        ("queued", 0, "0"), ("queued", 3, "4"), ("queued", 513, "+Inf"),
    ],
)  # fmt: skip
def test_a_value_is_counted_under_the_next_bound(
    measure: str, value: float, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values: dict[str, Any] = {"seconds": 0.5, "events": 2, "queued": 2} | {measure: value}
    commits.note(**values)
    a_second_passes(monkeypatch)
    writer.flush_if_due()
    assert stored()[measure] == {bound: (1, value)}


def test_requests_that_wait_for_a_thread_are_in_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "_requests_without_thread", commits._requests_without_thread)
    commits.watch(lambda: 5)
    commits.note(seconds=0.1, events=1, queued=2)
    a_second_passes(monkeypatch)
    writer.flush_if_due()
    assert stored()["queued"] == {"8": (1, 7.0)}


def test_the_table_stays_small() -> None:
    """Every bucket of every measure is one row, whatever is measured."""
    for _ in range(2):
        every = {(measure, at): (1, 1.0) for measure, of in commits.BOUNDS.items() for at in range(len(of) + 1)}
        commits.write(every)
    assert CommitBucket.objects.count() == sum(len(bounds) + 1 for bounds in commits.BOUNDS.values()) == 38
    assert set(CommitBucket.objects.values_list("count", "total")) == {(2, 2.0)}
