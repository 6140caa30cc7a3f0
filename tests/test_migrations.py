"""Every migration, forward and backward, on both engines; and what the tables then hold to."""

import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import IntegrityError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor

from events.rows import EventRow
from tests.conftest import find_postgres, run_apart

APPS = ("events", "legacy")
ALIAS = "migrations"
ENGINES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.needs_postgres)]

PLAN_COLUMNS = {
    "id": ("text", "NOT NULL"),
    "received_at_ms": ("integer", "NOT NULL"),
    "occurred_at": ("text", "NOT NULL"),
    "event_type": ("text", "NOT NULL"),
    "session_id": ("text", "NULL"),
    "model": ("text", "NOT NULL"),
    "write_mode": ("integer", "NOT NULL"),
    "connected": ("integer", "NOT NULL"),
    "app_version": ("text", "NOT NULL"),
    "message": ("text", "NOT NULL"),
    "error_name": ("text", "NULL"),
    "stack": ("text", "NULL"),
    "log_lines_json": ("text", "NOT NULL"),
    "metadata_json": ("text", "NOT NULL"),
}
# How a row meets the unified stream, how it came, and what parity may expect of it.
OUR_LOG_COLUMNS = {
    "event_id", "in_stream", "imported", "arrived", "sent_to_event", "refused_fields", "text_in_stream", "session_key",
}  # fmt: skip
OLD_LOG_COLUMNS = set(PLAN_COLUMNS) - {"session_id", "metadata_json"} | {"user_agent", "page_url", "origin", "ip_hash"}
KINDS = {
    "TextField": "text",
    "BigIntegerField": "integer",
    "SmallIntegerField": "integer",
    "IntegerField": "integer",
    "BooleanField": "boolean",
}


# --- a database of their own -----------------------------------------------------------------------------------------


@contextmanager
def new_database(engine: str, folder: Path, template: str | None = None) -> Iterator[dict[str, Any]]:
    """Make a database, empty or a copy of the one that `template` names, and drop it at the end; yield its settings."""
    if engine == "sqlite":
        file = folder / "own.sqlite3"
        if template:
            shutil.copy(template, file)
        yield {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file)}
        return
    url = find_postgres()
    assert url
    name = f"test_migrations_{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template or "template1"}"')
        try:
            yield {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": name,
                "USER": server.info.user,
                "PASSWORD": server.info.password,
                "HOST": server.info.host,
                "PORT": server.info.port,
            }
        finally:
            server.execute(f'DROP DATABASE "{name}"')


@contextmanager
def connected(database: dict[str, Any], blocker: Any) -> Iterator[BaseDatabaseWrapper]:
    connections.databases[ALIAS] = connections.databases["default"] | {"OPTIONS": {}} | database
    connection = connections[ALIAS]
    try:
        with blocker.unblock():
            yield connection
    finally:
        connection.close()
        del connections[ALIAS], connections.databases[ALIAS]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty(engine: str, tmp_path: Path, django_db_blocker: Any) -> Iterator[BaseDatabaseWrapper]:
    with new_database(engine, tmp_path) as database, connected(database, django_db_blocker) as connection:
        yield connection


@pytest.fixture(scope="module")
def template(engine: str, tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any) -> Iterator[str]:
    """Return the name of a migrated database, to copy."""
    with new_database(engine, tmp_path_factory.mktemp("template")) as database:
        with connected(database, django_db_blocker):
            call_command("migrate", database=ALIAS, verbosity=0)
        yield database["NAME"]


@pytest.fixture
def migrated(engine: str, template: str, tmp_path: Path, django_db_blocker: Any) -> Iterator[BaseDatabaseWrapper]:
    with new_database(engine, tmp_path, template) as database, connected(database, django_db_blocker) as connection:
        yield connection


