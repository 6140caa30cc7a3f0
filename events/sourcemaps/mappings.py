"""Reads source maps (ECMA-426): checks them, and looks up the original positions of many generated positions at once.

One pass over the mappings finds every position, and no mapping becomes an object of its own. 10 MB of mappings take
about a second and no memory beyond the map itself; the package ecma426 takes five times that, and 550 MB. It is the
reference of the tests.
"""

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

VERSION = 3
MAX_MAPPINGS = 5_000_000
MAX_SOURCES = 50_000
MAX_NAMES = 1_000_000
MAX_SECTIONS = 10_000
_LIMIT = 1 << 31  # of every number in a map, ECMA-426
_LONGEST_SEGMENT = 5 * 7  # five numbers of seven digits
_CHUNK = 65_536
_CACHED_SEGMENTS = 50_000
_DIGITS = {
    digit: value for value, digit in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
}
_GUARD = re.compile(r"\A\ufeff?\)\]\}'?[^\n]*\n")  # a first line that keeps browsers from running JSON as a script

Wanted = tuple[int, int]


class BadMap(ValueError):
    """The text is not a valid source map. The message says in words what is wrong."""

    is_loggable = True  # log lines contain the message


class Position(NamedTuple):
    """A position in an original source; `line` and `column` count from 1. `section` and `source` are indexes."""

    section: int
    source: int
    line: int
    column: int
    name: str | None


class Section(NamedTuple):
    """A map, or one part of an index map. It begins at a generated position that counts from 0."""

    line: int
    column: int
    mappings: str
    names: list[str]
    sources: list[str | None]
    contents: list[str | None]


class SourceMap(NamedTuple):
    sections: list[Section]

    @property
    def sources(self) -> int:
        return sum(len(section.sources) for section in self.sections)

    def look_up(self, positions: Iterable[Wanted]) -> dict[Wanted, Position | None]:
        """Return the original position of each generated (line, column), both from 1; None for a position without one.

        A position belongs to the last mapping at or before it on its line. Raises BadMap.
        """
        starts = [(section.line, section.column) for section in self.sections]
        wanted: dict[int, dict[int, dict[int, Wanted]]] = {}
        found: dict[Wanted, Position | None] = {}
        for line, column in positions:
            found[line, column] = None
            at = (line - 1, column - 1)
            number = bisect_left(starts, (at[0], at[1] + 1)) - 1
            if number < 0 or min(at) < 0:
                continue
            start = starts[number]
            in_line = at[0] - start[0]
            in_column = at[1] - (0 if in_line else start[1])
            wanted.setdefault(number, {}).setdefault(in_line, {})[in_column] = (line, column)
        for number, by_line in wanted.items():
            section = self.sections[number]
            for in_line, original in _walk(section, {line: sorted(columns) for line, columns in by_line.items()}):
                for in_column, fields in original.items():
                    found[by_line[in_line][in_column]] = _position(section, number, fields)
        return found

    def source_of(self, position: Position) -> tuple[str | None, str | None]:
        """Return the name of the source of a position, and its content; None for what the map does not have."""
        section = self.sections[position.section]
        content = section.contents[position.source] if position.source < len(section.contents) else None
        return section.sources[position.source], content


def read(text: str | bytes) -> SourceMap:
    """Parse a map without its mappings. Raises BadMap."""
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        guard = _GUARD.match(text[:200])
        parsed = json.loads(text[guard.end() :] if guard else text, parse_constant=_refuse_constant)
    except BadMap:
        raise
    except UnicodeDecodeError:
        raise BadMap("It is not UTF-8 text.") from None
    except RecursionError:
        raise BadMap("It is nested too deeply.") from None
    except ValueError as error:
        raise BadMap(f"It is not valid JSON: {error}.") from None
    return SourceMap(list(_sections(parsed)))


def _refuse_constant(name: str) -> None:
    raise BadMap(f"It is not valid JSON: it contains {name}.")


def check(text: str | bytes) -> SourceMap:
    """Parse a map and check every mapping. Raises BadMap."""
    source_map = read(text)
    for section in source_map.sections:
        for _ in _walk(section, {}):
            pass
    return source_map


