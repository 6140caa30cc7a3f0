"""Writes stacks as three engines write them: V8 (Chrome, Edge), Gecko (Firefox) and WebKit (Safari)."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from events.maintenance.demo.bundles import FilePosition, Mark

SITE = "https://flasher.example/assets/"
DEV_SITE = "http://localhost:5173/"
# Calls of the engine itself, which a trail may contain beside the names of marks.
_NATIVE = {"Array.forEach": ("Array.forEach (<anonymous>)", "forEach@[native code]")}
_MOST_FRAMES = 10  # V8 stops there


class Engine(StrEnum):
    V8 = "v8"
    GECKO = "gecko"
    WEBKIT = "webkit"


def frames(marks: Mapping[str, Mark], trail: Sequence[str], engine: Engine, *, is_bundled: bool) -> list[str]:
    """Return the frames of a failure, the innermost first. `trail` names the marks of the calls.

    Only V8 shows the callers of a function that has continued after an `await`. A development server (not
    `is_bundled`) serves each source alone, with its own names and lines.
    """
    lines: list[str] = []
    is_async = False
    for number, name in enumerate(trail):
        if name in _NATIVE:
            v8, webkit = _NATIVE[name]
            lines += {Engine.V8: [f"at {v8}"], Engine.WEBKIT: [webkit]}.get(engine, [])
            continue
        mark = marks[name]
        is_async = is_async or (number > 0 and mark.is_awaited)
        if is_async and engine != Engine.V8:
            break
        lines.append(_frame(mark, engine, is_async=is_async, is_bundled=is_bundled))
    return lines[:_MOST_FRAMES]


def constructor(marks: Mapping[str, Mark], engine: Engine, *, is_bundled: bool) -> list[str]:
    """Return the frame of the constructor of the app's error, which V8 leaves out."""
    if engine == Engine.V8:
        return []
    mark = marks["radio-error"]
    return [f"{mark.owner if is_bundled else 'RadioError'}@{_place(mark, engine, is_bundled=is_bundled)}"]


def _frame(mark: Mark, engine: Engine, *, is_async: bool, is_bundled: bool) -> str:
    place = _place(mark, engine, is_bundled=is_bundled)
    function = mark.function if is_bundled else mark.original_function
    if engine == Engine.GECKO:
        return f"{function}{'/<' if mark.is_arrow else ''}@{place}"
    if engine == Engine.WEBKIT:
        return f"{'' if mark.is_arrow else function or 'module code'}@{place}"
    if mark.is_arrow or not function:
        return f"at {place}"
    owner = mark.owner if is_bundled else mark.original_owner
    return f"at {'async ' if is_async else ''}{f'{owner}.' if owner else ''}{function} ({place})"


def _place(mark: Mark, engine: Engine, *, is_bundled: bool) -> str:
    if not is_bundled:
        return f"{DEV_SITE}{_text(mark.source)}"
    return f"{SITE}{_text({Engine.V8: mark.v8, Engine.GECKO: mark.gecko, Engine.WEBKIT: mark.webkit}[engine])}"


def _text(position: FilePosition) -> str:
    return f"{position.file}:{position.line}:{position.column}"
