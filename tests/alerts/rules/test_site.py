"""The rules about the site itself: jobs, backups, disk, parity."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from events.alerts.rules import evaluation
from events.maintenance import alerts, disk
from events.maintenance.jobs import leases, registry
from events.models import Alert, AlertKind, Backup, JobOutcome, JobState
from legacy.cutover import parity
from legacy.models import ParityRun, Verdict

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 2, 12, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)
GIB = 1_073_741_824


def headings() -> list[str]:
    return list(Alert.objects.order_by("id").values_list("facts__heading", flat=True))


def test_a_failed_job_is_an_alert_until_it_succeeds() -> None:
    leases.add_missing(registry.registered(), NOON)
    row = JobState.objects.filter(name="retention")
    rule = evaluation.Rule("jobs", AlertKind.JOB, alerts.jobs)

    def end(outcome: JobOutcome, hours: int) -> None:
        ended_ms = NOON_MS + hours * 3_600_000
        row.update(outcome=outcome, ended_ms=ended_ms, message="KeyError: 'a text of a client'")
        if outcome == JobOutcome.SUCCEEDED:
            row.update(succeeded_ms=ended_ms)
        evaluation.evaluate(NOON + timedelta(hours=hours), [rule])

    for hours, outcome in enumerate(["succeeded", "failed", "timed_out", "succeeded", "timed_out"]):
        end(JobOutcome(outcome), hours)
    assert headings() == [
        "The job “Delete old events” failed",
        "The job “Delete old events” exceeded its time limit",
    ]
    assert Alert.objects.order_by("id")[0].facts["lines"] == [
        "It ended on Thu 12 Feb 2026, 13:00 UTC.",
        "It last succeeded on Thu 12 Feb 2026, 12:00 UTC.",
    ]


def test_backups_that_are_missing_unproven_or_damaged_are_alerts() -> None:
    def make(name: str, days_ago: int, **values: Any) -> Backup:
        return Backup.objects.create(
            **{"name": name, "made_ms": NOON_MS - days_ago * 86_400_000, "file_bytes": 1, "sha256": ""}
            | {"is_encrypted": False, "events": 0, "proven_ms": NOON_MS}
            | values
        )

    rule = evaluation.Rule("backups", AlertKind.JOB, alerts.backups)
    make("a", 3)
    for hours in (0, 30):  # the number of days in the words changes meanwhile
        evaluation.evaluate(NOON + timedelta(hours=hours), [rule])
    assert headings() == ["No backup was made for 3 days."]
    make("b", 0, problem="Its checksum differs.")
    evaluation.evaluate(NOON + timedelta(hours=31), [rule])
    assert headings()[1:] == ["A backup is damaged: b."]
    make("c", -1)
    Backup.objects.filter(name="b").delete()
    evaluation.evaluate(NOON + timedelta(hours=32), [rule])
    Backup.objects.filter(name="c").delete()
    evaluation.evaluate(NOON + timedelta(hours=33), [rule])
    assert headings()[2:] == ["No backup was made for 4 days."]


def test_the_disk_is_an_alert_for_each_state_that_gets_worse(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.MIN_FREE_BYTES = GIB
    rule = evaluation.Rule("disk", AlertKind.DISK, alerts.disk_space)
    steps = [
        (2.0, 0),
        (0.9, 1),
        (1.05, 1),  # not enough to be over
        (0.9, 1),
        (0.2, 2),
        (0.26, 2),
        (0.2, 2),
        (0.5, 2),
        (0.2, 3),
        (2.0, 3),
        (0.9, 4),
    ]
    for minutes, (free_gib, expected) in enumerate(steps):
        monkeypatch.setattr(disk, "free_bytes", lambda free=free_gib: int(free * GIB))
        evaluation.evaluate(NOON + timedelta(minutes=minutes), [rule])
        assert Alert.objects.count() == expected
    assert headings()[:2] == [
        "Disk space is low: 922 MiB are free",
        "The disk is nearly full: 205 MiB are free",
    ]


def test_without_a_limit_the_disk_is_no_alert(settings: Any) -> None:
    settings.MIN_FREE_BYTES = None
    assert list(alerts.disk_space(NOON)) == []


def test_drift_of_parity_is_an_alert_without_examples() -> None:
    def compare(verdict: Verdict, missing: int) -> None:
        ParityRun.objects.create(
            checked_at=NOON,
            verdict=verdict,
            holds=verdict == Verdict.PROVEN,
            days_held=2,
            finding={
                "days": [{"state": verdict.value}, {"state": Verdict.PROVEN.value}],
                "total": {"successes": {"missing": missing}, "failures": {"missing": 0}},
                "examples_missing": [{"message": "a text of a client"}],
            },
        )
        evaluation.evaluate(NOON, [rule])

    rule = evaluation.Rule("parity", AlertKind.PARITY, parity.alert_problems)
    for verdict, missing in [("proven", 0), ("drift", 1_200), ("drift", 1_300), ("proven", 0), ("drift", 7)]:
        compare(Verdict(verdict), missing)
    assert headings() == [
        "/event did not receive 1,200 events that arrived by an old route",
        "/event did not receive 7 events that arrived by an old route",
    ]
    assert Alert.objects.order_by("id")[0].facts["lines"] == [
        "Drift on 1 of 2 compared days.",
        "Compared on Thu 12 Feb 2026, 12:00 UTC.",
        "Parity was proven on 2 days in a row.",
    ]
    assert "client" not in str(Alert.objects.values_list("facts"))
