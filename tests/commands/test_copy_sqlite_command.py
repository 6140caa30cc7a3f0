"""`manage.py copy_sqlite`: a site moves from its file into PostgreSQL whole, or not at all."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.conftest import find_postgres
from tests.legacy.test_without_legacy import copy_without_legacy
from tests.other_process import manage
from tests.servers import PROJECT_DIR, Server, served, wait_until

pytestmark = [pytest.mark.needs_postgres, pytest.mark.xdist_group("copy_sqlite_command")]

MIGRATIONS = sorted(file.stem for file in (PROJECT_DIR / "legacy" / "migrations").glob("0*.py"))
OLD_TABLES = ["client_logs", "legacy_legacycount"]
LAST_LINE = "Every count and sum is equal in both. Start the site with this DATABASE_URL from now on."


class Sites(NamedTuple):
    """Folders of a site before and after `drop_legacy`, and the project without `legacy`."""

    before: Path
    dropped: Path
    without_legacy: Path


@contextmanager
def new_database(name: str, template: str = "template1") -> Iterator[str]:
    url = find_postgres()
    assert url
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        server.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield urlsplit(url)._replace(path=f"/{name}").geturl()
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def migrated(worker_id: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the name of a database that is migrated and has nothing else."""
    name = f"telemetry_copy_{worker_id}_{os.getpid()}"  # two checkouts may share a server
    with new_database(name) as url:
        assert Server(tmp_path_factory.mktemp("migrated"), DATABASE_URL=url).command("migrate").returncode == 0
        yield name


@pytest.fixture
def database(migrated: str) -> Iterator[str]:
    """Return the address of an empty database, migrated."""
    with new_database(f"{migrated}_own", migrated) as url:
        yield url


@pytest.fixture(scope="module")
def sites(make_data_dir: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory) -> Sites:
    """Make a site that has something in most tables, in each state."""
    folder = tmp_path_factory.mktemp("made")
    before = make_data_dir()
    with served(before) as server:
        expect_success(
            server,
            ("demo_data", "--events", "3000", "--days", "20", "--seed", "5"),
            ("set_baseline", "412", "--note", "from the old counter"),
            ("issue_token", "web", "--expires", "90d"),
            ("legacy_mode", "separate", "--reason", "a test"),
        )
        assert server.post("/increment", b'{"sessionId": "a session of the old counter"}')[0] == 200
    dropped = Server(shutil.copytree(before, folder / "dropped"))
    expect_success(dropped, ("legacy_mode", "gone", "--force", "--reason", "a test"), ("drop_legacy",))
    (folder / "project").mkdir()
    return Sites(before, folder / "dropped", copy_without_legacy(folder / "project"))


@pytest.fixture
def data_dir(sites: Sites, tmp_path: Path) -> Path:
    return shutil.copytree(sites.before, tmp_path / "data")


@pytest.fixture
def dropped_dir(sites: Sites, tmp_path: Path) -> Path:
    return shutil.copytree(sites.dropped, tmp_path / "data")


def expect_success(server: Server, *commands: tuple[str, ...]) -> None:
    for ended in server.commands(*commands):
        assert ended.returncode == 0, ended.stderr


def copied(data_dir: Path, database: str, *args: str, project: Path | None = None) -> tuple[int, str, str]:
    """Return the status of the command, its output and its complaints."""
    server = Server(data_dir, DATABASE_URL=database)
    server.project = project or server.project
    ended = server.command("copy_sqlite", *args)
    return ended.returncode, ended.stdout, ended.stderr


def without_figures(said: str) -> list[str]:
    return [line.partition(": rows ")[0] for line in said.splitlines()]


def tables_of(data_dir: Path) -> dict[str, int]:
    """Return the tables of the file that are copied, in order, with their numbers of rows."""
    with closing(sqlite3.connect(data_dir / "telemetry.sqlite3")) as file:
        names = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        return {
            name: file.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0]
            for name in names
            if name not in ("django_migrations", "sqlite_sequence")
        }


