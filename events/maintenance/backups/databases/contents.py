"""The figures of a database: they describe a backup, and prove that a restored database is the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.migrations.loader import MigrationLoader
from django.db.utils import load_backend
from django.utils.crypto import salted_hmac

from events import clock
from events.models import Event, FailureGroup
from events.reports import metrics

EVENTS = Event._meta.db_table
MIGRATIONS = "django_migrations"
_TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'",
    # Without the tables of extensions, which a dump does not contain.
    "postgresql": (
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace ="
        " (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND NOT EXISTS"
        " (SELECT 1 FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')"
    ),
}
_SPANS = (1, 7, 30, 90)  # days: the ranges of the overview


class Contents(NamedTuple):
    """The row counts, migrations and figures of a database at `made_at_ms`."""

    made_at_ms: int
    engine: str
    engine_version: str
    schema: str  # of PostgreSQL, "" on SQLite
    migrations: list[str]  # such as "events.0001_initial"
    tables: dict[str, int]  # rows by table
    # Figures of the overview. Empty if migrations are pending, because the queries need the current tables.
    figures: dict[str, int]
    newest_event_ms: int | None
    key_check: str  # a hash of the secret key, which shows whether another machine has the same one

    @property
    def events(self) -> int:
        return self.tables.get(EVENTS, 0)

    def differences_from(self, other: "Contents") -> list[str]:
        """Return in words what differs. `self` is the restored database, `other` the description of the backup."""
        words = [
            f"{name} has {_rows(self.tables.get(name))} instead of {_rows(other.tables.get(name))}"
            for name in sorted(self.tables.keys() | other.tables.keys())
            if self.tables.get(name) != other.tables.get(name)
        ]
        if set(self.migrations) != set(other.migrations):
            different = sorted(set(self.migrations) ^ set(other.migrations))
            words.append(f"the applied migrations differ: {', '.join(different)}")
        if self.newest_event_ms != other.newest_event_ms:
            words.append("the newest event differs")
        if self.figures and other.figures:
            # Figures that only one release computes are left out.
            words += [
                f"the overview shows {name.replace('_', ' ')} {figure:,} instead of {other.figures[name]:,}"
                for name, figure in self.figures.items()
                if other.figures.get(name, figure) != figure
            ]
        return words


def read(made_at_ms: int) -> Contents:
    """Read the contents of the current database. The figures are those of the overview at `made_at_ms`.

    The caller opens the transaction that makes this one snapshot, if other processes may write meanwhile.
    """
    with connection.cursor() as cursor:
        cursor.execute(_TABLES[connection.vendor])
        names = sorted(str(name) for (name,) in cursor.fetchall())
        tables = {}
        for name in names:
            cursor.execute(f"SELECT COUNT(*) FROM {connection.ops.quote_name(name)}")  # noqa: S608
            tables[name] = int(cursor.fetchone()[0])
        migrations, newest_event_ms, schema = [], None, ""
        if MIGRATIONS in tables:
            cursor.execute(f"SELECT app, name FROM {MIGRATIONS}")  # noqa: S608
            migrations = sorted({f"{app}.{name}" for app, name in cursor.fetchall()})
        if EVENTS in tables:
            cursor.execute(f"SELECT MAX(received_at_ms) FROM {EVENTS}")  # noqa: S608
            newest_event_ms = cursor.fetchone()[0]
        if connection.vendor == "postgresql":
            cursor.execute("SELECT current_schema()")
            schema = cursor.fetchone()[0] or ""
    return Contents(
        made_at_ms,
        connection.vendor,
        ".".join(map(str, connection.get_database_version())),
        schema,
        migrations,
        tables,
        {} if known_migrations() - set(migrations) else _figures(made_at_ms),
        newest_event_ms,
        key_check(),
    )


def _figures(made_at_ms: int) -> dict[str, int]:
    lifetime = metrics.lifetime_figures(made_at_ms)
    figures = {"public_count": lifetime.flashes.total, "baseline": lifetime.flashes.baseline}
    for days in _SPANS:
        period = metrics.last_days(days, clock.day_of(made_at_ms))
        events, expected = metrics.totals_by_type(*period), metrics.expected_by_type(*period)
        figures |= {f"{name}_of_{days}_days": total for name, total in events.items()}
        figures[f"expected_of_{days}_days"] = sum(expected.values())
    statuses = FailureGroup.objects.values_list("status", flat=True).distinct().order_by("status")
    figures |= {f"{status}_groups": FailureGroup.objects.filter(status=status).count() for status in statuses}
    return figures


def key_check() -> str:
    """Return a hash of this site's secret key."""
    return salted_hmac("events.backups", "", algorithm="sha256").hexdigest()[:16]


def known_migrations() -> set[str]:
    """Return the migrations of this release."""
    return {f"{app}.{name}" for app, name in MigrationLoader(None).disk_migrations}


@contextmanager
def using(changes: dict[str, Any]) -> Iterator[None]:
    """Let the ORM in this thread use another database: the settings of the site's database with `changes`."""
    site = connections[DEFAULT_DB_ALIAS]
    options = {name: value for name, value in site.settings_dict["OPTIONS"].items() if name != "pool"}
    settings_dict = {**site.settings_dict, "OPTIONS": options, "CONN_MAX_AGE": 0} | changes
    other = load_backend(settings_dict["ENGINE"]).DatabaseWrapper(settings_dict, DEFAULT_DB_ALIAS)
    connections[DEFAULT_DB_ALIAS] = other
    try:
        yield
    finally:
        other.close()
        connections[DEFAULT_DB_ALIAS] = site


def _rows(count: int | None) -> str:
    return "no table" if count is None else "1 row" if count == 1 else f"{count:,} rows"
