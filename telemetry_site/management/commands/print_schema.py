"""Write the SQL of every migration, for SQLite and PostgreSQL, into files under docs/schema/."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.postgresql.schema import DatabaseSchemaEditor as PostgresqlSchemaEditor
from django.db.backends.sqlite3.schema import DatabaseSchemaEditor as SqliteSchemaEditor
from django.db.migrations.loader import MigrationLoader
from django.db.utils import ConnectionHandler

# The oldest supported version. With a server's own version the files would depend on that server.
POSTGRESQL_VERSION = 15_00_00


class Command(BaseCommand):
    help = "Write the SQL of every migration, for SQLite and PostgreSQL, into docs/schema/. Needs no database."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--into", type=Path, default=settings.BASE_DIR / "docs" / "schema", metavar="FOLDER")

    def handle(self, *args: Any, into: Path, **options: Any) -> None:
        for engine in EDITORS:
            folder = into / engine
            folder.mkdir(parents=True, exist_ok=True)
            written = set()
            for name, sql in schema_files(engine):
                (folder / name).write_text(sql, encoding="utf-8")
                written.add(name)
            for stale in folder.glob("*.sql"):
                if stale.name not in written:
                    stale.unlink()
            self.stdout.write(f"{folder}: {len(written)} migrations")


def schema_files(engine: str) -> Iterator[tuple[str, str]]:
    """Yield the file name and the SQL of each migration of our apps, in execution order."""
    loader = MigrationLoader(None)
    with _connection(engine) as connection:
        for app, name in _in_order(loader):
            migration = loader.graph.nodes[app, name]
            # `atomic` would open a transaction on a server. The lines below add BEGIN and COMMIT instead.
            with EDITORS[engine](connection, collect_sql=True, atomic=False) as editor:
                migration.apply(loader.project_state((app, name), at_end=False), editor, collect_sql=True)
            lines = ["BEGIN;", *editor.collected_sql, "COMMIT;"] if migration.atomic else editor.collected_sql
            yield f"{app}_{name}.sql", "\n".join(line.rstrip() for line in lines) + "\n"


def _in_order(loader: MigrationLoader) -> list[tuple[str, str]]:
    ordered: dict[tuple[str, str], None] = {}
    for leaf in sorted(loader.graph.leaf_nodes()):
        ordered |= dict.fromkeys(loader.graph.forwards_plan(leaf))
    ours = {app.label for app in apps.get_app_configs() if Path(app.path).parent == settings.BASE_DIR}
    return [key for key in ordered if key[0] in ours]


@contextmanager
def _connection(engine: str) -> Iterator[BaseDatabaseWrapper]:
    backend = f"django.db.backends.{'sqlite3' if engine == 'sqlite' else engine}"
    handler = ConnectionHandler({"default": {"ENGINE": backend, "NAME": ":memory:"}})
    connection: BaseDatabaseWrapper = handler["default"]
    if engine == "postgresql":
        vars(connection)["pg_version"] = POSTGRESQL_VERSION
    try:
        yield connection
    finally:
        if connection.connection is not None:
            connection.connection.close()  # Django's own close() keeps an in-memory database open


class _OfflinePostgresql(PostgresqlSchemaEditor):
    def execute(self, sql: Any, params: Any = ()) -> None:
        # Django's own method quotes parameters with the server's connection.
        BaseDatabaseSchemaEditor.execute(self, sql, params or None)


EDITORS: dict[str, type[BaseDatabaseSchemaEditor]] = {"sqlite": SqliteSchemaEditor, "postgresql": _OfflinePostgresql}
