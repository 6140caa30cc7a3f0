"""The long texts of one event for its page: frames, stack, log lines and metadata. Long ones are folded."""

import json
from typing import Any, NamedTuple

from events.models import Event
from events.reports import failures
from events.sourcemaps import resolve
from events.sourcemaps.resolve import Frame

FOLD_AFTER = 25


class Texts(NamedTuple):
    """The text blocks of an event page. `as_json` is the whole event. `top_frame` is the frame that the page opens."""

    stack: "Lines"
    log_lines: "Lines"
    metadata: list[tuple[str, str]]
    as_json: str
    frames: list[Frame]
    top_frame: Frame | None

    @property
    def is_resolving(self) -> bool:
        return any(frame.unresolved == resolve.RESOLVING for frame in self.frames)


def of(event: Event, *, now_ms: int) -> Texts:
    (frames,) = resolve.of_stacks([(event.app_version, event.stack)], now_ms=now_ms)
    as_json = failures.as_json(event)
    return Texts(
        _first_lines((event.stack or "").splitlines()),
        _last_lines(_lines(as_json["log_lines_json"])),
        _entries(as_json["metadata_json"]),
        json.dumps(as_json, indent=2, ensure_ascii=False),
        frames,
        resolve.top_in_app(frames, event.error_name),
    )


class Lines(NamedTuple):
    """Lines in two parts. The page folds the end of a long stack and the beginning of a long log."""

    early: list[str]
    late: list[str]
    folds_early: bool

    @property
    def number(self) -> int:
        return len(self.early) + len(self.late)

    @property
    def late_from(self) -> int:
        return len(self.early) + 1


def _first_lines(lines: list[str]) -> Lines:
    return Lines(lines[:FOLD_AFTER], lines[FOLD_AFTER:], folds_early=False)


def _last_lines(lines: list[str]) -> Lines:
    fold = max(len(lines) - FOLD_AFTER, 0)
    return Lines(lines[:fold], lines[fold:], folds_early=True)


def _lines(items: Any) -> list[str]:
    if isinstance(items, str):
        return items.splitlines()
    if isinstance(items, dict):
        return [f"{key}: {_text(value)}" for key, value in items.items()]
    return [_text(item) for item in items]


def _entries(values: Any) -> list[tuple[str, str]]:
    if isinstance(values, str):
        return [("text", values)]
    pairs = values.items() if isinstance(values, dict) else enumerate(values)
    return [(str(key), _text(value)) for key, value in pairs]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
