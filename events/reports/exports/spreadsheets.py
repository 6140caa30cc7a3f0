"""XLSX exports for people. Cells have types, so a spreadsheet changes no value when it opens the file.

In a CSV file a spreadsheet guesses the type of a cell: `72225e2` becomes a number, `0005747` loses its zeros, `3/4`
becomes a date. An XLSX file is a ZIP archive of XML. The rows go to a temporary file, so the memory use is constant.
The first byte is sent when the file is complete, so a file that could not be completed is never sent.

Texts are inline strings: a table of shared strings would have to be in memory.
"""

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from events.reports.exports.columns import Column, Kind, Row
from events.reports.exports.text_files import encoded

# A sheet can have 1,048,576 rows, including the header.
ROWS_A_SHEET = 1_048_575
# Without ZIP64, which some programs cannot read, a file in the archive has less than 2 GiB.
BYTES_A_SHEET = 2_000_000_000
MAX_CELL = 32_767  # UTF-16 units, by the file format
CUT = "… (truncated: a cell can hold 32,767 characters; the CSV file has the full text)"
BYTES_A_PIECE = 262_144
_FIRST_DATE = datetime(1900, 3, 1)  # noqa: DTZ001 (cells have no zone; spreadsheets disagree on earlier dates)
_EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001
_EPOCH_DAYS = (datetime(1970, 1, 1) - _EPOCH).days  # noqa: DTZ001
_DAY_MS = 86_400_000
_WIDTHS = {
    "message": 60,
    "stack": 40,
    "log_lines_json": 40,
    "metadata_json": 30,
    "title": 60,
    "top_frame": 40,
    "what": 60,
}
_DATE_WIDTH, _WIDTH = 23, 16
_COMPRESSION = 1  # a higher level halves the rate, and saves a tenth of the bytes
_ROWS_AT_ONCE = 100  # of which each can have several 100 KB in XML
# The styles of styles.xml.
_BOLD, _DATE_AND_TIME, _DAY_ONLY = 1, 2, 3


def as_xlsx(
    chunks: Iterable[list[Row]], columns: Sequence[Column], *, rows_a_sheet: int = ROWS_A_SHEET
) -> Iterator[bytes]:
    """Yield the file, preceded by an empty piece for each of `chunks`. Further sheets continue a full one."""
    with tempfile.TemporaryDirectory(prefix="telemetry-xlsx-") as folder:
        path = Path(folder) / "export.xlsx"
        with ZipFile(path, "w", ZIP_DEFLATED, compresslevel=_COMPRESSION) as archive, ExitStack() as stack:
            book = _Book(archive, columns, rows_a_sheet)
            stack.callback(book.end_sheet)  # an open sheet would hide the error that ended the rows
            for chunk in chunks:
                book.add(chunk)
                yield b""  # releases the thread for other streams
            book.finish()
        with path.open("rb") as file:
            while piece := file.read(BYTES_A_PIECE):
                yield piece


