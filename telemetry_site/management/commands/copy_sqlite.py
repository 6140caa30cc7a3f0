"""Copy a whole site from its SQLite file into an empty PostgreSQL database, then compare counts and sums.

The command reads tables and columns from both databases, not from the installed models. So it also works after
`drop_legacy`, and for tables of uninstalled apps. COPY lets PostgreSQL parse every value.
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

ROWS_A_STEP = 1_000  # of the progress
# Never copied: each database records its own migrations.
MIGRATIONS = "django_migrations"
# `migrate` fills these tables. The rows of the file replace its rows.
FILLED_BY_MIGRATE = {
    "auth_group", "auth_group_permissions", "auth_permission", "django_content_type", "events_retentiondefault",
}  # fmt: skip
# Tables that `drop_legacy` drops. The app `legacy` may be uninstalled, so their names are repeated here.
DROPPED_BY_DROP_LEGACY = ("client_logs", "legacy_legacycount")
_Migrations = set[tuple[str, str]]


class _Column(NamedTuple):
    """A column in PostgreSQL."""

    name: str
    is_integer: bool
    is_required: bool  # not nullable, no default
    has_sequence: bool
    is_generated: bool


class _Table(NamedTuple):
    """A table that exists in both databases, with the columns that exist in both."""

    name: str
    columns: list[_Column]
    rows: int

    @property
    def summed(self) -> list[str]:
        """Return the columns to compare by their sum: integers except ids, references and times."""
        return [
            column.name
            for column in self.columns
            if column.is_integer and column.name != "id" and not column.name.endswith(("_ms", "_id"))
        ]


class Command(BaseCommand):
    help = (
        "Copy a whole site from its SQLite file into the empty PostgreSQL database that DATABASE_URL names, in one"
        " transaction, and compare the two. Stop the site first. The file is not changed."
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
            raise CommandError(f"{file}: no such file.")
        try:
            with _locked(file), closing(_open(file)) as source:
                version = _data_version(source)
                with transaction.atomic():
                    source.execute("BEGIN")
                    self._copy(source)
                    source.execute("COMMIT")
                    if _data_version(source) != version:
                        raise CommandError(
                            f"{file}: another process wrote to it during the copy. Stop it, and try again."
                            " Nothing was copied."
                        )
        except (DatabaseError, psycopg.Error, sqlite3.Error) as error:
            raise CommandError(f"{error}\nNothing was copied: the database is as it was.") from None
        self.stdout.write("Every count and sum is equal in both. Start the site with this DATABASE_URL from now on.")

    def _copy(self, source: sqlite3.Connection) -> None:
        in_file, in_postgres = _tables_of_file(source), _tables_of_postgres()
        if MIGRATIONS not in in_file or MIGRATIONS not in in_postgres:
            raise CommandError("Both must be databases of this site, migrated by this version (`manage.py migrate`).")
        self._compare_migrations(source)
        both = in_file & in_postgres - {MIGRATIONS}
        dropped = _dropped_in(source, in_file) & in_postgres
        with connection.cursor() as cursor:  # empty tables must stay empty until the commit
            cursor.execute(f"LOCK TABLE {', '.join(map(_quoted, both | dropped))} IN ACCESS EXCLUSIVE MODE")
        self._refuse_rows(both | dropped)
        self._refuse_lost_tables(source, in_file - in_postgres)
        tables = [self._table(source, name) for name in sorted(both)]

        with connection.cursor() as cursor:
            for name in sorted(FILLED_BY_MIGRATE & both):  # PostgreSQL checks foreign keys at the commit
                cursor.execute(f"DELETE FROM {_quoted(name)}")  # noqa: S608 (names from the database catalogue)
            progress = Progress(self.stderr, sum(table.rows for table in tables))
            for table in tables:
                _copy_table(source, cursor, table, progress)
                _reset_sequences(cursor, table)
            progress.finish()
            for name in sorted(dropped):
                cursor.execute(f"DROP TABLE {_quoted(name)}")
        self._compare(source, tables)
        lines = [f"{name}: dropped, as `drop_legacy` dropped it in the file" for name in sorted(dropped)]
        lines += [_skipped(source, name) for name in sorted(in_file - in_postgres)]
        untouched = sorted(in_postgres - in_file - dropped)
        lines += [f"{name}: not changed: the file has no such table" for name in untouched]
        for line in (*self._report, *lines):
            self.stdout.write(line)

    def _compare_migrations(self, source: sqlite3.Connection) -> None:
        """Refuse databases that this version did not migrate. Only installed apps are compared."""
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

    def _refuse_rows(self, names: set[str]) -> None:
        """Refuse a target with rows that `migrate` did not write: the copy would replace them or mix with them."""
        counts = {name: _count_in_postgres(name) for name in sorted(names - FILLED_BY_MIGRATE)}
        with connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM auth_group WHERE name NOT IN ('Maintainers', 'Staff')")
            counts["auth_group"] = cursor.fetchone()[0]
        if any(counts.values()):
            words = ", ".join(f"{name} ({_rows(rows)})" for name, rows in counts.items() if rows)
            raise CommandError(
                f"The database has rows that no migration wrote: {words}. Nothing was copied."
                " Use a migrated database that no site has used yet."
            )

    def _refuse_lost_tables(self, source: sqlite3.Connection, names: set[str]) -> None:
        site_tables = {
            model._meta.db_table for model in apps.get_models(include_auto_created=True) if model._meta.managed
        }
        lost = {name: _count(source, name) for name in sorted(names & site_tables)}
        if any(lost.values()):
            words = ", ".join(f"{name} ({_rows(rows)})" for name, rows in lost.items() if rows)
            raise CommandError(f"PostgreSQL lacks tables that the site needs: {words}. Nothing was copied.")

    def _table(self, source: sqlite3.Connection, name: str) -> _Table:
        """Compare the columns of a table. Raises CommandError when a value would be lost or is missing."""
        rows = _count(source, name)
        in_postgres = {column.name: column for column in _columns_of_postgres(name)}
        # Hidden columns are 1 for virtual tables, 2 and 3 for generated columns.
        defaults = {
            column: default
            for _, column, _, _, default, _, hidden in source.execute(f"PRAGMA table_xinfo({_quoted(name)})")
            if hidden != 1
        }
        for column, default in defaults.items():
            if column in in_postgres:
                continue
            where = f"{_quoted(column)} IS NOT ({default or 'NULL'})"
            if stored := _count(source, name, where):
                raise CommandError(
                    f"PostgreSQL has no column {name}.{column}, and {_rows(stored)} of the file have a value in it."
                    " Nothing was copied."
                )
            self._report.append(f"{name}.{column}: left out: only the file has it, and each value is the default")
        missing = [column.name for column in in_postgres.values() if column.is_required and column.name not in defaults]
        if missing and rows:
            raise CommandError(
                f"The file has no column {name}.{missing[0]}, which PostgreSQL requires. Nothing was copied."
            )
        both = [column for column in in_postgres.values() if column.name in defaults and not column.is_generated]
        return _Table(name, both, rows)

    def _compare(self, source: sqlite3.Connection, tables: list[_Table]) -> None:
        """Compare counts and sums. Raises CommandError when they differ, which rolls the copy back."""
        differing = []
        for table in tables:
            in_file, in_postgres = _figures_of_file(source, table), _figures_of_postgres(table)
            words = ", ".join(f"{name} {figure:,}" for name, figure in in_file.items() if figure or name == "rows")
            self.stdout.write(f"{table.name}: {words}")
            if in_postgres != in_file:
                differing.append(f"{table.name} has {in_postgres}")
        if differing:
            raise CommandError(f"The two databases differ, so nothing was copied: {'; '.join(differing)}")


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Lock DATA_DIR, and the folder of the file if a server ever ran there, against servers."""
    file_folders = {file.parent.resolve(), file.resolve().parent}
    folders = {settings.DATA_DIR.resolve(), *(folder for folder in file_folders if (folder / "server.lock").exists())}
    with ExitStack() as locks:
        for folder in sorted(folders):
            try:
                locks.enter_context(lock.take(folder))
            except lock.AlreadyServed as error:
                raise CommandError(
                    f"{folder}: {error}. Stop it first: the copy would miss events that it stores."
                ) from None
        yield


