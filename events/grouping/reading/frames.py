"""Reads the stacks of all engines: finds the frame of the page's own code in which a failure occurred.

V8 writes `at name (place)` or `at place`. SpiderMonkey and JavaScriptCore write `name@place`, or the place alone.
"""

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from events.grouping.reading.names import MASK, is_hash, is_minified, stable_name

_MAX_FRAMES = 30
_LINE = re.compile(r"[^\r\n]+")
_MAX_NAME = 80
# The line and column at the end of a frame. The closing bracket is missing where the client cut off the stack.
_POSITION = re.compile(r"(?::\d+){1,2}\)?$")
_QUERY = re.compile("[?#]")
_NUMBERS = re.compile(r":(\d{1,9})(?::(\d{1,9}))?$")
_WASM = re.compile(r"wasm-function\[([^\]]{1,100})\]|\[wasm code\]")
_EXTENSION = re.compile(r"[a-z]+(?:-[a-z]+)?-extension:|webkit-masked-url:|extensions?::")
_NATIVE = ("[native code]", "<anonymous>", "native", "native code", "self-hosted")
_SCRIPT = re.compile(r"\.(?:[cm]?[jt]sx?|vue|svelte|wasm|bundle|jsbundle|coffee|dart|map)$", re.IGNORECASE)
_INNERMOST = re.compile(r"\(([^()\s]+:\d+:\d+)\)?")
_GECKO_NAME = re.compile(r"(?:(?:async|get|set|static) )?(?:[^\s]*|(?:global|module|eval) code)")
_ERRORS = ("Error", "Exception")
_BUILT_IN = frozenset(
    [
        "Error", "TypeError", "RangeError", "SyntaxError", "ReferenceError", "EvalError", "URIError", "InternalError",
        "AggregateError", "RuntimeError", "CompileError", "LinkError", "SuppressedError",
        # DOMException
        "AbortError", "ConstraintError", "DataCloneError", "DataError", "EncodingError", "HierarchyRequestError",
        "IndexSizeError", "InvalidAccessError", "InvalidCharacterError", "InvalidStateError",
        "NetworkError", "NoModificationAllowedError", "NotAllowedError", "NotFoundError", "NotReadableError",
        "NotSupportedError", "OperationError", "QuotaExceededError", "ReadOnlyError", "SecurityError", "TimeoutError",
        "TransactionInactiveError", "TypeMismatchError", "UnknownError", "VersionError", "WrongDocumentError",
    ]
)  # fmt: skip
# Why a frame has no position in a file with a source map.
NATIVE = "native code"
EXTENSION = "browser extension"
WEB_ASSEMBLY = "WebAssembly"
EVALUATED = "code made by eval"
INLINE = "code of the page itself, not of a script file"
NO_POSITION = "no position in this frame"
NO_COLUMN = "no column in this frame"
_NAMELESS = {
    "anonymous",
    "<computed>",
    "<anonymous>",
    "eval",
    "global code",
    "module code",
    "eval code",
    "async",
    "?",
    "Function",
}
_FOLDERS_OF_HASHES = {"chunks", "nodes", "entry", "immutable", "_nuxt", "_astro"}
_SUFFIX = re.compile(r"\$\d+$")  # a bundler's second function of one name
_RUST_HASH = re.compile(r"::h[0-9a-f]{16}$")
_DIGITS = re.compile(r"\d+")


class Frame(NamedTuple):
    """One frame: the last part of the function's name, and the file. `is_native`: code of the engine itself."""

    name: str
    file: str
    is_v8: bool = False
    is_new: bool = False
    is_native: bool = False
    is_extension: bool = False


class Place(NamedTuple):
    """Where a failure occurred: the frame as text, whether a bundler built the file, and whose code it is."""

    frame: str = ""
    in_bundle: bool = False
    is_extension: bool = False
    has_frames: bool = False


class StackFrame(NamedTuple):
    """One frame as the engine wrote it, for source maps. `file` is the last segment of the address, without a query.

    `line` and `column` are None where the engine wrote none. `fault` says why a frame has no position of a file.
    """

    raw: str
    function: str
    file: str
    line: int | None
    column: int | None
    fault: str | None = None


def read(stack: str, most: int) -> list[StackFrame]:
    """Return up to `most` frames of a stack, the innermost first. Lines that are no frames are left out."""
    frames: list[StackFrame] = []
    for line in _LINE.finditer(stack):
        frame = _stack_frame(line[0].strip())
        if frame is not None:
            frames.append(frame)
            if len(frames) == most:
                break
    return frames