class _Book:
    """Writes rows to sheets with a frozen header."""

    def __init__(self, archive: ZipFile, columns: Sequence[Column], rows_a_sheet: int) -> None:
        self._archive = archive
        self._max_rows = rows_a_sheet
        self._columns = [(_letters(place), _CELLS[column.kind]) for place, column in enumerate(columns)]
        self._head = _head(columns)
        self._sheets = 0
        self._sheet: IO[bytes] | None = None
        self._begin_sheet()

    def add(self, rows: Sequence[Row]) -> None:
        start = 0
        while start < len(rows):
            if self._rows == self._max_rows or self._bytes > BYTES_A_SHEET:
                self._begin_sheet()
            end = start + min(_ROWS_AT_ONCE, self._max_rows - self._rows)
            self._add(rows[start:end])
            start = end

    def _add(self, rows: Sequence[Row]) -> None:
        """Write rows that fit into the sheet, column by column, which takes fewer calls than cell by cell."""
        values = zip(*rows, strict=True)
        numbers = range(self._rows + 2, self._rows + 2 + len(rows))
        cells = [
            write(letters, numbers, of_column)
            for (letters, write), of_column in zip(self._columns, values, strict=True)
        ]
        self._rows += len(rows)
        self._write("".join([f"<row>{''.join(row)}</row>" for row in zip(*cells, strict=True)]))

    def _write(self, text: str) -> None:
        data = encoded(text)
        self._bytes += len(data)
        if self._sheet is not None:
            self._sheet.write(data)

    def _begin_sheet(self) -> None:
        self.end_sheet()
        self._sheets += 1
        self._sheet = self._archive.open(_info(f"xl/worksheets/sheet{self._sheets}.xml"), "w")
        self._rows = self._bytes = 0
        self._write(self._head)

    def end_sheet(self) -> None:
        if self._sheet is not None:
            self._write("</sheetData></worksheet>")
            self._sheet.close()
            self._sheet = None

    def finish(self) -> None:
        self.end_sheet()
        numbers = range(1, self._sheets + 1)
        for name, text in {
            "[Content_Types].xml": _CONTENT_TYPES.format(
                sheets="".join(_SHEET_TYPE.format(number=number) for number in numbers)
            ),
            "_rels/.rels": _RELATIONS,
            "xl/styles.xml": _STYLES,
            "xl/workbook.xml": _WORKBOOK.format(sheets="".join(_SHEET.format(number=number) for number in numbers)),
            "xl/_rels/workbook.xml.rels": _BOOK_RELATIONS.format(
                sheets="".join(_SHEET_RELATION.format(number=number) for number in numbers)
            ),
        }.items():
            self._archive.writestr(_info(name), _XML + text)


def _info(name: str) -> ZipInfo:
    """Return the entry of a file, without the time: equal rows give equal files."""
    info = ZipInfo(name)
    info.compress_type = ZIP_DEFLATED
    info._compresslevel = _COMPRESSION  # type: ignore[attr-defined]
    return info


def _letters(place: int) -> str:
    """Return the name of a column: 0 is A, 26 is AA."""
    letters = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def _head(columns: Sequence[Column]) -> str:
    dates = {Kind.MOMENT, Kind.TIME, Kind.DAY}
    widths = [_DATE_WIDTH if column.kind in dates else _WIDTHS.get(column.name, _WIDTH) for column in columns]
    cols = "".join(
        f'<col min="{at}" max="{at}" width="{width}" customWidth="1"/>' for at, width in enumerate(widths, 1)
    )
    cells = "".join(
        f'<c r="{_letters(place)}1" s="{_BOLD}"{_text(column.heading)}</c>' for place, column in enumerate(columns)
    )
    return f"{_XML}{_SHEET_HEAD}<cols>{cols}</cols><sheetData><row>{cells}</row>"


# --- cells: each function returns the rest of a cell after the quote that ends its name ------------------------------


def _text(value: object) -> str:
    return f' t="inlineStr"><is><t xml:space="preserve">{_escaped(str(value))}</t></is>'


_SPECIAL = bytes([*range(9), *range(11, 32), *b"&<>"])
_LIKE_A_CODE = re.compile("_x[0-9A-Fa-f]{4}_").search
_CODES = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)").sub


def _escaped(text: str) -> str:
    """Return a text for XML. What XML cannot contain, or would change, is `_xHHHH_`, as spreadsheets write it."""
    if len(text) * 2 > MAX_CELL:
        text = _truncated(text)
    if not _is_special(text):
        return text
    text = encoded(text).decode().replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _CODES(lambda match: f"_x{ord(match[0]):04X}_", text)


def _is_special(text: str) -> bool:
    try:
        data = text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return True
    if len(data.translate(None, _SPECIAL)) < len(data):  # five times as fast as a search for a class of characters
        return True
    return "\ufffe" in text or "\uffff" in text or _LIKE_A_CODE(text) is not None


def _truncated(text: str) -> str:
    """Return a text that fits into a cell. A truncated text says so at its end."""
    if len(text) <= MAX_CELL and (text.isascii() or len(text.encode("utf-16-le", "surrogatepass")) <= 2 * MAX_CELL):
        return text
    kept = text.encode("utf-16-le", "surrogatepass")[: 2 * (MAX_CELL - len(CUT))]
    return kept.decode("utf-16-le", errors="ignore") + CUT


def _number(value: float) -> str:
    return f"><v>{value:d}</v>" if value.__class__ is not float else f"><v>{value!r}</v>"


