"""`legacy/diagnosis.py`: what the doctor says about the old routes."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from events.maintenance.doctor.findings import Depth, Examination
from legacy import diagnosis
from legacy.models import ModeInForce, ParityRun

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
EXAMINATION = Examination(NOW, Depth.PAGE)


@pytest.mark.parametrize(
    ("row", "changed", "expected"),
    [
        ({}, {}, ("fine", "alias")),
        ({"mode": "gone", "tables_dropped": True}, {}, ("fine", "gone; the old tables were dropped")),
        ({"mode": "gone"}, {"INGEST_TOKEN_REQUIRED": True}, ("fine", "gone")),
        (
            {"mode": "separate"},
            {"INGEST_TOKEN_REQUIRED": True},
            ("look", "separate, which accepts events without a token, although INGEST_TOKEN_REQUIRED is 1"),
        ),
        (
            {},
            {"SUNSET": date(2026, 11, 27)},
            ("look", "alias, although the routes announced their end for 2026-11-27"),
        ),
        ({}, {"SUNSET": date(2026, 11, 28)}, ("fine", "alias")),
    ],
)
def test_the_mode(settings: Any, row: dict[str, Any], changed: dict[str, Any], expected: tuple[str, str]) -> None:
    for name, value in changed.items():
        setattr(settings, name, value)
    if row:
        ModeInForce.objects.update_or_create(id=1, defaults=row)
    [finding] = diagnosis.mode(EXAMINATION)
    assert (finding.level.value, finding.text) == expected


@pytest.mark.parametrize(
    ("verdict", "days_ago", "level", "end"),
    [
        ("proven", 1, "fine", "compared on 2026-11-27"),
        ("drift", 1, "look", "compared on 2026-11-27; the two sides differ"),
        ("drift", 9, "fine", "compared on 2026-11-19"),
    ],
)
def test_parity(verdict: str, days_ago: int, level: str, end: str) -> None:
    assert [finding.text for finding in diagnosis.parity(EXAMINATION)] == ["never compared"]
    checked_at = NOW - timedelta(days=days_ago)
    ParityRun.objects.create(checked_at=checked_at, verdict=verdict, holds=False, days_held=3, finding={})
    [finding] = diagnosis.parity(EXAMINATION)
    assert (finding.level.value, finding.text) == (level, f"proven on 3 of 7 days, {end}")
    ModeInForce.objects.update_or_create(id=1, defaults={"mode": "gone"})
    assert list(diagnosis.parity(EXAMINATION)) == []
