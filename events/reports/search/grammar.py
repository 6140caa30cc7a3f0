"""Parses a search into filters and texts, and formats them again. The grammar is in the docstring of the package."""

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

MAX_QUERY = 500  # characters
MAX_TEXT = 200
MAX_FILTERS = 20
MAX_TEXTS = 5
EXPECTED = "expected"

_NAME = re.compile(r"(-?)([A-Za-z][A-Za-z0-9_.]*):")
_NOT_EXPECTED = re.compile(r"-expected(?!\S)", re.IGNORECASE)
_SPACE = re.compile(r"\s*")
_WORD = re.compile(r"\S+")
_PHRASE = re.compile(r'"((?:[^"\\]|\\.|\\\Z)*)("?)', re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\])')
_SHOWN = 40


class SearchError(ValueError):
    """A query that cannot be read. The argument says in words what to change."""


class Filter(NamedTuple):
    """A filter as it was typed; its name is in lower case. `-expected` has no value."""

    name: str
    value: str
    is_excluded: bool = False


class Query(NamedTuple):
    filters: tuple[Filter, ...] = ()
    texts: tuple[str, ...] = ()


def parse(raw: str, names: Collection[str]) -> Query:
    """Parse a query. `names` are the known names of filters, in lower case. Raises SearchError.

    Each character is read at most twice, and the length is bounded.
    """
    raw = raw.strip()
    if len(raw) > MAX_QUERY:
        raise SearchError(f"A search has at most {MAX_QUERY} characters; this one has {len(raw):,}.")
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in raw):
        raise SearchError("This search contains a character that no text can contain.")
    if not raw.startswith('"') and not any(_is_filter(raw, at, names) for at in _word_starts(raw)):
        return Query(texts=(_text(raw),) if raw else ())
    filters: list[Filter] = []
    texts: list[str] = []
    at, words_from, words_to = 0, None, 0

    def end_words() -> None:
        if words_from is not None:
            texts.append(_text(raw[words_from:words_to]))

    while at < len(raw):
        if _is_filter(raw, at, names):
            end_words()
            words_from = None
            found, at = _filter(raw, at)
            filters.append(found)
        elif raw[at] == '"':
            end_words()
            words_from = None
            text, at = _phrase(raw, at)
            if not text:
                raise SearchError('There is nothing between the quotes "".')
            texts.append(_text(text))
        else:
            word = raw[at : _end(_WORD, raw, at)]
            if word[0] == "-" and len(word) > 1:
                raise SearchError(
                    f"- works only before a filter, such as -model:UV-17R, and in -expected. To search for"
                    f" {shown(word)} itself, put it in quotes."
                )
            words_from = at if words_from is None else words_from
            at = words_to = at + len(word)
        at = _end(_SPACE, raw, at)
    end_words()
    if len(filters) > MAX_FILTERS:
        raise SearchError(f"A search has at most {MAX_FILTERS} filters; this one has {len(filters)}.")
    if len(texts) > MAX_TEXTS:
        raise SearchError(f"A search has at most {MAX_TEXTS} texts; this one has {len(texts)}.")
    return Query(tuple(filters), tuple(texts))


def formatted(query: Query) -> str:
    """Return a query whose parsed form is equal to this one."""
    if not query.filters and len(query.texts) == 1:
        return as_text(query.texts[0])
    return " ".join([*map(_formatted_filter, query.filters), *map(quoted, query.texts)])


def as_text(text: str) -> str:
    """Return a query that searches for exactly this text in every list: in quotes if it could be read otherwise."""
    may_be_read = text.startswith('"') or ":" in text or _NOT_EXPECTED.search(text) or text != text.strip()
    return quoted(text) if may_be_read else text


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def shown(text: str) -> str:
    """Return a typed text for an error message, shortened."""
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _formatted_filter(found: Filter) -> str:
    sign = "-" if found.is_excluded else ""
    if found.name == EXPECTED and not found.value:
        return f"{sign}{EXPECTED}"
    needs_quotes = not found.value or found.value.startswith('"') or re.search(r"\s", found.value)
    return f"{sign}{found.name}:{quoted(found.value) if needs_quotes else found.value}"


def _word_starts(raw: str) -> Iterable[int]:
    return (word.start() for word in _WORD.finditer(raw))


def _is_filter(raw: str, at: int, names: Collection[str]) -> bool:
    name = _NAME.match(raw, at)
    if name is not None:
        return name[2].lower() in names
    return EXPECTED in names and _NOT_EXPECTED.match(raw, at) is not None


def _filter(raw: str, at: int) -> tuple[Filter, int]:
    """Return the filter that begins here, and the position after it."""
    head = _NAME.match(raw, at)
    if head is None:
        return Filter(EXPECTED, "", is_excluded=True), at + len(f"-{EXPECTED}")
    name, is_excluded = head[2].lower(), bool(head[1])
    if raw[head.end() : head.end() + 1] == '"':
        value, end = _phrase(raw, head.end())
    else:
        end = _end(_WORD, raw, head.end())
        value = raw[head.end() : end]
    if not value:
        raise SearchError(
            f"{head[0]} has no value. Write it after the colon without a space. To search for {head[0]} itself, put the"
            " text in quotes."
        )
    return Filter(name, value, is_excluded), end


def _phrase(raw: str, at: int) -> tuple[str, int]:
    """Return the text of the phrase that begins here, and the position after it."""
    phrase = _PHRASE.match(raw, at)
    if phrase is None or not phrase[2]:
        raise SearchError(
            f'The quote before {shown(raw[at + 1 :]) or "the end"} is never closed. Add " where the text ends. A quote'
            ' inside of quotes is \\".'
        )
    end = phrase.end()
    if end < len(raw) and not raw[end].isspace():
        raise SearchError(
            f'A space is missing after the quote that closes {shown(phrase[0])}. A quote inside of quotes is \\".'
        )
    return _ESCAPED.sub(r"\1", phrase[1]), end


def _text(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise SearchError(f"A text in a search has at most {MAX_TEXT} characters; this one has {len(text):,}.")
    return text


def _end(pattern: re.Pattern[str], raw: str, at: int) -> int:
    match = pattern.match(raw, at)
    return match.end() if match else at
