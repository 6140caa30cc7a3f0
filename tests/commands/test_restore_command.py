"""`manage.py restore`: on the same machine, on another one, and what it refuses."""

import json
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.conftest import find_postgres, payload, success
from tests.servers import Server, served_prepared

PASSPHRASE = "correct horse battery"


class Origin(NamedTuple):
    """A site that was backed up, then stored one more event: its folder, its backups, and a session's cookies."""

    data_dir: Path
    plain: Path
    encrypted: Path
    cookies: str
    refused: tuple[int, str]  # a restore while it runs


@pytest.fixture(scope="module")
def origin(make_data_dir, tmp_path_factory: pytest.TempPathFactory) -> Origin:
    data_dir, folder = make_data_dir(), tmp_path_factory.mktemp("backups")
    plain, encrypted = folder / "plain.sqlite3", folder / "encrypted.tar.age"
    with served_prepared(data_dir) as server:
        for body in (success(), payload()):
            assert server.post("/event", json.dumps(body).encode())[0] == 201
        cookies = server.sign_in()
        assert server.command("backup", str(plain)).returncode == 0
        locked = Server(data_dir, BACKUP_PASSPHRASE=PASSPHRASE)
        made, refused = locked.commands(("backup", str(encrypted)), ("restore", str(plain)))
        assert made.returncode == 0, made.stderr
        assert server.post("/event", json.dumps(success()).encode())[0] == 201
    return Origin(data_dir, plain, encrypted, cookies, (refused.returncode, refused.stderr))


def events_in(data_dir: Path) -> int:
    with closing(sqlite3.connect(data_dir / "telemetry.sqlite3")) as database:
        return int(database.execute("SELECT COUNT(*) FROM telemetry_events").fetchone()[0])


def test_a_restore_is_refused_while_a_server_runs(origin: Origin) -> None:
    status, words = origin.refused
    assert status == 1
    assert re.search(r": process \d+ serves it already\. Stop it first: what it stores meanwhile would be lost", words)


def test_the_former_data_is_kept_and_the_loss_is_told(origin: Origin, tmp_path: Path) -> None:
    data_dir = shutil.copytree(origin.data_dir, tmp_path / "data")
    dry, restored = Server(data_dir).commands(
        ("restore", str(origin.plain), "--dry-run"), ("restore", str(origin.plain))
    )
    assert dry.returncode == restored.returncode == 0, dry.stderr + restored.stderr
    assert re.fullmatch(
        r"plain\.sqlite3 is whole\.\n"
        r"  backup   made at [\d-]+ [\d:]+ UTC; 2 events, the newest of [\d-]+ [\d:]+ UTC\n"
        r"  lost     1 events received since then, the newest of [\d-]+ [\d:]+ UTC; 0 entries of the audit log\n"
        r"           more rows now than in the backup: .*telemetry_events 1.*\n"
        r"  key      the backup belongs to this site's secret key: sessions and tokens stay valid\n"
        r"Nothing was changed: --dry-run\.\n",
        dry.stdout,
    )
    assert "Restored, and every count is that of the backup. The former data is in " in restored.stdout
    assert events_in(data_dir) == 2
    (aside,) = data_dir.glob("before-restore-*")
    assert events_in(aside) == 3


def test_a_backup_of_one_machine_is_restored_on_another(origin: Origin, tmp_path: Path) -> None:
    """The other machine has an empty folder, another key and another address. A session of the first one goes on."""
    data_dir = tmp_path / "other"
    other = Server(data_dir, BACKUP_PASSPHRASE=PASSPHRASE, SITE_URL="https://other.example")
    restored = other.command("restore", str(origin.encrypted))
    assert restored.returncode == 0, restored.stderr
    assert "lost     nothing: there is no database yet" in restored.stdout
    assert "key      the backup has the secret key" in restored.stdout
    assert (data_dir / "secret_key").read_text() == (origin.data_dir / "secret_key").read_text()
    with served_prepared(data_dir) as server:
        assert server.get("/metrics/flash-count") == (200, b'{"ok":true,"total":1}')
        assert server.get("/admin/", Cookie=origin.cookies)[0] == 200
        assert server.post("/event", json.dumps(success()).encode())[0] == 201


def test_an_unusable_file_changes_nothing(origin: Origin, tmp_path: Path) -> None:
    data_dir = shutil.copytree(origin.data_dir, tmp_path / "data")
    cases = {
        "a missing byte": (lambda file: file.write_bytes(file.read_bytes()[:-1]), r"is damaged: it has [\d,]+ bytes"),
        "a changed byte": (flip, "is damaged: its SHA-256 is not the one in"),
        "another file": (lambda file: file.write_text("a text"), "is damaged: it has 6 bytes instead of"),
        "no manifest": (without_manifest, "is damaged: database disk image is malformed"),
        "a stranger": (of_another_program, "is a database, but not one of this site"),
        "a later release": (of_later_release, "does not know the migration events.9999_later"),
        "PostgreSQL": (of_postgresql, "one of PostgreSQL, and this site uses SQLite"),
        "no file": (lambda file: file.unlink(), "no such file"),
    }
    for name, (change, _) in cases.items():
        file = tmp_path / name
        shutil.copy(origin.plain, file)
        shutil.copy(f"{origin.plain}.json", f"{file}.json")
        change(file)
    refusals = Server(data_dir).commands(*(("restore", str(tmp_path / name)) for name in cases))
    for (name, (_, words)), refused in zip(cases.items(), refusals, strict=True):
        assert (name, refused.returncode) == (name, 1)
        assert re.search(words, refused.stderr), (name, refused.stderr)
    assert events_in(data_dir) == 3
    assert not [*data_dir.glob("before-restore-*")]


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[20_000] ^= 1
    file.write_bytes(content)


