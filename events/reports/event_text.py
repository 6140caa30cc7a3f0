"""The texts of one event for its page, and what differs between the events of a list."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from events.models import Event
from events.reports import failures
from events.sourcemaps import resolve
from events.sourcemaps.resolve import Frame

FOLD_AFTER = 25
MAX_CAUSES = 20  # telemetry.js sends up to 8
CAUSE_PARTS = ("name", "message", "frame", "stack")
# The columns of a table of differences, without the time.
MAX_COLUMNS = 5
MAX_MESSAGE_COLUMNS = 3


class Texts(NamedTuple):
    """The text blocks of an event page. `as_json` is the whole event. `top_frame` is the frame that the page opens."""

    stack: "Lines"
    log_lines: "Lines"
    metadata: list[tuple[str, str]]
    as_json: str
    causes: "list[Cause]"
    frames: list[Frame]
    top_frame: Frame | None

    @property
    def is_resolving(self) -> bool:
        return any(frame.unresolved == resolve.RESOLVING for frame in self.frames)


class Cause(NamedTuple):
    """A cause of an error, as `telemetry.js` sends it. A missing part is ""."""

    name: str = ""
    message: str = ""
    frame: str = ""
    stack: str = ""


def of(event: Event, *, now_ms: int) -> Texts:
    (frames,) = resolve.of_stacks([(event.app_version, event.stack)], now_ms=now_ms)
    as_json = failures.as_json(event)
    metadata, causes = _without_causes(as_json["metadata_json"])
    return Texts(
        _first_lines((event.stack or "").splitlines()),
        _last_lines(_lines(as_json["log_lines_json"])),
        _entries(metadata),
        json.dumps(as_json, indent=2, ensure_ascii=False),
        causes,
        frames,
        resolve.top_in_app(frames, event.error_name),
    )


def _without_causes(metadata: Any) -> tuple[Any, list[Cause]]:
    """Return the metadata and its causes. Causes of another shape than that of `telemetry.js` stay metadata."""
    items = metadata.get("causes") if isinstance(metadata, dict) else None
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_CAUSES or not all(map(_is_cause, items)):
        return metadata, []
    return {key: value for key, value in metadata.items() if key != "causes"}, [Cause(**item) for item in items]


def _is_cause(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and item.keys() <= set(CAUSE_PARTS)
        and all(isinstance(text, str) for text in item.values())
        and any(item.values())
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


# --- differences ----------------------------------------------------------------------------------------------------


class Differences(NamedTuple):
    """What differs between events: a column for each property with several values, and the properties with one value.

    `rows` has the cells of each event, in the order of `columns`. `more` names columns that found no room.
    """

    columns: list[str]
    rows: list[tuple[Event, list[str]]]
    shared: list[tuple[str, str]]
    more: list[str]


# The properties of every event, by label.
_PROPERTIES: dict[str, Callable[[Event], str]] = {
    "Model": lambda event: event.model,
    "Version": lambda event: event.app_version,
    "Mode": lambda event: "write" if event.write_mode else "no write",
    "Connected": lambda event: "yes" if event.connected else "no",
    "Error": lambda event: event.error_name or "",
}


def differences(events: Sequence[Event]) -> Differences:
    """Compare events by the values in their messages, their properties and their metadata."""
    metadata = [_named_values(event) for event in events]
    keys = {key: len({values.get(key) for values in metadata}) for values in metadata for key in values}
    # A key with a value of its own in each event, such as a duration, comes last.
    ordered = sorted(keys, key=lambda key: keys[key])
    columns = _message_columns([event.message for event in events])
    columns += [(label, [value(event) for event in events]) for label, value in _PROPERTIES.items()]
    columns += [(key, [values.get(key, "") for values in metadata]) for key in ordered]
    differing = [(label, values) for label, values in columns if len(set(values)) > 1]
    shown = differing[:MAX_COLUMNS]
    return Differences(
        [label for label, _ in shown],
        [(event, [values[row] for _, values in shown]) for row, event in enumerate(events)],
        [(label, values[0]) for label, values in columns if values and set(values) == {values[0]} and values[0]],
        [label for label, _ in differing[MAX_COLUMNS:]],
    )


def _named_values(event: Event) -> dict[str, str]:
    metadata, _ = _without_causes(failures.as_json(event)["metadata_json"])
    return {key: _text(value) for key, value in metadata.items()} if isinstance(metadata, dict) else {}


def _message_columns(messages: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return a column for each word in which the messages differ, labelled by the words before it.

    Messages of different lengths, or with many differences, are one column.
    """
    words = [message.split() for message in messages]
    if len(set(map(len, words))) != 1:
        return [("Message", list(messages))]
    places = list(zip(*words, strict=True))
    columns = []
    for number, place in enumerate(places):
        if len(set(place)) > 1:
            before = places[number - 1][0] if number and len(set(places[number - 1])) == 1 else ""
            columns.append((_trimmed(before) or "Message", _without_common_marks(place)))
    return columns if len(columns) <= MAX_MESSAGE_COLUMNS else [("Message", list(messages))]


def _without_common_marks(values: Iterable[str]) -> list[str]:
    """Remove the punctuation that all words start or end with."""
    parts = [re.fullmatch(r"(\W*)(.*?)(\W*)", value, re.DOTALL) for value in values]
    found = [part.groups() for part in parts if part]
    starts, ends = {start for start, _, _ in found}, {end for _, _, end in found}
    return [f"{'' if len(starts) == 1 else start}{word}{'' if len(ends) == 1 else end}" for start, word, end in found]


def _trimmed(word: str) -> str:
    return re.sub(r"^\W+|\W+$", "", word)