def change_file(data_dir: Path, *statements: str) -> None:
    with closing(sqlite3.connect(data_dir / "telemetry.sqlite3", isolation_level=None)) as file:
        for statement in statements:
            file.execute(statement)


def change(database: str, *statements: str) -> None:
    with closing(psycopg.connect(database, autocommit=True)) as server:
        for statement in statements:
            server.execute(statement)


def rows(database: str, table: str) -> int:
    with closing(psycopg.connect(database)) as server:
        result = server.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
        assert result
        return int(result[0])


def tables_in(database: str) -> set[str]:
    with closing(psycopg.connect(database)) as server:
        return {name for (name,) in server.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


# --- a whole site ----------------------------------------------------------------------------------------------------


def test_a_site_goes_on_where_it_stood(data_dir: Path, database: str) -> None:
    with served(data_dir) as before:
        page = "/admin/events/failuregroup/?status=all"
        count, old_count = before.get("/metrics/flash-count"), before.get("/count")
        groups = before.get(page, Cookie=before.sign_in())[1].count(b"<tr")
    code, said, complaints = copied(data_dir, database)
    assert code == 0, complaints
    assert without_figures(said) == [*tables_of(data_dir), LAST_LINE]
    assert "events_lifetimetotal: rows 5, accepted 3,000, baseline 412\n" in said
    with served(data_dir, DATABASE_URL=database) as after:
        assert after.get("/metrics/flash-count") == count
        assert after.get("/count") == old_count
        # Whoever could sign in still can, with the same password.
        assert after.get(page, Cookie=after.sign_in())[1].count(b"<tr") == groups > 1
        expect_success(after, ("rebuild_rollups", "--check"), ("regroup_failures", "--check"))
        # New rows get numbers that no copied row has.
        expect_success(
            after,
            ("set_baseline", "500", "--note", "afterwards"),
            ("issue_token", "another", "--expires", "90d"),
        )


def test_a_site_without_its_old_tables_goes_on_as_it_was(dropped_dir: Path, database: str) -> None:
    def answers(server: Server) -> list[object]:
        cookie = server.sign_in()
        pages = [f"/admin/legacy/{model}/" for model in ("cutover", "parityrun", "importrun", "clientlog")]
        commands = [("legacy_mode",), ("drop_legacy",), ("check_parity",), ("legacy_mode", "alias", "--reason", "back")]
        return [
            server.get("/metrics/flash-count"),
            server.get("/count"),
            [server.get(path, Cookie=cookie)[0] for path in ("/admin/", *pages)],
            *((ended.stdout, ended.stderr) for ended in server.commands(*commands)),
        ]

    with served(dropped_dir) as before:
        expected = answers(before)
    code, said, complaints = copied(dropped_dir, database)
    assert code == 0, complaints
    assert without_figures(said) == [
        *tables_of(dropped_dir),
        *(f"{name}: dropped, as `drop_legacy` dropped it in the file" for name in OLD_TABLES),
        LAST_LINE,
    ]
    assert not tables_in(database) & set(OLD_TABLES)
    with served(dropped_dir, DATABASE_URL=database) as after:
        assert answers(after) == expected
        assert expected[2] == [200] * 5
        assert after.command("migrate").stdout.endswith("No migrations to apply.\n")
        expect_success(
            after,
            ("erase_session", "nobody's"),
            ("prune_events", "--older-than-days", "10", "--imported-too"),
            ("rebuild_rollups", "--check"),
        )


def test_what_is_left_of_an_app_that_was_taken_out_stays_in_the_file(
    dropped_dir: Path, sites: Sites, migrated: str, tmp_path: Path
) -> None:
    with new_database(f"{migrated}_own") as database:
        after = Server(dropped_dir, DATABASE_URL=database)
        after.project = sites.without_legacy
        assert after.command("migrate").returncode == 0
        code, said, complaints = copied(dropped_dir, database, project=sites.without_legacy)
        assert code == 0, complaints
        tables = tables_of(dropped_dir)
        of_legacy = [name for name in tables if name.startswith("legacy_")]
        assert {"legacy_cutover", "legacy_modeinforce"} < set(of_legacy)
        why = "left out: PostgreSQL has no such table, because `legacy` is not installed. They stay in the file."
        assert without_figures(said) == [
            *(name for name in tables if name not in of_legacy),
            f"django_migrations: {len(MIGRATIONS)} rows of `legacy` left out: PostgreSQL has none of these",
            *(f"{name}: {tables[name]} {'row' if tables[name] == 1 else 'rows'} {why}" for name in of_legacy),
            LAST_LINE,
        ]
        expect_to_serve(after)


def test_tables_of_an_app_that_was_taken_out_are_copied_where_both_have_them(
    dropped_dir: Path, database: str, sites: Sites
) -> None:
    code, said, complaints = copied(dropped_dir, database, project=sites.without_legacy)
    assert code == 0, complaints
    assert without_figures(said) == [
        *tables_of(dropped_dir),
        *(f"{name}: dropped, as `drop_legacy` dropped it in the file" for name in OLD_TABLES),
        LAST_LINE,
    ]
    assert rows(database, "legacy_cutover") == 2
    after = Server(dropped_dir, DATABASE_URL=database)
    after.project = sites.without_legacy
    expect_to_serve(after)


def expect_to_serve(server: Server) -> None:
    with server:
        server.start()
        assert b'"ok":true' in server.get("/metrics/flash-count")[1]
        assert server.get("/admin/", Cookie=server.sign_in())[0] == 200
        assert server.command("migrate").stdout.endswith("No migrations to apply.\n")


def test_a_row_that_leaves_its_texts_to_its_event_is_copied_with_it(data_dir: Path, database: str) -> None:
    with served(data_dir) as server:
        assert server.command("legacy_mode", "alias", "--reason", "a test").returncode == 0
        body = b"""{"event_type": "flash_error", "message": "by the old route", "stack": "at flash",
            "occurred_at": "2026-02-12T18:00:00.000Z", "model": "UV-5RM", "write_mode": 1, "connected": 1,
            "app_version": "19afc18", "log_lines_json": "[\\"open\\"]"}"""
        assert server.post("/client-log", body)[0] == 200
    code, _, complaints = copied(data_dir, database)
    assert code == 0, complaints
    with psycopg.connect(database) as connection:
        result = connection.execute(
            "SELECT text_in_stream, logged.stack, event.stack, event.log_lines_json FROM client_logs AS logged"
            " JOIN telemetry_events AS event USING (id) WHERE logged.message = 'by the old route'"
        )
        assert result.fetchall() == [(True, None, "at flash", '["open"]')]


def test_what_only_the_write_ahead_log_has_is_copied(data_dir: Path, database: str) -> None:
    with served(data_dir) as server:
        body = b"""{"event_type": "flash_success", "session_id": "in the log alone", "message": "Flash complete",
            "occurred_at": "2026-02-12T18:00:00.000Z", "model": "UV-5RM", "write_mode": 1, "connected": 1,
            "app_version": "19afc18"}"""
        assert server.post("/event", body)[0] == 201
        server.kill_group()
    with closing(sqlite3.connect(f"file:{data_dir}/telemetry.sqlite3?immutable=1", uri=True)) as without_log:
        assert without_log.execute("SELECT COUNT(*) FROM telemetry_events").fetchone() == (3_000,)
    code, _, complaints = copied(data_dir, database)
    assert code == 0, complaints
    assert rows(database, "telemetry_events") == 3_001


# --- what only one of them has ---------------------------------------------------------------------------------------

LEFT_OUT = {
    "a table of somebody else's": (
        ["CREATE TABLE notes (note TEXT)", "INSERT INTO notes VALUES ('a'), ('b')"],
        [],
        "notes: 2 rows left out: PostgreSQL has no such table. They stay in the file.",
    ),
    "a column that holds its default alone": (
        ["ALTER TABLE events_release ADD COLUMN hue TEXT DEFAULT 'grey'", "ALTER TABLE auth_group ADD COLUMN x"],
        [],
        "events_release.hue: left out: only the file has it, and each value is the default",
    ),
    "a table of PostgreSQL's": (
        [],
        ["CREATE TABLE reports (at timestamptz)", "INSERT INTO reports VALUES (now())"],
        "reports: not changed: the file has no such table",
    ),
    "a column of PostgreSQL's": (
        [],
        ["ALTER TABLE events_release ADD COLUMN colour text NOT NULL DEFAULT 'grey', ADD COLUMN shade text"],
        "events_release: rows {rows}, events {events}",
    ),
    "a table of the site's that is lost": (
        ["DROP TABLE django_session"],
        [],
        "django_session: not changed: the file has no such table",
    ),
}


def test_what_is_left_out_is_reported(data_dir: Path, database: str) -> None:
    for in_file, in_postgres, _ in LEFT_OUT.values():
        change_file(data_dir, *in_file)
        change(database, *in_postgres)
    code, said, complaints = copied(data_dir, database)
    assert code == 0, complaints
    with closing(sqlite3.connect(data_dir / "telemetry.sqlite3")) as file:
        rows_of, events_of = file.execute("SELECT COUNT(*), SUM(events) FROM events_release").fetchone()
    said_of = {case: line.format(rows=rows_of, events=events_of) for case, (_, _, line) in LEFT_OUT.items()}
    assert [case for case, line in said_of.items() if line not in said.splitlines()] == []
    assert rows(database, "telemetry_events") == 3_000


def test_a_table_that_no_app_has_is_copied_by_the_types_of_postgresql(data_dir: Path, database: str) -> None:
    change_file(
        data_dir,
        'CREATE TABLE "their own" (id INTEGER PRIMARY KEY, yes BOOL, at DATETIME, doc TEXT, big BIGINT, part REAL,'
        ' exact DECIMAL, raw BLOB, "a ""name""" TEXT, empty TEXT)',
        "INSERT INTO \"their own\" VALUES (7, 1, '2026-02-12 18:00:00.123456', '{\"a\": [1]}', 9223372036854775807,"
        " 0.1, 12.5, x'00ff',"
        " 'tab\t \\N line\n 📻', NULL), (8, 0, NULL, '[]', 9223372036854775807, -2, 1, x'', '', '')",
    )
    change(
        database,
        'CREATE TABLE "their own" (id bigserial PRIMARY KEY, yes boolean, at timestamptz, doc jsonb, big bigint,'
        ' part double precision, exact numeric, raw bytea, "a ""name""" text, empty text)',
    )
    code, said, complaints = copied(data_dir, database)
    assert code == 0, complaints
    assert "their own: rows 2, big 18,446,744,073,709,551,614\n" in said
    with closing(psycopg.connect(database)) as server:
        server.execute("SET TIME ZONE 'UTC'")
        result = server.execute(
            'SELECT id, yes, at::text, doc::text, big, part, exact::text, raw, "a ""name""", empty FROM "their own"'
        ).fetchall()
        new = server.execute('INSERT INTO "their own" (yes) VALUES (true) RETURNING id').fetchone()
    largest = 9223372036854775807
    name = "tab\t \\N line\n 📻"
    assert result == [
        (7, True, "2026-02-12 18:00:00.123456+00", '{"a": [1]}', largest, 0.1, "12.5", b"\x00\xff", name, None),
        (8, False, None, "[]", largest, -2.0, "1", b"", "", ""),
    ]
    assert new == (9,)


# --- refused: rows would be lost -------------------------------------------------------------------------------------

WANTED = "Use a migrated database that no site has used yet."
REFUSED = {
    "a column with values": (
        [
            "ALTER TABLE events_release ADD COLUMN hue TEXT DEFAULT 'grey'",
            "UPDATE events_release SET hue = 'red'",
        ],
        [],
        "PostgreSQL has no column events_release.hue, and 8 rows of the file have a value in it. Nothing was copied.",
    ),
    "a column that PostgreSQL needs": (
        [],
        ["ALTER TABLE events_release ADD COLUMN colour text NOT NULL"],
        "The file has no column events_release.colour, which PostgreSQL requires. Nothing was copied.",
    ),
    "a table that PostgreSQL lost": (
        [],
        ["DROP TABLE events_release"],
        "PostgreSQL lacks tables that the site needs: events_release (8 rows). Nothing was copied.",
    ),
    "an audit entry in the target": (
        [],
        ["INSERT INTO events_auditentry VALUES (DEFAULT, 1, 'mode', '', '', '', '', '')"],
        f"The database has rows that no migration wrote: events_auditentry (1 row). Nothing was copied. {WANTED}",
    ),
    "a token and a role in the target": (
        [],
        [
            "INSERT INTO events_ingesttoken (name, created_at) VALUES ('web', now()), ('other', now())",
            "INSERT INTO auth_group (name) VALUES ('Auditors')",
        ],
        "The database has rows that no migration wrote: events_ingesttoken (2 rows), auth_group (1 row)."
        f" Nothing was copied. {WANTED}",
    ),
    "rows of another table in the target": (
        ["CREATE TABLE notes (note TEXT)"],
        ["CREATE TABLE notes (note text)", "INSERT INTO notes VALUES ('a')"],
        f"The database has rows that no migration wrote: notes (1 row). Nothing was copied. {WANTED}",
    ),
    "a file of another version": (
        ["INSERT INTO django_migrations (app, name, applied) VALUES ('events', '9999_later', '2030-01-01')"],
        [],
        "The file has migrations of another version: events.9999_later. Copy with that one.",
    ),
    "a database of an older version": (
        [],
        [f"DELETE FROM django_migrations WHERE app = 'legacy' AND name = '{MIGRATIONS[-1]}'"],
        f"PostgreSQL lacks migrations: legacy.{MIGRATIONS[-1]}. Run this with this DATABASE_URL: manage.py migrate",
    ),
    "a file of another program": (
        ["DROP TABLE django_migrations"],
        [],
        "Both must be databases of this site, migrated by this version (`manage.py migrate`).",
    ),
    "a value that PostgreSQL cannot hold": (
        ["UPDATE events_release SET app_version = 'a' || char(0) WHERE rowid = 1"],
        [],
        "PostgreSQL text fields cannot contain NUL (0x00) bytes\nNothing was copied: the database is as it was.",
    ),
}


@pytest.mark.parametrize(("in_file", "in_postgres", "words"), REFUSED.values(), ids=REFUSED)
def test_a_copy_that_would_lose_something_is_refused(
    data_dir: Path, database: str, in_file: list[str], in_postgres: list[str], words: str
) -> None:
    change_file(data_dir, *in_file)
    change(database, *in_postgres)
    groups = rows(database, "auth_group")
    code, said, complaints = copied(data_dir, database)
    assert (code, said) == (1, "")
    assert complaints.splitlines()[-words.count("\n") - 1 :] == f"CommandError: {words}".splitlines()
    assert (rows(database, "telemetry_events"), rows(database, "auth_group")) == (0, groups)


def test_old_rows_in_the_target_are_not_dropped(dropped_dir: Path, database: str) -> None:
    change(database, "INSERT INTO legacy_legacycount VALUES ('a', 1, true)")
    code, _, complaints = copied(dropped_dir, database)
    assert code == 1
    assert complaints == (
        "CommandError: The database has rows that no migration wrote: legacy_legacycount (1 row). Nothing was copied."
        f" {WANTED}\n"
    )
    assert rows(database, "legacy_legacycount") == 1


def test_an_empty_file_does_not_replace_a_filled_database(
    data_dir: Path, database: str, make_data_dir: Callable[[], Path]
) -> None:
    assert copied(data_dir, database)[0] == 0
    code, _, complaints = copied(make_data_dir(), database)
    assert code == 1
    assert "telemetry_events (3,000 rows). Nothing was copied." in complaints
    assert rows(database, "telemetry_events") == 3_000


def test_an_older_file_is_refused_with_the_command_to_run(data_dir: Path, database: str) -> None:
    older = Server(data_dir)
    assert older.command("migrate", "legacy", MIGRATIONS[-2]).returncode == 0
    code, _, complaints = copied(data_dir, database)
    assert code == 1
    assert complaints == (
        f"CommandError: The file lacks migrations: legacy.{MIGRATIONS[-1]}."
        " Run this without DATABASE_URL, with the file in DATA_DIR: manage.py migrate\n"
    )
    assert older.command("migrate").returncode == 0
    assert copied(data_dir, database)[0] == 0


def test_a_running_site_is_not_copied(data_dir: Path, database: str, tmp_path: Path) -> None:
    (tmp_path / "another").mkdir()
    with served(data_dir):
        for folder, args in ((data_dir, ()), (tmp_path / "another", (str(data_dir / "telemetry.sqlite3"),))):
            code, _, complaints = copied(folder, database, *args)
            assert code == 1
            assert "Stop it first: the copy would miss events that it stores." in complaints
    assert rows(database, "telemetry_events") == 0


def test_a_file_that_changes_during_the_copy_is_refused(data_dir: Path, database: str) -> None:
    def waits_for_a_lock() -> bool:
        with closing(psycopg.connect(database)) as other:
            # Of this database alone: other tests wait for locks in theirs.
            waiting = "SELECT 1 FROM pg_locks JOIN pg_database ON database = pg_database.oid WHERE NOT granted"
            return other.execute(f"{waiting} AND datname = current_database()").fetchone() is not None

    with closing(psycopg.connect(database)) as holder:
        holder.execute("LOCK TABLE events_release")
        command = manage(Server(data_dir, DATABASE_URL=database).env, "copy_sqlite")
        wait_until(waits_for_a_lock, "the copy never began")
        change_file(data_dir, "DELETE FROM events_release")
        holder.rollback()
        _, complaints = command.communicate()
    assert command.returncode == 1
    assert "another process wrote to it during the copy. Stop it, and try again. Nothing was copied." in complaints
    assert rows(database, "telemetry_events") == 0


def test_what_the_database_refuses_takes_everything_back(dropped_dir: Path, database: str) -> None:
    groups = rows(database, "auth_group")
    change(database, "ALTER TABLE telemetry_events ADD CHECK (app_version = 'none is so called')")
    code, _, complaints = copied(dropped_dir, database)
    assert code == 1
    assert "Nothing was copied: the database is as it was." in complaints
    assert rows(database, "events_release") == 0
    assert rows(database, "auth_group") == groups > 0
    assert tables_in(database) >= set(OLD_TABLES)


@pytest.mark.parametrize(
    ("url", "args", "words"),
    [
        ("", (), "DATABASE_URL must name the PostgreSQL database"),
        (None, ("/nowhere/telemetry.sqlite3",), "no such file"),
        (None, ("pyproject.toml",), "file is not a database"),
    ],
)
def test_an_impossible_copy_is_explained(
    tmp_path: Path, database: str, url: str | None, args: tuple[str, ...], words: str
) -> None:
    (tmp_path / "data").mkdir()
    code, _, complaints = copied(tmp_path / "data", database if url is None else url, *args)
    assert (code, words in complaints) == (1, True), complaints
