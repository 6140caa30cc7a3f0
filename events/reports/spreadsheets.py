"""Lists as XLSX, for people: text stays text, times are dates, and a spreadsheet changes nothing on opening.

A spreadsheet guesses what a cell of a CSV file is: `72225e2` becomes a number, `0005747` loses its zeros, `3/4` becomes
a date. In XLSX each cell says what it is. The file is complete before its first byte is sent, because its parts
are compressed; it is written row by row to a temporary file, so memory stays the same however long the list is.
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

# Of the 1,048,576 rows that a sheet may have, one is the header.
ROWS_A_SHEET = 1_048_575
MAX_CELL = 32_767  # UTF-16 units, by the file format
CUT = "… (cut: a cell holds 32,767 characters; the CSV file has all of it)"
BYTES_A_CHUNK = 262_144
_FIRST_DATE = datetime(1900, 3, 1)  # noqa: DTZ001 (a cell has no zone; before it spreadsheets disagree about days)
_WIDTHS = {"message": 60, "stack": 40, "log_lines_json": 40, "metadata_json": 30, "title": 60}
_DATE_WIDTH, _WIDTH = 23, 16


def as_xlsx(
    chunks: Iterable[list[tuple[Any, ...]]], form: Format, *, rows_a_sheet: int = ROWS_A_SHEET
) -> Iterator[bytes]:
    """Yield the file. Shape: tuples in the order of the header; an empty chunk after each of `chunks`.

    When a chunk fails, the last row of the file says that it is not whole.
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
                yield b""  # lets the answers of others go on in between
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
    """Writes rows to one sheet after the other, each with a frozen header."""

    def __init__(self, book: Workbook, form: Format, rows_a_sheet: int) -> None:
        self._book = book
        self._form = form
        self._most = rows_a_sheet
        self._date = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss.000"})
        self._bold = book.add_format({"bold": True})
        self._begin()

    def _begin(self) -> None:
        self._sheet: Worksheet = self._book.add_worksheet()
        self._sheet.freeze_panes(1, 0)
        dates = {*self._form.moments, *self._form.times}
        for column, name in enumerate(self._form.header):
            self._sheet.set_column(column, column, _DATE_WIDTH if column in dates else _WIDTHS.get(name, _WIDTH))
            self._sheet.write_string(0, column, name, self._bold)
        self._rows = 0

    def add(self, row: tuple[Any, ...]) -> None:
        if self._rows == self._most:
            self._begin()
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
                self._sheet.write_string(self._rows, column, _fitting(str(value)))

    def _date_or_text(self, column: int, moment: datetime | None, text: str) -> None:
        style: Style = self._date
        if moment is None or moment < _FIRST_DATE:
            self._sheet.write_string(self._rows, column, text)
        else:
            self._sheet.write_datetime(self._rows, column, moment, style)


def _moment(text: str) -> datetime | None:
    """Return a stored time, which is ISO 8601 and UTC, without its zone; None for any other text."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        return None


def _fitting(text: str) -> str:
    """Return a text that a cell can hold, and that says so where it was cut."""
    if len(text) <= MAX_CELL and (text.isascii() or len(text.encode("utf-16-le")) <= 2 * MAX_CELL):
        return text
    kept = text.encode("utf-16-le")[: 2 * (MAX_CELL - len(CUT))]
    return kept.decode("utf-16-le", errors="ignore") + CUT
