"""Copy a whole site from its SQLite file into an empty PostgreSQL database, and prove that it is all there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.management.color import no_style
from django.db import DatabaseError, connection, connections, models, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Count, Sum

from events.management.progress import Progress
from events.models import Event
from events.querysets import in_pages
from telemetry_site import lock

SOURCE = "sqlite_source"
ROWS_AT_ONCE = 1_000
_Model = type[models.Model]


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
        if connection.vendor != "postgresql":
            raise CommandError("DATABASE_URL must name the PostgreSQL database to copy into.")
        if not file.is_file():
            raise CommandError(f"{file}: there is no such file.")
        try:
            held = lock.take(settings.DATA_DIR)
        except lock.AlreadyServed as error:
            raise CommandError(
                f"{settings.DATA_DIR}: {error}. Stop it first: what came meanwhile would be missing."
            ) from None
        try:
            with held, _source(file):
                self._expect_same_migrations()
                with transaction.atomic(using=SOURCE), transaction.atomic():
                    self._copy()
        except DatabaseError as error:
            raise CommandError(f"{error}\nNothing was copied: the database is as it was.") from None

    def _expect_same_migrations(self) -> None:
        there, here = (set(MigrationRecorder(connections[alias]).applied_migrations()) for alias in (SOURCE, "default"))
        if there != here:
            names = ", ".join(sorted(f"{app}.{name}" for app, name in there ^ here))
            raise CommandError(f"Both must be migrated by this version (`manage.py migrate`). They differ in {names}.")
        if Event.objects.exists() or User.objects.exists():
            raise CommandError(
                "The database has events or users already. Take one that is migrated and was never served."
            )

    def _copy(self) -> None:
        copied = list(_models())
        with connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {', '.join(connection.ops.quote_name(m._meta.db_table) for m in copied)}")
        figures = {model: _figures(model, SOURCE) for model in copied}
        progress = Progress(self.stderr, sum(figure["rows"] for figure in figures.values()))
        for model in copied:
            for rows in in_pages(model._base_manager.using(SOURCE).order_by("pk"), ROWS_AT_ONCE):
                model._base_manager.bulk_create(rows)
                progress.add(len(rows))
        progress.finish()
        with connection.cursor() as cursor:
            for statement in connection.ops.sequence_reset_sql(no_style(), copied):
                cursor.execute(statement)
        self._prove(figures)

    def _prove(self, figures: dict[_Model, dict[str, int]]) -> None:
        """Compare counts and sums; raises CommandError, and so takes everything back, where they differ."""
        differing = []
        for model, there in figures.items():
            here = _figures(model, "default")
            if any(there.values()) or here != there:
                words = ", ".join(f"{name} {there[name]:,}" for name in there if there[name])
                self.stdout.write(f"{model._meta.db_table}: {words}")
            if here != there:
                differing.append(f"{model._meta.db_table} has {here}")
        if differing:
            raise CommandError(f"They differ, and nothing was copied: {'; '.join(differing)}")
        self.stdout.write("Every figure is the same in both. Serve with this DATABASE_URL from now on.")


@contextmanager
def _source(file: Path) -> Iterator[None]:
    connections.databases[SOURCE] = connections.databases["default"] | {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(file),
        "OPTIONS": {"init_command": "PRAGMA query_only=ON"},
    }
    try:
        yield
    finally:
        connections[SOURCE].close()
        del connections[SOURCE], connections.databases[SOURCE]


def _models() -> Iterator[_Model]:
    for model in apps.get_models(include_auto_created=True):
        if model._meta.managed and not model._meta.proxy:
            yield model


def _figures(model: _Model, alias: str) -> dict[str, int]:
    """Return how many rows a table has, and the sums of what it counts; moments are no counts."""
    sums = {
        field.name: Sum(field.name)
        for field in model._meta.concrete_fields
        if isinstance(field, models.IntegerField) and not field.primary_key and not field.name.endswith("_ms")
    }
    found = model._base_manager.using(alias).aggregate(rows=Count("*"), **sums)
    return {name: int(value or 0) for name, value in found.items()}
