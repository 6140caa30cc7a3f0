"""An event before it is stored, and the idempotency key that makes two events the same."""

import hashlib
import json
import os
import re
from collections import deque
from operator import attrgetter
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


# The order is part of the id.
_content = attrgetter(
    "event_type", "occurred_at", "message", "error_name", "stack", "model", "write_mode", "connected", "app_version",
    "log_lines_json",
)  # fmt: skip


def identified(row: EventRow) -> EventRow:
    """Return the row with its id.

    The idempotency key of an event with a session is that session, so its id can be random. Without a session, the
    id is a hash of the content. A retry and the copy that a dual-writing client sends get the same id. Every id begins
    with a time, so that new ids land at the end of the index.
    """
    if row.session_id is not None:
        return EventRow(f"{row.received_at_ms:012x}{_random_part()}", *row[1:])  # _replace takes twice as long
    digest = hashlib.blake2b(_encode(_content(row)).encode(), digest_size=12).hexdigest()
    return EventRow(re.sub(r"\D", "", row.occurred_at)[2:10] + digest, *row[1:])


# --- texts left out when the disk is nearly full --------------------------------------------------------------------

# Clients can only send an array or an object as log lines, so a JSON string is always our own placeholder.
_LEFT_OUT = re.compile(r'"\(stack and log lines left out, the disk was nearly full: ([0-9a-f]{32})\)"')


def without_long_texts(row: EventRow) -> EventRow:
    """Return a failure without its stack and log lines. The log lines become a placeholder with the content id.

    The event keeps its identity: its id, or `content_id` if it has a session. Other rows are returned unchanged.
    """
    if not has_long_texts(row):
        return row
    words = f'"(stack and log lines left out, the disk was nearly full: {content_id(row)})"'
    return row._replace(stack=None, log_lines_json=words)


def has_long_texts(row: EventRow) -> bool:
    """Return whether the row is a failure with a stack or log lines."""
    return row.event_type != SUCCESS and (row.stack is not None or row.log_lines_json not in ("[]", "{}"))


def is_left_out(log_lines_json: str) -> bool:
    """Return whether these log lines are the placeholder for texts that were left out."""
    return left_out_content(log_lines_json) is not None


def left_out_content(log_lines_json: str) -> str | None:
    """Return the content id in the placeholder, or None when the log lines are no placeholder."""
    match = _LEFT_OUT.fullmatch(log_lines_json) if log_lines_json[:1] == '"' else None
    return match and match[1]


def content_id(row: EventRow) -> str:
    """Return the content hash of a failure, also when its id comes from its session."""
    if row.session_id is None:
        return row.id
    return left_out_content(row.log_lines_json) or identified(row._replace(session_id=None)).id


def size_of(row: EventRow) -> int:
    """Return the bytes of the row's texts as the database stores them."""
    return len("".join([value for value in row if value.__class__ is str]).encode())


_PART_BYTES = 10
_parts: deque[str] = deque()
os.register_at_fork(after_in_child=_parts.clear)  # A child process must not reuse the parent's random bytes.


def _random_part() -> str:
    """Return 20 random hex digits from a pool, because each call of os.urandom releases the GIL."""
    while True:
        try:
            return _parts.pop()
        except IndexError:
            digits = os.urandom(256 * _PART_BYTES).hex()
            _parts.extend(digits[at : at + 2 * _PART_BYTES] for at in range(0, len(digits), 2 * _PART_BYTES))
