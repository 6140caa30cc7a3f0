"""Replacing the site's files: wherever it is killed, the former files can be put back."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.db import connection

from events.maintenance.backups import replacement

NOW = datetime(2026, 11, 28, 3, 15, tzinfo=UTC)
pytestmark = pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL has no file")
FORMER = {
    "telemetry.sqlite3": "former",
    "telemetry.sqlite3-wal": "log",
    "telemetry.sqlite3-shm": "index",
    "secret_key": "former key",
    "other": "x",
}


class Killed(Exception):
    """The process was killed."""


@pytest.fixture
def data_dir(settings: LazySettings, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path / "data"
    settings.SQLITE_FILE = settings.DATA_DIR / "telemetry.sqlite3"
    settings.DATA_DIR.mkdir()
    return settings.DATA_DIR


def files_of(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir() if file.is_file()}


def replace(data_dir: Path, restored: Path, *, is_killed: bool = False) -> replacement.Replacement:
    restored.write_text("restored")
    begun = replacement.begin(NOW, with_key=True)
    replacement.put_database(restored)
    replacement.put_key("key of the backup")
    if is_killed:
        (data_dir / "telemetry.sqlite3-wal").write_text("log of the restored database")
        raise Killed
    replacement.finish(begun)
    return begun


@pytest.mark.parametrize("former", [FORMER, {}, {"telemetry.sqlite3": "former"}])
def test_the_former_files_are_kept(data_dir: Path, tmp_path: Path, former: dict[str, str]) -> None:
    for name, text in former.items():
        (data_dir / name).write_text(text)
    begun = replace(data_dir, tmp_path / "restored")
    others = {name: text for name, text in former.items() if name == "other"}
    assert files_of(data_dir) == {"telemetry.sqlite3": "restored", "secret_key": "key of the backup"} | others
    moved = {name: text for name, text in former.items() if name != "other"}
    assert (files_of(begun.aside) if begun.aside.exists() else {}) == moved
    assert not replacement.is_interrupted()


@pytest.mark.parametrize("former", [FORMER, {}, {"telemetry.sqlite3": "former"}])
@pytest.mark.parametrize("renames", [*range(7), None])
def test_a_killed_replacement_is_rolled_back(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, former: dict[str, str], renames: int | None
) -> None:
    """Kill it at each rename in turn, and at last before the end. Then kill the roll-back, and repeat it."""
    for name, text in former.items():
        (data_dir / name).write_text(text)
    with monkeypatch.context() as patched:
        kill_at(patched, renames)
        with pytest.raises(Killed):
            replace(data_dir, tmp_path / "restored", is_killed=True)
    if not replacement.is_interrupted():
        assert renames == 0  # killed before the journal: nothing was moved
    else:
        with monkeypatch.context() as patched:
            kill_at(patched, 1)
            with suppress(Killed):
                replacement.roll_back()
        if replacement.is_interrupted():
            replacement.roll_back()
    leftovers = {name for name in files_of(data_dir) if name.startswith(".partial-")}
    assert {name: text for name, text in files_of(data_dir).items() if name not in leftovers} == former
    assert not replacement.is_interrupted()


def kill_at(patched: pytest.MonkeyPatch, renames: int | None) -> None:
    """Let the process die instead of the n-th rename."""
    left = [renames]
    for name in ("rename", "replace"):
        real = getattr(Path, name)

        def move(self: Path, target: Path, real=real) -> Path:
            if left[0] == 0:
                raise Killed
            left[0] = None if left[0] is None else left[0] - 1
            return real(self, target)

        patched.setattr(Path, name, move)
