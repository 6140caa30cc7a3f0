"""What to export: a list, its filters, the columns in their order, and the format of the file."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple, Self

from django import forms
from django.http import QueryDict
from django.utils.http import urlencode

from events.reports.exports import spreadsheets, text_files
from events.reports.exports.columns import Column, Row
from events.reports.exports.lists import FACET, LISTS, ExportList, Read
from events.reports.forms import ListFilter

# The parameters of an export have this prefix, so that they cannot be filters of the list.
PREFIX = "x."
COLUMN, FORMAT, GZIP = "x.column", "x.format", "x.gzip"


class Encoding(NamedTuple):
    label: str
    media_type: str
    purpose: str = ""
    is_gzip: bool = False


class Format(Enum):
    """The formats of files. The value is the end of the file's name."""

    CSV = "csv"
    CSV_GZIP = "csv.gz"
    XLSX = "xlsx"
    NDJSON = "ndjson"
    NDJSON_GZIP = "ndjson.gz"

    @property
    def encoding(self) -> Encoding:
        return _ENCODINGS[self]

    def encode(self, chunks: Iterable[list[Row]], columns: Sequence[Column]) -> Iterator[bytes]:
        """Yield the file in pieces. A piece can be empty."""
        if self is Format.XLSX:
            return spreadsheets.as_xlsx(chunks, columns)
        as_text = text_files.as_csv if self in (Format.CSV, Format.CSV_GZIP) else text_files.as_ndjson
        pieces = as_text(chunks, columns)
        return text_files.gzipped(pieces) if self.encoding.is_gzip else pieces


_ENCODINGS = {
    Format.CSV: Encoding("CSV", "text/csv; charset=utf-8", "for programs"),
    Format.CSV_GZIP: Encoding("CSV, gzip", "application/gzip", is_gzip=True),
    Format.XLSX: Encoding(
        "XLSX",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "for spreadsheets: versions stay text, times are dates",
    ),
    Format.NDJSON: Encoding("NDJSON", "application/x-ndjson", "one JSON object on each line"),
    Format.NDJSON_GZIP: Encoding("NDJSON, gzip", "application/gzip", is_gzip=True),
}
PLAIN_FORMATS = (Format.XLSX, Format.CSV, Format.NDJSON)


class InvalidExport(ValueError):
    """An export that cannot be made. `fields` contains the errors in words, by parameter."""

    def __init__(self, fields: Mapping[str, list[str]]) -> None:
        super().__init__(" ".join(f"{name}: {error}" for name, errors in fields.items() for error in errors))
        self.fields = dict(fields)


@dataclass(frozen=True)
class Choice:
    """`missing` are the chosen columns that the list no longer has: their cells are empty."""

    export_list: ExportList
    form: ListFilter
    columns: tuple[Column, ...]
    format: Format = Format.XLSX
    missing: tuple[str, ...] = ()

    @cached_property
    def filters(self) -> str:
        """The active filters as a query string, in the order of the form."""
        applied = self.form.applied()
        return urlencode([(name, applied[name]) for name in self.form.fields if name in applied])

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def query(self) -> str:
        """The query string of the export page with this choice."""
        own: list[tuple[str, str]] = [(COLUMN, name) for name in self.names]
        own.append((FORMAT, self.format.value.removesuffix(".gz")))
        if self.format.encoding.is_gzip:
            own.append((GZIP, "1"))
        return "&".join(part for part in (self.filters, urlencode(own)) if part)

    def with_format(self, chosen: Format) -> Self:
        return replace(self, format=chosen)

    def read(self, now: datetime, viewer_id: int | None, limit: int | None = None) -> Read:
        """Return the read of this choice. Raises InvalidExport if this reader cannot make it."""
        read = Read(self.form, now, viewer_id, limit)
        problem = self.export_list.problem(read)
        if problem:
            raise InvalidExport({"filters": [problem]})
        return read

    def file_name(self, read: Read) -> str:
        """Return the name of the file: the list, the range, the day. It has letters, digits, hyphens and dots."""
        range_name = self.export_list.range_name(read)
        return f"{self.export_list.file_name}-{range_name}-{read.now:%Y-%m-%d}.{self.format.value}"

    def warnings(self) -> list[str]:
        """Return what a reader of the file must know, in words."""
        return [
            f"The column {name} no longer exists, so its cells are empty."
            + (" Add the name to FACETS to get it back." if name.startswith(FACET) else "")
            for name in self.missing
        ]

    def rows(self, read: Read) -> Iterator[list[Row]]:
        known = [name for name in self.names if name not in self.missing]
        chunks = self.export_list.rows(read, known)
        if not self.missing:
            yield from chunks
            return
        places = [known.index(name) if name in known else -1 for name in self.names]
        for chunk in chunks:
            yield [tuple([None if place < 0 else row[place] for place in places]) for row in chunk]