def without_manifest(file: Path) -> None:
    Path(f"{file}.json").unlink()
    with file.open("r+b") as content:
        content.seek(8 * 4_096)
        content.write(bytes(2 * 4_096))


def of_another_program(file: Path) -> None:
    Path(f"{file}.json").unlink()
    file.unlink()
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE notes (text)")
        database.commit()


def of_later_release(file: Path) -> None:
    Path(f"{file}.json").unlink()
    with closing(sqlite3.connect(file)) as database:
        database.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('events', '9999_later', 'now')")
        database.commit()


def of_postgresql(file: Path) -> None:
    manifest = json.loads(Path(f"{file}.json").read_text())
    manifest["contents"]["engine"] = "postgresql"
    Path(f"{file}.json").write_text(json.dumps(manifest))


def test_an_open_file_and_an_interrupted_restore_are_noticed(origin: Origin, tmp_path: Path) -> None:
    data_dir = shutil.copytree(origin.data_dir, tmp_path / "data")
    with closing(sqlite3.connect(data_dir / "telemetry.sqlite3")) as shell:
        shell.execute("SELECT * FROM telemetry_events").fetchone()
        refused = Server(data_dir).command("restore", str(origin.plain))
    assert refused.returncode == 1
    assert "Another process has" in refused.stderr
    (data_dir / "before").mkdir()
    (data_dir / "telemetry.sqlite3").rename(data_dir / "before" / "telemetry.sqlite3")
    journal = {"aside": "before", "moved": ["telemetry.sqlite3"], "with_key": False}
    (data_dir / "restore-in-progress.json").write_text(json.dumps(journal))
    start, dry, restored = Server(data_dir).commands(
        ("serve",), ("restore", str(origin.plain), "--dry-run"), ("restore", str(origin.plain))
    )
    assert start.returncode == dry.returncode == 1
    assert "A restore was interrupted, so the data is incomplete." in start.stderr
    assert "An earlier restore was interrupted." in dry.stderr
    assert "The former data is back in place." in restored.stdout
    assert "1 events received since then" in restored.stdout
    assert events_in(data_dir) == 2


# --- PostgreSQL --------------------------------------------------------------------------------------------------


@contextmanager
def new_database(name: str) -> Iterator[str]:
    url = find_postgres()
    assert url
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        server.execute(f"CREATE DATABASE {name}")
        try:
            yield urlsplit(url)._replace(path=f"/{name}").geturl()
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.needs_postgres
def test_postgresql_is_restored_beside_its_former_tables_and_into_an_empty_database(
    tmp_path: Path, worker_id: str
) -> None:
    name = f"telemetry_restore_{worker_id}_{os.getpid()}"
    file = tmp_path / "backup.tar.age"
    with new_database(name) as url, new_database(f"{name}_other") as other_url:
        site = Server(tmp_path / "data", DATABASE_URL=url, BACKUP_PASSPHRASE=PASSPHRASE)
        migrated, made = site.commands(("migrate",), ("backup", str(file)))
        assert migrated.returncode == made.returncode == 0, made.stderr
        with psycopg.connect(url, autocommit=True) as shell:
            shell.execute("INSERT INTO events_siteday (seen_on, database_bytes) VALUES ('2026-11-28', 5)")
            refused = site.command("restore", str(file))
        assert refused.returncode == 1
        assert re.search(r"Other processes are connected to the database: process \d+ of ", refused.stderr)
        restored = site.command("restore", str(file))
        assert restored.returncode == 0, restored.stderr
        assert "more rows now than in the backup: events_siteday 1" in restored.stdout
        assert re.search(r"The former data is in the schema before_restore_\d{8}t\d{6}z: delete it", restored.stdout)
        with psycopg.connect(url) as shell:
            schema = re.search(r"before_restore_\w+", restored.stdout)
            assert schema
            rows = [
                shell.execute(f"SELECT COUNT(*) FROM {where}.events_siteday").fetchone()
                for where in ("public", schema[0])
            ]
        assert rows == [(0,), (1,)]
        other = Server(tmp_path / "other", DATABASE_URL=other_url, BACKUP_PASSPHRASE=PASSPHRASE)
        elsewhere = other.command("restore", str(file))
        assert elsewhere.returncode == 0, elsewhere.stderr
        assert "lost     nothing: the database is empty" in elsewhere.stdout
        assert (tmp_path / "other/secret_key").read_text() == (tmp_path / "data/secret_key").read_text()