def own_migrations(connection: BaseDatabaseWrapper) -> list[Migration]:
    """Return the migrations of our apps, in the order of a new database."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes(), clean_start=True)
    return [migration for migration, _ in plan if migration.app_label in APPS]


def migrate(connection: BaseDatabaseWrapper, app: str, name: str | None) -> None:
    MigrationExecutor(connection).migrate([(app, name)])


def migrate_each(
    connection: BaseDatabaseWrapper, look: Callable[[Migration], None], *, backwards: bool = False
) -> None:
    """Apply every migration, or unapply all of ours, and call `look` after each of ours."""

    def note(step: str, migration: Migration | None = None, fake: bool = False) -> None:
        if migration and step in ("apply_success", "unapply_success") and migration.app_label in APPS:
            look(migration)

    executor = MigrationExecutor(connection, note)
    if backwards:
        executor.migrate(None, [(migration, True) for migration in reversed(own_migrations(connection))])
    else:
        executor.migrate(executor.loader.graph.leaf_nodes())


# What Django finds out about a SQLite table, by the SQL of the table and its indexes: to parse that takes long.
_parsed: dict[tuple[Any, ...], dict[str, Any]] = {}


def tables(connection: BaseDatabaseWrapper) -> dict[str, dict[str, Any]]:
    """Return the constraints and indexes of every table of ours, with its columns, as the engine describes them."""
    found = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            if not table.startswith(("telemetry_", "client_logs", "events_", "legacy_")):
                continue
            if connection.vendor == "sqlite":
                cursor.execute("SELECT sql FROM sqlite_master WHERE tbl_name = %s ORDER BY type, name", [table])
                sql = tuple(cursor.fetchall())
                if sql not in _parsed:
                    _parsed[sql] = introspected(connection, cursor, table)
                found[table] = _parsed[sql]
            else:
                found[table] = introspected(connection, cursor, table)
    return found


def introspected(connection: BaseDatabaseWrapper, cursor: CursorWrapper, table: str) -> dict[str, Any]:
    columns = [tuple(column) for column in connection.introspection.get_table_description(cursor, table)]
    return {
        "columns": sorted(str(column) for column in columns),
        "constraints": connection.introspection.get_constraints(cursor, table),
    }


def insert(connection: BaseDatabaseWrapper, **changes: Any) -> None:
    """Insert an event by SQL, past every rule but the table's own."""
    row = EventRow(
        id=uuid.uuid4().hex,
        received_at_ms=1_770_919_200_000,
        occurred_at="2026-02-12T18:00:00.000Z",
        event_type="flash_success",
        session_id=uuid.uuid4().hex,
        model="UV-5RM",
        write_mode=1,
        connected=1,
        app_version="19afc18",
        message="Flash complete",
        error_name=None,
        stack=None,
        log_lines_json="[]",
        metadata_json="{}",
        source="event",
    )._replace(**changes)
    columns = ", ".join(row._fields)
    places = ", ".join(["%s"] * len(row))
    with transaction.atomic(using=ALIAS), connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO telemetry_events ({columns}) VALUES ({places})", row)


def event_rows(connection: BaseDatabaseWrapper) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(PLAN_COLUMNS)} FROM telemetry_events ORDER BY id")
        return list(cursor.fetchall())


# --- forward and backward --------------------------------------------------------------------------------------------


def test_every_migration_goes_forward_back_and_forward_again(empty: BaseDatabaseWrapper) -> None:
    """Every migration has a way back that leaves nothing behind; no step of either way loses or changes an event."""
    own = own_migrations(empty)
    untouched = tables(empty)
    done: dict[Migration, Any] = {}
    kept: list[tuple[Any, ...]] = []

    def note_tables_and_expect_all_rows(migration: Migration) -> None:
        if not done:
            assert (migration.app_label, migration.name) == ("events", "0001_initial")
            insert(empty)
            insert(empty, event_type="flash_error", session_id=None, error_name="ProtocolError", stack="at writeBlock")
            kept.extend(event_rows(empty))
            assert len(kept) == 2
        assert event_rows(empty) == kept, f"{migration} loses rows"
        done[migration] = tables(empty)

    migrate_each(empty, note_tables_and_expect_all_rows)
    assert list(done) == own
    earlier = dict(zip(own, [untouched, *done.values()], strict=False))
    undone: list[Migration] = []

    def expect_all_rows_and_nothing_else_left(migration: Migration) -> None:
        assert tables(empty) == earlier[migration], f"{migration} leaves something behind"
        if migration != own[0]:
            assert event_rows(empty) == kept, f"{migration} loses rows on its way back"
        undone.append(migration)

    migrate_each(empty, expect_all_rows_and_nothing_else_left, backwards=True)
    assert undone == own[::-1]
    again: list[Migration] = []

    def expect_the_same(migration: Migration) -> None:
        assert tables(empty) == done[migration], f"{migration} does not come back the same"
        again.append(migration)

    migrate_each(empty, expect_the_same)
    assert again == own


