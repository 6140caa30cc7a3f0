"""Merges a staged export into the stream and the old tables in short transactions. A second run adds nothing."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from functools import lru_cache
from typing import Any

from django.db import connection
from django.db.models import Count, Model, Sum

from events import clock
from events.counting import rollups
from events.counting.buckets import DAY_MS
from events.ingest import contract, writer
from events.maintenance import retention
from events.models import AuditEntry, AuditKind, CounterBaseline, Event, EventType, Source
from events.querysets import SUCCESS
from events.reports import metrics
from events.rows import EventRow, content_id, identified
from legacy import old_tables, translate
from legacy.cutover import modes
from legacy.imports.d1_staging import PAGES_KEPT_KIB, Staged, without_nul
from legacy.models import ClientLog, ImportRun, LegacyCount, Mode

CHUNK = 1_000
MAX_EXAMPLES = 5
MAX_RECEIVED_MS = 253_402_300_799_999  # the last millisecond of year 9999
MAX_ID = 128
EVENT_TYPES = frozenset(EventType.values)
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
        self.no_longer_stored = _NoLongerStored()
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
                    if _is_baseline(row):
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
            modes.switch(Mode.SEPARATE, reason=reason, user=None, user_name="import_d1", at=now)

    # --- the baseline ------------------------------------------------------------------------------------------

    def _merge_baseline(self, row: dict[str, Any], now: datetime) -> None:
        self.report.read["telemetry_events"] += 1
        row, repairs = _without_nul(row)
        value = _baseline_total(row)
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
            if _is_baseline(raw):
                continue
            self.report.read[table] += 1
            row, repairs = _without_nul(raw)
            fault = _fault(row) or _session_fault(row)
            if fault:
                self.report.refuse(table, fault, row["id"])
                continue
            event, more = _event(row)
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
        rows = [_without_nul(row) for row in raw_rows]
        stored = set(ClientLog.objects.filter(pk__in=[str(row["id"]) for row, _ in rows]).values_list("pk", flat=True))
        candidates = []
        for row, repairs in rows:
            self.report.read[table] += 1
            fault = _fault(row)
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
            logs.append(_log_row(row, event))
            self.report.repair(table, repairs, row["id"])
            self.report.not_kept.update(column for column in PERSONAL_COLUMNS if row[column])
        self.report.log_rows_added += len(logs)
        self._store(known, new, logs)
        self.progress(len(rows))

    # --- both tables -----------------------------------------------------------------------------------------------

    def _known(self, events: list[EventRow]) -> "_Known":
        names = [name for event in events for name in _names(event)]
        if self.has_refused:
            names += map(_refusal, events)
        marks = ", ".join("?" * len(names))
        query = f"SELECT name, content FROM seen WHERE name IN ({marks})"  # noqa: S608
        known = _Known(events, dict(self.staged.connection.execute(query, names)), self.no_longer_stored)
        self.no_longer_stored.refresh()
        return known

    def _decide(
        self, table: str, row: dict[str, Any], event: EventRow, known: "_Known", session_id: str | None
    ) -> RowOutcome:
        """Decide the outcome of a row, and add it to the report and to what this run has seen."""
        if reason := known.why_refused(event, session_id):
            self.report.refuse(table, reason, row["id"])
            known.seen[_refusal(event)] = reason
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

    def _store(self, known: "_Known", events: list[EventRow], old_rows: list[LegacyCount] | list[ClientLog]) -> None:
        self.staged.connection.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?)", known.seen.items())
        if not self.dry_run and (events or old_rows):
            writer.record_many(events, alongside=lambda: old_tables.keep_all(old_rows))


class _Known:
    """Which events of a chunk are stored, counted, or seen earlier in this run.

    `seen` maps the names of events to their content ids. `stored` maps idempotency keys to content ids. `ids` are
    stored event ids. `sessions` maps the sessions of the old counter to `in_stream`. `logged` are the content ids of
    rows in the old log whose events the stream has or had.
    """

    def __init__(self, events: list[EventRow], seen: dict[str, str], no_longer_stored: "_NoLongerStored") -> None:
        self.seen = seen
        self.no_longer_stored = no_longer_stored
        names = {name for event in events for name in (event.id, _content(event))}
        self.ids = {event_id for (event_id,) in _rows(Event, "id", "id IN", names)}
        successes = {event.session_id for event in events if event.session_id and event.event_type == SUCCESS}
        where = f"event_type = '{SUCCESS}' AND session_id IN"
        self.received_at = dict(_rows(Event, "session_id, received_at_ms", where, successes))
        self.stored = {f"{SUCCESS} {session_id}": "" for session_id in self.received_at}
        sessions = {event.session_id for event in events if event.session_id and event.event_type != SUCCESS}
        if sessions:
            rows = Event.objects.failures().of_sessions(*sessions).values_list(*EventRow._fields)
            self.stored |= {_key(event): _content(event) for event in map(EventRow._make, rows)}
        self.sessions = dict(_rows(LegacyCount, "session_id, in_stream", "session_id IN", successes))
        contents = {content for event in events if (content := _content(event)) and content not in self.ids}
        self.logged = {content for (content,) in _rows(ClientLog, "event_id", "in_stream AND event_id IN", contents)}

    def storable(self, event: EventRow) -> EventRow:
        """Return the event, without its session if the stream already has another failure of this type and session."""
        if event.session_id is None or event.event_type == SUCCESS:
            return event
        first = self.seen.get(_key(event), self.stored.get(_key(event)))
        return event if first in (None, _content(event)) else _without_session(event)

    def has_seen(self, event: EventRow) -> bool:
        return any(name in self.seen for name in _names(event))

    def has_stored(self, event: EventRow) -> bool:
        return _key(event) in self.stored or event.id in self.ids or _content(event) in self.ids

    def has_counted(self, event: EventRow) -> bool:
        """Return whether the old tables show that the stream counted the event, even if it is no longer stored."""
        if event.event_type == SUCCESS:
            return bool(self.sessions.get(event.session_id))
        return _content(event) in self.logged

    def why_refused(self, event: EventRow, session_id: str | None) -> str | None:
        """Return why the event must not be imported, or None if it may be."""
        if reason := self.seen.get(_refusal(event)):
            return reason
        if self.no_longer_stored.has_erased(session_id):
            return "its session was erased here"
        if self.has_seen(event) or self.has_stored(event) or self.has_counted(event):
            return None
        return self.no_longer_stored.why_uncertain(event)

    def remember(self, event: EventRow) -> None:
        self.seen[_key(event)] = _content(event)
        if event.session_id is not None and event.event_type != SUCCESS:
            self.seen[f"twin {_content(event)}"] = _content(event)


class _NoLongerStored:
    """Events that the stream counted but no longer stores: erased sessions, and the counts by UTC day and type.

    An import stores each event that it counts, so it does not change these numbers.
    """

    def __init__(self) -> None:
        self.whole_since_ms = 0
        self.state: tuple[int, int] | None = None
        self.erased: frozenset[str] = frozenset()
        self.days: dict[int, Counter[str]] = {}

    def refresh(self) -> None:
        """Detect a prune or an erasure that ran during the import. Call it after the query of the stored events."""
        self.whole_since_ms = retention.whole_since_ms()
        state = self.whole_since_ms, AuditEntry.objects.filter(kind=AuditKind.ERASURE).count()
        if self.state != state:
            self.state = state
            self.days.clear()
            self.erased = old_tables.erased_names()
        for day_ms in [day_ms for day_ms in self.days if day_ms < self.whole_since_ms]:
            del self.days[day_ms]  # A prune may still be running.

    def has_erased(self, session_id: str | None) -> bool:
        return bool(self.erased) and session_id is not None and old_tables.erased_name(session_id) in self.erased

    def why_uncertain(self, event: EventRow) -> str | None:
        """Return why the event may be one of these, or None if it cannot be one.

        It checks the day before and the day after too: clocks differ, and a client may send an event again a day later.
        """
        day_ms = event.received_at_ms - event.received_at_ms % DAY_MS
        if not any(self._counts_of_day(day_ms + days * DAY_MS)[event.event_type] for days in (-1, 0, 1)):
            return None
        if event.received_at_ms < self.whole_since_ms:
            day = clock.iso(self.whole_since_ms)[:10]
            return f"received before {day}; older events are pruned, so it may have been counted already"
        return "received within a day of pruned or erased events, so it may have been counted already"

    def _counts_of_day(self, day_ms: int) -> Counter[str]:
        if day_ms not in self.days:
            end_ms = day_ms + DAY_MS
            counted = Counter(metrics.totals_by_type(day_ms, end_ms))
            if counted.total():
                by_type = Event.objects.counted().between(day_ms, end_ms).values_list("event_type")
                known = Counter(dict(by_type.annotate(count=Count("*"))))
                known[SUCCESS] += old_tables.count_recognisable_without_event(day_ms, end_ms)
                counted -= known
            self.days[day_ms] = counted
        return self.days[day_ms]


def _rows(table: type[Model], columns: str, where: str, values: Collection[str | None]) -> list[tuple[Any, ...]]:
    """Return columns of the rows that match `where` for these values. The ORM would take longer than the query."""
    if not values:
        return []
    with connection.cursor() as cursor:
        marks = ", ".join(["%s"] * len(values))
        cursor.execute(f"SELECT {columns} FROM {table._meta.db_table} WHERE {where} ({marks})", list(values))  # noqa: S608
        return list(cursor.fetchall())


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


def _key(event: EventRow) -> str:
    """Return the idempotency key of an event: its session, or else its content id."""
    return event.id if event.session_id is None else f"{event.event_type} {event.session_id}"


@lru_cache(maxsize=2 * CHUNK)  # Several functions need it for each event of a chunk.
def _content(event: EventRow) -> str:
    return "" if event.event_type == SUCCESS else content_id(event)


def _names(event: EventRow) -> list[str]:
    """Return the names under which `seen` contains this event, or a copy of it with or without a session."""
    if event.event_type == SUCCESS:
        return [_key(event)]
    return [_key(event), _content(event)] if event.session_id is not None else [event.id, f"twin {event.id}"]


def _refusal(event: EventRow) -> str:
    """Return the name under which `seen` contains the reason of a refusal. All copies of the event share it."""
    return f"refused {_content(event) or _key(event)}"


def _without_nul(row: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the row without NUL characters, and the repairs that this needed."""
    if not any(value.__class__ is str and "\0" in value for value in row.values()):
        return row, []
    return {name: without_nul(value) for name, value in row.items()}, ["NUL characters, now U+FFFD"]


