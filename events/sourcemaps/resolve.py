"""Resolves frames of stacks to their original positions when they are read, and stores each result as a row.

A frame is resolved by the version of its event and the file of its address. Small maps are read within the request;
for large ones the page says "resolving", and a process of its own (`background`) resolves the waiting rows.
"""

import hashlib
import json
import logging
import math
import time
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from django.db import DatabaseError, transaction
from django.db.models import BigIntegerField, F, Q, Subquery

from events.grouping.reading import frames
from events.grouping.reading.frames import StackFrame
from events.grouping.reading.names import MASK, is_minified, stable_name
from events.models import ResolvedFrame, SourceMap
from events.querysets import FramePosition
from events.sourcemaps import background, mappings, originals
from events.sourcemaps.check import MAX_UNPACKED_BYTES

logger = logging.getLogger(__name__)

RESOLVING = "resolving"  # also in the model's index of waiting rows
MOST_FRAMES = 50  # of one stack
_MOST_DISTINCT = 2_000  # of one request; the others wait for the next view
_KEYS_AT_ONCE = 900
# A request reads maps of this size in all; it takes about 100 ms. Larger ones are read in the background.
_BYTES_WITHIN_REQUEST = 1_000_000
_SECONDS_WITHIN_REQUEST = 0.1  # of processor time; what is not resolved by then waits for the background
# The rows are a cache, and a pruned map keeps them. Beyond this number, the oldest are deleted.
_MOST_ROWS = 200_000
_DELETED_AT_ONCE = 2_000
_MOST_ATTEMPTS = 3
_CUT = 300  # longest name that is stored
_WRITTEN = (
    "source_map", "map_version", "function", "token", "source_file", "source_line", "source_column", "context",
    "in_app", "unresolved", "attempts",
)  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """One frame as people read it. Line and column count from 1; `unresolved` says why it is as the engine wrote it.

    `context` has the source lines around the position, with their numbers; `mark` is the column in its line as shown.
    """

    raw: str
    function: str
    file: str
    line: int | None
    column: int | None
    in_app: bool
    unresolved: str | None
    context: list[tuple[int, str]] | None = None
    mark: int = 0

    @property
    def place(self) -> str:
        """The position as text: `src/protocol.ts:88:13`."""
        numbers = [str(number) for number in (self.line, self.column) if number is not None]
        return ":".join([self.file, *numbers]) if self.file else ""

    @property
    def marked_lines(self) -> list[tuple[int, str, str, str]]:
        """The context as (number, text before the column, the character at it, text after it)."""
        rows = []
        for number, text in self.context or []:
            at = self.mark - 1 if number == self.line and 0 < self.mark <= len(text) else len(text)
            rows.append((number, text[:at], text[at : at + 1], text[at + 1 :]))
        return rows

    def __str__(self) -> str:
        if self.function and self.place:
            return f"{self.function} ({self.place})"
        return self.place or self.function or self.raw

    def as_json(self) -> dict[str, Any]:
        return {
            "function": self.function or None,
            "file": self.file or None,
            "line": self.line,
            "column": self.column,
            "context": self.context and [list(line) for line in self.context],
            "in_app": self.in_app,
            "raw": self.raw,
            "unresolved": self.unresolved,
        }


class _Map(NamedTuple):
    """A stored map without its content."""

    id: int
    app_version: str
    file: str
    digest: str
    bytes: int


def of_stacks(stacks: Iterable[tuple[str, str | None]], *, now_ms: int, most: int = MOST_FRAMES) -> list[list[Frame]]:
    """Return the frames of each (version, stack), the innermost first, each stack with at most `most`.

    Frames that no row knows are resolved now or, with a large map, wait for the background.
    """
    return [list(resolved) for resolved in _of_stacks(stacks, now_ms, most, is_export=False)]


def tops_in_app(failures: Sequence[tuple[str, str | None, str | None]], *, now_ms: int) -> list[Frame | None]:
    """Return the top frame of each (version, stack, error name) for an export: without source lines.

    Frames that no row knows are resolved now. Those of large maps stay raw, and do not wait for the background.
    """
    stacks = [(version, stack) for version, stack, _ in failures]
    found = _of_stacks(stacks, now_ms, MOST_FRAMES, is_export=True)
    return [top_in_app(resolved, name) for resolved, (_, _, name) in zip(found, failures, strict=True)]


def top_in_app(resolved: Iterable[Frame], error_name: str | None) -> Frame | None:
    """Return the innermost frame of the page's own code, or else the innermost one that has a position.

    Firefox and Safari have the constructor of the page's own error class on top, which is not where it was thrown.
    """
    other: Frame | None = None
    constructor: Frame | None = None
    for frame in resolved:
        if frame.line is None:
            continue
        if not frame.in_app:
            other = other or frame
        elif constructor is not None or not _is_constructor(frame, error_name):
            return frame
        else:
            constructor = frame
    return constructor or other