def test_all_of_it_goes_to_zero_and_up_again(migrated: BaseDatabaseWrapper) -> None:
    whole = tables(migrated)
    assert {"telemetry_events", "client_logs"} <= set(whole)
    for app in reversed(APPS):
        call_command("migrate", app, "zero", database=ALIAS, verbosity=0)
    assert tables(migrated) == {}
    with migrated.cursor() as cursor:
        cursor.execute("SELECT name FROM auth_group")
        assert cursor.fetchall() == []
    call_command("migrate", database=ALIAS, verbosity=0)
    assert tables(migrated) == whole


@pytest.mark.django_db
def test_the_models_are_what_the_migrations_make() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


# --- what the tables hold to -----------------------------------------------------------------------------------------


def described(connection: BaseDatabaseWrapper, table: str) -> dict[str, tuple[str, str]]:
    with connection.cursor() as cursor:
        return {
            column.name: (
                KINDS[connection.introspection.get_field_type(column.type_code, column)],
                "NULL" if column.null_ok else "NOT NULL",
            )
            for column in connection.introspection.get_table_description(cursor, table)
        }


def indexes(connection: BaseDatabaseWrapper, table: str) -> set[tuple[bool, tuple[tuple[str, str], ...]]]:
    """Return (unique, ((column, direction), …)) of each index of a table."""
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, table).values()
    return {
        (bool(found["unique"]), tuple(zip(found["columns"], found["orders"], strict=True)))
        for found in constraints
        if found["index"] and found.get("orders") and None not in found["columns"]
    }


