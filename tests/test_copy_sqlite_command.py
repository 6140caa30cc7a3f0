"""`manage.py copy_sqlite`: a site moves from its file into PostgreSQL whole, or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.conftest import find_postgres
from tests.servers import Server, served

pytestmark = pytest.mark.needs_postgres


@pytest.fixture(scope="module")
def migrated(worker_id: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Return the server and the name of a database that is migrated and has nothing else."""
    url = find_postgres()
    assert url
    name = f"telemetry_copy_{worker_id}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        server.execute(f"CREATE DATABASE {name}")
        there = Server(tmp_path_factory.mktemp("migrated"), DATABASE_URL=database_of(url, name))
        assert there.command("migrate").returncode == 0
        yield url, name
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(migrated: tuple[str, str]) -> Iterator[str]:
    """Return the address of an empty database, migrated."""
    url, template = migrated
    name = f"{template}_own"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        server.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield database_of(url, name)
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def database_of(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a site that has something in most tables."""
    folder = tmp_path_factory.mktemp("made") / "data"
    with served(folder) as server:
        for command in (
            ("demo_data", "--events", "3000", "--days", "20", "--seed", "5"),
            ("set_baseline", "412", "--note", "from the old counter"),
            ("issue_token", "web", "--expires", "90d"),
            ("legacy_mode", "separate", "--reason", "a test"),
        ):
            assert server.command(*command).returncode == 0
        assert server.post("/increment", b'{"sessionId": "a session of the old counter"}')[0] == 200
    return folder


@pytest.fixture
def data_dir(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "data")


def copied(data_dir: Path, database: str, *args: str) -> tuple[int, str]:
    ended = Server(data_dir, DATABASE_URL=database).command("copy_sqlite", *args)
    return ended.returncode, ended.stdout + ended.stderr


def rows(database: str, table: str) -> int:
    with closing(psycopg.connect(database)) as server:
        found = server.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
        assert found
        return int(found[0])


def test_a_site_goes_on_where_it_stood(data_dir: Path, database: str) -> None:
    with served(data_dir) as before:
        page = "/admin/events/failuregroup/?status=all"
        count, old_count = before.get("/metrics/flash-count"), before.get("/count")
        groups = before.get(page, Cookie=before.sign_in())[1].count(b"<tr")
    code, said = copied(data_dir, database)
    assert code == 0, said
    assert "telemetry_events: rows 3,000" in said
    assert "Every figure is the same in both. Serve with this DATABASE_URL from now on.\n" in said
    with served(data_dir, DATABASE_URL=database) as after:
        assert after.get("/metrics/flash-count") == count
        assert after.get("/count") == old_count
        # Who could sign in still can, with the password that they had.
        assert after.get(page, Cookie=after.sign_in())[1].count(b"<tr") == groups > 1
        for command in (("rebuild_rollups", "--check"), ("regroup_failures", "--check")):
            assert after.command(*command).returncode == 0
        # New rows get numbers that no copied one has.
        assert after.command("set_baseline", "500", "--note", "afterwards").returncode == 0
        assert after.command("issue_token", "another", "--expires", "90d").returncode == 0


def test_a_running_site_is_not_copied(data_dir: Path, database: str) -> None:
    with served(data_dir):
        code, said = copied(data_dir, database)
    assert code == 1
    assert "Stop it first: what came meanwhile would be missing." in said
    assert rows(database, "telemetry_events") == 0


def test_a_database_in_use_is_left_alone(data_dir: Path, database: str) -> None:
    assert copied(data_dir, database)[0] == 0
    code, said = copied(data_dir, database)
    assert code == 1
    assert "The database has events or users already." in said
    assert rows(database, "telemetry_events") == 3_000


def test_what_the_database_refuses_takes_everything_back(data_dir: Path, database: str) -> None:
    groups = rows(database, "auth_group")
    with closing(psycopg.connect(database, autocommit=True)) as server:
        server.execute("ALTER TABLE events_hourlyrollup ADD CHECK (app_version = 'none is so called')")
    code, said = copied(data_dir, database)
    assert code == 1
    assert "Nothing was copied: the database is as it was." in said
    assert rows(database, "telemetry_events") == 0
    assert rows(database, "auth_group") == groups > 0


@pytest.mark.parametrize(
    ("url", "args", "words"),
    [
        ("", (), "DATABASE_URL must name the PostgreSQL database"),
        (None, ("/nowhere/telemetry.sqlite3",), "there is no such file"),
    ],
)
def test_what_cannot_be_is_told(
    tmp_path: Path, database: str, url: str | None, args: tuple[str, ...], words: str
) -> None:
    (tmp_path / "data").mkdir()
    code, said = copied(tmp_path / "data", database if url is None else url, *args)
    assert (code, words in said) == (1, True), said


def test_a_file_of_another_version_is_refused(data_dir: Path, database: str) -> None:
    older = Server(data_dir)
    assert older.command("migrate", "events", "0007").returncode == 0
    code, said = copied(data_dir, database)
    assert code == 1
    assert "Both must be migrated by this version" in said
    assert "events.0008" in said
