"""`manage.py copy_sqlite`: a site moves from its file into PostgreSQL whole, or not at all."""

import io
import json
import os
import shutil
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import environ
import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import ConnectionHandler, connections
from django.test import override_settings

from tests.conftest import find_postgres, success
from tests.fixtures.uploaded_maps import source_map
from tests.legacy.test_without_legacy import copy_without_legacy
from tests.other_process import manage
from tests.servers import PROJECT_DIR, Server, served, served_prepared, wait_until

pytestmark = pytest.mark.needs_postgres

MIGRATIONS = sorted(file.stem for file in (PROJECT_DIR / "legacy" / "migrations").glob("0*.py"))
EVENTS = 3_000
OLD_TABLES = ["client_logs", "legacy_legacycount"]
LAST_LINE = "Every count and sum is equal in both. Start the site with this DATABASE_URL from now on."


class Figures(NamedTuple):
    """What a running site shows of its data."""

    count: tuple[int, bytes]
    old_count: tuple[int, bytes]
    groups: int


class Sites(NamedTuple):
    """Folders of a site before and after `drop_legacy`, and the project without `legacy`."""

    before: Path
    figures: Figures
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
    (folder / "index-x.js.map").write_bytes(source_map())
    with served_prepared(before) as server:
        expect_success(
            server,
            ("demo_data", "--events", "3000", "--days", "20", "--seed", "5"),
            ("set_baseline", "412", "--note", "from the old counter"),
            ("issue_token", "web", "--expires", "90d"),
            ("upload_sourcemaps", "19afc18", str(folder)),
            ("legacy_mode", "separate", "--reason", "a test"),
        )
        assert server.post("/increment", b'{"sessionId": "a session of the old counter"}')[0] == 200
        figures = figures_of(server)
    dropped = Server(shutil.copytree(before, folder / "dropped"))
    expect_success(dropped, ("legacy_mode", "gone", "--force", "--reason", "a test"), ("drop_legacy",))
    (folder / "project").mkdir()
    return Sites(before, figures, folder / "dropped", copy_without_legacy(folder / "project"))


def figures_of(server: Server) -> Figures:
    page = server.get("/admin/events/failuregroup/?status=all", Cookie=server.sign_in())[1]
    return Figures(server.get("/metrics/flash-count"), server.get("/count"), page.count(b"<tr"))


@pytest.fixture
def data_dir(sites: Sites, tmp_path: Path) -> Path:
    return shutil.copytree(sites.before, tmp_path / "data")


@pytest.fixture
def dropped_dir(sites: Sites, tmp_path: Path) -> Path:
    return shutil.copytree(sites.dropped, tmp_path / "data")


def expect_success(server: Server, *commands: tuple[str, ...]) -> list[str]:
    """Return the output of each command."""
    done = server.commands(*commands)
    for ended in done:
        assert ended.returncode == 0, ended.stderr
    return [ended.stdout for ended in done]


Copy = Callable[..., tuple[int, str, str]]


@pytest.fixture
def copied_here(django_db_blocker: Any) -> Iterator[Copy]:
    """Run the command in this process, which takes less time than `copied`. The results are the same."""

    def copied_in_process(data_dir: Path, database: str, *args: str) -> tuple[int, str, str]:
        output = io.StringIO()
        data = override_settings(DATA_DIR=data_dir, SQLITE_FILE=data_dir / "telemetry.sqlite3")
        with data, default_database(database):
            try:
                call_command("copy_sqlite", *args, stdout=output)
            except CommandError as error:
                return 1, output.getvalue(), f"CommandError: {error}\n"
        return 0, output.getvalue(), ""

    with django_db_blocker.unblock():
        yield copied_in_process


@contextmanager
def default_database(url: str) -> Iterator[None]:
    usual = connections["default"]
    connections["default"] = ConnectionHandler({"default": environ.Env.db_url_config(url)})["default"]
    try:
        yield
    finally:
        connections["default"].close()
        connections["default"] = usual


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


