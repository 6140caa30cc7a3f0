"""The writers of each table, the names of the old system, the lines of templates. import-linter checks imports."""

import ast
import re
from collections.abc import Iterator

import pytest
from django.conf import settings

# The tables that everything else is proved from, and the only modules that may write them.
WRITERS = {
    "Event": {
        "events/counting/corrections.py",
        "events/grouping/merges.py",
        "events/grouping/moves.py",
        "events/ingest/writer.py",
        "events/maintenance/retention.py",
    },
    "LifetimeTotal": {"events/counting/rollups.py"},
    "ExpectedRollup": {"events/counting/expected.py"},
    "DailyExpected": {"events/counting/rollups.py"},
    "DailyRollup": {"events/counting/rollups.py"},
    "HourlyRollup": {"events/counting/rollups.py"},
    "IngestTally": {"events/counting/rollups.py"},
    "RefusedHost": {"events/ingest/refused_hosts.py"},
    "CounterBaseline": {"events/counting/rollups.py"},
    "ModeRollup": {"events/counting/rollups.py"},
    "FacetRollup": {"events/counting/facets.py"},
    "Release": {"events/counting/releases.py"},
    "KnownName": {"events/counting/buckets.py"},
    "Arrival": {"events/counting/arrivals.py"},
    "FailureGroup": {f"events/grouping/{name}.py" for name in ("advice", "groups", "issues", "triage")},
    "AdviceDay": {"events/grouping/advice.py"},
    "FormerGroup": {f"events/grouping/{name}.py" for name in ("merges", "moves")},
    "PlaceRule": {"events/grouping/splits.py"},
    "Alert": {"events/alerts/outbox.py"},
    "AlertDelivery": {"events/alerts/delivery.py"},
    "AlertChannel": {"events/alerts/channels/roster.py"},
    "AuditEntry": {"events/audit.py"},
    "JobState": {"events/maintenance/jobs/leases.py"},
    "JobRun": {"events/maintenance/jobs/runs.py"},
    "Correction": {"events/counting/corrections.py"},
    "CorrectionShare": {"events/counting/corrections.py"},
    "CorrectionFacet": {"events/counting/corrections.py"},
    "DismissedMerge": {"events/grouping/triage.py"},
    "ResolvedFrame": {"events/sourcemaps/resolve.py"},
    "SourceMap": {"events/sourcemaps/resolve.py", "events/sourcemaps/store.py"},
    "CommitBucket": {"events/monitoring/commits.py"},
    "Backup": {"events/maintenance/backups/records.py"},
    "NamedExport": {"events/reports/exports/named.py"},
    "SiteDay": {"events/counting/site_days.py"},
    "SavedView": {"events/admin/saved_views/store.py"},
    "Visit": {"events/admin/overview/visits.py"},
    "RetentionMark": {"events/maintenance/retention.py"},
    "GroupHour": {"events/grouping/groups.py"},
    "GroupShare": {"events/grouping/groups.py"},
}
# The SQL of counts, which names no table: the module that passes a table writes that table.
UPSERTS = "events/counting/upserts.py"
# These write SQL to tables of their own: the old system's, and an import's scratch database.
OLD_TABLES = {
    f"legacy/{name}.py" for name in ("cutover/archive", "imports/d1_import", "imports/d1_staging", "old_tables")
}
# It writes all tables alike, into a database where nothing is yet.
COPIER = "telemetry_site/management/commands/copy_sqlite.py"
SQL_WRITERS = set.union(OLD_TABLES, {UPSERTS, COPIER}, *WRITERS.values())

WRITES = {
    "save", "delete", "create", "update", "get_or_create", "update_or_create", "bulk_create", "bulk_update",
    "asave", "adelete", "acreate", "aupdate", "aget_or_create", "aupdate_or_create", "abulk_create", "abulk_update",
    "_raw_delete",
}  # fmt: skip
SQL_WRITE = re.compile(r"\b(INSERT\s+(OR\s+\w+\s+)?INTO|REPLACE\s+INTO|UPDATE\s+\S+\s+SET|DELETE\s+FROM|TRUNCATE)\b")


def sources() -> Iterator[tuple[str, str]]:
    for folder in ("events", "legacy", "telemetry_site"):
        for file in sorted((settings.BASE_DIR / folder).rglob("*.py")):
            if "migrations" not in file.parts:
                yield str(file.relative_to(settings.BASE_DIR)), file.read_text(encoding="utf-8")


