"""CSV and NDJSON, streamed in constant memory, and gzip around them.

Text is UTF-8. Times are ISO 8601 in UTC. A CSV file begins with a byte order mark. In it, a leading apostrophe keeps
spreadsheets from running a cell as a formula.

A file that could not be completed must not look complete. An error of the rows leaves these generators, so that the
server cuts the connection and a command deletes its file. A gzip file then has no checksum at its end.
"""

import csv
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from json.encoder import encode_basestring
from typing import Any

from django.db import DatabaseError

from events import clock
from events.reports.exports.columns import Column, Kind, Row, places_of

ENDED_EARLY = "(the export ended early: the database did not answer; export again)"
_FORMULA_STARTS = frozenset("=+-@\t\r\n")
_GZIP = 16 + zlib.MAX_WBITS
_GZIP_LEVEL = 5


def as_csv(chunks: Iterable[list[Row]], columns: Sequence[Column]) -> Iterator[bytes]:
    """Yield the file in one piece for each chunk. After a failed chunk, the last line says that it is incomplete."""
    yield b"\xef\xbb\xbf"
    yield _lines([[column.heading for column in columns]])
    moments = places_of(columns, Kind.MOMENT)
    try:
        for chunk in chunks:
            yield _lines(_cells(row, moments) for row in chunk)
    except DatabaseError:
        yield _lines([[ENDED_EARLY]])
        raise


def _cells(row: Row, moments: list[int]) -> list[Any]:
    cells = ["'" + cell if type(cell) is str and cell[:1] in _FORMULA_STARTS else cell for cell in row]
    for place in moments:
        cells[place] = clock.iso(row[place]) if row[place] is not None else None
    return cells


def _lines(rows: Iterable[Iterable[Any]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows(rows)  # some locales use another separator
    return encoded(buffer.getvalue())


def encoded(text: str) -> bytes:
    """Return a text as UTF-8. A lone surrogate, which UTF-8 cannot encode, becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def as_ndjson(chunks: Iterable[list[Row]], columns: Sequence[Column]) -> Iterator[bytes]:
    """Yield the file in one piece for each chunk: one JSON object on each line, with the names of the columns as keys.

    Texts of the kind JSON are values, as in `GET /failures`. A text that is not valid JSON stays a string.
    """
    writers = [(("," if place else "{") + encode_basestring(column.name) + ":", _WRITERS[column.kind])
               for place, column in enumerate(columns)]  # fmt: skip
    for chunk in chunks:
        parts: list[str] = []
        add = parts.append
        for row in chunk:
            for (key, write), value in zip(writers, row, strict=True):
                add(key)
                add("null" if value is None else write(value))
            add("}\n")
        yield encoded("".join(parts))


def _json_text(text: str) -> str:
    """Return the text if it is a JSON value on one line, else the value on one line, else the text as a string."""
    if text in ("[]", "{}"):
        return text
    try:
        value = _decode(text)
        return text if "\n" not in text and "\r" not in text else _encode(value)
    except (ValueError, RecursionError):
        return encode_basestring(text)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _number_text(value: float) -> str:
    return repr(value) if value.__class__ is not bool else str(int(value))


def _day_text(day: date) -> str:
    return f'"{day.isoformat()}"'


def _moment_text(epoch_ms: int) -> str:
    return f'"{clock.iso(epoch_ms)}"'


_WRITERS: dict[Kind, Callable[[Any], str]] = {
    Kind.TEXT: encode_basestring,
    Kind.TIME: encode_basestring,
    Kind.NUMBER: _number_text,
    Kind.MOMENT: _moment_text,
    Kind.DAY: _day_text,
    Kind.JSON: _json_text,
}


def gzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Compress a file as gzip. The result depends on the pieces alone: its header has no time."""
    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP)
    for piece in pieces:
        yield compressor.compress(piece)
    yield compressor.flush()