def _is_constructor(frame: Frame, error_name: str | None) -> bool:
    is_named = not frame.raw.startswith("at ") and frame.function in ("constructor", error_name)
    return is_named and frames.is_own_class(error_name or "")


def _of_stacks(
    stacks: Iterable[tuple[str, str | None]], now_ms: int, most: int, *, is_export: bool
) -> list[Iterator[Frame]]:
    read = [(version, frames.read(stack or "", most)) for version, stack in stacks]
    places = [[_place(version, line) for line in lines] for version, lines in read]
    keys = {place: _key(place) for place in dict.fromkeys(chain.from_iterable(places)) if place is not None}
    rows = _known(list(keys.values()), with_context=not is_export)
    missing = [place for place, key in keys.items() if key not in rows]
    maps = _choose({(place.app_version, place.file) for place in missing})
    mapped = [place for place in missing if (place.app_version, place.file) in maps][:_MOST_DISTINCT]
    rows |= _resolve_missing(mapped, maps, now_ms=now_ms, may_wait=not is_export)
    if not is_export and any(row.unresolved == RESOLVING for row in rows.values()):
        background.start()
    return [
        _composed(version, lines, [place and rows.get(keys[place]) for place in placed], maps, not is_export)
        for (version, lines), placed in zip(read, places, strict=True)
    ]


def mentioning(text: str, *, newest: int, limit: int) -> list[FramePosition]:
    """Return the frames whose function or source file contains the text, among the `newest` stored ones."""
    last = Subquery(ResolvedFrame.objects.order_by("-pk").values("pk")[:1], output_field=BigIntegerField())
    rows = ResolvedFrame.objects.filter(pk__gt=last - newest, unresolved__isnull=True)
    named = Q(function__icontains=text) | Q(source_file__icontains=text)
    columns = ("app_version", "file", "line", "column")
    return [FramePosition(*values) for values in rows.filter(named).order_by("-pk").values_list(*columns)[:limit]]


def has_frames_of(app_version: str) -> bool:
    """Return whether results of the maps of a version are stored. Its maps may be pruned."""
    return ResolvedFrame.objects.filter(map_version=app_version).exists()


def forget_version(app_version: str) -> None:
    """Delete all results of the maps of a version, also those of pruned maps."""
    ResolvedFrame.objects.filter(map_version=app_version).delete()


def forget(app_version: str, file: str) -> None:
    """Delete the results that a new, replaced or deleted map of a version's file makes wrong.

    The caller has changed the map in the same transaction. Results of a newest map of that name, which a later map may
    improve, are deleted too if they found no position.
    """
    rows = ResolvedFrame.objects.filter(file=file)
    wrong = Q(app_version=app_version) | Q(map_version=app_version)
    wrong |= Q(unresolved__isnull=False) & ~Q(map_version=F("app_version"))
    rows.filter(wrong).delete()


def resolve_waiting(*, now_ms: int) -> int:
    """Resolve every frame that waits, one map at a time; return how many. For the background process.

    A map that ends the process several times is given up, so that it cannot stop the others.
    """
    done = 0
    waiting = ResolvedFrame.objects.filter(unresolved=RESOLVING)
    passed: list[int] = []
    while (map_id := waiting.exclude(source_map__in=passed).values_list("source_map", flat=True).first()) is not None:
        passed.append(map_id)
        rows = waiting.filter(source_map=map_id)
        stored = SourceMap.objects.filter(pk=map_id).values_list("id", "app_version", "file", "digest", "bytes").first()
        if stored is None:
            rows.delete()  # the next view chooses another map, or says that there is none
            continue
        rows.filter(attempts__gte=_MOST_ATTEMPTS).update(unresolved="the map could not be read")
        rows.update(attempts=F("attempts") + 1)
        places = [FramePosition(*place) for place in rows.values_list("app_version", "file", "line", "column")]
        done += len(_resolve_map(_Map(*stored), places, now_ms=now_ms))
    return done


def _key(place: FramePosition) -> str:
    text = "\0".join(map(str, place))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _place(version: str, line: StackFrame) -> FramePosition | None:
    if line.fault is not None or line.line is None or line.column is None:
        return None
    return FramePosition(version, line.file[:_CUT], line.line, line.column)


