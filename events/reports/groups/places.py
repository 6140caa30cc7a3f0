"""The original places of a group's failures, as far as source maps tell, and the groups with the same place.

A fingerprint ignores maps. So one group can have two places, and one place can have groups in the wordings of several
browsers. These reports only point that out; a maintainer decides.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from django.db.models import OuterRef, Q, Subquery

from events.grouping import groups
from events.grouping.rules import position_in
from events.models import DismissedMerge, Event, FailureGroup
from events.sourcemaps import resolve
from events.sourcemaps.resolve import Frame

NEWEST_EVENTS = 1_000
CANDIDATES = 100
LINES_APART = 2
_FRAMES = 10  # of each stack: the top frame of the page's own code is among them


class OriginalPlace(NamedTuple):
    """An original place, its failures, and their positions in built scripts, by which the group can be split.

    A place is a line of a function. Other versions have it under another number, so its text identifies it; without
    `text`, the number does. `line` is the number in the newest failure.
    """

    file: str
    function: str
    line: int
    text: str
    events: int
    positions: frozenset[str]

    @property
    def identity(self) -> str:
        """What the place is called in every build."""
        return "\x1f".join((self.file, self.function, self.text or str(self.line)))

    @property
    def key(self) -> str:
        """A short form of the identity, for addresses."""
        return hashlib.blake2b(self.identity.encode(), digest_size=8).hexdigest()

    @property
    def frame(self) -> str:
        place = f"{self.file}:{self.line}"
        return f"{self.function} ({place})" if self.function else place


class Places(NamedTuple):
    """The places of a group's newest failures, the most frequent first. `unresolved` failures have no known place."""

    places: list[OriginalPlace]
    events: int
    unresolved: int

    @property
    def can_split(self) -> bool:
        """Whether positions tell the places apart. Two places can share one: a package's function and its callers."""
        positions = [position for place in self.places for position in place.positions]
        return len(self.places) > 1 and len(positions) == len(set(positions)) and "" not in positions


class SuggestedMerge(NamedTuple):
    group: FailureGroup
    frame: str


def places(fingerprint: str, *, now_ms: int, newest: int = NEWEST_EVENTS) -> Places:
    """Return the original places of a group's newest failures."""
    columns = ("app_version", "stack", "error_name")
    events = list(Event.objects.of_group(fingerprint).newest_first().values_list(*columns, named=True)[:newest])
    by_place: dict[tuple[str, str, str | int], Counter[str]] = {}
    newest_frames: dict[tuple[str, str, str | int], Frame] = {}
    unresolved = 0
    for event, count, frame in _with_top_frames(events, now_ms):
        if frame is None or frame.unresolved is not None or frame.line is None:
            unresolved += count
            continue
        identity = (frame.file, frame.function, _text_of(frame) or frame.line)
        newest_frames.setdefault(identity, frame)
        by_place.setdefault(identity, Counter())[position_in(event)] += count
    found = [
        OriginalPlace(frame.file, frame.function, frame.line or 0, _text_of(frame), counts.total(), frozenset(counts))
        for frame, counts in zip(newest_frames.values(), by_place.values(), strict=True)
    ]
    return Places(sorted(found, key=lambda place: (-place.events, place.frame)), len(events), unresolved)


def suggested_merges(group: FailureGroup, own: Places, *, now_ms: int) -> list[SuggestedMerge]:
    """Return the groups whose newest failure has one of this group's places: the same file and function, a near line.

    A line with the same text is the same one too, because lines move from version to version.

    The groups have the same type and a compatible error: the same canonical one, or one of the two has none. Of these,
    the CANDIDATES that failed last are compared. Dismissed suggestions are left out.
    """
    if not own.places:
        return []
    excluded = [group.pk, groups.overflow_of(group.event_type).key]
    for pair in DismissedMerge.objects.filter(Q(fingerprint=group.pk) | Q(other=group.pk)):
        excluded += [pair.fingerprint, pair.other]
    others = FailureGroup.objects.filter(event_type=group.event_type).exclude(pk__in=excluded)
    if group.canonical:
        others = others.filter(canonical__in=["", group.canonical])
    newest = Event.objects.of_group(OuterRef("pk")).newest_first().values("pk")[:1]  # type: ignore[arg-type]
    candidates = {
        other.newest: other
        for other in others.annotate(newest=Subquery(newest)).order_by("-last_seen_ms", "pk")[:CANDIDATES]
    }
    columns = ("pk", "app_version", "stack", "error_name")
    events = list(Event.objects.filter(pk__in=[key for key in candidates if key]).values_list(*columns, named=True))
    found = []
    for event, _, frame in _with_top_frames(events, now_ms, is_distinct=False):
        if frame is not None and frame.unresolved is None and any(_is_near(place, frame) for place in own.places):
            found.append(SuggestedMerge(candidates[event.pk], str(frame)))
    return sorted(found, key=lambda suggestion: (-suggestion.group.accepted, suggestion.group.pk))


def _is_near(place: OriginalPlace, frame: Frame) -> bool:
    is_same = (place.file, place.function) == (frame.file, frame.function)
    if not is_same or frame.line is None:
        return False
    return abs(place.line - frame.line) <= LINES_APART or _text_of(frame) == place.text != ""


def _text_of(frame: Frame) -> str:
    """Return the source line of a frame without its indentation, "" without sources."""
    return next((text.strip() for number, text in frame.context or [] if number == frame.line), "")


def _with_top_frames(
    events: Iterable[Any], now_ms: int, *, is_distinct: bool = True
) -> list[tuple[Any, int, Frame | None]]:
    """Return each event, its number, and its top frame. Equal stacks are read once if `is_distinct`."""
    counted: dict[Any, tuple[Any, int]] = {}
    for event in events:
        key = (event.app_version, event.stack, event.error_name) if is_distinct else event
        counted[key] = (event, counted.get(key, (None, 0))[1] + 1)
    rows = list(counted.values())
    stacks = [(event.app_version, event.stack) for event, _ in rows]
    resolved = resolve.of_stacks(stacks, now_ms=now_ms, most=_FRAMES)
    tops = [resolve.top_in_app(frames, event.error_name) for (event, _), frames in zip(rows, resolved, strict=True)]
    return [(event, count, top) for (event, count), top in zip(rows, tops, strict=True)]