def _sections(parsed: Any) -> Iterator[Section]:
    if not isinstance(parsed, dict):
        raise BadMap("A source map is a JSON object.")
    if parsed.get("version") != VERSION or isinstance(parsed["version"], (bool, float)):
        raise BadMap("It has no `version` of 3.")
    if "sections" not in parsed:
        yield _section(parsed, 0, 0)
        return
    parts = parsed["sections"]
    if "mappings" in parsed:
        raise BadMap("It has both `sections` and `mappings`.")
    if not isinstance(parts, list):
        raise BadMap("`sections` is not a list.")
    if len(parts) > MAX_SECTIONS:
        raise BadMap(f"It has more than {MAX_SECTIONS:,} sections.")
    last, mappings, sources = (-1, -1), 0, 0
    for number, part in enumerate(parts):
        offset = part.get("offset") if isinstance(part, dict) else None
        start = (_number(offset, "line"), _number(offset, "column")) if isinstance(offset, dict) else (-1, -1)
        if min(start) < 0:
            raise BadMap(f"Section {number} has no `offset` with a line and a column.")
        if start <= last:
            raise BadMap(f"Section {number} does not begin after the section before it.")
        if "url" in part:
            raise BadMap(f"Section {number} has a `url`. Only maps within the map are read.")
        if not isinstance(part.get("map"), dict):
            raise BadMap(f"Section {number} has no `map`.")
        if "sections" in part["map"]:
            raise BadMap(f"Section {number} is an index map again.")
        last = start
        section = _section(part["map"], *start)
        mappings += _count(section.mappings)
        sources += len(section.sources)
        if mappings > MAX_MAPPINGS or sources > MAX_SOURCES:
            raise BadMap(f"It has more than {MAX_MAPPINGS:,} mappings or {MAX_SOURCES:,} sources.")
        yield section


def _section(parsed: dict[str, Any], line: int, column: int) -> Section:
    mappings = parsed.get("mappings")
    if not isinstance(mappings, str):
        raise BadMap("It has no `mappings`.")
    if _count(mappings) > MAX_MAPPINGS:
        raise BadMap(f"It has more than {MAX_MAPPINGS:,} mappings.")
    sources = _texts(parsed, "sources", MAX_SOURCES)
    if parsed.get("sources") is None:
        raise BadMap("It has no `sources`.")
    root = parsed.get("sourceRoot") or ""
    if not isinstance(root, str):
        raise BadMap("`sourceRoot` is not a text.")
    if root:
        root = root if root.endswith("/") else f"{root}/"
        sources = [source if source is None else root + source for source in sources]
    names = [name or "" for name in _texts(parsed, "names", MAX_NAMES)]
    return Section(line, column, mappings, names, sources, _texts(parsed, "sourcesContent", MAX_SOURCES))


def _count(mappings: str) -> int:
    return mappings.count(",") + mappings.count(";") + 1


def _texts(parsed: dict[str, Any], key: str, most: int) -> list[str | None]:
    texts = parsed.get(key)
    if texts is None:
        return []
    if not isinstance(texts, list) or not all(text is None or isinstance(text, str) for text in texts):
        raise BadMap(f"`{key}` is not a list of texts.")
    if len(texts) > most:
        raise BadMap(f"`{key}` has more than {most:,} entries.")
    return texts


def _number(values: dict[str, Any], key: str) -> int:
    value = values.get(key)
    return value if type(value) is int and 0 <= value < _LIMIT else -1


Fields = tuple[int, int, int, int]  # source, line, column, name; from 0; a name of -1 is none


