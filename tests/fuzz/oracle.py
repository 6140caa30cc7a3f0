"""A reference model of `POST /event`, written from docs/api.md and independent of the site's code."""

import json
from datetime import date, timedelta
from typing import Any, NamedTuple

TYPES = ["flash_success", "flash_error", "connect_error", "window_error", "unhandled_rejection"]
MAX_BODY, MAX_BATCH = 131_072, 1_048_576
UNKNOWN_DEPTH = 64
MINUTES_OF_A_DAY = 24 * 60


class Expected(NamedTuple):
    """The expected result of a body: the status, the invalid fields of a refusal, the columns of an event."""

    status: int
    fields: frozenset[str] = frozenset()
    columns: dict[str, Any] | None = None


class _Wrong(Exception):
    pass


def of_body(body: bytes, limit: int = MAX_BODY) -> Expected:
    if len(body) > limit:
        return Expected(413)
    try:
        payload = parsed(body)
    except _Wrong:
        return Expected(400)
    return of_payload(payload)


def of_payload(payload: dict[str, Any]) -> Expected:
    wrong, columns = set(), {}
    for name, rule in RULES.items():
        try:
            columns[name] = rule(payload[name] if name in payload else DEFAULTS[name])
        except (_Wrong, KeyError):
            wrong.add(name)
    if payload.get("event_type") == "flash_success" and payload.get("session_id") is None:
        wrong.add("session_id")
    return Expected(400, frozenset(wrong)) if wrong else Expected(201, columns=columns)


def of_batch(body: bytes) -> tuple[int, list[Expected]]:
    """Return the expected status, and for 200 the expected result of each item."""
    if len(body) > MAX_BATCH:
        return 413, []
    try:
        events = parsed(body).get("events")
    except _Wrong:
        return 400, []
    if type(events) is not list or not 0 < len(events) < 101:
        return 400, []
    return 200, [of_payload(item) if type(item) is dict else Expected(400, frozenset({"event"})) for item in events]


def identity(columns: dict[str, Any]) -> tuple[Any, ...]:
    """Return the idempotency key of an event."""
    if columns["session_id"] is not None:
        return (columns["event_type"], columns["session_id"])
    content = {name: value for name, value in columns.items() if name not in ("session_id", "metadata_json")}
    return tuple(sorted((name, json.dumps(value)) for name, value in content.items()))


# --- JSON --------------------------------------------------------------------------------------------------------


def parsed(body: bytes) -> dict[str, Any]:
    value = _json(body, UNKNOWN_DEPTH)
    if type(value) is not dict:
        raise _Wrong
    return value


def _json(raw: bytes | str, depth: int) -> Any:
    try:
        text = raw.decode("utf-8") if isinstance(raw, bytes) else raw
        return _plain(json.loads(text, parse_float=_finite, parse_constant=_refuse), depth)
    except (ValueError, RecursionError):
        raise _Wrong from None


def _finite(raw: str) -> float:
    value = float(raw)
    if value in (float("inf"), float("-inf")):
        raise ValueError
    return value


def _refuse(name: str) -> None:
    raise ValueError


def _plain(value: Any, depth: int) -> Any:
    if isinstance(value, list | dict) and depth == 0:
        raise ValueError
    if isinstance(value, dict):
        return {storable(key): _plain(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, depth - 1) for item in value]
    return storable(value) if isinstance(value, str) else value


def storable(text: str) -> str:
    """Return the text that is stored: U+FFFD replaces each lone surrogate and each NUL."""
    return "".join("\ufffd" if char == "\0" or 0xD800 <= ord(char) <= 0xDFFF else char for char in text)


# --- fields ------------------------------------------------------------------------------------------------------


def _text(most: int, least: int = 1) -> Any:
    def rule(value: Any) -> str:
        if type(value) is not str or not least <= len(value) <= most:
            raise _Wrong
        return value

    return rule


def _or_null(rule: Any) -> Any:
    return lambda value: None if value is None else rule(value)


def _event_type(value: Any) -> str:
    if value not in TYPES:
        raise _Wrong
    return str(value)


def _message(value: Any) -> str:
    text: str = _text(500)(value)
    if not text.strip():
        raise _Wrong
    return text


def _session(value: Any) -> str:
    text: str = _text(128)(value)
    if text[:9] == "baseline-":
        raise _Wrong
    return text


def _bit(value: Any) -> int:
    if type(value) is not int or value not in (0, 1):
        raise _Wrong
    return value


def _json_text(most: int, items: int) -> Any:
    def rule(value: Any) -> Any:
        parsed_value = _json(_text(most, 0)(value), 8)
        if type(parsed_value) not in (list, dict) or len(parsed_value) > items:
            raise _Wrong
        return parsed_value

    return rule


def moment(value: Any) -> str:
    """Return an ISO 8601 date-time in UTC. It computes minutes itself, without `datetime`."""
    if type(value) is not str or not value.isascii():
        raise _Wrong
    day, has_clock, clock = value.partition("T")
    minutes, rest = 0, ":00.000"
    if has_clock:
        offset = 0
        if clock.endswith("Z"):
            clock = clock[:-1]
        else:
            at = max(clock.find("+"), clock.find("-"))
            if at >= 0:
                clock, offset = clock[:at], _offset(clock[at:])
        pieces = clock.split(":")
        if len(pieces) not in (2, 3):
            raise _Wrong
        second, _, fraction = (pieces[2] if len(pieces) == 3 else "00").partition(".")
        if len(pieces) == 3 and "." in pieces[2] and not (fraction.isdigit() and len(fraction) <= 9):
            raise _Wrong
        minutes = _number(pieces[0], 2, 23) * 60 + _number(pieces[1], 2, 59) - offset
        rest = f":{_number(second, 2, 59):02}.{(fraction + '000')[:3]}"
    year, month, of_month = (
        _number(piece, size) for piece, size in zip(_three(day.split("-")), (4, 2, 2), strict=True)
    )
    try:
        moved = date(year, month, of_month) + timedelta(days=minutes // MINUTES_OF_A_DAY)
    except (ValueError, OverflowError):
        raise _Wrong from None
    minutes %= MINUTES_OF_A_DAY
    return f"{moved.isoformat()}T{minutes // 60:02}:{minutes % 60:02}{rest}Z"


def _three(pieces: list[str]) -> list[str]:
    if len(pieces) != 3:
        raise _Wrong
    return pieces


def _number(text: str, size: int, most: int = 9999) -> int:
    if len(text) != size or not text.isdigit() or int(text) > most:
        raise _Wrong
    return int(text)


def _offset(text: str) -> int:
    digits = text[1:]
    if len(digits) == 5 and digits[2] == ":":
        digits = digits[:2] + digits[3:]
    if len(digits) not in (2, 4):
        raise _Wrong
    minutes = _number(digits[:2], 2, 23) * 60 + (_number(digits[2:], 2, 59) if digits[2:] else 0)
    return -minutes if text[0] == "-" else minutes


RULES = {
    "event_type": _event_type,
    "occurred_at": moment,
    "session_id": _or_null(_session),
    "message": _message,
    "model": _text(64),
    "app_version": _text(64),
    "write_mode": _bit,
    "connected": _bit,
    "error_name": _or_null(_text(200, 0)),
    "stack": _or_null(_text(4_000, 0)),
    "log_lines_json": _json_text(65_536, 200),
    "metadata_json": _json_text(16_384, 100),
}
DEFAULTS: dict[str, Any] = {
    "session_id": None,
    "error_name": None,
    "stack": None,
    "log_lines_json": "[]",
    "metadata_json": "{}",
}
