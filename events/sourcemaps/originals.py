"""Reads original sources: the name of a source, the lines around a position, and the function that encloses it."""

import re
import unicodedata
from typing import NamedTuple

LINES_AROUND = 3
LINE_CHARACTERS = 200
_LINES_SEARCHED = 1_000
_CODE_CHARACTERS = 200  # of a line that people wrote; a longer one is generated
_NAME_CHARACTERS = 200
_SCHEME = re.compile(r"^(?:webpack(?:-internal)?|file|ng|turbopack|app|rollup|parcel|vite):/{0,3}(?!:)", re.IGNORECASE)
_ORIGIN = re.compile(r"^https?://[^/]*/", re.IGNORECASE)
_VIRTUAL = re.compile(
    r"^(?:virtual:|vite/|\(webpack\)|webpack/|commonjs|\?|<|_?virtual[_/]|data:|javascript:)", re.IGNORECASE
)

_NAME = r"(#?[A-Za-z_$][\w$]{0,79})"
_PARAMETERS = r"\([^()]*(?:\([^()]*\)[^()]*)*\)"
_ARROW = rf"(?:{_PARAMETERS}\s*(?::[^=]{{1,60}})?=>|[A-Za-z_$][\w$]*\s*=>)"
# What opens a function with a name: a declaration; a constant or a property with a function as its value; a method.
_DECLARATION = re.compile(rf"\bfunction(?:\s*\*\s*|\s+){_NAME}\s*[(<]")
_CONSTANT = re.compile(rf"\b(?:const|let|var)\s+{_NAME}\s*(?::[^=]{{1,60}})?=\s*(?:async\s*)?(?:function\b|{_ARROW})")
_PROPERTY = re.compile(rf"(?:^|[\s.,{{]){_NAME}\s*[:=]\s*(?:async\s*)?(?:function\b|{_ARROW})")
_MODIFIERS = (
    r"^\s*(?:(?:public|private|protected|static|override|async|get|set|readonly|abstract|export|default)\s+|\*\s*)*"
)
_METHOD = re.compile(rf"{_MODIFIERS}{_NAME}\s*(?:<[^<>]{{0,80}}>)?\s*\([^;]*\)\s*(?::\s*[^{{=;]*)?\{{")
# Outside every method, code of a class is that of its constructor, which engines call by the name of the class.
_CLASS = re.compile(rf"\bclass\s+{_NAME}\b[^(]*\{{\s*$")
# A declaration whose parameters are on lines of their own.
_BEGUN = re.compile(
    rf"(?:{_MODIFIERS}|.*?\b(?:const|let|var)\s+){_NAME}\s*(?:=\s*(?:async\s*)?)?(?:<[^<>]{{0,80}}>)?\s*\(\s*$"
)
_KEYWORDS = frozenset([
    "if", "for", "while", "switch", "catch", "with", "return", "function", "super", "await", "typeof", "new", "throw",
    "else", "do", "import", "require", "yield", "delete", "void", "case",
])  # fmt: skip
_CLOSING = re.compile(r"^\s*\).*\{\s*$")  # `): void {`


class Original(NamedTuple):
    """A source's name as people know it, and whether it is the page's own code."""

    file: str
    in_app: bool


def named(source: str | None) -> Original:
    """Return the name of a source without what only the build machine knows: scheme, `../`, query, control characters.

    Code of packages and of the bundler itself is not the page's own. The name is text for display, never an address.
    """
    text = (source or "").strip()
    is_virtual = not text or text.startswith("\0") or _VIRTUAL.match(text) is not None
    text = "".join(each for each in text if unicodedata.category(each)[0] != "C").replace("\\", "/")
    webpack = text.lower().startswith("webpack://")
    text = _ORIGIN.sub("", _SCHEME.sub("", text))
    if webpack and "/./" in text[:100]:  # webpack://name/./src/a.ts
        text = text.partition("/./")[2]
    is_virtual = is_virtual or _VIRTUAL.match(text.removeprefix("./")) is not None
    text = text.partition("?")[0] or text
    parts = [part for part in text.split("/") if part not in ("", ".", "..")]
    is_package = "node_modules" in parts or "~" in parts[:1]
    if "node_modules" in parts:
        parts = parts[len(parts) - 1 - parts[::-1].index("node_modules") :]
    file = "/".join(parts) or "(no name)"
    if len(file) > _NAME_CHARACTERS:
        file = f"…{file[1 - _NAME_CHARACTERS :]}"
    return Original(file, in_app=not (is_virtual or is_package))


