"""Copy a whole site from its SQLite file into an empty PostgreSQL database, and prove that all of it arrived.

The tables and columns come from both databases, not from the installed models. So the command also works after
`drop_legacy`, and for tables whose app was taken out. PostgreSQL parses every value itself, by COPY.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import psycopg
from django.apps import apps
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from events.management.progress import Progress
from telemetry_site.server import lock

ROWS_AT_ONCE = 1_000
# Each database says itself which migrations it has: they describe its own tables.
MIGRATIONS = "django_migrations"
# What `migrate` fills. The file's rows replace these.
FILLED_BY_MIGRATE = {"auth_group", "auth_group_permissions", "auth_permission", "django_content_type"}
# What `drop_legacy` drops. The names are here, because `legacy` may be gone.
DROPPED_BY_DROP_LEGACY = ("client_logs", "legacy_legacycount")
_Migrations = set[tuple[str, str]]


class _Column(NamedTuple):
    """A column of PostgreSQL."""

    name: str
    is_integer: bool
    is_needed: bool  # it is neither nullable, nor has a default
    has_sequence: bool
    is_generated: bool


class _Table(NamedTuple):
    """A table that both databases have, with the columns that both have."""

    name: str
    columns: list[_Column]
    rows: int

    @property
    def counted(self) -> list[str]:
        """Return the columns whose sums say something: times and references are no counts."""
        return [
            column.name
            for column in self.columns
            if column.is_integer and column.name != "id" and not column.name.endswith(("_ms", "_id"))
        ]


class Command(BaseCommand):
    help = (
        "Copy a whole site from its SQLite file into the empty PostgreSQL database that DATABASE_URL names, in one"
        " transaction, and compare the two. The site must not run; the file stays as it is."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file", nargs="?", type=Path, default=settings.SQLITE_FILE, help="default: that of DATA_DIR"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        file: Path = options["file"]
        self._report: list[str] = []
        if connection.vendor != "postgresql":
            raise CommandError("DATABASE_URL must name the PostgreSQL database to copy into.")
        if not file.is_file():
            raise CommandError(f"{file}: there is no such file.")
        try:
            with _stopped(file), closing(_opened(file)) as source:
                changes = _changes(source)
                with transaction.atomic():
                    source.execute("BEGIN")
                    self._copy(source)
                    source.execute("COMMIT")
                    if _changes(source) != changes:
                        raise CommandError(
                            f"{file}: another process wrote to it during the copy. Stop it, and try again."
                            " Nothing was copied."
                        )
        except (DatabaseError, psycopg.Error, sqlite3.Error) as error:
            raise CommandError(f"{error}\nNothing was copied: the database is as it was.") from None
        self.stdout.write("Every figure is the same in both. Serve with this DATABASE_URL from now on.")

    def _copy(self, source: sqlite3.Connection) -> None:
        in_file, in_postgres = _tables_of_file(source), _tables_of_postgres()
        if MIGRATIONS not in in_file or MIGRATIONS not in in_postgres:
            raise CommandError("Both must be databases of this site, migrated by this version (`manage.py migrate`).")
        self._compare_migrations(source)
        both = in_file & in_postgres - {MIGRATIONS}
        dropped = _dropped_in(source, in_file) & in_postgres
        with connection.cursor() as cursor:  # a table that is empty now stays empty
            cursor.execute(f"LOCK TABLE {', '.join(map(_quoted, both | dropped))} IN ACCESS EXCLUSIVE MODE")
        self._refuse_filled(both | dropped)
        self._refuse_lost_tables(source, in_file - in_postgres)
        tables = [self._table(source, name) for name in sorted(both)]

        with connection.cursor() as cursor:
            for name in sorted(FILLED_BY_MIGRATE & both):  # foreign keys are checked at the commit
                cursor.execute(f"DELETE FROM {_quoted(name)}")  # noqa: S608 (names of its own catalogue)
            progress = Progress(self.stderr, sum(table.rows for table in tables))
            for table in tables:
                _copy_table(source, cursor, table, progress)
                _reset_sequences(cursor, table)
            progress.finish()
            for name in sorted(dropped):
                cursor.execute(f"DROP TABLE {_quoted(name)}")
        self._prove(source, tables)
        lines = [f"{name}: dropped, as `drop_legacy` dropped it in the file" for name in sorted(dropped)]
        lines += [_left_out(source, name) for name in sorted(in_file - in_postgres)]
        untouched = sorted(in_postgres - in_file - dropped)
        lines += [f"{name}: left as it is: the file has no such table" for name in untouched]
        for line in (*self._report, *lines):
            self.stdout.write(line)

    def _compare_migrations(self, source: sqlite3.Connection) -> None:
        """Refuse databases whose installed apps are not migrated by this version; other apps may differ."""
        wanted = set(MigrationLoader(None).disk_migrations or ())
        in_file: _Migrations = set(source.execute(f"SELECT app, name FROM {MIGRATIONS}"))  # noqa: S608
        in_postgres: _Migrations = set(MigrationRecorder(connection).applied_migrations())
        installed = {config.label for config in apps.get_app_configs()}
        for where, migrations, how in (
            ("The file", in_file, "without DATABASE_URL, with the file in DATA_DIR"),
            ("PostgreSQL", in_postgres, "with this DATABASE_URL"),
        ):
            if missing := wanted - migrations:
                raise CommandError(f"{where} lacks migrations: {_names(missing)}. Run this {how}: manage.py migrate")
            if unknown := {item for item in migrations - wanted if item[0] in installed}:
                raise CommandError(f"{where} has migrations of another version: {_names(unknown)}. Copy with that one.")
        for app in sorted({app for app, _ in in_file - in_postgres}):
            rows = sum(item[0] == app for item in in_file - in_postgres)
            self._report.append(f"{MIGRATIONS}: {_rows(rows)} of `{app}` left out: PostgreSQL has none of these")

    def _refuse_filled(self, names: set[str]) -> None:
        """Refuse a target with rows that `migrate` did not write: the copy would replace them, or mix with them."""
        filled = {name: _count_here(name) for name in sorted(names - FILLED_BY_MIGRATE)}
        with connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM auth_group WHERE name NOT IN ('Maintainers', 'Staff')")
            filled["auth_group"] = cursor.fetchone()[0]
        if any(filled.values()):
            words = ", ".join(f"{name} ({_rows(rows)})" for name, rows in filled.items() if rows)
            raise CommandError(
                f"The database has rows that no migration wrote: {words}. Nothing was copied."
                " Take a database that is migrated and was never served."
            )

    def _refuse_lost_tables(self, source: sqlite3.Connection, names: set[str]) -> None:
        ours = {model._meta.db_table for model in apps.get_models(include_auto_created=True) if model._meta.managed}
        lost = {name: _count(source, name) for name in sorted(names & ours)}
        if any(lost.values()):
            words = ", ".join(f"{name} ({_rows(rows)})" for name, rows in lost.items() if rows)
            raise CommandError(f"PostgreSQL lacks tables that the site needs: {words}. Nothing was copied.")

    def _table(self, source: sqlite3.Connection, name: str) -> _Table:
        """Compare a table's columns; raises CommandError where a value would be lost, or none can be stored."""
        rows = _count(source, name)
        here = {column.name: column for column in _columns_of_postgres(name)}
        # Hidden columns are 1 for virtual tables, 2 and 3 for generated columns.
        defaults = {
            column: default
            for _, column, _, _, default, _, hidden in source.execute(f"PRAGMA table_xinfo({_quoted(name)})")
            if hidden != 1
        }
        for column, default in defaults.items():
            if column in here:
                continue
            where = f"{_quoted(column)} IS NOT ({default or 'NULL'})"
            if kept := _count(source, name, where):
                raise CommandError(
                    f"PostgreSQL has no column {name}.{column}, and {_rows(kept)} of the file hold a value in it."
                    " Nothing was copied."
                )
            self._report.append(f"{name}.{column}: left out: only the file has it, and each value is the default")
        needed = [column.name for column in here.values() if column.is_needed and column.name not in defaults]
        if needed and rows:
            raise CommandError(
                f"The file has no column {name}.{needed[0]}, which PostgreSQL needs a value for. Nothing was copied."
            )
        both = [column for column in here.values() if column.name in defaults and not column.is_generated]
        return _Table(name, both, rows)

    def _prove(self, source: sqlite3.Connection, tables: list[_Table]) -> None:
        """Compare counts and sums; raises CommandError, and so takes everything back, where they differ."""
        differing = []
        for table in tables:
            there, here = _figures_of_file(source, table), _figures_of_postgres(table)
            words = ", ".join(f"{name} {there[name]:,}" for name in there if there[name] or name == "rows")
            self.stdout.write(f"{table.name}: {words}")
            if here != there:
                differing.append(f"{table.name} has {here}")
        if differing:
            raise CommandError(f"They differ, and nothing was copied: {'; '.join(differing)}")


