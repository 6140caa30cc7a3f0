"""Recognises an error by the wording of a browser's engine, and returns its kind and arguments.

They identify the error in all engines. `wordings` is the table of the kinds.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from events.grouping.reading.names import MASK, is_minified
from events.grouping.reading.texts import masked
from events.grouping.reading.wordings import NOISE, WORDINGS

_ANY = "*"
_ARGUMENTS = {
    name: re.compile(pattern, re.DOTALL)
    for name, pattern in {
        _ANY: r".*",
        "nullish": r"undefined|null",
        "property": r"[^'\"]+",
        "index": r"(?!Symbol\.iterator)[\w.]+",
        "expression": r"(?:\([^'\"()]{0,80}\)|[^'\"\s()])+",
        "type": r"\w+",
        "evaluated": r".+",
        "identifier": r"[\w$]+",
        "constant": r"[\w.\[\]/-]+",
        "rule": r"(?:must|is not|length|fails|contains|does not).+",
    }.items()
}
_PIECE = re.compile(r"<(\w+|\*)>")
# `Failed to execute 'open' on 'SerialPort': …`: the names belong to the platform.
_PLATFORM = re.compile(
    r"Failed to (?:(?:execute|construct) '[\w.]{1,60}'|(?:read|set) the '[\w.]{1,60}' property)"
    r"(?: (?:on|from) '[\w.]{1,60}')?:? "
)
_OF_TYPE = re.compile(r"( of type '[\w.]{1,60}'\.?)")
_PREFIX = re.compile(
    r"(?:Uncaught |Unhandled (?:[Pp]romise )?[Rr]ejection:? )?(?:\(in promise\):? )?(?:\(?([A-Z]\w{0,40})\)?: )?"
)
# What is wrong in the JSON of a validation library: zod, ajv.
_ISSUE = re.compile(
    r"\"(?:code|expected|validation|keyword|instancePath)\"\s*:\s*\"([\w./-]{1,60})\""
    r"|\"(?:path|keys)\"\s*:\s*\[([^\]]{0,200})"
    r"|\"message\"\s*:\s*\"Invalid input: expected ([a-z]+), received ([a-z]+)\""
    r"|\"received\"\s*:\s*\"([a-z]{3,12})\""
)
_PATH_PART = re.compile(r"\"([\w$.-]{1,60})\"")
_MAX_ISSUES = 12
_SHORTEST = 10  # a shorter text after a prefix is not compared with the wordings


class Canonical(NamedTuple):
    """An error without the wording of its browser: `name` identifies it, `title` is the event's wording, masked."""

    name: str
    title: str
    is_noise: bool = False


class _Wording(NamedTuple):
    """One wording of an error: its fixed texts, the names of the values between them ("*": any text), its kind."""

    texts: list[str]
    names: list[str]
    kind: str


class _Argument(NamedTuple):
    name: str
    start: int
    end: int


def _read_wordings() -> Iterator[_Wording]:
    for kind, wordings in WORDINGS.items():
        for wording in filter(None, map(str.strip, wordings.splitlines())):
            pieces = _PIECE.split(wording.removesuffix("."))
            yield _Wording(pieces[::2], pieces[1::2], kind)


# Few wordings are compared with a message: those that begin with its first characters, those that begin with an
# argument and end with its last characters, and the others whose longest text is in it.
_ENDS = 4
_BY_BEGINNING: defaultdict[str, list[_Wording]] = defaultdict(list)
_BY_END: defaultdict[str, list[_Wording]] = defaultdict(list)
_OTHERS: list[tuple[str, _Wording]] = []
for _wording in _read_wordings():
    if len(_wording.texts[0]) >= _ENDS:
        _BY_BEGINNING[_wording.texts[0][:_ENDS]].append(_wording)
    elif len(_wording.texts[-1]) >= _ENDS:
        _BY_END[_wording.texts[-1][-_ENDS:]].append(_wording)
    else:
        _OTHERS.append((max(_wording.texts, key=len), _wording))


def split_prefix(message: str) -> tuple[str, str]:
    """Return the name of the error in front of a message, such as `Uncaught TypeError: `, or "", and the rest."""
    match = _PREFIX.match(message)
    if match is None or match[1] is None:
        return "", message[match.end() :] if match else message
    is_error = match[1].endswith(("Error", "Exception"))
    return (match[1], message[match.end() :]) if is_error else ("", message[match.start(1) :])


def canonical(message: str, *, in_bundle: bool) -> Canonical | None:
    """Return the error that a normalised message words, or None for a message of the page's own.

    `in_bundle`: the failing code is in a file with a hash in its name, where short names come from a minifier.
    """
    text = message.removesuffix(".")
    others = [wording for longest, wording in _OTHERS if longest in text]
    for wording in (*_BY_BEGINNING.get(text[:_ENDS], ()), *_BY_END.get(text[-_ENDS:], ()), *others):
        arguments = _arguments_of(wording, text)
        if arguments is not None:
            return _canonical(wording.kind, message, arguments, in_bundle)
    if message.startswith("Failed to ") and (found := _platform_error(message)):
        return found
    if message[:1] in ("[", "{") and (issues := _issues(message)):
        return Canonical(f"validation: {issues}", f"Validation: {issues}")
    return _behind_prefix(message, in_bundle=in_bundle)


def _platform_error(message: str) -> Canonical | None:
    """Return the error in a message such as `Failed to execute 'open' on 'SerialPort': …`: its names are constants."""
    end = 0
    while match := _PLATFORM.match(message, end):
        end = match.end()
    if not end:
        return None
    # The pieces at odd indexes are names of types, such as `of type 'Blob'`.
    pieces = _OF_TYPE.split(message[end:])
    words = "".join(masked(piece) if piece and index % 2 == 0 else piece for index, piece in enumerate(pieces))
    return Canonical(message[:end] + words, message[:end] + words)


