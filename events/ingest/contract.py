"""The wire contract: turns bytes into a valid event. This module contains every rule of the payload."""

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Annotated, Any, Literal, NoReturn

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from events.counting import facets
from events.models import Source
from events.querysets import SUCCESS
from events.rows import EventRow, identified

MAX_BATCH_EVENTS = 100
MAX_MESSAGE = 500
MAX_NAME = 64
MAX_ERROR_NAME = 200
MAX_STACK = 4_000
MAX_SESSION = 128
MAX_JSON_DEPTH = 8
# An event is flat and a batch is three levels deep. Unknown fields, which are ignored, may be deeper.
MAX_BODY_DEPTH = 64

# Characters that PostgreSQL refuses or UTF-8 cannot encode: NUL and lone surrogates.
_UNSTORABLE = re.compile("[\ud800-\udfff\x00]")
_ISO_DATE_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d(?::?\d\d)?)?)?", re.ASCII
)


class InvalidJson(ValueError):
    """The body is not a JSON object in strict UTF-8."""


class InvalidFields(ValueError):
    """The payload is invalid. `fields` maps each invalid field to its error messages."""

    def __init__(self, fields: dict[str, list[str]]) -> None:
        super().__init__("Invalid payload fields")
        self.fields = fields


# --- the fields ----------------------------------------------------------------------------------------------


def normalise_time(raw: str) -> str:
    """Return an ISO 8601 date-time as `YYYY-MM-DDTHH:MM:SS.mmmZ`, UTC; no offset means UTC.

    Raises ValueError for any other text, and for a time outside the years 1–9999 in UTC.
    """
    if _is_normal(raw):
        return raw
    match = _ISO_DATE_TIME.fullmatch(raw)
    if match is None:
        raise ValueError("expected an ISO 8601 date-time such as 2026-02-12T18:00:00.000Z")
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    try:
        # A naive datetime, because isoformat() would add the offset of an aware one.
        moment = datetime(  # noqa: DTZ001
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0)
        )
        if offset is not None and offset != "Z":
            moment -= parse_offset(offset)
    except (ValueError, OverflowError):  # Each Python version words these errors differently.
        raise ValueError("there is no such date or time") from None
    return f"{moment.isoformat()}.{(fraction or '').ljust(3, '0')[:3]}Z"


def _is_normal(raw: str) -> bool:
    """Return whether a time already has our format, which `toISOString()` produces too."""
    try:
        return f"{datetime.fromisoformat(raw[:23]).isoformat(timespec='milliseconds')}Z" == raw
    except ValueError:
        return False