@lru_cache(maxsize=4_096)
def _stack_frame(line: str) -> StackFrame | None:
    frame = _frame(line)
    if frame is None:
        return None
    if frame.is_native:
        return StackFrame(line, frame.name, "", None, None, NATIVE)
    address = _address(line)
    match = _NUMBERS.search(address)
    numbers = [int(number) for number in (match[1], match[2]) if number] if match else []
    address = address[: match.start()] if match else address
    path = _QUERY.split(address, maxsplit=1)[0].replace("\\", "/")
    file = unquote(path.rpartition("/")[2]).replace("\0", "")
    position: tuple[int | None, int | None] = (
        numbers[0] if numbers else None,
        numbers[1] if len(numbers) == 2 else None,
    )
    fault = None
    if frame.is_extension:
        fault = EXTENSION
    elif frame.file == "wasm":
        file, position, fault = "", (None, None), WEB_ASSEMBLY
    elif " > " in address:  # Firefox: `index.js line 5 > eval`
        file, fault = file.partition(" line ")[0], EVALUATED
    elif position[0] is None:
        fault = NO_POSITION
    elif not file or frame.file in ("page", "blob", "data"):
        fault = INLINE
    elif position[1] is None:
        fault = NO_COLUMN
    return StackFrame(line, frame.name, file, *position, fault)


def _address(line: str) -> str:
    """Return the address of a frame with its numbers."""
    if not line.startswith("at "):
        return line.partition("@")[2] if _POSITION.search(line.partition("@")[2]) else line
    name, bracket, place = line[3:].partition(" (")
    if place.startswith("eval at"):
        return str((_INNERMOST.findall(place) or [""])[-1])
    return place.rstrip(")") if bracket else name.removeprefix("async ")


def place_of(stack: str, error_name: str) -> Place:
    """Return the place of a failure: the top frame of the page's own code, or else that of an extension."""
    found = _top_frame(stack, error_name)
    return Place() if found is None else _place(found.frame, found.is_below_extension) if found.frame else _ENGINE_ONLY


def position_of(stack: str, error_name: str) -> str:
    """Return the position of the same frame in the built script, as `file:line:column`, or "" if it has none."""
    found = _top_frame(stack, error_name)
    frame = _stack_frame(found.line) if found else None
    return f"{frame.file}:{frame.line}:{frame.column}" if frame and frame.fault is None else ""


class _TopFrame(NamedTuple):
    """The frame in which a failure occurred, and its line. Without a frame, the stack has only frames of the engine."""

    frame: Frame | None
    line: str
    is_below_extension: bool


def _top_frame(stack: str, error_name: str) -> _TopFrame | None:
    first: Frame | None = None
    other: _TopFrame | None = None
    count = 0
    for match in _LINE.finditer(stack):  # mostly the first frame suffices
        line = match[0].strip()
        frame = _frame(line)
        if frame is None:
            continue
        count += 1
        if count > _MAX_FRAMES:
            break
        if frame.is_native:
            continue
        first = first or frame
        if frame.is_extension or _is_constructor(frame, error_name, is_top=other is None):
            other = other or _TopFrame(frame, line, frame.is_extension)
            continue
        return _TopFrame(frame, line, first.is_extension)
    return other or (_TopFrame(None, "", False) if count else None)


def is_own_class(error_name: str) -> bool:
    """Return whether an error is of a class of the page's own, and not one of the browser."""
    return error_name.endswith(_ERRORS) and error_name not in _BUILT_IN


def _is_constructor(frame: Frame, error_name: str, *, is_top: bool) -> bool:
    """Return whether a frame is the constructor of an error, which is not where the failure occurred."""
    name = frame.name
    if name and name == error_name:
        return True
    if name[:1].isupper() and name.endswith(_ERRORS):
        return True
    # Chrome marks a constructor; Firefox and Safari always have the one of a class of the page's own on top.
    return (
        is_top and is_own_class(error_name) and (frame.is_new or not frame.is_v8) and is_minified(name, in_bundle=True)
    )


_ENGINE_ONLY = Place(has_frames=True)