def test_a_site_goes_on_where_it_stood(data_dir: Path, database: str, sites: Sites) -> None:
    code, said, complaints = copied(data_dir, database)
    assert code == 0, complaints
    assert without_figures(said) == [*tables_of(data_dir), LAST_LINE]
    assert f"events_lifetimetotal: rows 5, accepted {EVENTS:,}, baseline 412\n" in said
    with psycopg.connect(database) as copy:
        [(packed,)] = copy.execute("SELECT content FROM events_sourcemap WHERE app_version = '19afc18'").fetchall()
    assert zlib.decompress(packed) == source_map()
    with served(data_dir, DATABASE_URL=database) as after:
        # Whoever could sign in still can, with the same password.
        assert figures_of(after) == sites.figures
        assert sites.figures.groups > 1
        expect_success(
            after,
            ("rebuild_rollups", "--check"),
            ("regroup_failures", "--check"),
            # New rows get numbers that no copied row has.
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

    with served_prepared(dropped_dir) as before:
        expected = answers(before)
    code, said, complaints = copied(dropped_dir, database)
    assert code == 0, complaints
    assert without_figures(said) == [
        *tables_of(dropped_dir),
        *(f"{name}: dropped, as `drop_legacy` dropped it in the file" for name in OLD_TABLES),
        LAST_LINE,
    ]
    assert not tables_in(database) & set(OLD_TABLES)
    with served_prepared(dropped_dir, DATABASE_URL=database) as after:
        assert answers(after) == expected
        assert expected[2] == [200] * 5
        migrated_again = expect_success(
            after,
            ("migrate",),
            ("erase_session", "nobody's"),
            ("prune_events", "--older-than-days", "10", "--imported-too"),
            ("rebuild_rollups", "--check"),
        )[0]
        assert migrated_again.endswith("No migrations to apply.\n")


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


def test_a_row_that_leaves_its_texts_to_its_event_is_copied_with_it(
    data_dir: Path, database: str, copied_here: Copy
) -> None:
    change_file(
        data_dir,
        "UPDATE telemetry_events SET stack = 'at flash' WHERE log_lines_json <> '[]'",
        "UPDATE client_logs SET text_in_stream = 1, stack = NULL, log_lines_json = '[]' WHERE id ="
        " (SELECT id FROM client_logs WHERE log_lines_json <> '[]' LIMIT 1)",
    )
    code, _, complaints = copied_here(data_dir, database)
    assert code == 0, complaints
    with psycopg.connect(database) as connection:
        result = connection.execute(
            "SELECT text_in_stream, logged.stack, logged.log_lines_json, event.stack, event.log_lines_json <> '[]'"
            " FROM client_logs AS logged JOIN telemetry_events AS event USING (id) WHERE text_in_stream"
        )
        assert result.fetchall() == [(True, None, "[]", "at flash", True)]


def test_what_only_the_write_ahead_log_has_is_copied(data_dir: Path, database: str, copied_here: Copy) -> None:
    with served_prepared(data_dir) as server:
        assert server.post("/event", json.dumps(success()).encode())[0] == 201
        server.kill_group()
    with closing(sqlite3.connect(f"file:{data_dir}/telemetry.sqlite3?immutable=1", uri=True)) as without_log:
        assert without_log.execute("SELECT COUNT(*) FROM telemetry_events").fetchone() == (EVENTS,)
    code, _, complaints = copied_here(data_dir, database)
    assert code == 0, complaints
    assert rows(database, "telemetry_events") == EVENTS + 1


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


def test_what_is_left_out_is_reported(data_dir: Path, database: str, copied_here: Copy) -> None:
    for in_file, in_postgres, _ in LEFT_OUT.values():
        change_file(data_dir, *in_file)
        change(database, *in_postgres)
    code, said, complaints = copied_here(data_dir, database)
    assert code == 0, complaints
    with closing(sqlite3.connect(data_dir / "telemetry.sqlite3")) as file:
        rows_of, events_of = file.execute("SELECT COUNT(*), SUM(events) FROM events_release").fetchone()
    said_of = {case: line.format(rows=rows_of, events=events_of) for case, (_, _, line) in LEFT_OUT.items()}
    assert [case for case, line in said_of.items() if line not in said.splitlines()] == []
    assert rows(database, "telemetry_events") == EVENTS


def test_a_table_that_no_app_has_is_copied_by_the_types_of_postgresql(
    data_dir: Path, database: str, copied_here: Copy
) -> None:
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
    code, said, complaints = copied_here(data_dir, database)
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
        "PostgreSQL has no column events_release.hue, and {releases} rows of the file have a value in it."
        " Nothing was copied.",
    ),
    "a column that PostgreSQL needs": (
        [],
        ["ALTER TABLE events_release ADD COLUMN colour text NOT NULL"],
        "The file has no column events_release.colour, which PostgreSQL requires. Nothing was copied.",
    ),
    "a table that PostgreSQL lost": (
        [],
        ["DROP TABLE events_release"],
        "PostgreSQL lacks tables that the site needs: events_release ({releases} rows). Nothing was copied.",
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
    data_dir: Path, database: str, copied_here: Copy, in_file: list[str], in_postgres: list[str], words: str
) -> None:
    change_file(data_dir, *in_file)
    change(database, *in_postgres)
    groups = rows(database, "auth_group")
    code, said, complaints = copied_here(data_dir, database)
    assert (code, said) == (1, "")
    words = words.replace("{releases}", str(tables_of(data_dir)["events_release"]))
    assert complaints.splitlines()[-words.count("\n") - 1 :] == f"CommandError: {words}".splitlines()
    assert (rows(database, "telemetry_events"), rows(database, "auth_group")) == (0, groups)