def index_condition(connection: BaseDatabaseWrapper, name: str) -> str:
    statement = {
        "sqlite": "SELECT sql FROM sqlite_master WHERE name = %s",
        "postgresql": "SELECT indexdef FROM pg_indexes WHERE indexname = %s",
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(statement, [name])
        return str(cursor.fetchone()[0]).partition(" WHERE ")[2].replace('"', "").strip("()")


def test_the_events_have_the_columns_of_the_plan_and_four_of_ours(
    migrated: BaseDatabaseWrapper,
) -> None:
    columns = described(migrated, "telemetry_events")
    assert columns.pop("source") == ("text", "NOT NULL")
    assert columns.pop("fingerprint") == ("text", "NULL")
    assert columns.pop("merged_from") == ("text", "NULL")
    assert columns.pop("correction") == ("integer", "NULL")
    assert columns == PLAN_COLUMNS
    with migrated.cursor() as cursor:
        assert migrated.introspection.get_primary_key_columns(cursor, "telemetry_events") == ["id"]


def test_the_events_have_the_indexes_of_the_plan(migrated: BaseDatabaseWrapper) -> None:
    found = indexes(migrated, "telemetry_events")
    assert (False, (("event_type", "ASC"), ("received_at_ms", "DESC"))) in found
    assert (False, (("received_at_ms", "DESC"),)) in found
    assert (True, (("event_type", "ASC"), ("session_id", "ASC"))) in found
    assert index_condition(migrated, "telemetry_events_type_session") == "session_id IS NOT NULL"


def test_the_old_log_has_the_columns_and_indexes_of_the_old_table(migrated: BaseDatabaseWrapper) -> None:
    assert set(described(migrated, "client_logs")) == OLD_LOG_COLUMNS | OUR_LOG_COLUMNS
    found = indexes(migrated, "client_logs")
    assert (False, (("received_at_ms", "DESC"),)) in found
    assert (False, (("event_type", "ASC"),)) in found


BROKEN_RULES = [
    ("write_mode is 0 or 1", {"write_mode": 2}),
    ("connected is 0 or 1", {"connected": -1}),
    ("an unknown type", {"event_type": "flash_fail"}),
    ("an unknown source", {"source": "elsewhere"}),
    ("a success without a session", {"session_id": None}),
    ("an empty session", {"session_id": ""}),
    ("a session of 129", {"session_id": "s" * 129}),
    ("an empty message", {"message": ""}),
    ("a message of 501", {"message": "m" * 501}),
    ("a time that is not normalised", {"occurred_at": "2026-02-12T18:00:00Z"}),
    ("no message", {"message": None}),
    ("no model", {"model": None}),
    ("no log lines", {"log_lines_json": None}),
]


def test_the_table_refuses_what_breaks_a_rule(migrated: BaseDatabaseWrapper) -> None:
    insert(migrated)
    for rule, changes in BROKEN_RULES:
        try:
            insert(migrated, **changes)
        except IntegrityError:
            continue
        pytest.fail(f"the table took {rule}")
    assert len(event_rows(migrated)) == 1


def test_one_session_succeeds_once_and_may_fail_beside_it(migrated: BaseDatabaseWrapper) -> None:
    insert(migrated, session_id="one")
    with pytest.raises(IntegrityError):
        insert(migrated, session_id="one")
    insert(migrated, session_id="one", event_type="flash_error")
    insert(migrated, session_id=None, event_type="flash_error")
    insert(migrated, session_id=None, event_type="flash_error")
    assert len(event_rows(migrated)) == 4


def test_no_total_can_fall_below_zero(migrated: BaseDatabaseWrapper) -> None:
    for table, columns, values in [
        ("events_lifetimetotal", "event_type, accepted, baseline, last_received_at_ms", "'flash_success', -1, 0, 0"),
        ("events_lifetimetotal", "event_type, accepted, baseline, last_received_at_ms", "'flash_success', 0, -1, 0"),
        (
            "events_hourlyrollup",
            "hour_ms, event_type, model, app_version, accepted",
            "0, 'flash_success', 'm', 'v', -1",
        ),
    ]:
        with pytest.raises(IntegrityError), transaction.atomic(using=ALIAS), migrated.cursor() as cursor:
            cursor.execute(f"INSERT INTO {table} ({columns}) VALUES ({values})")


def test_the_old_log_refuses_what_identifies_a_person(migrated: BaseDatabaseWrapper) -> None:
    columns = sorted(OLD_LOG_COLUMNS | OUR_LOG_COLUMNS)
    anyone = {name: 0 if PLAN_COLUMNS.get(name, ("text",))[0] == "integer" else "x" for name in columns}
    anyone |= {"in_stream": True} | dict.fromkeys(("imported", "arrived", "sent_to_event", "text_in_stream"), False)
    nobody = {"user_agent": "", "page_url": "", "origin": None, "ip_hash": None}

    def insert_log(**changes: Any) -> None:
        row = anyone | nobody | changes
        with transaction.atomic(using=ALIAS), migrated.cursor() as cursor:
            places = ", ".join(["%s"] * len(columns))
            cursor.execute(
                f"INSERT INTO client_logs ({', '.join(columns)}) VALUES ({places})", [row[name] for name in columns]
            )

    insert_log()
    for name in nobody:
        with pytest.raises(IntegrityError):
            insert_log(id=name, **{name: "something"})


def test_the_audit_log_takes_no_change_and_no_deletion(migrated: BaseDatabaseWrapper) -> None:
    def run(statement: str) -> None:
        with transaction.atomic(using=ALIAS), migrated.cursor() as cursor:
            cursor.execute(statement)

    run(
        "INSERT INTO events_auditentry (at_ms, kind, who, what, why, about, subject)"
        " VALUES (1, 'token', 'olga', 'Revoked.', '', 'web', '')"
    )
    for statement in ("UPDATE events_auditentry SET who = 'nobody'", "DELETE FROM events_auditentry"):
        with pytest.raises(IntegrityError, match="the audit log is append-only"):
            run(statement)
    with migrated.cursor() as cursor:
        cursor.execute("SELECT who, what FROM events_auditentry")
        assert cursor.fetchall() == [("olga", "Revoked.")]


def test_actions_from_before_the_audit_log_are_in_it(empty: BaseDatabaseWrapper) -> None:
    migrate(empty, "events", "0006_audit_log")
    migrate(empty, "admin", "0003_logentry_add_action_flag_choices")
    models = (
        MigrationExecutor(empty)
        .loader.project_state([("events", "0006_audit_log"), ("admin", "0003_logentry_add_action_flag_choices")])
        .apps
    )
    at = datetime(2026, 2, 12, tzinfo=UTC)
    user = models.get_model("auth", "User").objects.using(ALIAS).create(username="olga")
    kinds = models.get_model("contenttypes", "ContentType").objects.using(ALIAS)
    log = models.get_model("admin", "LogEntry").objects.using(ALIAS)
    for number, (model, key, name, words) in enumerate(
        [
            ("failuregroup", "abc", "No ACK", "Muted for good."),
            ("ingesttoken", "1", "web", "Revoked."),
            ("event", None, "CSV export", "Exported Events: session=s-1&type=flash_error"),
        ]
    ):
        kind, _ = kinds.get_or_create(app_label="events", model=model)
        log.create(
            user=user, content_type=kind, object_id=key, object_repr=name, action_flag=2, change_message=words,
            action_time=at + timedelta(seconds=number),
        )  # fmt: skip
    models.get_model("events", "CounterBaseline").objects.using(ALIAS).create(
        value=1412, note="the old counter", set_by_name="robin", set_at=at + timedelta(seconds=9)
    )
    migrate(empty, "events", "0007_audit_history")
    migrate(empty, "events", "0006_audit_log")
    migrate(empty, "events", "0007_audit_history")  # copies nothing twice
    with empty.cursor() as cursor:
        cursor.execute("SELECT kind, who, what, why, about, subject FROM events_auditentry ORDER BY at_ms")
        assert cursor.fetchall() == [
            ("triage", "olga", "Muted for good.", "", "No ACK", "abc"),
            ("token", "olga", "Revoked.", "", "web", ""),
            ("export", "olga", "Exported Events: session=…&type=flash_error", "", "", ""),
            ("baseline", "robin", "Set the baseline to 1,412.", "the old counter", "", ""),
        ]
        cursor.execute("SELECT COUNT(*) FROM django_admin_log WHERE change_message LIKE '%s-1%'")
        assert cursor.fetchone() == (0,)


def test_earlier_rows_arrived_only_where_that_is_certain(empty: BaseDatabaseWrapper) -> None:
    migrate(empty, "legacy", "0005_imported_rows_and_switches")
    migrate(empty, "events", "0009_one_index_over_sessions")
    models = MigrationExecutor(empty).loader.project_state([("legacy", "0005_imported_rows_and_switches")]).apps
    logs, sessions, runs = (
        models.get_model("legacy", name).objects.using(ALIAS) for name in ("ClientLog", "LegacyCount", "ImportRun")
    )
    imported_ms, came_ms = 1_770_919_200_000, 1_770_919_300_000
    runs.create(
        finished_at=datetime.fromtimestamp(imported_ms / 1000, UTC), file_name="a", successes_added=0, report={}
    )
    # Each: whether the stream has it; the source of its event; when the event came, and when the row.
    cases = {
        "waits for the stream": (False, None, 0, came_ms),
        "fed the stream": (True, "old route", came_ms, came_ms),
        "came beside its event": (True, "event", came_ms - 5, came_ms),
        "copied by a switch": (True, "event", came_ms, came_ms),
        "imported": (True, "import", imported_ms, imported_ms),
        "older than the import": (True, "event", came_ms, imported_ms - 5),
        "erased-0123": (False, None, 0, came_ms),
    }
    texts = ("occurred_at", "message", "model", "app_version", "user_agent", "page_url", "log_lines_json")
    for name, (in_stream, source, event_ms, row_ms) in cases.items():
        sessions.create(session_id=name, counted_at_ms=row_ms, in_stream=in_stream)
        for key, imported in ((name, False), (f"imported {name}", True)):
            logs.create(
                id=key, event_id=name, received_at_ms=row_ms, event_type="flash_error", write_mode=1, connected=1,
                in_stream=in_stream, imported=imported, **dict.fromkeys(texts, ""),
            )  # fmt: skip
        if source:
            of_success, of_failure = ("increment", "client_log") if source == "old route" else (source, source)
            insert(empty, session_id=name, received_at_ms=event_ms, source=of_success)
            failure = {"id": name, "session_id": None, "event_type": "flash_error"}
            insert(empty, **failure, received_at_ms=event_ms, source=of_failure)
    migrate(empty, "legacy", "0007_earlier_arrivals")
    certain = ["came beside its event", "fed the stream", "waits for the stream"]
    with empty.cursor() as cursor:
        cursor.execute("SELECT session_id FROM legacy_legacycount WHERE arrived ORDER BY session_id")
        assert [name for (name,) in cursor.fetchall()] == certain
        cursor.execute("SELECT id FROM client_logs WHERE arrived ORDER BY id")
        assert [name for (name,) in cursor.fetchall()] == sorted([*certain, "erased-0123"])


def test_on_the_way_back_each_row_has_its_texts_again(
    empty: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("legacy.migrations.0011_way_back_for_texts"), "CHUNK", 2)
    migrate(empty, "legacy", "0011_way_back_for_texts")
    models = MigrationExecutor(empty).loader.project_state([("legacy", "0011_way_back_for_texts")]).apps
    logs = models.get_model("legacy", "ClientLog").objects.using(ALIAS)
    texts = ("occurred_at", "message", "model", "app_version", "user_agent", "page_url")
    for name in ("a", "b", "c", "d", "whole"):
        left = name != "whole"
        insert(
            empty, id=name, event_type="flash_error", session_id=None, stack=f"at {name}", log_lines_json=f'["{name}"]'
        )
        logs.create(
            id=name, event_id=name, received_at_ms=1, event_type="flash_error", write_mode=1, connected=1,
            in_stream=True, text_in_stream=left, stack=None if left else "its own",
            log_lines_json="[]" if left else '["its own"]', **dict.fromkeys(texts, ""),
        )  # fmt: skip
    migrate(empty, "legacy", "0009_void_sessions")
    with empty.cursor() as cursor:
        cursor.execute("SELECT id, stack, log_lines_json FROM client_logs ORDER BY id")
        assert cursor.fetchall() == [
            *((name, f"at {name}", f'["{name}"]') for name in ("a", "b", "c", "d")),
            ("whole", "its own", '["its own"]'),
        ]


def test_shares_get_the_days_that_stored_events_prove(
    empty: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("events.migrations.0020_days_of_shares"), "KEYS", 1)
    monkeypatch.setattr(import_module("events.migrations.0020_days_of_shares"), "ROWS", 2)
    migrate(empty, "events", "0017_merged_groups")
    models = MigrationExecutor(empty).loader.project_state([("events", "0017_merged_groups")]).apps
    group, share = (models.get_model("events", name).objects.using(ALIAS) for name in ("FailureGroup", "GroupShare"))
    day_ms = 86_400_000
    monday_ms = 20_000 * day_ms
    counts = {
        # Of four failures, three are stored.
        "a": {"UV-5RM": 4},
        # Of the two on the second day, one was counted under another name.
        "b": {"UV-5RM": 2, "(other)": 5},
        # The rules of an earlier release gave the stored failure another name.
        "c": {"UV-82": 1},
        "without events": {"UV-5RM": 7},
    }
    for key, names in counts.items():
        if key != "without events":  # as after a merge: the shares of a former group count deleted events
            group.create(
                fingerprint=key, algorithm=1, event_type="flash_error", title=key, frame="", accepted=1, status="open",
                model_count=1, version_count=1, first_seen_ms=0, last_seen_ms=0, note="",
            )  # fmt: skip
        for name, accepted in names.items():
            share.create(fingerprint=key, facet="model", name=name, accepted=accepted)
    share.create(fingerprint="a", facet="connected", name="1", accepted=3)
    for key, moments in {
        "a": [monday_ms, monday_ms + day_ms - 1, monday_ms + day_ms],
        "b": [monday_ms, monday_ms + day_ms, monday_ms + day_ms + 1],
        "c": [5],
    }.items():
        for at_ms in moments:
            insert(empty, id=f"{key}{at_ms}", event_type="flash_error", session_id=None, received_at_ms=at_ms)
    with empty.cursor() as cursor:
        cursor.execute("UPDATE telemetry_events SET fingerprint = SUBSTR(id, 1, 1)")

    def stored(columns: str) -> list[tuple[Any, ...]]:
        with empty.cursor() as cursor:
            cursor.execute(f"SELECT {columns}, accepted FROM events_groupshare ORDER BY {columns}")
            return list(cursor.fetchall())

    before = stored("fingerprint, facet, name")
    for _ in range(2):
        migrate(empty, "events", "0020_days_of_shares")
        assert stored("fingerprint, facet, name, day_ms") == [
            ("a", "connected", "1", monday_ms, 2),
            ("a", "connected", "1", monday_ms + day_ms, 1),
            ("a", "model", "UV-5RM", 0, 1),
            ("a", "model", "UV-5RM", monday_ms, 2),
            ("a", "model", "UV-5RM", monday_ms + day_ms, 1),
            ("b", "model", "(other)", 0, 4),
            ("b", "model", "(other)", monday_ms + day_ms, 1),
            ("b", "model", "UV-5RM", monday_ms, 1),
            ("b", "model", "UV-5RM", monday_ms + day_ms, 1),
            ("c", "model", "UV-82", 0, 1),
            ("without events", "model", "UV-5RM", 0, 7),
        ]
        migrate(empty, "events", "0017_merged_groups")
        assert stored("fingerprint, facet, name") == before


ROLES = {
    "Staff": {
        "view_event",
        "view_recentfailure",
        "export_event",
        "view_counterbaseline",
        "view_correction",
        "view_sourcemap",
        "view_jobstate",
        "view_backup",
        "view_alertchannel",
        "view_alert",
        "view_namedexport",
    },
    "Maintainers": {
        "view_event",
        "view_alertchannel",
        "add_alertchannel",
        "change_alertchannel",
        "delete_alertchannel",
        "view_alert",
        "view_recentfailure",
        "export_event",
        "triage_event",
        "view_counterbaseline",
        "add_counterbaseline",
        "view_correction",
        "add_correction",
        "view_ingesttoken",
        "add_ingesttoken",
        "change_ingesttoken",
        "view_auditentry",
        "view_sourcemap",
        "delete_sourcemap",
        "view_jobstate",
        "change_jobstate",
        "view_backup",
        "view_namedexport",
        "add_namedexport",
        "change_namedexport",
        "delete_namedexport",
        "share_savedview",
    },
}


OLD_SYSTEM_ROLES = {
    "Staff": {"view_clientlog", "view_cutover", "view_parityrun", "view_importrun"},
    "Maintainers": {"view_clientlog", "view_cutover", "view_parityrun", "view_importrun", "add_cutover"},
}


@pytest.mark.parametrize(("app", "expected"), [("events", ROLES), ("legacy", OLD_SYSTEM_ROLES)])
def test_the_two_roles_have_their_rights_and_no_others(
    migrated: BaseDatabaseWrapper, app: str, expected: dict[str, set[str]]
) -> None:
    with migrated.cursor() as cursor:
        cursor.execute(
            "SELECT g.name, p.codename FROM auth_group g"
            " JOIN auth_group_permissions gp ON gp.group_id = g.id JOIN auth_permission p ON p.id = gp.permission_id"
            " JOIN django_content_type c ON c.id = p.content_type_id WHERE c.app_label = %s",
            [app],
        )
        found = cursor.fetchall()
    by_role: dict[str, set[str]] = {}
    for role, codename in found:
        by_role.setdefault(role, set()).add(codename)
    assert by_role == expected


def test_users_who_may_view_events_keep_the_page_of_recent_failures(empty: BaseDatabaseWrapper) -> None:
    executor = MigrationExecutor(empty)
    executor.migrate([("events", "0014_site_days")])
    models = executor.loader.project_state([("events", "0014_site_days")]).apps
    users, groups = (models.get_model("auth", name).objects.using(ALIAS) for name in ("User", "Group"))
    view_event, export_event = (
        models.get_model("auth", "Permission").objects.using(ALIAS).get(codename=name)
        for name in ("view_event", "export_event")
    )
    users.create(username="viewer").user_permissions.add(view_event)
    users.create(username="exporter").user_permissions.add(export_event)
    groups.create(name="Viewers").permissions.add(view_event)
    groups.create(name="Exporters").permissions.add(export_event)
    migrate(empty, "events", "0015_recent_failures_have_a_permission")
    new = {"codename": "view_recentfailure", "content_type__model": "recentfailure"}
    assert set(users.filter(user_permissions__in=_permissions(models, **new)).values_list("username", flat=True)) == {
        "viewer"
    }
    assert set(groups.filter(permissions__in=_permissions(models, **new)).values_list("name", flat=True)) == {
        "Maintainers",
        "Staff",
        "Viewers",
    }
    migrate(empty, "events", "0014_site_days")
    assert not _permissions(models, codename="view_recentfailure").exists()
    assert view_event.group_set.count() == 3


def _permissions(models: Any, **filters: str) -> Any:
    return models.get_model("auth", "Permission").objects.using(ALIAS).filter(**filters)


# --- a new SQLite file -----------------------------------------------------------------------------------------------


def test_a_new_sqlite_file_can_shrink_and_keeps_what_it_said_it_kept(tmp_path: Path) -> None:
    asked = (
        "import django; django.setup()\n"
        "from django.core.management import call_command\n"
        "from django.db import connection\n"
        "call_command('migrate', verbosity=0)\n"
        "cursor = connection.cursor()\n"
        "for name in ('auto_vacuum', 'journal_mode', 'synchronous'):\n"
        "    print(cursor.execute(f'PRAGMA {name}').fetchone()[0])\n"
    )
    result = run_apart(asked, DATA_DIR=str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["2", "wal", "2"]  # incremental, write-ahead, FULL
    file = sqlite3.connect(tmp_path / "telemetry.sqlite3")
    try:
        assert file.execute("PRAGMA auto_vacuum").fetchone() == (2,)
        assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    finally:
        file.close()


# One row that a start or an event leaves, and whether a site with it keeps every event by default.
TRACES = {
    "none, as on a new database": (None, 90),
    "a day of the site": ("INSERT INTO events_siteday (seen_on, database_bytes) VALUES ('2026-02-12', 1)", None),
    "the total of deleted events": (
        "INSERT INTO events_lifetimetotal (event_type, accepted, baseline, last_received_at_ms)"
        " VALUES ('flash_success', 1, 0, 0)",
        None,
    ),
    "a user": (
        "INSERT INTO auth_user (password, is_superuser, username, last_name, email, is_staff, is_active, date_joined,"
        " first_name) VALUES ('', true, 'admin', '', '', true, true, '2026-02-12', '')",
        None,
    ),
    "none again": (None, 90),
}


def test_only_a_new_site_deletes_events_by_default(migrated: BaseDatabaseWrapper) -> None:
    migration = import_module("events.migrations.0031_default_of_retention")
    editor = SimpleNamespace(connection=migrated)
    recorded = {}
    with migrated.cursor() as cursor:
        cursor.execute("SELECT id, days FROM events_retentiondefault")
        assert cursor.fetchall() == [(1, 90)]
        for trace, (statement, _) in TRACES.items():
            for table in ("events_retentiondefault", "events_siteday", "events_lifetimetotal", "auth_user"):
                cursor.execute(f"DELETE FROM {table}")
            if statement:
                cursor.execute(statement)
            migration.record_default(apps, editor)
            cursor.execute("SELECT days FROM events_retentiondefault")
            recorded[trace] = cursor.fetchall()
    assert recorded == {trace: [(days,)] for trace, (_, days) in TRACES.items()}
