"""A staged export, merged into both sides in short transactions. Run again, it adds nothing."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.db import connection
from django.db.models import Sum

from events import contract, ingest, rollups
from events.models import CounterBaseline, Event, EventType, Source
from events.querysets import SUCCESS
from events.rows import EventRow, content_id, identified
from legacy import modes, old_tables, translate
from legacy.d1_staging import PAGES_KEPT_KIB, Staged
from legacy.models import ClientLog, ImportRun, LegacyCount, Mode

CHUNK = 1_000
MAX_EXAMPLES = 5
MAX_RECEIVED_MS = 253_402_300_799_999  # the last millisecond of year 9999
MAX_ID = 128
TODAYS_TYPES = frozenset(EventType.values)
# The same pages change in every commit: fewer ways back to the file write each of them fewer times.
PAGES_IN_WAL = 16_000
IDENTIFYING = ("user_agent", "page_url", "origin", "ip_hash")


@dataclass
class Report:
    """What became of every row: each is in exactly one of added, already_there, twins, refused (and baseline).

    `repaired` and `not_kept` count beside that: repairs by reason, values by column. `examples` has some row
    ids for each reason.
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

    def example(self, reason: str, row_id: Any) -> None:
        some = self.examples.setdefault(reason, [])
        if len(some) < MAX_EXAMPLES:
            some.append(str(row_id)[:64])

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
    """One merge of one staged export. With `dry_run` it looks and reports, and writes nothing."""

    def __init__(self, staged: Staged, *, dry_run: bool, progress: Callable[[int], None]) -> None:
        self.staged = staged
        self.dry_run = dry_run
        self.progress = progress
        self.report = Report()
        # What this run has met, in the scratch database: a dry run stores nothing else to compare with.
        staged.connection.execute(f"PRAGMA temp.cache_size=-{PAGES_KEPT_KIB}")
        staged.connection.execute("CREATE TEMP TABLE met (name TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID")
        # One transaction that never ends, or each row would be one of its own; the table goes with the connection.
        staged.connection.execute("BEGIN")

    def run(self, file_name: str, *, now: datetime) -> Report:
        """Merge everything and keep the report; raises ingest.StorageUnavailable, after which it may run again."""
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

    def _successes_added(self) -> int:
        """Return what this run added, and what an earlier one did that was killed before it could keep its report."""
        told = ImportRun.objects.aggregate(sum=Sum("successes_added"))["sum"] or 0
        imported = Event.objects.successes().filter(source=Source.IMPORT).count()
        return max(self.report.successes_added, imported - told)

    def _settle_mode(self, now: datetime) -> None:
        # First of all, so that an import that is killed and run again ends in the same mode.
        if Event.objects.exists() or modes.was_ever_switched():
            return
        self.report.notes.append("The site is new: its old routes begin in separate, beside the unified stream.")
        if not self.dry_run:
            reason = "the first import from the old system"
            modes.switch(Mode.SEPARATE, reason=reason, user=None, user_name="import_d1", at=now)

    # --- the baseline ------------------------------------------------------------------------------------------

    def _merge_baseline(self, row: dict[str, Any], now: datetime) -> None:
        self.report.read["telemetry_events"] += 1
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
            self.report.notes.append(f"The baseline is {value}, from the row {row['id']}.")
            if not self.dry_run:
                note = f"from the old system, row {row['id']}"
                rollups.set_baseline(value, note=note, user=None, user_name="import_d1", at=now)

    # --- the unified table of the old system ----------------------------------------------------------------

    def _merge_events(self, rows: list[dict[str, Any]]) -> None:
        table = "telemetry_events"
        candidates = []
        for row in rows:
            if _is_baseline(row):
                continue
            self.report.read[table] += 1
            fault = _fault(row) or _session_fault(row)
            if fault:
                self.report.refuse(table, fault, row["id"])
                continue
            candidates.append((row, *_event(row)))
        known = self._known([event for _, event, _ in candidates])
        new = []
        for row, told, repairs in candidates:
            event = known.fitted(told)
            if self._is_new(table, event, known):
                new.append(event)
                self.report.repair(table, repairs, row["id"])
        sessions = [
            LegacyCount(session_id=event.session_id, counted_at_ms=event.received_at_ms, in_stream=True)
            for _, event, _ in candidates
            if event.event_type == SUCCESS and event.session_id is not None
        ]
        self._store(known, new, sessions)
        self.progress(len(rows))

    # --- the old log ---------------------------------------------------------------------------------------------

    def _merge_logs(self, rows: list[dict[str, Any]]) -> None:
        table = "client_logs"
        kept = set(ClientLog.objects.filter(pk__in=[str(row["id"]) for row in rows]).values_list("pk", flat=True))
        candidates = []
        for row in rows:
            self.report.read[table] += 1
            fault = _fault(row)
            if fault:
                self.report.refuse(table, fault, row["id"])
            elif row["id"] in kept:
                self.report.already_there[table] += 1
            else:
                kept.add(row["id"])
                event, repairs = translate.event_from_stored(row, Source.IMPORT)
                self.report.repair(table, repairs, row["id"])
                self.report.not_kept.update(column for column in IDENTIFYING if row[column])
                candidates.append((row, event))
        known = self._known([event for _, event in candidates])
        new = [event for _, event in candidates if self._is_new(table, event, known)]
        logs = [_log_row(row, event) for row, event in candidates]
        self.report.log_rows_added += len(logs)
        self._store(known, new, logs)
        self.progress(len(rows))

    # --- both ----------------------------------------------------------------------------------------------------

    def _known(self, events: list[EventRow]) -> "_Known":
        names = [name for event in events for name in _names(event)]
        marks = ", ".join("?" * len(names))
        query = f"SELECT name, content FROM met WHERE name IN ({marks})"  # noqa: S608
        return _Known(events, dict(self.staged.connection.execute(query, names)))

    def _is_new(self, table: str, event: EventRow, known: "_Known") -> bool:
        """Count the event as added, twin or already there; a new one is known to the rows after it."""
        if known.has_met(event):
            self.report.twins[table] += 1
        elif known.has_stored(event):
            # A log row that was not kept before, of an event that was: its twin came by another way.
            counted = self.report.twins if table == "client_logs" else self.report.already_there
            counted[table] += 1
            known.meet(event)
        else:
            self.report.added[table] += 1
            self.report.successes_added += event.event_type == SUCCESS
            known.meet(event)
            return True
        return False

    def _store(self, known: "_Known", events: list[EventRow], old_rows: list[LegacyCount] | list[ClientLog]) -> None:
        self.staged.connection.executemany("INSERT OR IGNORE INTO met VALUES (?, ?)", known.met.items())
        if not self.dry_run and (events or old_rows):
            ingest.record_many(events, alongside=lambda: old_tables.keep_all(old_rows))