def _open(file: Path) -> sqlite3.Connection:
    # Not `mode=ro`: with it SQLite may be unable to read a -wal that is not checkpointed.
    source = sqlite3.connect(f"file:{quote(str(file.resolve()))}?mode=rw", uri=True, isolation_level=None)
    source.execute("PRAGMA query_only=ON")
    return source


def _data_version(source: sqlite3.Connection) -> int:
    """Return a number that changes when another connection commits."""
    return int(source.execute("PRAGMA data_version").fetchone()[0])


# --- catalogues of both databases ------------------------------------------------------------------------------------


def _tables_of_file(source: sqlite3.Connection) -> set[str]:
    rows = source.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return {name for (name,) in rows if not name.startswith("sqlite_")}


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
    row = source.execute("SELECT MAX(tables_dropped) FROM legacy_modeinforce").fetchone()
    return set(DROPPED_BY_DROP_LEGACY) - in_file if row[0] else set()


def _uninstalled_apps(source: sqlite3.Connection) -> set[str]:
    recorded = {app for (app,) in source.execute(f"SELECT DISTINCT app FROM {MIGRATIONS}")}  # noqa: S608
    return recorded - {config.label for config in apps.get_app_configs()}


def _count(source: sqlite3.Connection, table: str, where: str = "TRUE") -> int:
    return int(source.execute(f"SELECT COUNT(*) FROM {_quoted(table)} WHERE {where}").fetchone()[0])  # noqa: S608


