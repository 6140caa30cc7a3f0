"""Which backups BACKUP_KEEP keeps."""

from datetime import UTC, datetime, timedelta

import pytest

from events.maintenance.backups import rotation
from events.maintenance.backups.files.manifests import Manifest

NEWEST = datetime(2026, 11, 28, 3, 15, tzinfo=UTC)  # a Saturday


def backup(days_ago: float, *, is_proven: bool = False, problem: str = "") -> Manifest:
    made_ms = int((NEWEST - timedelta(days=days_ago)).timestamp() * 1000)
    return Manifest(f"{days_ago}", made_ms, 1, "", False, 1, made_ms if is_proven else None, problem)


MONTH = [backup(days) for days in range(40)]


@pytest.mark.parametrize(
    ("backups", "keep", "kept"),
    [
        pytest.param([], {"d": 7}, [], id="none"),
        pytest.param([backup(0)], {"d": 7}, ["0"], id="one"),
        pytest.param(MONTH, {"d": 3}, ["0", "1", "2"], id="days"),
        # The newest of each ISO week: this Saturday, and the three Sundays before.
        pytest.param(MONTH, {"w": 4}, ["0", "6", "13", "20"], id="weeks"),
        pytest.param(MONTH, {"d": 7, "w": 4}, ["0", "1", "2", "3", "4", "5", "6", "13", "20"], id="days and weeks"),
        pytest.param(MONTH, {"m": 2}, ["0", "28"], id="months"),
        pytest.param(MONTH, None, [f"{days}" for days in range(40)], id="off"),
        pytest.param([backup(0), backup(300), backup(301)], {"d": 2}, ["0", "300"], id="a gap of months counts not"),
        pytest.param([backup(days) for days in (0, 0.1, 0.9, 1.1)], {"d": 1}, ["0", "0.1", "0.9"], id="the last day"),
        pytest.param([backup(0), backup(9, is_proven=True), backup(10)], {"d": 1}, ["0", "9"], id="the proven one"),
        pytest.param([backup(days, is_proven=days > 8) for days in (0, 9, 10)], {"d": 1}, ["0", "9"], id="one proven"),
        pytest.param(
            [backup(0, problem="damaged"), backup(1.5), backup(9), backup(10, problem="damaged")],
            {"d": 1},
            ["0", "1.5"],
            id="a damaged one takes no place",
        ),
        pytest.param(
            [backup(0), backup(9, is_proven=True, problem="damaged"), backup(10, is_proven=True)],
            {"d": 1},
            ["0", "9", "10"],
            id="a damaged one is not proven",
        ),
    ],
)
def test_backups_are_kept(backups: list[Manifest], keep: dict[str, int] | None, kept: list[str]) -> None:
    assert sorted(rotation.kept(backups, keep), key=float) == sorted(kept, key=float)
    assert rotation.kept(reversed(backups), keep) == set(kept)
