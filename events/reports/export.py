"""CSV exports for programs, streamed in constant memory. `spreadsheets` writes the same lists as XLSX for people.

The first cell of the header contains the format's version: `telemetry_export_v3_id` for events. A change of the columns
increments it, except a change of the last ones: `facet_NAME` for each name of FACETS. Text is UTF-8 with a byte order
mark. Times are UTC. A leading apostrophe keeps spreadsheets from running a cell as a formula.
"""

import csv
import io
import logging
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.db import DatabaseError

from events import audit, clock
from events.counting import facets
from events.models import AuditKind
from events.reports.groups import ranking
from events.sourcemaps import resolve

logger = logging.getLogger(__name__)

ROWS_A_CHUNK = 1_000
COLUMNS = (
    "id", "received_at_ms", "occurred_at", "event_type", "session_id", "model", "app_version", "write_mode",
    "connected", "message", "error_name", "stack", "log_lines_json", "metadata_json", "correction", "expected",
)  # fmt: skip
_VERSION, _ERROR, _STACK = (COLUMNS.index(name) for name in ("app_version", "error_name", "stack"))
ENDED_EARLY = "(the export ended early: the database did not answer; export again)"
_FORMULA_STARTS = frozenset("=+-@\t\r\n")


class Format(NamedTuple):
    """The header of a file. `moments` are columns in epoch milliseconds, exported as ISO 8601 in UTC."""

    header: tuple[str, ...]
    moments: tuple[int, ...]
    times: tuple[int, ...] = ()  # columns that are ISO 8601 in UTC already


# `void` is the number of the correction that voided a success, else empty. `expected` is 1 for a failure of an expected
# group, else 0; queries get it from `failures.with_expected`.
# `top_frame` is the innermost frame of the page's own code, with its original position if a source map has it.
EVENTS = Format(
    ("telemetry_export_v3_id", "received_at", *COLUMNS[2:-2], "void", "expected", "top_frame"), moments=(1,), times=(2,)
)


def events_format() -> Format:
    """Return the columns of events, with one column for each facet that is counted now."""
    return EVENTS._replace(header=(*EVENTS.header, *(f"facet_{name}" for name in settings.FACETS)))


def with_facets(chunks: Iterable[list[tuple[Any, ...]]]) -> Iterator[list[tuple[Any, ...]]]:
    """Add the columns of the facets to rows of COLUMNS. The column of a facet that an event does not have is empty."""
    names = facets.counted_facets()
    for chunk in chunks:
        values = [dict(facets.values_in(row[_METADATA])) for row in chunk]
        yield [(*row, *map(facet_values.get, names)) for row, facet_values in zip(chunk, values, strict=True)]


_METADATA = COLUMNS.index("metadata_json")
GROUPS = Format(("telemetry_groups_v2_fingerprint", *ranking.EXPORTED[1:]), moments=(1, 2))


def as_csv(chunks: Iterable[list[tuple[Any, ...]]], form: Format) -> Iterator[bytes]:
    """Yield the file in chunks. Shape: tuples in the order of the header.

    When a chunk fails, the response has already started. The last line of the file then says that it is incomplete.
    """
    yield b"\xef\xbb\xbf"
    yield _lines([form.header])
    try:
        for chunk in chunks:
            yield _lines(_cells(row, form.moments) for row in chunk)
    except DatabaseError:
        yield _lines([[ENDED_EARLY]])
        raise


def with_top_frames(chunks: Iterable[list[tuple[Any, ...]]], *, now_ms: int) -> Iterator[list[tuple[Any, ...]]]:
    """Add the top frame to each event. Shape: tuples of COLUMNS, then the frame.

    A chunk uses stored results and small source maps. Frames that wait for a large map are raw.
    """
    for chunk in chunks:
        stacks = [(row[_VERSION], row[_STACK]) for row in chunk]
        resolved = resolve.of_stacks(stacks, now_ms=now_ms, may_wait=False)
        tops = [resolve.top_in_app(frames, row[_ERROR]) for row, frames in zip(chunk, resolved, strict=True)]
        yield [(*row, str(top) if top else None) for row, top in zip(chunk, tops, strict=True)]


def note_export(user: Any, what: str, *, at: datetime) -> None:
    """Record who exported what in the audit log. The server log gets no filter: it may quote an event."""
    audit.note(AuditKind.EXPORT, f"Exported {what}", who=user.get_username(), at=at)
    logger.info("%s made an export; the audit log says of what", user.get_username())


def _cells(row: tuple[Any, ...], moments: tuple[int, ...]) -> list[Any]:
    cells = ["'" + cell if type(cell) is str and cell[:1] in _FORMULA_STARTS else cell for cell in row]
    for column in moments:
        cells[column] = clock.iso(row[column])
    return cells


def _lines(rows: Iterable[Iterable[Any]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows(rows)  # some locales use another separator
    return buffer.getvalue().encode()
