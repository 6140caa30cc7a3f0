"""CSV and NDJSON, streamed in constant memory, and gzip around them.

Text is UTF-8. Times are ISO 8601 in UTC. A CSV file begins with a byte order mark. In it, a leading apostrophe keeps
spreadsheets from running a cell as a formula.

A file that could not be completed must not look complete. An error of the rows leaves these generators, so that the
server cuts the connection and a command deletes its file. A gzip file then has no checksum at its end.
"""

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from json.encoder import encode_basestring
from typing import Any

from django.db import DatabaseError

from events import clock
from events.reports.exports.columns import Column, Kind, Row

ENDED_EARLY = "(the export ended early: the database did not answer; export again)"
_FORMULA_STARTS = frozenset("=+-@\t\r\n")
_GZIP = 16 + zlib.MAX_WBITS
_GZIP_LEVEL = 5
_ROWS_AT_ONCE = 250  # the lines of long failures take five times as much memory until they are sent

# Returns the cells of the values of one column, for `%s` in the line of a row.
_Cells = Callable[[Sequence[Any]], Iterable[Any]]


def _pieces(chunk: list[Row], columns: Sequence[Column], cells_of: Mapping[Kind, _Cells], line: str) -> Iterator[bytes]:
    """Yield the lines of a chunk. They are written column by column, which takes fewer calls than cell by cell."""
    for start in range(0, len(chunk), _ROWS_AT_ONCE):
        values = zip(*chunk[start : start + _ROWS_AT_ONCE], strict=True)
        cells = [cells_of[column.kind](of_column) for column, of_column in zip(columns, values, strict=True)]
        yield encoded("".join(map(line.__mod__, zip(*cells, strict=True))))


def encoded(text: str) -> bytes:
    """Return a text as UTF-8. A lone surrogate, which UTF-8 cannot encode, becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


# --- CSV -------------------------------------------------------------------------------------------------------------


def as_csv(chunks: Iterable[list[Row]], columns: Sequence[Column]) -> Iterator[bytes]:
    """Yield the file in pieces. After a failed chunk, the last line says that it is incomplete."""
    yield b"\xef\xbb\xbf"
    line = ",".join(['"%s"'] * len(columns)) + "\r\n"
    yield encoded(line % tuple([_doubled(column.heading) for column in columns]))
    try:
        for chunk in chunks:
            yield from _pieces(chunk, columns, _CSV_CELLS, line)
    except DatabaseError:
        yield encoded(f'"{ENDED_EARLY}"\r\n')
        raise


def _doubled(text: str) -> str:
    return text.replace('"', '""')


def _csv_texts(values: Sequence[Any]) -> list[str]:
    return [
        "" if value is None else _doubled(f"'{value}" if str(value)[:1] in _FORMULA_STARTS else f"{value}")
        for value in values
    ]


def _csv_numbers(values: Sequence[Any]) -> list[Any]:
    return ["" if value is None else value for value in values]


def _csv_moments(values: Sequence[Any]) -> list[str]:
    return ["" if value is None else clock.iso(value) for value in values]


_CSV_CELLS: dict[Kind, _Cells] = {
    Kind.TEXT: _csv_texts,
    Kind.TIME: _csv_texts,
    Kind.NUMBER: _csv_numbers,
    Kind.MOMENT: _csv_moments,
    Kind.DAY: _csv_numbers,
    Kind.JSON: _csv_texts,
}

# --- NDJSON ----------------------------------------------------------------------------------------------------------


def as_ndjson(chunks: Iterable[list[Row]], columns: Sequence[Column]) -> Iterator[bytes]:
    """Yield the file in pieces: one JSON object on each line, with the names of the columns as keys.

    Texts of the kind JSON are values, as in `GET /failures`. A text that is not valid JSON stays a string.
    """
    keys = [encode_basestring(column.name).replace("%", "%%") for column in columns]
    line = "{" + ",".join([f"{key}:%s" for key in keys]) + "}\n"
    for chunk in chunks:
        yield from _pieces(chunk, columns, _NDJSON_CELLS, line)


def _each(write: Callable[[Any], str]) -> _Cells:
    """Return a function that writes a column with a function for one value."""
    return lambda values: ["null" if value is None else write(value) for value in values]


def _each_distinct(write: Callable[[Any], str]) -> _Cells:
    """Return the same for a column in which values repeat and are costly to write."""

    def cells(values: Sequence[Any]) -> list[str]:
        written = {value: write(value) for value in set(values) if value is not None}
        return [written.get(value, "null") for value in values]

    return cells


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


_NDJSON_CELLS: dict[Kind, _Cells] = {
    Kind.TEXT: _each(encode_basestring),
    Kind.TIME: _each(encode_basestring),
    Kind.NUMBER: _each(_number_text),
    Kind.MOMENT: _each(_moment_text),
    Kind.DAY: _each(_day_text),
    Kind.JSON: _each_distinct(_json_text),
}

# --- gzip ------------------------------------------------------------------------------------------------------------


def gzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Compress a file as gzip. The result depends on the pieces alone: its header has no time."""
    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP)
    for piece in pieces:
        yield compressor.compress(piece)
    yield compressor.flush()