def _walk(section: Section, wanted: dict[int, list[int]]) -> Iterator[tuple[int, dict[int, Fields | None]]]:
    """Decode a section's mappings in order. Yield each wanted line with the fields of its wanted columns.

    Without wanted lines, it checks every mapping. With them, it ends behind the last of them.
    """
    mappings, cache = section.mappings, dict[str, tuple[int, ...]]()
    sources, names = len(section.sources), len(section.names)
    source = line = column = name = 0
    last = max(wanted, default=-1)
    start = generated_line = 0
    while start <= len(mappings):
        end = mappings.find(";", start)
        end = len(mappings) if end < 0 else end
        columns = wanted.get(generated_line)
        best: dict[int, tuple[int, Fields | None]] = {}
        generated_column = 0
        for chunk in _chunks(mappings, start, end):
            for segment in chunk.split(","):
                deltas = cache.get(segment)
                if deltas is None:
                    if not segment:
                        continue
                    if len(cache) >= _CACHED_SEGMENTS:
                        cache.clear()
                    deltas = cache[segment] = _decode(segment)
                generated_column += deltas[0]
                size = len(deltas)
                if size > 1:
                    source += deltas[1]
                    line += deltas[2]
                    column += deltas[3]
                    if size == 5:
                        name += deltas[4]
                        if not 0 <= name < names:
                            raise BadMap(f"A mapping of line {generated_line + 1} names a name that does not exist.")
                    if not 0 <= source < sources:
                        raise BadMap(f"A mapping of line {generated_line + 1} names a source that does not exist.")
                    if not (0 <= line < _LIMIT and 0 <= column < _LIMIT):
                        raise BadMap(f"A mapping of line {generated_line + 1} has a position outside its source.")
                if not 0 <= generated_column < _LIMIT:
                    raise BadMap(f"A mapping of line {generated_line + 1} has a column below 0 or over 2³¹.")
                if columns is not None:
                    number = bisect_left(columns, generated_column)
                    known = best.get(number)
                    if known is None or generated_column >= known[0]:
                        fields = (source, line, column, name if size == 5 else -1) if size > 1 else None
                        best[number] = (generated_column, fields)
        if columns is not None:
            yield generated_line, _by_column(columns, best)
        if generated_line == last:
            return
        start = end + 1
        generated_line += 1


def _by_column(columns: list[int], best: dict[int, tuple[int, Fields | None]]) -> dict[int, Fields | None]:
    """Return the fields for each wanted column: those of the last mapping at or before it."""
    found: dict[int, Fields | None] = {}
    fields: Fields | None = None
    for number, column in enumerate(columns):
        if number in best:  # mappings between the wanted column before and this one
            fields = best[number][1]
        found[column] = fields
    return found


def _chunks(mappings: str, start: int, end: int) -> Iterator[str]:
    """Yield one line's mappings in parts that end between two mappings, so that few are texts at a time."""
    while start < end:
        stop = end if end - start <= _CHUNK else mappings.find(",", start + _CHUNK, end)
        stop = end if stop < 0 else stop
        if stop - start > 2 * _CHUNK:
            raise BadMap("A mapping is too long.")
        yield mappings[start:stop]
        start = stop + 1


def _decode(segment: str) -> tuple[int, ...]:
    """Decode the one, four or five numbers of a mapping, in base 64 with the lowest digits first (VLQ)."""
    if len(segment) > _LONGEST_SEGMENT:
        raise BadMap("A mapping is too long.")
    numbers: list[int] = []
    value = shift = 0
    for digit in segment:
        bits = _DIGITS.get(digit)
        if bits is None:
            raise BadMap(f"`mappings` has the character {digit!r}, which no mapping contains.")
        value |= (bits & 31) << shift
        if bits & 32:
            shift += 5
            continue
        number = value >> 1
        if number >= _LIMIT:
            raise BadMap(f"The mapping {segment} has a number over 2³¹.")
        numbers.append(-number if value & 1 else number)
        value = shift = 0
    if shift:
        raise BadMap(f"The mapping {segment} ends within a number.")
    if len(numbers) not in (1, 4, 5):
        raise BadMap(f"The mapping {segment} has {len(numbers)} numbers instead of 1, 4 or 5.")
    return tuple(numbers)


def _position(section: Section, number: int, fields: Fields | None) -> Position | None:
    if fields is None:
        return None
    source, line, column, name = fields
    return Position(number, source, line + 1, column + 1, section.names[name] if name >= 0 else None)