def _is_baseline(row: dict[str, Any]) -> bool:
    return any(isinstance(row[name], str) and row[name].startswith("baseline-") for name in ("id", "session_id"))


def _baseline_total(row: dict[str, Any]) -> int | None:
    try:
        value = json.loads(row["metadata_json"])["baseline_total"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return value if type(value) is int and 0 <= value <= 10**12 else None


def _fault(row: dict[str, Any]) -> str | None:
    """Return why a row must be refused, or None. All other faults can be repaired."""
    if not isinstance(row["id"], str) or not 1 <= len(row["id"]) <= MAX_ID:
        return f"the id is not a text of 1 to {MAX_ID} characters"
    if type(row["received_at_ms"]) is not int or not 0 <= row["received_at_ms"] <= MAX_RECEIVED_MS:
        return "the time received is not a time in milliseconds"
    for name in ("event_type", "message"):
        if not isinstance(row[name], str):
            return f"{name} is not a text"
    return None


def _session_fault(row: dict[str, Any]) -> str | None:
    session_id = row["session_id"]
    if session_id is None:
        return "a success without a session" if row["event_type"] == SUCCESS else None
    if not isinstance(session_id, str) or not 1 <= len(session_id) <= contract.MAX_SESSION:
        return f"the session is not a text of 1 to {contract.MAX_SESSION} characters"
    return None


def _event(row: dict[str, Any]) -> tuple[EventRow, list[str]]:
    event, repairs = translate.event_from_stored(row, Source.IMPORT, known=EVENT_TYPES)
    metadata, more = _metadata(row, event)
    return event._replace(metadata_json=metadata), repairs + more


def _metadata(row: dict[str, Any], event: EventRow) -> tuple[str, list[str]]:
    """Return the row's metadata, with the old type and the old id if no column has them; and the repairs."""
    added = json.loads(event.metadata_json)
    if row["session_id"] is None:
        added["d1_id"] = contract.clean(row["id"][:64])
    try:
        text = contract.normalise_json(row["metadata_json"], max_length=16_384, max_items=98)
    except (ValueError, TypeError):
        return contract.compact_json(added), ["invalid or too large metadata, left out"]
    if not added and text.startswith("{"):
        return text, []
    metadata = json.loads(text)
    return contract.compact_json((metadata if isinstance(metadata, dict) else {"metadata": metadata}) | added), []


def _without_session(event: EventRow) -> EventRow:
    """Return a failure with a content id, and with its session in the metadata."""
    metadata = json.loads(event.metadata_json) | {"session_id": event.session_id, "d1_id": event.id}
    return identified(event._replace(session_id=None, metadata_json=contract.compact_json(metadata)))


def _log_row(row: dict[str, Any], event: EventRow) -> ClientLog:
    """Return the row of the old log with its original texts, but without personal data."""
    log = translate.client_log_row(event, contract.clean(row["event_type"]), in_stream=True)
    log.id = row["id"]
    log.imported = True
    for column in ("occurred_at", "message", "error_name", "stack", "model", "app_version", "log_lines_json"):
        if isinstance(row[column], str):
            setattr(log, column, contract.clean(row[column]))
    return log