@contextmanager
def _stopped(file: Path) -> Iterator[None]:
    """Keep servers away from DATA_DIR, and from the folder of the file if a server ever ran there."""
    of_file = {file.parent.resolve(), file.resolve().parent}
    folders = {settings.DATA_DIR.resolve(), *(folder for folder in of_file if (folder / "server.lock").exists())}
    with ExitStack() as held:
        for folder in sorted(folders):
            try:
                held.enter_context(lock.take(folder))
            except lock.AlreadyServed as error:
                raise CommandError(f"{folder}: {error}. Stop it first: the copy would lack what it stores.") from None
        yield


def _opened(file: Path) -> sqlite3.Connection:
    # Not `mode=ro`: SQLite then cannot read a -wal that has not reached the file yet.
    source = sqlite3.connect(f"file:{quote(str(file.resolve()))}?mode=rw", uri=True, isolation_level=None)
    source.execute("PRAGMA query_only=ON")
    return source


def _changes(source: sqlite3.Connection) -> int:
    """Return a number that changes when another connection commits."""
    return int(source.execute("PRAGMA data_version").fetchone()[0])


# --- what each database has ------------------------------------------------------------------------------------------


def _tables_of_file(source: sqlite3.Connection) -> set[str]:
    found = source.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return {name for (name,) in found if not name.startswith("sqlite_")}


