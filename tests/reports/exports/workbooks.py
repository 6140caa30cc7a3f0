"""Reads XLSX files as a spreadsheet does, so that tests see the types of the cells."""

import io
import re
import zipfile
from typing import Any
from xml.etree import ElementTree

_NAMES = {"x": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}


def sheets(file: bytes) -> list[list[list[Any]]]:
    """Return the rows of each sheet: texts as texts, numbers and dates as numbers, an empty cell as None."""
    with zipfile.ZipFile(io.BytesIO(file)) as book:
        assert book.testzip() is None
        names = sorted(
            (name for name in book.namelist() if re.fullmatch(r"xl/worksheets/sheet\d+\.xml", name)),
            key=lambda name: int(re.sub(r"\D", "", name)),
        )
        return [_rows(ElementTree.fromstring(book.read(name))) for name in names]


def _rows(sheet: ElementTree.Element) -> list[list[Any]]:
    rows = []
    for row in sheet.iterfind("x:sheetData/x:row", _NAMES):
        cells = {_column(cell): _value(cell) for cell in row.iterfind("x:c", _NAMES)}
        rows.append([cells.get(column) for column in range(max(cells, default=-1) + 1)])
    return rows


def _column(cell: ElementTree.Element) -> int:
    """Return the number of a cell's column, from 0: `B7` is in column 1."""
    letters = re.sub(r"\d", "", cell.get("r") or "")
    return sum((ord(letter) - 64) * 26**place for place, letter in enumerate(reversed(letters))) - 1


def _value(cell: ElementTree.Element) -> Any:
    if cell.get("t") == "inlineStr":
        text = cell.findtext("x:is/x:t", namespaces=_NAMES) or ""
        return re.sub(r"_x([0-9A-F]{4})_", lambda match: chr(int(match[1], 16)), text)
    number = cell.findtext("x:v", namespaces=_NAMES)
    assert cell.find("x:f", _NAMES) is None, "a formula"
    return None if number is None else float(number)
