"""Making backups, and proving them by a restore drill, on the engine under test."""

import io
import json
import socket
import stat
import sys
import tarfile
from pathlib import Path

import pyrage
import pytest
from django.conf import LazySettings
from django.db import connection

from events import clock
from events.maintenance.backups import drill, making
from events.maintenance.backups.files import encryption, folder
from events.maintenance.backups.files.folder import BackupFailed, Damaged
from events.models import Backup
from tests.conftest import make_event

pytestmark = pytest.mark.django_db(transaction=True)
PASSPHRASE = "correct horse battery"


@pytest.fixture(autouse=True)
def backups(settings: LazySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings.BACKUP_DIR = tmp_path / "backups"
    settings.DATA_DIR = tmp_path
    monkeypatch.setattr(encryption, "LOG_N", 10)
    return tmp_path / "backups"


def make(**options: object) -> making.Made:
    return making.make(clock.now(), **options)


def damage(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def test_a_backup_is_made_and_proven(backups: Path) -> None:
    make_event()
    made = make()
    row = Backup.objects.get()
    assert (row.name, row.events, row.file_bytes, row.proven_ms, row.problem, row.is_encrypted) == (
        made.file.name, 1, made.file.stat().st_size, None, "", False,
    )  # fmt: skip
    names = {made.file.name, f"{made.file.name}.json", ".folder-id", ".backup.lock"}
    assert {file.name for file in backups.iterdir()} == names
    assert {stat.S_IMODE(file.stat().st_mode) for file in [*backups.iterdir()]} == {0o600}
    assert stat.S_IMODE(backups.stat().st_mode) == 0o700
    manifest = json.loads((backups / f"{made.file.name}.json").read_text())
    assert manifest["sha256"] == folder.digest(made.file)
    assert manifest["contents"]["tables"]["telemetry_events"] == 1
    assert manifest["contents"]["figures"]["flash_error_of_7_days"] == 1
    make_event(message="after the backup")
    words = drill.prove(clock.now())
    assert words.startswith(f"{made.file.name} is proven: it was restored, and the rows of")
    assert words.endswith("are equal (1 events).")
    row.refresh_from_db()
    assert row.proven_ms is not None
    assert not folder.scratch().exists()


def test_a_damaged_byte_is_found_by_the_drill(backups: Path) -> None:
    older, newest = make(), make()
    damage(older.file, 5_000)
    with pytest.raises(
        BackupFailed, match=rf"^{older.file.name} is damaged: its SHA-256 .* {newest.file.name} is proven"
    ):
        drill.prove(clock.now())
    assert Backup.objects.get(name=older.file.name).problem.startswith(f"{older.file.name} is damaged")
    assert Backup.objects.get(name=newest.file.name).proven_ms is not None
    # A known problem does not fail every later drill.
    damage(newest.file, 5_000)
    with pytest.raises(BackupFailed, match=rf"^{newest.file.name} is damaged: .* Make a backup: manage.py backup$"):
        drill.prove(clock.now())
    make()
    assert "is proven" in drill.prove(clock.now())


def test_a_backup_that_restores_to_other_rows_is_not_proven(backups: Path) -> None:
    made = make()
    beside = backups / f"{made.file.name}.json"
    manifest = json.loads(beside.read_text())
    manifest["contents"]["tables"]["telemetry_events"] = 1
    beside.write_text(json.dumps(manifest))
    with pytest.raises(Damaged, match="it differs: telemetry_events has 0 rows instead of 1 row"):
        drill.prove(clock.now())
    assert (row := Backup.objects.get()).proven_ms is None
    assert "it differs" in row.problem


def test_an_encrypted_backup_has_the_key_and_is_opened_by_age(backups: Path, settings: LazySettings) -> None:
    settings.BACKUP_PASSPHRASE = PASSPHRASE
    make_event()
    made = make()
    assert made.file.suffixes[-2:] == [".tar", ".age"]
    assert "tables" not in (backups / f"{made.file.name}.json").read_text()
    with tarfile.open(fileobj=io.BytesIO(pyrage.passphrase.decrypt(made.file.read_bytes(), PASSPHRASE))) as tar:
        suffix = folder.SUFFIXES[connection.vendor]
        assert tar.getnames() == ["backup.json", "secret_key", f"database{suffix}"]
        key = tar.extractfile("secret_key")
        assert key is not None
        assert key.read().decode() == settings.SECRET_KEY
    assert "is proven" in drill.prove(clock.now())
    settings.BACKUP_PASSPHRASE = "another passphrase"
    with pytest.raises(BackupFailed, match="the passphrase is not the one of this file"):
        drill.prove(clock.now())
    assert Backup.objects.get().problem == ""  # the file is whole


def test_a_killed_backup_leaves_nothing_and_foreign_files_stay(backups: Path, settings: LazySettings) -> None:
    settings.BACKUP_KEEP = {"d": 1}
    first = make()
    leftovers = [".partial-telemetry-20260101T000000Z.sqlite3", "telemetry-20260101T000000Z.sqlite3.json"]
    foreign = ["telemetry-20250101T000000Z.sqlite3", "my-copy.sqlite3", "legacy-tables.jsonl.gz"]
    for name in (*leftovers, *foreign):
        (backups / name).write_text("x")
    folder.scratch().mkdir()
    (folder.scratch() / "database.sqlite3").write_text("x")
    made = make()
    names = {".backup.lock", ".folder-id", *foreign, *(
        f"{each.file.name}{end}" for each in (first, made) for end in ("", ".json")
    )}  # fmt: skip
    assert {file.name for file in backups.iterdir()} == names
    assert not folder.scratch().exists()


def test_old_backups_are_deleted_with_their_rows(backups: Path, settings: LazySettings) -> None:
    settings.BACKUP_KEEP = {"d": 1}
    old = making.make(clock.now().replace(year=2025))
    made = make()
    assert made.deleted == [old.file.name]
    assert not old.file.exists()
    assert [row.name for row in Backup.objects.all()] == [made.file.name]


def test_a_file_outside_the_folder_is_not_recorded(tmp_path: Path) -> None:
    make(file=tmp_path / "mine.backup")
    assert (tmp_path / "mine.backup.json").exists()
    assert not Backup.objects.exists()
    with pytest.raises(BackupFailed, match="exists already"):
        make(file=tmp_path / "mine.backup")
    with pytest.raises(BackupFailed, match="no such folder"):
        make(file=tmp_path / "none" / "mine.backup")


def test_a_backup_without_room_is_refused_in_words(backups: Path, settings: LazySettings) -> None:
    settings.MIN_FREE_BYTES = 10**15
    with pytest.raises(BackupFailed, match=r"The backup needs up to .* must stay free \(MIN_FREE_BYTES\)"):
        make()
    assert not [file.name for file in backups.iterdir() if file.name.startswith(("telemetry", ".partial"))]


def test_the_folder_must_be_usable(backups: Path) -> None:
    backups.write_text("a file")
    with pytest.raises(BackupFailed, match=r"BACKUP_DIR=.* cannot be used"):
        make()


def test_the_drill_needs_a_backup() -> None:
    with pytest.raises(BackupFailed, match=r"There is no backup in .* to prove. Make one: manage.py backup"):
        drill.prove(clock.now())


def test_rows_of_another_machines_folder_stay(backups: Path) -> None:
    values = {"made_ms": 1, "file_bytes": 1, "sha256": "", "is_encrypted": False, "events": 0}
    Backup.objects.create(name="theirs", folder="another", host="another", **values | {"made_ms": clock.now_ms()})
    Backup.objects.create(name="theirs, old", folder="another", host="another", **values)
    Backup.objects.create(name="gone", folder="old", host="another", **values)
    Backup.objects.create(name="gone", folder="former", host=socket.gethostname(), **values)
    made = make()
    identity = (backups / ".folder-id").read_text()
    Backup.objects.create(name="gone", folder=identity, **values)
    drill.prove(clock.now())
    theirs = {("another", "theirs"), ("another", "theirs, old")} if connection.vendor == "postgresql" else set()
    assert set(Backup.objects.values_list("folder", "name")) == {(identity, made.file.name), *theirs}


@pytest.mark.needs_postgres
def test_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if connection.vendor != "postgresql":
        return
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackupFailed, match=r"^pg_dump is not on PATH. Install the client programs of PostgreSQL \d+"):
        make()
    old = tmp_path / "pg_dump"
    old.write_text(f"#!{sys.executable}\nprint('pg_dump (PostgreSQL) 13.2')\n")
    old.chmod(0o700)
    with pytest.raises(BackupFailed, match=r"pg_dump is version 13, and the server is \d+. Install"):
        make()