class Context(NamedTuple):
    """The lines around a position, with their numbers. `mark` is the column of the position in its line as shown."""

    mark: int
    lines: list[tuple[int, str]]


def context_of(lines: list[str], line: int, column: int) -> Context | None:
    """Return the line with this number, from 1, and up to three lines before and after it. None for a wrong number.

    A long line is cut, the line itself around the column.
    """
    if not 1 <= line <= len(lines):
        return None
    text, mark = _cut(lines[line - 1], column)
    first, last = max(line - LINES_AROUND, 1), min(line + LINES_AROUND, len(lines))
    others = {number: _cut(lines[number - 1], 1)[0] for number in range(first, last + 1) if number != line}
    return Context(mark, sorted((others | {line: text}).items()))


def split(content: str) -> list[str]:
    """Return the lines of a source, as browsers and bundlers count them."""
    return re.split(r"\r\n|\n|\r", content)


def enclosing_function(lines: list[str], line: int, column: int) -> str | None:
    """Return the name of the function that encloses a position, read from the indentation. None when in doubt.

    The nearest line above that is less indented and opens a function with a name is its beginning. Code of a class
    outside its methods has the name of the class.
    """
    if not 1 <= line <= len(lines):
        return None
    own = lines[line - 1]
    if len(own) > _CODE_CHARACTERS:
        return None
    before = own[: max(column - 1, 0)]
    name = _opened(before)
    if name is not None and (before.count("{") > before.count("}") or "=>" in before):
        return name
    if own_class := _CLASS.search(own):
        return own_class[1]
    depth, is_begun = _indentation(own), False
    for number in range(line - 2, max(line - 2 - _LINES_SEARCHED, -1), -1):
        text = lines[number]
        if not text.strip() or len(text) > _CODE_CHARACTERS or _indentation(text) >= depth:
            continue
        begun = _BEGUN.match(text) if is_begun else None
        name = begun[1] if begun and begun[1] not in _KEYWORDS else _opened(text.rstrip(), to_the_end=True)
        if name is not None:
            return name
        if of_class := _CLASS.search(text):
            return of_class[1]
        depth = _indentation(text)
        is_begun = _CLOSING.match(text) is not None
        depth += is_begun  # the parameters end here; the name is above, at the same depth
        if depth == 0:
            return None
    return None


def _opened(text: str, *, to_the_end: bool = False) -> str | None:
    """Return the name of the last function that a text opens. `to_the_end`: and that it leaves open."""
    if to_the_end and not text.endswith(("{", "(", "=>", "[", ",")):
        return None
    for pattern in (_DECLARATION, _CONSTANT, _PROPERTY):
        names = [match[1] for match in pattern.finditer(text)]
        if names:
            return names[-1]
    method = _METHOD.match(text)
    if method is None or method[1] in _KEYWORDS or "=>" in method[0] or "function" in method[0]:
        return None
    return method[1] if not to_the_end or method.end() == len(text) else None


def _indentation(text: str) -> int:
    expanded = text.expandtabs(4)
    return len(expanded) - len(expanded.lstrip())


def _cut(text: str, column: int) -> tuple[str, int]:
    """Return at most LINE_CHARACTERS of a line around a column, and where the column is in them, from 1."""
    start = max(column - 1 - LINE_CHARACTERS // 2, 0) if len(text) > LINE_CHARACTERS else 0
    part = text[start : start + LINE_CHARACTERS]
    cut = "".join(each if each == "\t" or unicodedata.category(each)[0] != "C" else "\ufffd" for each in part)
    before, after = "…" if start else "", "…" if start + LINE_CHARACTERS < len(text) else ""
    return f"{before}{cut}{after}", column - start + len(before)
