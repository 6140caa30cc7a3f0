"""Markdown in which a text of a stranger is only in code spans and in fenced blocks.

There, Markdown, HTML, mentions and references have no effect: on GitHub, GitLab, Gitea, and with any parser of
CommonMark. There are no tables, because the parsers disagree about `|` and backslashes in their cells.
"""

import re
import unicodedata
from collections.abc import Iterable

# Control and format characters (with those that change the direction), surrogates, private characters, separators.
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
_JOINERS = {"\u200c", "\u200d"}  # Several scripts and many emoji need these two format characters.
_MARKS = {"Mn", "Me"}
_MAX_MARKS = 3  # of one letter: more of them cover the lines above and below
_RUNS = re.compile("`+")
_FLAG_LETTERS = range(0x1F1E6, 0x1F200)
# What continues the character before it: joiners, variation selectors, skin tones, and the letters of flags.
_CONTINUING = {0x200D, *range(0xFE00, 0xFE10), *range(0x1F3FB, 0x1F400), *range(0xE0020, 0xE0080)}


def visible(text: str) -> str:
    """Return a text as one line in which every control and format character is visible, such as `\\u202e`."""
    if text.isascii() and text.isprintable():
        return text
    characters, marks = [], 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in _MARKS else 0
        if character in "\r\n":
            characters.append(" ")
        elif (category in _HIDDEN and character != "\t" and character not in _JOINERS) or marks > _MAX_MARKS:
            code = ord(character)
            characters.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
        else:
            characters.append(character)
    return "".join(characters)


def shortened(text: str, longest: int) -> str:
    """Return the beginning of a text, with at most `longest` characters. No emoji or accented letter is cut apart."""
    if len(text) <= longest:
        return text
    end = longest - 1
    while end > 0 and _is_within(text, end):
        end -= 1
    return f"{text[:end].rstrip()}…"


def _is_within(text: str, at: int) -> bool:
    """Return whether what people see as one character continues at this index."""
    code = ord(text[at])
    if code in _CONTINUING or unicodedata.combining(text[at]) or text[at - 1] == "\u200d":
        return True
    if code not in _FLAG_LETTERS:
        return False
    start = at
    while start and ord(text[start - 1]) in _FLAG_LETTERS:
        start -= 1
    return (at - start) % 2 == 1  # two letters are one flag


def code_span(text: str, longest: int) -> str:
    """Return a code span whose fence is longer than every run of backticks in the text."""
    text = shortened(visible(text).strip(), longest) or "–"
    fence = _fence(text, 1)
    space = " " if len(fence) > 1 else ""
    return f"{fence}{space}{text}{space}{fence}"


def fenced(lines: Iterable[str], longest: int) -> list[str]:
    """Return a fenced block whose fence is longer than every run of backticks in the lines."""
    block = [shortened(visible(line), longest) for line in lines]
    fence = _fence("\n".join(block), 3)
    return [f"{fence}text", *block, fence]


def _fence(text: str, shortest: int) -> str:
    return "`" * max(max((len(run) for run in _RUNS.findall(text)), default=0) + 1, shortest)


# What begins a mention or a reference: @name, #12, !12, &12, GH-12.
_REFERENCE = re.compile(r"@(?=\w)|[#!&](?=\d)|\bGH-(?=\d)", re.IGNORECASE)


def title(text: str, longest: int) -> str:
    """Return a text as the title of an issue. Trackers read titles without code spans, so references get a space."""
    return shortened(_REFERENCE.sub(lambda match: f"{match[0]} ", visible(text).strip()), longest) or "–"