def _count_in_postgres(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {_quoted(table)}")  # noqa: S608
        return int(cursor.fetchone()[0])


# --- copy and comparison ---------------------------------------------------------------------------------------------


def _copy_table(source: sqlite3.Connection, cursor: Any, table: _Table, progress: Progress) -> None:
    names = ", ".join(_quoted(column.name) for column in table.columns)
    rows = source.execute(f"SELECT {names} FROM {_quoted(table.name)}")  # noqa: S608
    with cursor.copy(f"COPY {_quoted(table.name)} ({names}) FROM STDIN") as copy:
        copied = 0
        for row in rows:  # one at a time: a source map has up to some megabytes
            copy.write_row(row)
            copied += 1
            if copied % ROWS_A_STEP == 0:
                progress.add(ROWS_A_STEP)
        progress.add(copied % ROWS_A_STEP)


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
    # Sum the high and low 32 bits separately: SQLite raises an error for a sum over 63 bits.
    halves = [f"SUM({_quoted(name)} / 4294967296), SUM({_quoted(name)} % 4294967296)" for name in table.summed]
    query = f"SELECT {', '.join(['COUNT(*)', *halves])} FROM {_quoted(table.name)}"  # noqa: S608
    rows, *sums_of_halves = source.execute(query).fetchone()
    sums = [
        (high or 0) * 4294967296 + (low or 0)
        for high, low in zip(sums_of_halves[::2], sums_of_halves[1::2], strict=True)
    ]
    return dict(zip(["rows", *table.summed], [rows, *sums], strict=True))


def _figures_of_postgres(table: _Table) -> dict[str, int]:
    sums = [f"COALESCE(SUM({_quoted(name)}), 0)" for name in table.summed]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(['COUNT(*)', *sums])} FROM {_quoted(table.name)}")  # noqa: S608
        return dict(zip(["rows", *table.summed], map(int, cursor.fetchone()), strict=True))


# --- messages --------------------------------------------------------------------------------------------------------


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _names(migrations: _Migrations) -> str:
    return ", ".join(f"{app}.{name}" for app, name in sorted(migrations))


def _skipped(source: sqlite3.Connection, table: str) -> str:
    uninstalled = _uninstalled_apps(source)
    app = next((app for app in uninstalled if table.startswith(f"{app}_")), None)
    if table in DROPPED_BY_DROP_LEGACY and "legacy" in uninstalled:
        app = "legacy"
    why = f"PostgreSQL has no such table, because `{app}` is not installed" if app else "PostgreSQL has no such table"
    return f"{table}: {_rows(_count(source, table))} left out: {why}. They stay in the file."