@lru_cache(maxsize=4_096)
def _place(frame: Frame, is_extension: bool) -> Place:
    file = stable_name(frame.file)[:_MAX_NAME]
    in_bundle = MASK in file
    name = _SUFFIX.sub("", frame.name)
    if name and is_minified(name, in_bundle=in_bundle):
        name = ""
    if in_bundle and not name.startswith("wasm-function["):
        name = name.rstrip("0123456789")  # a bundler numbers functions of one name
    text = f"{name[:_MAX_NAME]} ({file})" if name and file else name[:_MAX_NAME] or file
    return Place(text, in_bundle, is_extension, has_frames=True)


@lru_cache(maxsize=4_096)
def _frame(line: str) -> Frame | None:
    """Return the frame that a line of a stack describes, or None for other text."""
    if len(line) > 1_000:
        return None
    if line.startswith("at "):
        return _v8_frame(line[3:].strip())
    name, at, place = line.partition("@")
    if at:
        name = name.rpartition("*")[2]  # async*flash, promise callback*flash
        is_place = _POSITION.search(place) or _WASM.search(place) or place.startswith(_NATIVE)
        return _at_place(_gecko_name(name), place) if is_place and _GECKO_NAME.fullmatch(name) else None
    if _POSITION.search(line) and re.match(r"(?:[a-z][\w+.-]+:|…)/", line):
        return _at_place("", line)
    return None


def _v8_frame(text: str) -> Frame | None:
    text = text.removeprefix("async ")
    is_new = text.startswith("new ")
    text = text.removeprefix("new ")
    name, bracket, place = text.partition(" (")
    if not bracket:
        if text in _NATIVE:
            return Frame("", "", is_native=True)
        is_place = _POSITION.search(text) or _WASM.search(text)
        return _at_place("", text)._replace(is_v8=True) if is_place else None
    place = place.removeprefix("address at ")
    if not (place.endswith(")") or _POSITION.search(place)):
        return None
    if place.startswith(("eval at", "index ")):
        innermost = _INNERMOST.findall(place)
        if not innermost:
            return Frame("", "", is_native=True)
        place = innermost[-1]
    frame = _at_place(_last_part(name.partition(" [as ")[0]), place.rstrip(")"))
    return frame._replace(is_v8=True, is_new=is_new)


def _gecko_name(name: str) -> str:
    if wasm := _WASM.search(name):
        return f"wasm-function[{wasm[1]}]" if wasm[1] and wasm[1].isdigit() else wasm[1] or ""
    if name.endswith("<"):  # an anonymous function inside the named one
        return ""
    return _last_part(name.rpartition("/")[2])


def _last_part(name: str) -> str:
    """Return the last part of a function's name: `open` of `Object.Port.open`, "" for an anonymous function."""
    name = _RUST_HASH.sub("", name).replace("::", ".")
    last = name.rpartition(".")[2].strip()
    last = last.rpartition(" ")[2] if last not in _NAMELESS else last
    return "" if last in _NAMELESS else last


def _at_place(name: str, place: str) -> Frame:
    if wasm := _WASM.search(place):
        number = wasm[1] or ""
        return Frame(name or (f"wasm-function[{number}]" if number else ""), "wasm")
    if place.startswith("wasm:") or ".wasm:" in place:
        return Frame(name, "wasm")
    is_extension = _EXTENSION.match(place) is not None
    if place.startswith((*_NATIVE, "node:", "[")):
        return Frame(name, "", is_native=True)
    # Firefox: code from eval or `new Function` has the place that called it in front.
    address = _POSITION.sub("", place).partition(" line ")[0]
    return Frame(name, _file(address), is_extension=is_extension)


def _file(address: str) -> str:
    """Return a stable name of the file at an address: the last segment of a script, `page` for a page's own code."""
    scheme = address.partition(":")[0]
    if scheme in ("blob", "data", "about"):
        return "page" if scheme == "about" else scheme
    if not address or _DIGITS.fullmatch(address):
        return ""
    path = address.partition("?")[0].partition("#")[0].replace("\\", "/")
    folder, _, file = path.rpartition("/")
    if _SCRIPT.search(file):
        # A file that has only a hash as its name is known by its folder: chunks/….js
        parent = folder.rpartition("/")[2]
        stem, dot, extension = file.partition(".")
        if folder and is_hash(stem, is_part=parent in _FOLDERS_OF_HASHES):
            return f"{parent}/{MASK}{dot}{extension}"
        return file
    return "page" if "/" in address or file.endswith((".html", ".htm")) or "…" in address else file