def test_old_rows_in_the_target_are_not_dropped(dropped_dir: Path, database: str, copied_here: Copy) -> None:
    change(database, "INSERT INTO legacy_legacycount VALUES ('a', 1, true)")
    code, _, complaints = copied_here(dropped_dir, database)
    assert code == 1
    assert complaints == (
        "CommandError: The database has rows that no migration wrote: legacy_legacycount (1 row). Nothing was copied."
        f" {WANTED}\n"
    )
    assert rows(database, "legacy_legacycount") == 1


def test_an_empty_file_does_not_replace_a_filled_database(
    data_dir: Path, database: str, make_data_dir: Callable[[], Path], copied_here: Copy
) -> None:
    assert copied_here(data_dir, database)[0] == 0
    code, _, complaints = copied_here(make_data_dir(), database)
    assert code == 1
    assert f"telemetry_events ({EVENTS:,} rows). Nothing was copied." in complaints
    assert rows(database, "telemetry_events") == EVENTS


def test_an_older_file_is_refused_with_the_command_to_run(data_dir: Path, database: str, copied_here: Copy) -> None:
    older = Server(data_dir)
    assert older.command("migrate", "legacy", MIGRATIONS[-2]).returncode == 0
    code, _, complaints = copied_here(data_dir, database)
    assert code == 1
    assert complaints == (
        f"CommandError: The file lacks migrations: legacy.{MIGRATIONS[-1]}."
        " Run this without DATABASE_URL, with the file in DATA_DIR: manage.py migrate\n"
    )
    assert older.command("migrate").returncode == 0
    assert copied_here(data_dir, database)[0] == 0


def test_a_running_site_is_not_copied(data_dir: Path, database: str, tmp_path: Path, copied_here: Copy) -> None:
    (tmp_path / "another").mkdir()
    with served_prepared(data_dir):
        for folder, args in ((data_dir, ()), (tmp_path / "another", (str(data_dir / "telemetry.sqlite3"),))):
            code, _, complaints = copied_here(folder, database, *args)
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


def test_what_the_database_refuses_takes_everything_back(dropped_dir: Path, database: str, copied_here: Copy) -> None:
    groups = rows(database, "auth_group")
    change(database, "ALTER TABLE telemetry_events ADD CHECK (app_version = 'none is so called')")
    code, _, complaints = copied_here(dropped_dir, database)
    assert code == 1
    assert "Nothing was copied: the database is as it was." in complaints
    assert rows(database, "events_release") == 0
    assert rows(database, "auth_group") == groups > 0
    assert tables_in(database) >= set(OLD_TABLES)


def test_without_postgresql_it_is_told_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    code, _, complaints = copied(tmp_path / "data", "")
    assert (code, "DATABASE_URL must name the PostgreSQL database" in complaints) == (1, True), complaints


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("/nowhere/telemetry.sqlite3",), "no such file"),
        ((str(PROJECT_DIR / "pyproject.toml"),), "file is not a database"),
    ],
)
def test_an_impossible_copy_is_explained(
    tmp_path: Path, database: str, copied_here: Copy, args: tuple[str, ...], words: str
) -> None:
    (tmp_path / "data").mkdir()
    code, _, complaints = copied_here(tmp_path / "data", database, *args)
    assert (code, words in complaints) == (1, True), complaints