class Writes(ast.NodeVisitor):
    """Collects the writes of one module: which names each goes back to, and the SQL that writes.

    A local variable goes back to what it was assigned from, looped over or annotated with.
    """

    def __init__(self, source: str) -> None:
        self.by_orm: list[tuple[int, set[str]]] = []
        self.by_sql: list[int] = []
        self._origins: dict[str, set[str]] = {}
        self.visit(ast.parse(source))

    def visit_Module(self, node: ast.Module) -> None:
        for statement in node.body:
            if not isinstance(statement, ast.FunctionDef | ast.ClassDef):
                self._learn_all(statement)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        around = self._origins
        self._origins = {name: set(origins) for name, origins in around.items()}
        self._learn_all(node)
        self.generic_visit(node)
        self._origins = around

    def _learn_all(self, tree: ast.AST) -> None:
        for node in ast.walk(tree):
            self._learn(node)

    def _learn(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._relate(target, node.value)
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value:
            self._relate(node.target, node.value)
        elif isinstance(node, ast.For | ast.comprehension):
            self._relate(node.target, node.iter)
        elif isinstance(node, ast.arg) and node.annotation:
            self._origins.setdefault(node.arg, set()).update(self._names(node.annotation))

    def _relate(self, target: ast.expr, value: ast.expr) -> None:
        for name in self._names(target):
            self._origins.setdefault(name, set()).update(self._names(value))

    @staticmethod
    def _names(node: ast.AST) -> set[str]:
        """Return every name that a value or an annotation speaks of, quoted annotations included."""
        quoted = {child.value for child in ast.walk(node) if isinstance(child, ast.Constant)}
        return {child.id for child in ast.walk(node) if isinstance(child, ast.Name)} | {
            word for text in quoted if isinstance(text, str) for word in re.findall(r"\b[A-Z]\w+\b", text)
        }

    def _reaches(self, names: set[str]) -> set[str]:
        reached: set[str] = set()
        while names:
            reached |= names
            names = set().union(*(self._origins.get(name, set()) for name in names)) - reached
        return reached

    def visit_Call(self, node: ast.Call) -> None:
        # A queryset's update() takes keywords, a dictionary's a value.
        is_write = isinstance(node.func, ast.Attribute) and node.func.attr in WRITES
        if is_write and not (node.func.attr == "update" and node.args):
            self.by_orm.append((node.lineno, self._reaches(self._names(node.func.value))))
        if isinstance(node.func, ast.Name) and node.func.id in ("Upsert", "change"):
            self.by_orm.append((node.lineno, self._reaches(self._names(node.args[0]))))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and SQL_WRITE.search(node.value):
            self.by_sql.append(node.lineno)


def foreign_writes(path: str, source: str) -> list[str]:
    writes = Writes(source)
    found = [
        f"{path}:{line} writes {model}"
        for line, names in writes.by_orm
        for model, writers in WRITERS.items()
        if model in names and path not in writers
    ]
    return found + [f"{path}:{line} writes by SQL" for line in writes.by_sql if path not in SQL_WRITERS]


def test_only_the_writers_write() -> None:
    assert [line for path, source in sources() for line in foreign_writes(path, source)] == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("events/api/views.py", "Event.objects.create(id='1')"),
        ("events/api/views.py", "Event(id='1').save()"),
        ("events/admin/events.py", "def act(self, request, queryset: 'EventQuerySet[Event]'):\n    queryset.delete()"),
        ("events/admin/events.py", "def act(event: Event) -> None:\n    event.save()"),
        ("legacy/routes/views.py", "old = Event.objects.failures()\nfor one in old.newest_first():\n    one.delete()"),
        ("events/ingest/writer.py", "LifetimeTotal.objects.update_or_create(event_type='x')"),
        ("events/counting/rollups.py", "Event.objects.filter(id='1').update(message='')"),
        ("events/reports/metrics.py", "_HOURLY = Upsert(HourlyRollup._meta.db_table, ('hour_ms',), 'hour_ms', '')"),
        ("events/reports/metrics.py", "rows = HourlyRollup.objects.all()\nrows.filter(accepted=0).delete()"),
        ("legacy/routes/views.py", "cursor.execute(f'DELETE FROM {table} WHERE id = %s', [1])"),
        ("telemetry_site/errors.py", "cursor.execute('UPDATE telemetry_events SET message = 1')"),
    ],
)
def test_a_write_elsewhere_is_seen(path: str, source: str) -> None:
    assert len(foreign_writes(path, source)) == 1


def test_the_writers_are_seen_to_write() -> None:
    """Or the rule above would hold because it looks at nothing."""
    for model, writers in WRITERS.items():
        for path in writers:
            writes = Writes((settings.BASE_DIR / path).read_text(encoding="utf-8"))
            assert writes.by_sql or any(model in names for _, names in writes.by_orm), f"{path} writes no {model}"


# --- the old system ------------------------------------------------------------------------------------------------

OLD_SYSTEM = re.compile(r"legacy|old (system|route|table|log)|parity|cutover|import_d1|client-log", re.IGNORECASE)
# The client can send each event to both systems.
CLIENT = {"events/static/events/telemetry.js", "events/static/events/telemetry.d.ts"}


def product_files(*patterns: str) -> Iterator[tuple[str, str]]:
    for pattern in patterns:
        for file in sorted(settings.BASE_DIR.glob(pattern)):
            path = str(file.relative_to(settings.BASE_DIR))
            if file.is_file() and path not in CLIENT and "migrations" not in file.parts:
                yield path, file.read_text(encoding="utf-8")


def test_only_the_folder_legacy_has_templates_and_styles_of_the_old_system() -> None:
    files = [*product_files("templates/**/*.html", "events/static/**/*.*")]
    assert len(files) > 40
    assert [path for path, text in files if OLD_SYSTEM.search(text)] == []


def test_events_does_not_name_legacy() -> None:
    assert [path for path, text in product_files("events/**/*.py") if re.search("legacy", text, re.I)] == []


def test_no_other_template_uses_the_style_sheet_of_legacy() -> None:
    """A rule for a page outside legacy would vanish with the folder."""
    sheet = (settings.BASE_DIR / "legacy/static/legacy/legacy.css").read_text(encoding="utf-8")
    shared = [text for _, text in product_files("events/static/events/*.css")]
    own = {name for name in re.findall(r"\.([a-z][\w-]*)", sheet) if not any(f".{name}" in text for text in shared)}
    assert own
    used = "".join(text for _, text in product_files("templates/**/*.html"))
    assert [name for name in sorted(own) if re.search(rf'class="[^"]*\b{name}\b', used)] == []


# --- templates -----------------------------------------------------------------------------------------------------

LONGEST_LINE = 160


def test_lines_of_templates_are_short() -> None:
    files = product_files("templates/**/*.html", "legacy/templates/**/*.html")
    lines = [(path, line) for path, text in files for line in text.splitlines()]
    assert len(lines) > 1000
    assert [(path, line) for path, line in lines if len(line) > LONGEST_LINE] == []