class _Known:
    """What is there of a chunk's events: in the stream, and `met` by this run, under each of their names."""

    def __init__(self, events: list[EventRow], met: dict[str, str]) -> None:
        self.met = met
        names = {name for event in events for name in (event.id, _content(event))}
        self.ids = {event_id for (event_id,) in _rows("id", "id IN", names)}
        successes = {event.session_id for event in events if event.event_type == SUCCESS}
        sessions_there = _rows("session_id", f"event_type = '{SUCCESS}' AND session_id IN", successes)
        self.stored = {f"{SUCCESS} {session_id}": "" for (session_id,) in sessions_there}
        sessions = {event.session_id for event in events if event.session_id and event.event_type != SUCCESS}
        if sessions:
            rows = Event.objects.failures().of_sessions(*sessions).values_list(*EventRow._fields)
            self.stored |= {_key(event): _content(event) for event in map(EventRow._make, rows)}

    def fitted(self, event: EventRow) -> EventRow:
        """Return the event as the stream has room for it: with one failure of each type in a session."""
        if event.session_id is None or event.event_type == SUCCESS:
            return event
        first = self.met.get(_key(event), self.stored.get(_key(event)))
        return event if first in (None, _content(event)) else _without_session(event)

    def has_met(self, event: EventRow) -> bool:
        return any(name in self.met for name in _names(event))

    def has_stored(self, event: EventRow) -> bool:
        return _key(event) in self.stored or event.id in self.ids or _content(event) in self.ids

    def meet(self, event: EventRow) -> None:
        self.met[_key(event)] = _content(event)
        if event.session_id is not None and event.event_type != SUCCESS:
            self.met[f"twin {_content(event)}"] = _content(event)