class _Options(forms.Form):
    """The parameters of an export besides the filters and the columns."""

    format = forms.ChoiceField(required=False, choices=[(each.value, each.encoding.label) for each in PLAIN_FORMATS])
    gzip = forms.ChoiceField(required=False, choices=[("", "no"), ("1", "yes")])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("gzip") and cleaned.get("format", "") in ("", Format.XLSX.value):
            self.add_error("gzip", "An XLSX file is compressed already. Choose CSV or NDJSON for gzip.")
        return cleaned


def of_query(export_list: ExportList, parameters: QueryDict) -> Choice:
    """Return the choice of a query string: filters of the list, and parameters with PREFIX. Raises InvalidExport."""
    filters = parameters.copy()
    for name in (COLUMN, FORMAT, GZIP):
        filters.pop(name, None)
    form = export_list.form(filters)
    faults = {name: [str(error) for error in errors] for name, errors in form.refuse_unknown().errors.items()}
    for name in ("cursor", "limit"):  # of a page of the list: an export has every row
        if parameters.get(name):
            faults.setdefault(name, ["An export has every row of the list. Remove this parameter."])
    options = _Options({"format": parameters.get(FORMAT, ""), "gzip": parameters.get(GZIP, "")})
    faults |= {PREFIX + name: [str(error) for error in errors] for name, errors in options.errors.items()}
    columns, wrong = _columns(export_list, parameters.getlist(COLUMN))
    if wrong:
        faults[COLUMN] = wrong
    if faults:
        raise InvalidExport(faults)
    value = options.cleaned_data["format"] or Format.XLSX.value
    return Choice(export_list, form, columns, Format(f"{value}.gz" if options.cleaned_data["gzip"] else value))


def _columns(export_list: ExportList, names: Sequence[str]) -> tuple[tuple[Column, ...], list[str]]:
    """Return the columns of these names in their order, all without any, and the errors."""
    by_name = {column.name: column for column in export_list.columns()}
    wrong = [f"This list has no column {name[:64]}." for name in names if name not in by_name]
    if len(set(names)) < len(names):
        wrong.append("A column is chosen twice.")
    return tuple(by_name[name] for name in names if name in by_name) if names else tuple(by_name.values()), wrong


def of_stored(list_key: str, filters: str, names: Sequence[str], format_value: str) -> Choice:
    """Return the choice of a stored export. Raises InvalidExport.

    A column that no longer exists stays, with empty cells, so that the other columns keep their places. A filter that
    no longer exists is an error: without it the export would have rows that nobody wanted.
    """
    export_list = LISTS.get(list_key)
    if export_list is None:
        raise InvalidExport({"list": [f"This site has no list {list_key}. Delete this export."]})
    form = export_list.form(QueryDict(filters))
    errors = form.refuse_unknown().errors
    if errors:
        words = (f"The filter {name} is no longer valid: {' '.join(map(str, found))}" for name, found in errors.items())
        raise InvalidExport({"filters": [*words, "Create the export again with other filters."]})
    by_name = {column.name: column for column in export_list.columns()}
    missing = tuple(name for name in names if name not in by_name)
    columns = tuple(by_name.get(name) or Column(name) for name in names)
    try:
        return Choice(export_list, form, columns, Format(format_value), missing)
    except ValueError:
        raise InvalidExport({"format": [f"This site has no format {format_value}."]}) from None


def in_order(export_list: ExportList, chosen: Sequence[str]) -> list[str]:
    """Return the names of every column: first the chosen ones in their order, then the others."""
    return list(dict.fromkeys(chain(chosen, (column.name for column in export_list.columns()))))
