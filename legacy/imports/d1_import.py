"""Merges a staged export into the stream and the old tables in short transactions. A second run adds nothing."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Any

from django.db import connection
from django.db.models import Sum

from events.counting import rollups
from events.ingest import writer
from events.models import CounterBaseline, Event, Source
from events.querysets import SUCCESS
from events.reports import metrics
from events.rows import EventRow
from legacy import old_tables, translate
from legacy.cutover import modes, switch
from legacy.imports import d1_rows
from legacy.imports.d1_known import Known, NoLongerStored, names_of, refusal_name
from legacy.imports.d1_staging import PAGES_KEPT_KIB, Staged
from legacy.models import ClientLog, ImportRun, LegacyCount, Mode

CHUNK = 1_000
MAX_EXAMPLES = 5
# The size of the write-ahead log before a checkpoint. Commits change the same pages, so fewer checkpoints write less.
PAGES_IN_WAL = 16_000
PERSONAL_COLUMNS = ("user_agent", "page_url", "origin", "ip_hash")


class RowOutcome(Enum):
    """The outcome of a row."""

    ADDED = auto()
    ALREADY_STORED = auto()
    TWIN = auto()
    REFUSED = auto()


@dataclass
class Report:
    """The outcomes of all rows, by table: each row is in one of `added`, `already_there`, `twins` and `refused`.

    `refused` and `repaired` are by reason, and `examples` has a few row ids for each reason. `not_kept` counts dropped
    personal data by column. `sessions_added` counts the sessions that are new for the old counter.
    """

    read: Counter[str] = field(default_factory=Counter)
    added: Counter[str] = field(default_factory=Counter)
    already_there: Counter[str] = field(default_factory=Counter)
    twins: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    not_kept: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    log_rows_added: int = 0
    successes_added: int = 0
    sessions_added: int = 0

    def example(self, reason: str, row_id: Any) -> None:
        examples = self.examples.setdefault(reason, [])
        if len(examples) < MAX_EXAMPLES:
            examples.append(str(row_id)[:64])

    def refuse(self, table: str, reason: str, row_id: Any) -> None:
        reason = f"{table}: {reason}"
        self.refused[reason] += 1
        self.example(reason, row_id)

    def repair(self, table: str, reasons: list[str], row_id: Any) -> None:
        for reason in reasons:
            reason = f"{table}: {reason}"
            self.repaired[reason] += 1
            self.example(reason, row_id)


class Import:
    """One merge of one staged export. With `dry_run` it only reports, and writes nothing."""

    def __init__(self, staged: Staged, *, dry_run: bool, progress: Callable[[int], None]) -> None:
        self.staged = staged
        self.dry_run = dry_run
        self.progress = progress
        self.report = Report()
        self.mode = Mode(modes.in_force().mode)
        self.baseline_added: int | None = None
        self.no_longer_stored = NoLongerStored()
        self.has_refused = False
        # Names of the events that this run has processed. A dry run stores no events, so it needs this table.
        staged.connection.execute(f"PRAGMA temp.cache_size=-{PAGES_KEPT_KIB}")
        staged.connection.execute("CREATE TEMP TABLE seen (name TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID")
        # No commit is necessary, because the temporary table is deleted when the connection closes.
        staged.connection.execute("BEGIN")

    def run(self, file_name: str, *, now: datetime) -> Report:
        """Merge all tables, store the report and return it. Raises StorageUnavailable; a second run then continues."""
        if self.staged.left_out:
            self.report.notes.append(f"Tables that are not ours were left out: {', '.join(self.staged.left_out)}.")
        self._settle_mode(now)
        with _settings_for_many_rows():
            if "telemetry_events" in self.staged.rows:
                for row in self.staged.baselines():
                    if d1_rows.is_baseline(row):
                        self._merge_baseline(row, now)
                for rows in self.staged.read("telemetry_events", CHUNK):
                    self._merge_events(rows)
            if "client_logs" in self.staged.rows:
                for rows in self.staged.read("client_logs", CHUNK):
                    self._merge_logs(rows)
        if not self.dry_run:
            ImportRun.objects.create(
                finished_at=now,
                file_name=file_name,
                successes_added=self._successes_added(),
                report=vars(self.report),
            )
        return self.report

    def counts_after(self) -> tuple[int, int]:
        """Return the public count and the old counter's count after this run, also for a dry run."""
        if not self.dry_run:
            return old_tables.stream_count(), old_tables.count()
        now = metrics.flash_count()
        baseline = now.baseline if self.baseline_added is None else self.baseline_added
        sessions = old_tables.count() - now.baseline
        return (
            baseline + now.accepted + self.report.successes_added,
            baseline + sessions + self.report.sessions_added,
        )

    def _successes_added(self) -> int:
        """Return the successes of this run, plus those of an earlier run that was killed before its report."""
        reported = ImportRun.objects.aggregate(sum=Sum("successes_added"))["sum"] or 0
        imported = Event.objects.successes().filter(source=Source.IMPORT).count()
        return max(self.report.successes_added, imported - reported)

    def _settle_mode(self, now: datetime) -> None:
        # This runs before the first event is stored, so that a repeated run after a kill ends in the same mode.
        lifetime = metrics.lifetime_figures(int(now.timestamp() * 1000))
        if lifetime.last_received_at_ms is not None or modes.was_ever_switched():
            return
        self.mode = Mode.SEPARATE
        self.report.notes.append("The site is new, so its old routes begin in separate.")
        if not self.dry_run:
            reason = "the first import from the old system"
            switch.to_mode(Mode.SEPARATE, reason=reason, user=None, user_name="import_d1", at=now)

    # --- the baseline ------------------------------------------------------------------------------------------

    def _merge_baseline(self, row: dict[str, Any], now: datetime) -> None:
        self.report.read["telemetry_events"] += 1
        row, repairs = d1_rows.without_nul_characters(row)
        value = d1_rows.baseline_total(row)
        in_force = CounterBaseline.objects.order_by("-id").first()
        if value is None:
            self.report.refuse("telemetry_events", "a baseline without a total", row["id"])
        elif self.report.added["baseline"]:
            self.report.refuse("telemetry_events", "a second baseline", row["id"])
        elif in_force is not None:
            if in_force.value == value:
                self.report.already_there["baseline"] += 1
            else:
                self.report.refuse("telemetry_events", f"a baseline, but one is in force: {in_force}", row["id"])
        else:
            self.report.added["baseline"] = 1
            self.report.repair("telemetry_events", repairs, row["id"])
            self.baseline_added = value
            self.report.notes.append(f"The baseline is {value}, from the row {row['id']}.")
            if not self.dry_run:
                note = f"from the old system, row {row['id']}"
                rollups.set_baseline(value, note=note, user=None, user_name="import_d1", at=now)

    # --- the old system's telemetry_events ---------------------------------------------------------------------

    def _merge_events(self, rows: list[dict[str, Any]]) -> None:
        table = "telemetry_events"
        candidates = []
        for raw in rows:
            if d1_rows.is_baseline(raw):
                continue
            self.report.read[table] += 1
            row, repairs = d1_rows.without_nul_characters(raw)
            fault = d1_rows.fault_of(row) or d1_rows.session_fault_of(row)
            if fault:
                self.report.refuse(table, fault, row["id"])
                continue
            event, more = d1_rows.event_of(row)
            candidates.append((row, event, repairs + more))
        known = self._known([event for _, event, _ in candidates])
        new, sessions = [], []
        for row, original, repairs in candidates:
            event = known.storable(original)
            outcome = self._decide(table, row, event, known, original.session_id)
            if outcome is RowOutcome.ADDED:
                new.append(event)
                self.report.successes_added += event.event_type == SUCCESS
                self.report.repair(table, repairs, row["id"])
            is_counted = outcome in (RowOutcome.ADDED, RowOutcome.ALREADY_STORED)
            if event.session_id and event.event_type == SUCCESS and is_counted:
                at_ms = known.received_at.get(event.session_id, event.received_at_ms)  # when the stream counted it
                sessions.append(LegacyCount(session_id=event.session_id, counted_at_ms=at_ms, in_stream=True))
                self.report.sessions_added += event.session_id not in known.sessions
        self._store(known, new, sessions)
        self.progress(len(rows))

    # --- the old log ---------------------------------------------------------------------------------------------

    def _merge_logs(self, raw_rows: list[dict[str, Any]]) -> None:
        table = "client_logs"
        rows = [d1_rows.without_nul_characters(row) for row in raw_rows]
        stored = set(ClientLog.objects.filter(pk__in=[str(row["id"]) for row, _ in rows]).values_list("pk", flat=True))
        candidates = []
        for row, repairs in rows:
            self.report.read[table] += 1
            fault = d1_rows.fault_of(row)
            if fault:
                self.report.refuse(table, fault, row["id"])
            elif row["id"] in stored:
                self.report.already_there[table] += 1
            else:
                event, more = translate.event_from_stored(row, Source.IMPORT)
                candidates.append((row, event, repairs + more))
        known = self._known([event for _, event, _ in candidates])
        new, logs = [], []
        for row, event, repairs in candidates:
            outcome = self._decide(table, row, event, known, None)
            if outcome is RowOutcome.REFUSED:
                continue
            if outcome is RowOutcome.ADDED:
                new.append(event)
            logs.append(d1_rows.log_row(row, event))
            self.report.repair(table, repairs, row["id"])
            self.report.not_kept.update(column for column in PERSONAL_COLUMNS if row[column])
        self.report.log_rows_added += len(logs)
        self._store(known, new, logs)
        self.progress(len(rows))

    # --- both tables -----------------------------------------------------------------------------------------------

    def _known(self, events: list[EventRow]) -> Known:
        names = [name for event in events for name in names_of(event)]
        if self.has_refused:
            names += map(refusal_name, events)
        marks = ", ".join("?" * len(names))
        query = f"SELECT name, content FROM seen WHERE name IN ({marks})"  # noqa: S608
        known = Known(events, dict(self.staged.connection.execute(query, names)), self.no_longer_stored)
        self.no_longer_stored.refresh()
        return known

    def _decide(
        self, table: str, row: dict[str, Any], event: EventRow, known: Known, session_id: str | None
    ) -> RowOutcome:
        """Decide the outcome of a row, and add it to the report and to what this run has seen."""
        if reason := known.why_refused(event, session_id):
            self.report.refuse(table, reason, row["id"])
            known.seen[refusal_name(event)] = reason
            self.has_refused = True
            return RowOutcome.REFUSED
        if known.has_seen(event):
            self.report.twins[table] += 1
            return RowOutcome.TWIN
        known.remember(event)
        if known.has_stored(event) or known.has_counted(event):
            # For a log row: its event is stored or counted, because another copy arrived by another route.
            outcome = RowOutcome.TWIN if table == "client_logs" else RowOutcome.ALREADY_STORED
            counted = self.report.twins if outcome is RowOutcome.TWIN else self.report.already_there
            counted[table] += 1
            return outcome
        self.report.added[table] += 1
        return RowOutcome.ADDED

    def _store(self, known: Known, events: list[EventRow], old_rows: list[LegacyCount] | list[ClientLog]) -> None:
        self.staged.connection.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?)", known.seen.items())
        if not self.dry_run and (events or old_rows):
            writer.record_many(events, alongside=lambda: old_tables.keep_all(old_rows))


@contextmanager
def _settings_for_many_rows() -> Iterator[None]:
    """Let SQLite cache more pages, and write to disk at the end instead of at each commit.

    After a power failure, run the same command again. It imports the lost rows.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:  # A transaction does not allow these changes.
        yield
        return
    ours = {"cache_size": -PAGES_KEPT_KIB, "wal_autocheckpoint": PAGES_IN_WAL, "synchronous": 1}
    with connection.cursor() as cursor:
        usual = {name: cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in ours}
        try:
            for name, value in ours.items():
                cursor.execute(f"PRAGMA {name}={value}")
            yield
        finally:
            for name, value in usual.items():
                cursor.execute(f"PRAGMA {name}={value}")
            cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")  # makes the import durable