def _known(keys: list[str], *, with_context: bool) -> dict[str, ResolvedFrame]:
    known = ResolvedFrame.objects.defer(*() if with_context else ("context",))
    rows: dict[str, ResolvedFrame] = {}
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        rows.update({row.key: row for row in known.filter(key__in=keys[start : start + _KEYS_AT_ONCE])})
    return rows


def _choose(files: set[tuple[str, str]]) -> dict[tuple[str, str], _Map]:
    """Return the map of each (version, file) that has one: of that version, or the newest of a file with a hash."""
    if not files:
        return {}
    names = sorted({file for _, file in files})
    columns = ("id", "app_version", "file", "digest", "bytes")
    newest: dict[str, _Map] = {}
    exact: dict[tuple[str, str], _Map] = {}
    for start in range(0, len(names), _KEYS_AT_ONCE):
        stored = SourceMap.objects.filter(file__in=names[start : start + _KEYS_AT_ONCE])
        for values in stored.order_by("uploaded_at_ms", "id").values_list(*columns):
            each = _Map(*values)
            newest[each.file] = exact[each.app_version, each.file] = each
    chosen = {}
    for version, file in files:
        found = exact.get((version, file)) or (newest.get(file) if MASK in stable_name(file) else None)
        if found is not None:
            chosen[version, file] = found
    return chosen


def _resolve_missing(
    places: list[FramePosition], maps: dict[tuple[str, str], _Map], *, now_ms: int, may_wait: bool
) -> dict[str, ResolvedFrame]:
    by_map: dict[_Map, list[FramePosition]] = {}
    for place in places:
        by_map.setdefault(maps[place.app_version, place.file], []).append(place)
    rows: dict[str, ResolvedFrame] = {}
    remaining = _BYTES_WITHIN_REQUEST
    deadline = time.thread_time() + _SECONDS_WITHIN_REQUEST
    for source_map, of_map in sorted(by_map.items(), key=lambda item: item[0].bytes):
        remaining -= source_map.bytes
        if remaining >= 0 and time.thread_time() < deadline:
            resolved = _resolve_map(source_map, of_map, now_ms=now_ms, deadline=deadline)
        else:
            resolved = [_row(source_map, place, unresolved=RESOLVING) for place in of_map]
        if may_wait:
            _store(source_map, [row for row in resolved if row.unresolved == RESOLVING], now_ms=None)
        rows.update({row.key: row for row in resolved})
    return rows


def _resolve_map(
    source_map: _Map, places: list[FramePosition], *, now_ms: int, deadline: float = math.inf
) -> list[ResolvedFrame]:
    """Resolve places with one map, read once, and store the results. After the deadline, the others wait.

    `deadline` is a value of `time.thread_time`.
    """
    content = SourceMap.objects.filter(pk=source_map.id, digest=source_map.digest).values_list("content", flat=True)
    packed = content.first()
    if packed is None:  # replaced or deleted since it was chosen
        return [_row(source_map, place, unresolved=RESOLVING) for place in places]
    try:
        read = mappings.read(_unpacked(bytes(packed)))
        found = read.look_up({(place.line, place.column) for place in places})
        rows = list(_rows(source_map, places, read, found, deadline))
    except mappings.BadMap as error:
        logger.warning("The map of %s of %s is damaged: %s", source_map.file, source_map.app_version, error)
        rows = [_row(source_map, place, unresolved=f"the map is damaged: {error}"[:_CUT]) for place in places]
    _store(source_map, [row for row in rows if row.unresolved != RESOLVING], now_ms=now_ms)
    return rows


