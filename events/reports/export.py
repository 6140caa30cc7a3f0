"""Lists as CSV, for programs: streamed, in constant memory. `spreadsheets` writes the same lists for people.

The format is versioned in the header: for events the first cell is `telemetry_export_v2_id`, so a reader knows
before the first row what the columns are. A change of columns makes it `v2`. Text is UTF-8 with a byte order mark;
times are UTC. A cell that a spreadsheet would run as a formula begins with an apostrophe.
"""

import csv
import io
import logging
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from django.db import DatabaseError

from events import audit, clock
from events.models import AuditKind
from events.reports import ranking

logger = logging.getLogger(__name__)

ROWS_A_CHUNK = 1_000
COLUMNS = (
    "id",
    "received_at_ms",
    "occurred_at",
    "event_type",
    "session_id",
    "model",
    "app_version",
    "write_mode",
    "connected",
    "message",
    "error_name",
    "stack",
    "log_lines_json",
    "metadata_json",
    "correction",
)
ENDED_EARLY = "(the export ended early: the database did not answer; export again)"
_RUNS = frozenset("=+-@\t\r\n")


class Format(NamedTuple):
    """The header of a file, and which of its columns come as epoch milliseconds and go as ISO 8601, UTC."""

    header: tuple[str, ...]
    moments: tuple[int, ...]
    times: tuple[int, ...] = ()  # come as ISO 8601, UTC


# `void` is the number of the correction that made a success void; empty where the event counts.
EVENTS = Format(("telemetry_export_v2_id", "received_at", *COLUMNS[2:-1], "void"), moments=(1,), times=(2,))
GROUPS = Format(("telemetry_groups_v1_fingerprint", *ranking.EXPORTED[1:]), moments=(1, 2))


def as_csv(chunks: Iterable[list[tuple[Any, ...]]], form: Format) -> Iterator[bytes]:
    """Yield the file, chunk by chunk. Shape: tuples in the order of the header.

    The answer has begun when a chunk fails, so the last line of such a file says that it is not whole.
    """
    yield b"\xef\xbb\xbf"
    yield _lines([form.header])
    try:
        for chunk in chunks:
            yield _lines(_cells(row, form.moments) for row in chunk)
    except DatabaseError:
        yield _lines([[ENDED_EARLY]])
        raise


def note_export(user: Any, what: str, *, at: datetime) -> None:
    """Keep who exported what: in the audit log, and as a line in the log."""
    audit.note(AuditKind.EXPORT, f"Exported {what}", who=user.get_username(), at=at)
    logger.info("%s exported %s", user.get_username(), what)


def _cells(row: tuple[Any, ...], moments: tuple[int, ...]) -> list[Any]:
    cells = ["'" + cell if type(cell) is str and cell[:1] in _RUNS else cell for cell in row]
    for column in moments:
        cells[column] = clock.iso(row[column])
    return cells


def _lines(rows: Iterable[Iterable[Any]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows(rows)  # not everywhere is the comma the separator
    return buffer.getvalue().encode()
