"""One event on its way to the table, and what makes two of them the same event."""

import hashlib
import json
import os
import re
from collections import deque
from typing import NamedTuple

from events.querysets import SUCCESS

_encode = json.JSONEncoder(separators=(",", ":")).encode


class EventRow(NamedTuple):
    """A valid event, ready to be stored: the columns of `telemetry_events` in their order."""

    id: str
    received_at_ms: int
    occurred_at: str
    event_type: str
    session_id: str | None
    model: str
    write_mode: int
    connected: int
    app_version: str
    message: str
    error_name: str | None
    stack: str | None
    log_lines_json: str
    metadata_json: str
    source: str


def identified(row: EventRow) -> EventRow:
    """Return the row with its id.

    An event with a session is known by that session, so its id need only be new. One without is known by
    its content, which a retry and a dual-writing client's twin share. Both begin with a time, so that new
    ids land at the end of the index.
    """
    if row.session_id is not None:
        return EventRow(f"{row.received_at_ms:012x}{_random_part()}", *row[1:])  # _replace takes twice as long
    content = _encode(
        (
            row.event_type,
            row.occurred_at,
            row.message,
            row.error_name,
            row.stack,
            row.model,
            row.write_mode,
            row.connected,
            row.app_version,
            row.log_lines_json,
        )
    )
    digest = hashlib.blake2b(content.encode(), digest_size=12).hexdigest()
    return EventRow(re.sub(r"\D", "", row.occurred_at)[2:10] + digest, *row[1:])


# --- what is left out when the disk is nearly full ------------------------------------------------------------------

# A client can only send an array or an object as log lines, so a JSON text that is a string can only be ours.
_LEFT_OUT = re.compile(r'"\(stack and log lines left out, the disk was nearly full: ([0-9a-f]{32})\)"')


def without_long_texts(row: EventRow) -> EventRow:
    """Return a failure without its stack and log lines; the id of its whole content stands in their place.

    So it is still known as the same event: by its id, or, with a session, by `content_id`. Other rows stay as they are.
    """
    if not has_long_texts(row):
        return row
    words = f'"(stack and log lines left out, the disk was nearly full: {content_id(row)})"'
    return row._replace(stack=None, log_lines_json=words)


def has_long_texts(row: EventRow) -> bool:
    """Tell whether the row is a failure with a stack or log lines."""
    return row.event_type != SUCCESS and (row.stack is not None or row.log_lines_json not in ("[]", "{}"))


def is_left_out(log_lines_json: str) -> bool:
    """Tell whether these log lines stand in place of what was left out."""
    return left_out_content(log_lines_json) is not None


def left_out_content(log_lines_json: str) -> str | None:
    """Return the id of the content that these log lines stand in place of; None where nothing was left out."""
    match = _LEFT_OUT.fullmatch(log_lines_json) if log_lines_json[:1] == '"' else None
    return match and match[1]


def content_id(row: EventRow) -> str:
    """Return the id that the content of a failure has, also when its session has given it another one."""
    if row.session_id is None:
        return row.id
    return left_out_content(row.log_lines_json) or identified(row._replace(session_id=None)).id


def size_of(row: EventRow) -> int:
    """Return the bytes of the row's texts as the database stores them."""
    return len("".join([value for value in row if value.__class__ is str]).encode())


_PART_BYTES = 10
_parts: deque[str] = deque()
os.register_at_fork(after_in_child=_parts.clear)  # parent and child would use the same ones


def _random_part() -> str:
    """Return 20 hex digits, from many that were asked for at once: each time, other threads come in between."""
    while True:
        try:
            return _parts.pop()
        except IndexError:
            digits = os.urandom(256 * _PART_BYTES).hex()
            _parts.extend(digits[at : at + 2 * _PART_BYTES] for at in range(0, len(digits), 2 * _PART_BYTES))
