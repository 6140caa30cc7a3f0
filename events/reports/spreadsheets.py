"""XLSX exports for people. Cells have types, so a spreadsheet changes no value when it opens the file.

In a CSV file a spreadsheet guesses the type of a cell: `72225e2` becomes a number, `0005747` loses its zeros, `3/4`
becomes a date. An XLSX file is a ZIP archive, so it must be complete before its first byte is sent. The rows go to a
temporary file, so the memory use is constant.
"""

import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.db import DatabaseError
from xlsxwriter import Workbook
from xlsxwriter.format import Format as Style
from xlsxwriter.worksheet import Worksheet

from events.reports.export import ENDED_EARLY, Format

# A sheet can have 1,048,576 rows, including the header.
ROWS_A_SHEET = 1_048_575
MAX_CELL = 32_767  # UTF-16 units, by the file format
CUT = "… (truncated: a cell can hold 32,767 characters; the CSV file has the full text)"
BYTES_A_CHUNK = 262_144
_FIRST_DATE = datetime(1900, 3, 1)  # noqa: DTZ001 (cells have no zone; spreadsheets disagree on earlier dates)
_WIDTHS = {"message": 60, "stack": 40, "log_lines_json": 40, "metadata_json": 30, "title": 60, "top_frame": 40}
_DATE_WIDTH, _WIDTH = 23, 16


def as_xlsx(
    chunks: Iterable[list[tuple[Any, ...]]], form: Format, *, rows_a_sheet: int = ROWS_A_SHEET
) -> Iterator[bytes]:
    """Yield the file, preceded by an empty chunk for each of `chunks`. Shape: tuples in the order of the header.

    When a chunk fails, the last row of the file says that it is incomplete.
    """
    with tempfile.TemporaryDirectory(prefix="telemetry-xlsx-") as folder:
        path = Path(folder) / "export.xlsx"
        book = Workbook(path, {"constant_memory": True, "tmpdir": folder})
        sheets = _Sheets(book, form, rows_a_sheet)
        failed: DatabaseError | None = None
        try:
            for chunk in chunks:
                for row in chunk:
                    sheets.add(row)
                yield b""  # releases the thread for other streams
        except DatabaseError as error:
            failed = error
            sheets.add((ENDED_EARLY,))
        finally:
            book.close()
        with path.open("rb") as file:
            while piece := file.read(BYTES_A_CHUNK):
                yield piece
        if failed is not None:
            raise failed


class _Sheets:
    """Writes rows to a sheet with a frozen header. Starts another sheet when it is full."""

    def __init__(self, book: Workbook, form: Format, rows_a_sheet: int) -> None:
        self._book = book
        self._form = form
        self._max_rows = rows_a_sheet
        self._date = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss.000"})
        self._bold = book.add_format({"bold": True})
        self._add_sheet()

    def _add_sheet(self) -> None:
        self._sheet: Worksheet = self._book.add_worksheet()
        self._sheet.freeze_panes(1, 0)
        dates = {*self._form.moments, *self._form.times}
        for column, name in enumerate(self._form.header):
            self._sheet.set_column(column, column, _DATE_WIDTH if column in dates else _WIDTHS.get(name, _WIDTH))
            self._sheet.write_string(0, column, name, self._bold)
        self._rows = 0

    def add(self, row: tuple[Any, ...]) -> None:
        if self._rows == self._max_rows:
            self._add_sheet()
        self._rows += 1
        for column, value in enumerate(row):
            if value is None:
                continue
            if column in self._form.moments:
                self._date_or_text(column, datetime.fromtimestamp(value / 1000, UTC).replace(tzinfo=None), str(value))
            elif column in self._form.times:
                self._date_or_text(column, _moment(value), value)
            elif isinstance(value, int | float):
                self._sheet.write_number(self._rows, column, value)
            else:
                self._sheet.write_string(self._rows, column, _truncated(str(value)))

    def _date_or_text(self, column: int, moment: datetime | None, text: str) -> None:
        style: Style = self._date
        if moment is None or moment < _FIRST_DATE:
            self._sheet.write_string(self._rows, column, text)
        else:
            self._sheet.write_datetime(self._rows, column, moment, style)


def _moment(text: str) -> datetime | None:
    """Return a stored ISO 8601 time in UTC without its zone. Return None for any other text."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        return None


def _truncated(text: str) -> str:
    """Return a text that fits into a cell. A truncated text says so at its end."""
    if len(text) <= MAX_CELL and (text.isascii() or len(text.encode("utf-16-le")) <= 2 * MAX_CELL):
        return text
    kept = text.encode("utf-16-le")[: 2 * (MAX_CELL - len(CUT))]
    return kept.decode("utf-16-le", errors="ignore") + CUT