def _tables_of_postgres() -> set[str]:
    with connection.cursor() as cursor:
        return {table.name for table in connection.introspection.get_table_list(cursor) if table.type in ("t", "p")}


def _columns_of_postgres(table: str) -> list[_Column]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attname, format_type(atttypid, NULL) IN ('smallint', 'integer', 'bigint'),"
            " attnotnull AND NOT atthasdef AND attidentity = '', pg_get_serial_sequence(%s, attname) IS NOT NULL,"
            " attgenerated <> '' FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
            " ORDER BY attnum",
            [_quoted(table), _quoted(table)],
        )
        return [_Column(*row) for row in cursor.fetchall()]


def _dropped_in(source: sqlite3.Connection, in_file: set[str]) -> set[str]:
    """Return the tables that `drop_legacy` dropped in the file."""
    if "legacy_modeinforce" not in in_file:
        return set()
    found = source.execute("SELECT MAX(tables_dropped) FROM legacy_modeinforce").fetchone()
    return set(DROPPED_BY_DROP_LEGACY) - in_file if found[0] else set()


def _apps_taken_out(source: sqlite3.Connection) -> set[str]:
    recorded = {app for (app,) in source.execute(f"SELECT DISTINCT app FROM {MIGRATIONS}")}  # noqa: S608
    return recorded - {config.label for config in apps.get_app_configs()}


def _count(source: sqlite3.Connection, table: str, where: str = "TRUE") -> int:
    return int(source.execute(f"SELECT COUNT(*) FROM {_quoted(table)} WHERE {where}").fetchone()[0])  # noqa: S608


def _count_here(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {_quoted(table)}")  # noqa: S608
        return int(cursor.fetchone()[0])


# --- the copy and its proof ------------------------------------------------------------------------------------------


def _copy_table(source: sqlite3.Connection, cursor: Any, table: _Table, progress: Progress) -> None:
    names = ", ".join(_quoted(column.name) for column in table.columns)
    rows = source.execute(f"SELECT {names} FROM {_quoted(table.name)}")  # noqa: S608
    with cursor.copy(f"COPY {_quoted(table.name)} ({names}) FROM STDIN") as copy:
        while chunk := rows.fetchmany(ROWS_AT_ONCE):
            for row in chunk:
                copy.write_row(row)
            progress.add(len(chunk))


def _reset_sequences(cursor: Any, table: _Table) -> None:
    for column in table.columns:
        if column.has_sequence:
            name = _quoted(column.name)
            cursor.execute(
                f"SELECT setval(pg_get_serial_sequence(%s, %s), COALESCE(MAX({name}), 1), MAX({name}) IS NOT NULL)"  # noqa: S608
                f" FROM {_quoted(table.name)}",
                [_quoted(table.name), column.name],
            )


def _figures_of_file(source: sqlite3.Connection, table: _Table) -> dict[str, int]:
    # Two halves, because SQLite refuses a sum of more than 63 bits.
    halves = [f"SUM({_quoted(name)} / 4294967296), SUM({_quoted(name)} % 4294967296)" for name in table.counted]
    query = f"SELECT {', '.join(['COUNT(*)', *halves])} FROM {_quoted(table.name)}"  # noqa: S608
    rows, *found = source.execute(query).fetchone()
    sums = [(high or 0) * 4294967296 + (low or 0) for high, low in zip(found[::2], found[1::2], strict=True)]
    return dict(zip(["rows", *table.counted], [rows, *sums], strict=True))


def _figures_of_postgres(table: _Table) -> dict[str, int]:
    sums = [f"COALESCE(SUM({_quoted(name)}), 0)" for name in table.counted]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(['COUNT(*)', *sums])} FROM {_quoted(table.name)}")  # noqa: S608
        return dict(zip(["rows", *table.counted], map(int, cursor.fetchone()), strict=True))


# --- words -----------------------------------------------------------------------------------------------------------


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _names(migrations: _Migrations) -> str:
    return ", ".join(f"{app}.{name}" for app, name in sorted(migrations))


def _left_out(source: sqlite3.Connection, table: str) -> str:
    taken_out = _apps_taken_out(source)
    app = next((app for app in taken_out if table.startswith(f"{app}_")), None)
    if table in DROPPED_BY_DROP_LEGACY and "legacy" in taken_out:
        app = "legacy"
    why = f"PostgreSQL has no such table, because `{app}` is not installed" if app else "PostgreSQL has no such table"
    return f"{table}: {_rows(_count(source, table))} left out: {why}. They stay in the file."