def _behind_prefix(message: str, *, in_bundle: bool) -> Canonical | None:
    """Return the error after a prefix that the page added, as in `Connect failed: Failed to execute 'open' …`."""
    words, colon, rest = message.partition(": ")
    if not colon or len(rest) < _SHORTEST or words.startswith("Failed to "):
        return None
    found = canonical(rest, in_bundle=in_bundle)
    if found is None:
        return None
    prefix = masked(words)
    return Canonical(f"{prefix}: {found.name}", f"{prefix}: {found.title}")


def _arguments_of(wording: _Wording, text: str) -> list[_Argument] | None:
    """Return the arguments of a wording in a message without its full stop, or None if the message is another one."""
    texts = wording.texts
    if not (text.startswith(texts[0]) and text.endswith(texts[-1])):
        return None
    if len(texts) == 1:
        return [] if text == texts[0] else None
    found = []
    end = len(texts[0])
    for name, following in zip(wording.names, texts[1:-1], strict=False):
        start, end = end, text.find(following, end)
        if end < 0:
            return None
        found.append(_Argument(name, start, end))
        end += len(following)
    found.append(_Argument(wording.names[-1], end, len(text) - len(texts[-1])))
    is_valid = all(start <= stop and _ARGUMENTS[name].fullmatch(text, start, stop) for name, start, stop in found)
    return found if is_valid else None


def _canonical(kind: str, message: str, found: list[_Argument], in_bundle: bool) -> Canonical:
    title, end = "", 0
    arguments = dict.fromkeys(_ARGUMENTS, "")
    for name, start, stop in found:
        is_quoted = message[max(start - 1, 0)] in _QUOTATION_MARKS
        shown, argument = _argument(name, message[start:stop], in_bundle, is_quoted=is_quoted)
        for slot in ("property", "expression") if name == "evaluated" else (name,):
            arguments[slot] = argument
        title += message[end:start] + shown
        end = stop
    title = " ".join((title + message[end:]).split()).partition(" (In '")[0]
    return Canonical(kind.format(**arguments).rstrip(": "), title, kind in NOISE)


_IDENTIFIER = re.compile(r"[\w$.#-]*[^\W\d][\w$.#-]*", re.ASCII)
_QUOTATION_MARKS = "'\"`"


def _argument(name: str, text: str, in_bundle: bool, *, is_quoted: bool) -> tuple[str, str]:
    """Return an argument of a wording as the title shows it, and as it identifies the error."""
    if name in ("nullish", "type"):
        return text, text
    if name == "constant":
        shown = re.sub(r"(?<![\w])\d+(?!\w)", MASK, text)
        return shown, shown
    if name == "property":
        is_constant = _IDENTIFIER.fullmatch(text) and masked(text) != MASK
        return (text, text) if is_constant else (MASK, "")
    if name in ("expression", "evaluated", "identifier"):
        shown = _without_minified(text, in_bundle)
        last = _last_property(shown)
        return shown, "" if MASK in last else last
    shown = MASK if is_quoted or not _is_prose(text) else masked(text)
    if name == "rule":
        shown = re.sub(r"\[[^\]]*\]", f"[{MASK}]", masked(text))
    space = " " if text[:1] == " " else ""
    return space + shown, shown


def _is_prose(text: str) -> bool:
    """Return whether a text consists of words, and not of code with names that a minifier chose."""
    return re.fullmatch(r"[\w' ,.:;…-]+", text) is not None and text.count(" ") > 1


_NAME = re.compile(r"(?<![\w$.#])(\.?)([A-Za-z_$#][\w$]*)|\.([A-Za-z_$#][\w$]*)|\d[\w.]*|(['\"`]).*?(?:\4|$)")


def _without_minified(code: str, in_bundle: bool) -> str:
    """Return an expression with MASK for the names that a minifier chose, and for numbers and texts."""

    def judge(match: re.Match[str]) -> str:
        if match[3] is not None:  # a property: minifiers keep it, but not one that has a single letter
            return match[0] if len(match[3]) > 1 else f".{MASK}"
        if match[2] is None:
            return MASK
        return f"{match[1]}{MASK}" if is_minified(match[2], in_bundle=in_bundle) else match[0]

    return _NAME.sub(judge, code)


_ASSIGNMENT = re.compile(r"(?<![=!<>])=(?![=>])")


def _last_property(code: str) -> str:
    """Return the last property of an expression, or its only name: `open` of `this.port.open(…)`."""
    code = _ASSIGNMENT.split(code)[0].strip()
    if code.startswith("(") and code.endswith(")") and "," in code:  # (0, port.open)
        code = code[1:-1].rpartition(",")[2].strip()
    while code.endswith(")") and "(" in code:
        code = code[: code.rindex("(")]
    if code.endswith("]"):
        return ""
    last = re.split(r"[.\s(]", code)[-1]
    return last if re.fullmatch(r"[\w$#]+", last) else ""


def _issues(message: str) -> str:
    """Return the types and fields in the JSON of a validation library: `invalid_type string undefined model`."""
    found: list[str] = []
    for match in _ISSUE.finditer(message):
        word, fields, expected, received, kind = match.groups()
        if fields is not None:
            found += _PATH_PART.findall(fields)
        elif expected:
            found += [expected, received]
        elif word or "invalid_type" in found:
            found.append(word or kind)
        if len(found) >= _MAX_ISSUES:
            break
    return " ".join(dict.fromkeys(found))