def _rows(columns: str, where: str, values: Collection[str | None]) -> list[tuple[Any, ...]]:
    """Return columns of the events that `where` finds for these values. The ORM would take longer than the database."""
    if not values:
        return []
    with connection.cursor() as cursor:
        marks = ", ".join(["%s"] * len(values))
        cursor.execute(f"SELECT {columns} FROM {Event._meta.db_table} WHERE {where} ({marks})", list(values))  # noqa: S608
        return list(cursor.fetchall())


@contextmanager
def _settings_for_many_rows() -> Iterator[None]:
    """Let SQLite hold more pages, and wait for the disk at the end instead of at each commit.

    What a failing power supply takes away then, the same command brings again.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:  # in which no one may change it
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
            cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")  # which makes it durable


def _key(event: EventRow) -> str:
    """Return what makes the event this one: its session where it has one, else its content."""
    return event.id if event.session_id is None else f"{event.event_type} {event.session_id}"


@lru_cache(maxsize=2 * CHUNK)  # asked for several times, by a chunk's every event
def _content(event: EventRow) -> str:
    return "" if event.event_type == SUCCESS else content_id(event)


def _names(event: EventRow) -> list[str]:
    """Return the names under which this event or its twin, which knows no session, may have been met."""
    if event.event_type == SUCCESS:
        return [_key(event)]
    return [_key(event), _content(event)] if event.session_id is not None else [event.id, f"twin {event.id}"]


def _is_baseline(row: dict[str, Any]) -> bool:
    return any(isinstance(row[name], str) and row[name].startswith("baseline-") for name in ("id", "session_id"))


def _baseline_total(row: dict[str, Any]) -> int | None:
    try:
        value = json.loads(row["metadata_json"])["baseline_total"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return value if type(value) is int and 0 <= value <= 10**12 else None


def _fault(row: dict[str, Any]) -> str | None:
    """Return why a row cannot be stored at all, in words; everything else about it can be repaired."""
    if not isinstance(row["id"], str) or not 1 <= len(row["id"]) <= MAX_ID or contract.clean(row["id"]) != row["id"]:
        return f"the id is no text of 1 to {MAX_ID} characters"
    if type(row["received_at_ms"]) is not int or not 0 <= row["received_at_ms"] <= MAX_RECEIVED_MS:
        return "the time received is no time in milliseconds"
    for name in ("event_type", "message"):
        if not isinstance(row[name], str):
            return f"{name} is no text"
    return None


def _session_fault(row: dict[str, Any]) -> str | None:
    session_id = row["session_id"]
    if session_id is None:
        return "a success without a session" if row["event_type"] == SUCCESS else None
    if not isinstance(session_id, str) or not 1 <= len(session_id) <= contract.MAX_SESSION:
        return f"the session is no text of 1 to {contract.MAX_SESSION} characters"
    return None


def _event(row: dict[str, Any]) -> tuple[EventRow, list[str]]:
    event, repairs = translate.event_from_stored(row, Source.IMPORT, known=TODAYS_TYPES)
    metadata, more = _metadata(row, event)
    return event._replace(metadata_json=metadata), repairs + more


def _metadata(row: dict[str, Any], event: EventRow) -> tuple[str, list[str]]:
    """Return the row's metadata with what must not get lost: an old type's name, the id it had."""
    added = json.loads(event.metadata_json)
    if row["session_id"] is None:
        added["d1_id"] = contract.clean(row["id"][:64])
    try:
        text = contract.normalise_json(row["metadata_json"], max_length=16_384, max_items=98)
    except (ValueError, TypeError):
        return contract.compact_json(added), ["metadata that does not parse or is too large, left out"]
    if not added and text.startswith("{"):
        return text, []
    metadata = json.loads(text)
    return contract.compact_json((metadata if isinstance(metadata, dict) else {"metadata": metadata}) | added), []


def _without_session(event: EventRow) -> EventRow:
    """Return a failure known by its content, with the session in its metadata."""
    metadata = json.loads(event.metadata_json) | {"session_id": event.session_id, "d1_id": event.id}
    return identified(event._replace(session_id=None, metadata_json=contract.compact_json(metadata)))


def _log_row(row: dict[str, Any], event: EventRow) -> ClientLog:
    """Return the old row as it was, without what identifies people."""
    kept = translate.client_log_row(event, contract.clean(row["event_type"]), in_stream=True)
    kept.id = row["id"]
    kept.imported = True
    for column in ("occurred_at", "message", "error_name", "stack", "model", "app_version", "log_lines_json"):
        if isinstance(row[column], str):
            setattr(kept, column, contract.clean(row[column]))
    return kept
