"""Converts old payloads to events, and events to old responses. Every oddity of the old system is handled here."""

import json
import math
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.db import models

from events import clock
from events.ingest import contract, guards
from events.models import Event, EventType, Source
from events.querysets import SUCCESS
from events.rows import EventRow, content_id, identified, is_left_out
from legacy.models import ClientLog, LegacyCount

CURRENT_NAMES = {
    "flash_fail": EventType.FLASH_ERROR,
    "connect_fail": EventType.CONNECT_ERROR,
    "unhandledrejection": EventType.UNHANDLED_REJECTION,
    "client_error": EventType.WINDOW_ERROR,
}
FAILURES = set(EventType.values) - {SUCCESS}
NO_MESSAGE = "(no message)"
UNKNOWN = "unknown"
DEFAULT_LIMIT = 50
MAX_LIMIT = 200
# Longer texts are no dates. The patterns below take quadratic time.
MAX_DATE = 100
MAX_LOG_LINES = 200
MAX_LOG_LINES_CHARACTERS = 65_536
CUT_TEXTS = ("message", "error_name", "stack", "model", "app_version")

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_CLOCK = r"(?:\s+(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d))?)?"
_ZONE = r"\s*(?P<zone>Z|UTC?|GMT|[ECMP][SD]T)?(?P<offset>[+-]\d\d:?\d\d)?(?:\s*\([^()]*\))?"
# `Thu, 12 Feb 2026 18:00:00 +0100` and `Thu Feb 12 2026 18:00:00 GMT+0100 (CET)`, the output of `String(new Date())`.
_WORDY_DATES = [
    re.compile(rf"(?:[a-z]{{3,9}},?\s+)?{date}{_CLOCK}{_ZONE}", re.ASCII | re.IGNORECASE)
    for date in (
        r"(?P<day>\d{1,2})\s+(?P<month>[a-z]{3})[a-z]*\s+(?P<year>\d{4})",
        r"(?P<month>[a-z]{3})[a-z]*\s+(?P<day>\d{1,2}),?\s+(?P<year>\d{4})",
    )
]
_ZONE_HOURS = {"est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7}


def parse_date(raw: str) -> str:
    """Convert a date that JavaScript's `Date.parse` accepts to `YYYY-MM-DDTHH:MM:SS.mmmZ`; raises ValueError.

    A date without an offset is in UTC, as in the old Worker.
    """
    raw = raw.strip()
    if len(raw) > MAX_DATE:
        raise ValueError("no date that a browser would write")
    with suppress(ValueError):
        return contract.normalise_time(raw)
    with suppress(ValueError):
        return contract.normalise_time(_as_iso(raw))
    for form in _WORDY_DATES:
        match = form.fullmatch(raw)
        if match and match["month"].lower() in _MONTHS:
            return _from_words(match)
    raise ValueError("no date that a browser would write")


def _as_iso(raw: str) -> str:
    """Convert variants of ISO 8601: a space instead of `T`, a space before the offset, a missing month or day."""
    if re.fullmatch(r"\d{4}(-\d\d)?", raw, re.ASCII):
        return f"{raw}-01-01"[:10]
    return re.sub(r" (?=[+-]\d\d:?\d\d$)", "", re.sub(r"(?<=\d) (?=\d\d:)", "T", raw, count=1))


def _from_words(match: re.Match[str]) -> str:
    try:
        # No time zone, because isoformat() would print it.
        moment = datetime(  # noqa: DTZ001
            int(match["year"]),
            _MONTHS.index(match["month"].lower()) + 1,
            int(match["day"]),
            int(match["hour"] or 0),
            int(match["minute"] or 0),
            int(match["second"] or 0),
        )
        moment -= timedelta(hours=_ZONE_HOURS.get((match["zone"] or "").lower(), 0))
        if match["offset"]:
            moment -= contract.parse_offset(match["offset"])
    except OverflowError:
        raise ValueError("the time lies outside the years 1 to 9999") from None
    return f"{moment.isoformat()}.000Z"


def event_from_client_log(payload: dict[str, Any], received_at_ms: int) -> EventRow:
    """Return the event of a `/client-log` payload; raises contract.InvalidFields.

    Three texts are required; other fields are coerced. Texts are cut at the limits of `/event`. So the copy that a
    dual-writing client sends to `/event` has the same content id.
    """
    faults = {
        name: ["Must be a string."]
        for name in ("event_type", "message", "occurred_at")
        if not isinstance(payload.get(name), str)
    }
    occurred_at = ""
    if "occurred_at" not in faults:
        try:
            occurred_at = parse_date(payload["occurred_at"])
        except ValueError:
            faults["occurred_at"] = ["Must be a date and time."]
    if faults:
        raise contract.InvalidFields(faults)

    return identified(_coerced(payload, received_at_ms, occurred_at, Source.CLIENT_LOG)[0])


def event_from_stored(
    columns: Mapping[str, Any], source: Source, known: Collection[str] = FAILURES
) -> tuple[EventRow, list[str]]:
    """Return the event of a stored row, and the list of repairs.

    It refuses no row: it replaces an invalid date by the time received. A row with a session keeps its id.
    """
    texts = "".join(value for value in columns.values() if isinstance(value, str))
    if not texts.isascii() or "\0" in texts:  # Skips this for most rows, because it takes time.
        columns = {name: contract.clean(value) for name, value in columns.items()}
    received_at_ms = columns["received_at_ms"]
    repairs = []
    try:
        occurred_at = parse_date(columns["occurred_at"] if isinstance(columns["occurred_at"], str) else "")
        if occurred_at != columns["occurred_at"]:
            repairs.append("date in another form, rewritten")
    except ValueError:
        occurred_at = clock.iso(received_at_ms)
        repairs.append("invalid date, replaced by the time received")
    event, more = _coerced(columns, received_at_ms, occurred_at, source, known)
    session_id = columns.get("session_id")
    if session_id is None:
        return identified(event), repairs + more
    return event._replace(id=columns["id"], session_id=session_id), repairs + more


def event_from_row(row: ClientLog) -> EventRow:
    event = event_from_stored(_columns(row), Source.CLIENT_LOG)[0]
    if is_left_out(row.log_lines_json) and not row.imported:  # In an imported row, the placeholder may be forged.
        return event._replace(id=row.event_id, log_lines_json=row.log_lines_json)
    return event


def success_from_row(row: LegacyCount) -> EventRow:
    """Return a success of which only the session is known. If `/event` receives the session too, it adds the rest."""
    return identified(
        EventRow(
            id="",
            received_at_ms=row.counted_at_ms,
            occurred_at=clock.iso(row.counted_at_ms),
            event_type=SUCCESS,
            session_id=row.session_id,
            model=UNKNOWN,
            write_mode=1,
            connected=1,
            app_version=UNKNOWN,
            message="Flash complete",
            error_name=None,
            stack=None,
            log_lines_json="[]",
            metadata_json="{}",
            source=Source.INCREMENT.value,
        )
    )


def _coerced(
    columns: Mapping[str, Any],
    received_at_ms: int,
    occurred_at: str,
    source: Source,
    known: Collection[str] = FAILURES,
) -> tuple[EventRow, list[str]]:
    repairs = []
    event_type, metadata = current_type(columns["event_type"], known)
    if metadata != "{}":
        repairs.append(f"old name of a type, now {event_type}")
    message = columns["message"][: contract.MAX_MESSAGE]
    if not message.strip():
        message = NO_MESSAGE
        repairs.append(f"empty message, now {NO_MESSAGE}")
    log_lines = _log_lines(columns.get("log_lines_json"))
    if log_lines == "[]" and columns.get("log_lines_json") != "[]":
        repairs.append("invalid or too long log lines, left out")
    event = EventRow(
        id="",
        received_at_ms=received_at_ms,
        occurred_at=occurred_at,
        event_type=event_type,
        session_id=None,
        model=_text(columns.get("model"), contract.MAX_NAME) or UNKNOWN,
        write_mode=_bit(columns.get("write_mode")),
        connected=_bit(columns.get("connected")),
        app_version=_text(columns.get("app_version"), contract.MAX_NAME) or UNKNOWN,
        message=message,
        error_name=_text(columns.get("error_name"), contract.MAX_ERROR_NAME),
        stack=_text(columns.get("stack"), contract.MAX_STACK),
        log_lines_json=log_lines,
        metadata_json=metadata,
        source=source.value,
    )
    repairs += [
        f"no {name}, now {UNKNOWN}"
        for name in ("model", "app_version")
        if getattr(event, name) == UNKNOWN and columns.get(name) != UNKNOWN
    ]
    bits = ("write_mode", "connected")
    repairs += [f"{name} neither 0 nor 1, now 0" for name in bits if columns.get(name) not in (0, 1)]
    cut = [name for name in CUT_TEXTS if _is_cut(columns.get(name), getattr(event, name))]
    repairs += [f"{name} too long, cut" for name in cut]
    return event, repairs


def _is_cut(original: Any, stored: str | None) -> bool:
    return isinstance(original, str) and stored is not None and len(original) > len(stored) > 0


def current_type(name: str, known: Collection[str] = FAILURES) -> tuple[str, str]:
    """Return the current event type for an old name, and metadata with the old name if they differ."""
    if name in known:
        return name, "{}"
    metadata = contract.compact_json({"legacy_event_type": name[: contract.MAX_NAME]})
    return CURRENT_NAMES.get(name, EventType.WINDOW_ERROR).value, metadata


def client_log_row(event: EventRow, event_type: str, *, in_stream: bool) -> ClientLog:
    """Return the row that the old Worker would have stored, with the original type name and without personal data."""
    return ClientLog(
        id=event.id,
        received_at_ms=event.received_at_ms,
        occurred_at=event.occurred_at,
        event_type=event_type[: contract.MAX_NAME],
        message=event.message,
        error_name=event.error_name,
        stack=event.stack,
        model=event.model,
        write_mode=event.write_mode,
        connected=event.connected,
        app_version=event.app_version,
        user_agent="",
        page_url="",
        log_lines_json=event.log_lines_json,
        event_id=event.id,
        in_stream=in_stream,
    )


def arrived_log_row(payload: dict[str, Any], event: EventRow) -> ClientLog:
    """Return the row of a failure that arrived by `/client-log`, marked as missing from the stream."""
    row = client_log_row(event, payload["event_type"], in_stream=False)
    row.arrived = True
    row.sent_to_event = is_sent_to_event(payload)
    try:
        twin = _as_parsed_by_event(payload, event.received_at_ms)
        row.session_key = session_key(twin.event_type, twin.session_id)
    except contract.InvalidFields as error:
        row.refused_fields = ",".join(sorted(error.fields))
    return row


def arrived_session(payload: dict[str, Any], received_at_ms: int) -> LegacyCount:
    """Return the row of a success that arrived by `/increment`; raises contract.InvalidFields."""
    return LegacyCount(
        session_id=session_id(payload),
        counted_at_ms=received_at_ms,
        in_stream=False,
        arrived=True,
        sent_to_event=is_sent_to_event(payload),
    )


def is_sent_to_event(payload: dict[str, Any]) -> bool:
    """Return whether the client said that it sends the same event to `/event`. Only the JSON value `true` means yes."""
    return payload.get("sentToEvent") is True


def _as_parsed_by_event(payload: dict[str, Any], received_at_ms: int) -> EventRow:
    """Return the event that `/event` would store for this payload; raises contract.InvalidFields."""
    if payload["event_type"] == SUCCESS:  # `/event` accepts it, but as a success; the old log stores a failure.
        raise contract.InvalidFields({"event_type": ["Must be a failure."]})
    return contract.parse(payload, received_at_ms=received_at_ms)


def session_key(event_type: str, session: str | None) -> str:
    """Return a keyed hash of `/event`'s idempotency key for a failure with a session; "" without a session."""
    return guards.keyed_hash(f"failure {event_type} {session}") if session is not None else ""


def row_from_event(event: EventRow) -> ClientLog:
    """Return the old log's row for a failure of the unified stream."""
    row = client_log_row(event, event.event_type, in_stream=True)
    row.event_id = content_id(event)
    row.imported = event.source == Source.IMPORT
    return row


def session_id(payload: dict[str, Any]) -> str:
    """Return the `sessionId` of an increment; raises contract.InvalidFields."""
    value = payload.get("sessionId")
    if not isinstance(value, str) or not 1 <= len(value) <= contract.MAX_SESSION or value.startswith("baseline-"):
        raise contract.InvalidFields(
            {"sessionId": [f"Must be a string of 1 to {contract.MAX_SESSION} characters, not a baseline."]}
        )
    return value


def recent_limit(raw: str) -> int:
    """Return the `limit` of `/recent`: rounded down, 1 to 200, and 50 for invalid input."""
    try:
        value = float(raw.replace("_", "?"))  # Python allows underscores between digits, JavaScript does not.
    except ValueError:
        return DEFAULT_LIMIT
    return min(max(math.floor(value), 1), MAX_LIMIT) if math.isfinite(value) else DEFAULT_LIMIT


def recent_row(event: Event | ClientLog) -> dict[str, Any]:
    """Return a failure in the format of the old `/recent`."""
    lines = json.loads(_log_lines(event.log_lines_json))  # The log lines of an imported row can be invalid.
    return {
        "id": event.id,
        "receivedAtMs": event.received_at_ms,
        "occurredAt": event.occurred_at,
        "eventType": event.event_type,
        "message": event.message,
        "errorName": event.error_name,
        "model": event.model,
        "writeMode": event.write_mode == 1,
        "connected": event.connected == 1,
        "appVersion": event.app_version,
        "pageUrl": "",
        "logLines": [
            line if isinstance(line, str) else json.dumps(line, ensure_ascii=False)
            for line in (lines if isinstance(lines, list) else [lines])
        ],
    }


def _columns(row: models.Model) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


def _text(value: Any, longest: int) -> str | None:
    return value[:longest] if isinstance(value, str) else None


def _bit(value: Any) -> int:
    # True == 1 in Python, but the old Worker stored 0 for the JSON value true.
    return 1 if value == 1 and not isinstance(value, bool) else 0


def _log_lines(value: Any) -> str:
    if not isinstance(value, str):
        return "[]"
    try:
        return contract.normalise_json(value, max_length=MAX_LOG_LINES_CHARACTERS, max_items=MAX_LOG_LINES)
    except ValueError:
        return "[]"