def _unpacked(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(packed, MAX_UNPACKED_BYTES)
    except zlib.error:
        raise mappings.BadMap("It cannot be unpacked.") from None
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise mappings.BadMap("It is too large, or its end is missing.")
    return text


def _rows(
    source_map: _Map,
    places: list[FramePosition],
    read: mappings.SourceMap,
    found: dict[Any, mappings.Position | None],
    deadline: float,
) -> Iterator[ResolvedFrame]:
    lines_of: tuple[tuple[int, int] | None, list[str]] = (None, [])
    order = {place: position for place in places if (position := found[place.line, place.column]) is not None}
    for place in places:
        if place not in order:
            at = f"line {place.line}, column {place.column}"
            yield _row(source_map, place, unresolved=f"the map has no position for {at}")
    # The frames of one source follow each other, so that the lines of only one source are in memory.
    for place, position in sorted(order.items(), key=lambda item: item[1][:2]):
        if time.thread_time() >= deadline:
            yield _row(source_map, place, unresolved=RESOLVING)
            continue
        source, content = read.source_of(position)
        if lines_of[0] != position[:2]:
            lines_of = (position[:2], originals.split(content or ""))
        yield _resolved(source_map, place, position, originals.named(source), lines_of[1] if content else [])


def _resolved(
    source_map: _Map, place: FramePosition, position: mappings.Position, original: originals.Original, lines: list[str]
) -> ResolvedFrame:
    context = originals.context_of(lines, position.line, position.column)
    row = _row(source_map, place)
    row.function = originals.enclosing_function(lines, position.line, position.column) if original.in_app else None
    row.token = _storable(position.name)
    row.source_file, row.in_app = _storable(original.file), original.in_app
    row.source_line, row.source_column = position.line, position.column
    if context is not None:
        row.context = _storable(json.dumps([context.mark, context.lines], ensure_ascii=False), longest=None)
    return row


def _row(source_map: _Map, place: FramePosition, *, unresolved: str | None = None) -> ResolvedFrame:
    return ResolvedFrame(
        key=_key(place), **place._asdict(), source_map=source_map.id, map_version=source_map.app_version,
        unresolved=unresolved,
    )  # fmt: skip


def _storable(text: str | None, longest: int | None = _CUT) -> str | None:
    """Return a text that both engines store and that people can read: without control and format characters."""
    if text is None:
        return None
    text = text[:longest].encode("utf-8", "replace").decode()
    return text if text.isprintable() else "".join("\ufffd" if unicodedata.category(c)[0] == "C" else c for c in text)


def _store(source_map: _Map, rows: list[ResolvedFrame], *, now_ms: int | None) -> None:
    """Store results, unless the map changed meanwhile. A page also shows results that could not be stored.

    `now_ms` is the time of the map's use, None for rows that wait. The lock on the map keeps its replacement, which
    deletes the results of the old map, before or after this transaction.
    """
    if not rows:
        return
    try:
        with transaction.atomic():
            current = SourceMap.objects.select_for_update(no_key=True).filter(pk=source_map.id)
            if current.values_list("digest", flat=True).first() != source_map.digest:
                return
            ordered = sorted(rows, key=lambda row: row.key)  # the same order everywhere, so that none deadlocks
            if now_ms is None:
                ResolvedFrame.objects.bulk_create(ordered, ignore_conflicts=True, batch_size=200)
                return
            ResolvedFrame.objects.bulk_create(
                ordered, update_conflicts=True, unique_fields=["key"], update_fields=_WRITTEN, batch_size=50
            )
            SourceMap.objects.filter(pk=source_map.id).update(last_used_at_ms=now_ms)
            _delete_oldest()
    except DatabaseError as error:
        logger.warning("Cannot store resolved frames: %s", error)


def _delete_oldest() -> None:
    last = ResolvedFrame.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    oldest = ResolvedFrame.objects.filter(pk__lte=last - _MOST_ROWS).order_by("pk").values_list("pk", flat=True)
    if keys := list(oldest[:_DELETED_AT_ONCE]):
        ResolvedFrame.objects.filter(pk__in=keys).delete()


def _composed(
    version: str,
    lines: list[StackFrame],
    rows: list[ResolvedFrame | None],
    maps: dict[tuple[str, str], _Map],
    with_context: bool,
) -> Iterator[Frame]:
    for number, (line, row) in enumerate(zip(lines, rows, strict=True)):
        if row is None or row.unresolved is not None or row.source_file is None:
            yield _raw(version, line, row.unresolved if row else None, has_map=(version, line.file) in maps)
            continue
        caller = rows[number + 1] if number + 1 < len(rows) else None
        mark, context = json.loads(row.context) if with_context and row.context else (0, None)
        yield Frame(
            raw=line.raw,
            function=_function(line, row, caller),
            file=row.source_file,
            line=row.source_line,
            column=row.source_column,
            in_app=row.in_app,
            unresolved=None,
            context=context and [(int(line_number), str(text)) for line_number, text in context],
            mark=mark,
        )


def _function(line: StackFrame, row: ResolvedFrame, caller: ResolvedFrame | None) -> str:
    """Return the name of a frame's function, from the best source that has one.

    That is the source itself, or the engine's name unless a minifier made it up, or the name that the caller's frame
    has at its position, which is what it called. All engines agree on the first one.
    """
    if row.function:
        return row.function
    if line.function and not is_minified(line.function, in_bundle=True):
        return line.function
    return (caller.token if caller is not None and caller.unresolved is None else None) or line.function


def _raw(version: str, line: StackFrame, unresolved: str | None, *, has_map: bool) -> Frame:
    fault = line.fault or unresolved or (RESOLVING if has_map else f"no map for {line.file} of {version}")
    is_own = line.fault not in (frames.NATIVE, frames.EXTENSION)
    return Frame(line.raw, line.function, line.file, line.line, line.column, in_app=is_own, unresolved=fault)