def parse_offset(offset: str) -> timedelta:
    """Return `+01:00`, `+0100` or `+01` as a timedelta; raises ValueError."""
    digits = offset[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 23 or minutes > 59:
        raise ValueError
    return timedelta(hours=hours, minutes=minutes) * (-1 if offset[0] == "-" else 1)


def _json_text(max_length: int, max_items: int) -> AfterValidator:
    def normalise(raw: str) -> str:
        return normalise_json(raw, max_length=max_length, max_items=max_items)

    return AfterValidator(normalise)


def _normalise_metadata(raw: str) -> str:
    return normalise_json(raw, max_length=16_384, max_items=100, remember=facets.remember_parsed)


def normalise_json(
    raw: str, *, max_length: int, max_items: int, remember: Callable[[str, Any], None] | None = None
) -> str:
    """Return a JSON array or object as compact JSON text that the database can store.

    Equal values give equal text, because the id of an event is a hash of its content. Raises ValueError with a
    message when the text is not JSON, is not an array or object, or is too long, too wide or too deep. `remember`
    receives the text and its value.
    """
    if raw in ("[]", "{}"):
        return raw
    if len(raw) > max_length:
        raise ValueError(f"at most {max_length} characters")
    try:
        value = _parse_json(raw, max_depth=MAX_JSON_DEPTH)
    except InvalidJson:
        raise ValueError(f"must be JSON text, nested at most {MAX_JSON_DEPTH} deep") from None
    if not isinstance(value, list | dict):
        raise ValueError("must be a JSON array or object")
    if len(value) > max_items:
        raise ValueError(f"at most {max_items} items")
    if "\\u" in raw:
        value = clean(value)
    text = raw if _is_compact(value, raw) else compact_json(value)
    if remember is not None:
        remember(text, value)
    return text


def _is_compact(value: Any, raw: str) -> bool:
    """Return whether JSON text is a compact array of strings without escapes, such as most log lines. `value` is its
    value.

    Much faster than to encode the value again. A string that needs an escape differs from its text, so the comparison
    fails.
    """
    try:
        return value.__class__ is list and raw == '["' + '","'.join(value) + '"]'
    except TypeError:  # not only strings
        return False


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    return value


def _not_baseline(value: str | None) -> str | None:
    if value is not None and value.startswith("baseline-"):
        raise ValueError("must not begin with baseline-")
    return value


Bit = Annotated[int, Field(strict=True, ge=0, le=1)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]


class EventPayload(BaseModel):
    """The body of `POST /event`. Unknown fields are ignored and never stored."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    event_type: Literal["flash_success", "flash_error", "connect_error", "window_error", "unhandled_rejection"]
    occurred_at: Annotated[
        str,
        AfterValidator(normalise_time),
        Field(description="ISO 8601; no offset means UTC.", examples=["2026-02-12T18:00:00.000Z"]),
    ]
    session_id: Annotated[
        str | None,
        Field(min_length=1, max_length=MAX_SESSION, description="Required for `flash_success`."),
        AfterValidator(_not_baseline),
    ] = None
    message: Annotated[str, Field(min_length=1, max_length=MAX_MESSAGE), AfterValidator(_not_blank)]
    model: Name
    write_mode: Bit
    connected: Bit
    app_version: Name
    error_name: Annotated[str | None, Field(max_length=MAX_ERROR_NAME)] = None
    stack: Annotated[str | None, Field(max_length=MAX_STACK)] = None
    log_lines_json: Annotated[str, _json_text(65_536, 200), Field(description="A JSON array or object, as text.")] = (
        "[]"
    )
    metadata_json: Annotated[
        str, AfterValidator(_normalise_metadata), Field(description="A JSON array or object, as text.")
    ] = "{}"


_columns = attrgetter(*EventRow._fields[2:-1])  # all but the id, the time received and the source

# --- from bytes to events ----------------------------------------------------------------------------------------


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`, with storable text only; raises InvalidJson."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise InvalidJson from None
    value = _parse_json(text, max_depth=MAX_BODY_DEPTH)
    if not isinstance(value, dict):
        raise InvalidJson
    # The bytes were valid UTF-8, so only an escape sequence can produce an unstorable character.
    return clean(value) if "\\u" in text else value


def read_batch(body: bytes) -> list[Any]:
    """Return the unparsed items of a batch; raises InvalidJson or InvalidFields."""
    events = read_object(body).get("events")
    if not isinstance(events, list) or not 1 <= len(events) <= MAX_BATCH_EVENTS:
        raise InvalidFields({"events": [f"Must be a list of 1 to {MAX_BATCH_EVENTS} events."]})
    return events


def parse(payload: Any, *, received_at_ms: int) -> EventRow:
    """Return the event that a decoded object describes; raises InvalidFields with all errors at once."""
    if not isinstance(payload, dict):
        raise InvalidFields({"event": ["Must be a JSON object."]})
    try:
        valid = EventPayload.model_validate(payload)
    except ValidationError as error:
        fields = fields_in_words(error)
        if payload.get("event_type") == SUCCESS and payload.get("session_id") is None:
            fields.setdefault("session_id", [_SESSION_REQUIRED])
        raise InvalidFields(fields) from None
    if valid.event_type == SUCCESS and valid.session_id is None:
        raise InvalidFields({"session_id": [_SESSION_REQUIRED]})
    return identified(EventRow._make(("", received_at_ms, *_columns(valid), Source.EVENT.value)))


def clean(value: Any) -> Any:
    """Return `value` with U+FFFD for each character that a database cannot store, in keys too.

    The recursion is bounded, because the parser bounds the depth.
    """
    if isinstance(value, str):
        if value.isascii() and "\0" not in value:  # Most text is ASCII, and this check is eight times faster.
            return value
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, list):
        return [clean(item) for item in value]
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    return value


def _parse_json(text: str, *, max_depth: int) -> Any:
    try:
        value = _decoder.decode(text)
    except (ValueError, RecursionError):  # Not JSON, an integer with too many digits, or nesting beyond Python's limit.
        raise InvalidJson from None
    if text.count("[") + text.count("{") > max_depth and _is_deeper(value, max_depth):
        raise InvalidJson
    return value


def _is_deeper(value: Any, most: int) -> bool:
    level = [value] if value.__class__ in (dict, list) else []
    for _ in range(most):
        level = [
            inner
            for item in level
            for inner in (item.values() if item.__class__ is dict else item)
            if inner.__class__ in (dict, list)
        ]
    return bool(level)


def _finite(raw: str) -> float:
    value = float(raw)
    if value in (float("inf"), float("-inf")):
        raise InvalidJson
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidJson


# Created once: json.loads and json.dumps create a new one for every call with options.
_decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
compact_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


# --- error messages --------------------------------------------------------------------------------------------

_SESSION_REQUIRED = "Required for flash_success."
_WORDS = {
    "missing": "This field is required.",
    "string_type": "Must be a string.",
    "string_too_short": "Must not be empty.",
    "string_too_long": "At most {max_length} characters.",
    "int_type": "Must be the integer 0 or 1.",
    "greater_than_equal": "Must be the integer 0 or 1.",
    "less_than_equal": "Must be the integer 0 or 1.",
    "literal_error": "Must be one of {expected}.",
    "extra_forbidden": "There is no such field.",
    "value_error": "{error}",
}


def fields_in_words(error: ValidationError) -> dict[str, list[str]]:
    """Return the messages of a failed validation by field."""
    fields: dict[str, list[str]] = {}
    for fault in error.errors(include_url=False, include_input=False):
        words = _WORDS.get(fault["type"], fault["msg"]).format(**fault.get("ctx", {}))
        sentence = words[0].upper() + words[1:].rstrip(".") + "."
        fields.setdefault(str(fault["loc"][0]), []).append(sentence)
    return fields
