"""Converts rows of an export: finds faults that refuse a row, repairs all others, and drops personal data."""

import json
from typing import Any

from events.ingest import contract
from events.models import EventType, Source
from events.querysets import SUCCESS
from events.rows import EventRow
from legacy import translate
from legacy.imports.d1_staging import without_nul
from legacy.models import ClientLog

MAX_RECEIVED_MS = 253_402_300_799_999  # the last millisecond of year 9999
MAX_ID = 128
EVENT_TYPES = frozenset(EventType.values)


def without_nul_characters(row: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the row without NUL characters, and the repairs that this needed."""
    if not any(value.__class__ is str and "\0" in value for value in row.values()):
        return row, []
    return {name: without_nul(value) for name, value in row.items()}, ["NUL characters, now U+FFFD"]


def is_baseline(row: dict[str, Any]) -> bool:
    """Return whether a row holds the baseline of the public count instead of an event."""
    return any(isinstance(row[name], str) and row[name].startswith("baseline-") for name in ("id", "session_id"))


def baseline_total(row: dict[str, Any]) -> int | None:
    """Return the baseline, or None if the row has no valid one."""
    try:
        value = json.loads(row["metadata_json"])["baseline_total"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return value if type(value) is int and 0 <= value <= 10**12 else None


def fault_of(row: dict[str, Any]) -> str | None:
    """Return why a row must be refused, or None. All other faults can be repaired."""
    if not isinstance(row["id"], str) or not 1 <= len(row["id"]) <= MAX_ID:
        return f"the id is not a text of 1 to {MAX_ID} characters"
    if type(row["received_at_ms"]) is not int or not 0 <= row["received_at_ms"] <= MAX_RECEIVED_MS:
        return "the time received is not a time in milliseconds"
    for name in ("event_type", "message"):
        if not isinstance(row[name], str):
            return f"{name} is not a text"
    return None


def session_fault_of(row: dict[str, Any]) -> str | None:
    """Return why the session of an event is invalid, or None."""
    session_id = row["session_id"]
    if session_id is None:
        return "a success without a session" if row["event_type"] == SUCCESS else None
    if not isinstance(session_id, str) or not 1 <= len(session_id) <= contract.MAX_SESSION:
        return f"the session is not a text of 1 to {contract.MAX_SESSION} characters"
    return None


def event_of(row: dict[str, Any]) -> tuple[EventRow, list[str]]:
    """Return the event of a row, and the repairs."""
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


def log_row(row: dict[str, Any], event: EventRow) -> ClientLog:
    """Return the row of the old log with its original texts, but without personal data."""
    log = translate.client_log_row(event, contract.clean(row["event_type"]), in_stream=True)
    log.id = row["id"]
    log.imported = True
    for column in ("occurred_at", "message", "error_name", "stack", "model", "app_version", "log_lines_json"):
        if isinstance(row[column], str):
            setattr(log, column, contract.clean(row[column]))
    return log