def _moment(epoch_ms: int) -> str:
    days = epoch_ms / _DAY_MS + _EPOCH_DAYS
    if days < _FIRST_DAYS:
        return _text(epoch_ms)
    return f' s="{_DATE_AND_TIME}"><v>{days:.10f}</v>'


def _time(text: str) -> str:
    """Return the cell of an ISO 8601 time in UTC, or of any other text."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        return _text(text)
    if moment < _FIRST_DATE:
        return _text(text)
    since = moment - _EPOCH
    return f' s="{_DATE_AND_TIME}"><v>{since.days + (since.seconds + since.microseconds / 1e6) / 86_400:.10f}</v>'


def _day(day: date) -> str:
    return f' s="{_DAY_ONLY}"><v>{(day - _EPOCH.date()).days}</v>'


_FIRST_DAYS = (_FIRST_DATE - _EPOCH).days

# --- columns: each function returns the cells of rows with these numbers, "" for an empty one -------------------------

_Cells = Callable[[str, Iterable[int], Sequence[Any]], list[str]]


def _texts(letters: str, numbers: Iterable[int], values: Sequence[Any]) -> list[str]:
    distinct = set(values) - {None}
    if any(len(text) * 2 > MAX_CELL for text in distinct) or _is_special("".join(distinct)):
        escaped = {text: _escaped(text) for text in distinct}
        values = [escaped.get(text) for text in values]
    return [
        ""
        if text is None
        else f'<c r="{letters}{number}" t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'
        for number, text in zip(numbers, values, strict=True)
    ]


def _each(write: Callable[[Any], str]) -> _Cells:
    """Return a function for a column whose cells are written one by one."""
    return lambda letters, numbers, values: [
        "" if value is None else f'<c r="{letters}{number}"{write(value)}</c>'
        for number, value in zip(numbers, values, strict=True)
    ]


_CELLS: dict[Kind, _Cells] = {
    Kind.TEXT: _texts,
    Kind.JSON: _texts,
    Kind.NUMBER: _each(_number),
    Kind.MOMENT: _each(_moment),
    Kind.TIME: _each(_time),
    Kind.DAY: _each(_day),
}

# --- the other files of the archive ----------------------------------------------------------------------------------

_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_DOCUMENT = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_SHEET_HEAD = (
    f'<worksheet xmlns="{_MAIN}"><sheetViews><sheetView workbookViewId="0">'
    '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews>'
)
_SHEET_TYPE = f'<Override PartName="/xl/worksheets/sheet{{number}}.xml" ContentType="{_TYPE}.worksheet+xml"/>'
_CONTENT_TYPES = (
    f'<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
    f'<Override PartName="/xl/styles.xml" ContentType="{_TYPE}.styles+xml"/>{{sheets}}</Types>'
)
_RELATIONS = (
    f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_DOCUMENT}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
)
_SHEET = '<sheet name="Sheet{number}" sheetId="{number}" r:id="rId{number}"/>'
_WORKBOOK = f'<workbook xmlns="{_MAIN}" xmlns:r="{_DOCUMENT}"><sheets>{{sheets}}</sheets></workbook>'
_SHEET_RELATION = (
    f'<Relationship Id="rId{{number}}" Type="{_DOCUMENT}/worksheet" Target="worksheets/sheet{{number}}.xml"/>'
)
_BOOK_RELATIONS = (
    f'<Relationships xmlns="{_PACKAGE}/relationships">{{sheets}}'
    f'<Relationship Id="rIdStyles" Type="{_DOCUMENT}/styles" Target="styles.xml"/></Relationships>'
)
_STYLES = (
    f'<styleSheet xmlns="{_MAIN}"><numFmts count="2">'
    '<numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd\\ hh:mm:ss.000"/>'
    '<numFmt numFmtId="165" formatCode="yyyy\\-mm\\-dd"/></numFmts>'
    '<fonts count="2"><font><sz val="11"/><name val="Calibri"/></font>'
    '<font><b/><sz val="11"/><name val="Calibri"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill>'
    '<fill><patternFill patternType="gray125"/></fill></fills>'
    '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
    '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
    '<cellXfs count="4"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
    '<xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/>'
    '<xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
    '<xf numFmtId="165" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/></cellXfs>'
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
)
