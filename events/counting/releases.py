"""The releases of the front end, in the order in which versions became releases.

Clients choose the version, so an event only makes the version a candidate. A candidate becomes a release with its first
success, or with LEAST_EVENTS events from LEAST_SESSIONS sessions.
"""

import difflib
import hashlib
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import Count, Min, QuerySet

from events import process_memory
from events.counting import arrivals
from events.counting.buckets import DAY_MS, OTHER, UNKNOWN, Counted
from events.counting.upserts import Upsert, select_in, upsert
from events.models import Event, HourlyRollup, Release
from events.querysets import SUCCESS

# The version of a development build, and the names that replace a version that is missing or exceeds the capacity.
NO_RELEASES = frozenset({"dev", UNKNOWN, OTHER})
LEAST_EVENTS = 5
LEAST_SESSIONS = 3
# How many versions may be new on one UTC day. A version that arrives for the third time has a second capacity.
MAX_NEW_A_DAY = 200
MAX_REPEATED_A_DAY = 200
# The first two events of a version beyond the capacity create no candidate. Look this far back for them.
_UNCOUNTED_MS = 7 * DAY_MS


class _Row(NamedTuple):
    app_version: str
    first_seen_ms: int
    is_release: bool
    events: int
    session_marks: str


# Each writer of these rows has locked the totals of all types, so the rows cannot change after they were read.
_RELEASES = Upsert(
    Release._meta.db_table,
    _Row._fields,
    "app_version",
    ", ".join(f"{column} = excluded.{column}" for column in _Row._fields[1:]),
)
# `similar` compares with so many of the newest releases, and ignores those that are less alike (0 to 1). Two other
# characters in a hash of seven are alike, three are not.
_COMPARED = 1_000
_LEAST_ALIKE = 0.7
_LEAST_PREFIX = 4
_MAX_KNOWN = 10_000
_KNOWN_SECONDS = 60
# By version: the time at which it became a release.
_known: dict[str, int] = {}
_known_since = 0.0
# Candidates with enough events, so that only an event with a session can change them.
_waiting: set[str] = set()


def news(events: Iterable[Counted]) -> list[Counted]:
    """Return the events that can change a release. If there are any, the caller must lock the totals of all types."""
    global _known_since
    if time.monotonic() - _known_since > _KNOWN_SECONDS:  # Another process may have deleted a release.
        forget()
        _known_since = time.monotonic()
    return [event for event in events if _is_news(event)]


def note(news: Iterable[Counted]) -> dict[str, int]:
    """Count these events inside the caller's transaction; return the versions that became releases.

    The value for each version is the start of the time range that can contain earlier events of it.
    """
    received: defaultdict[str, list[Counted]] = defaultdict(list)
    for event in news:
        received[event.app_version].append(event)
    if not received:
        return {}
    stored = _stored(list(received))
    without_room = _without_room({version: of for version, of in received.items() if version not in stored})
    rows = {version: _after(stored.get(version), of) for version, of in received.items() if version not in without_room}
    upsert(_RELEASES, [tuple(row) for version, row in rows.items() if row != stored.get(version)])
    transaction.on_commit(lambda: _learn(rows.values()))
    released: dict[str, int] = {}
    for version, row in rows.items():
        before = stored.get(version)
        if row.is_release and not (before and before.is_release):
            released[version] = (before or row).first_seen_ms - _UNCOUNTED_MS
    return released


class Relation(Enum):
    """How a version relates to a fix."""

    FIXED = "the version should contain the fix"
    DOUBTFUL = "the version is newer than the decision, but the version with the fix is no release"
    NONE = "the version is older, or no release"


def relation(version: str, fixed_in: str | None, decided_at_ms: int) -> Relation:
    """Return how a version relates to the fix in `fixed_in`, a version that somebody named at `decided_at_ms`.

    Without `fixed_in`, the fix is in the first version that became a release after `decided_at_ms`. Versions that are
    not releases have no order, so the result for them is always NONE.
    """
    releases = _releases().filter(app_version__in=[version, fixed_in or version])
    since = dict(releases.values_list("app_version", "first_seen_ms"))
    if version not in since:
        return Relation.NONE
    if fixed_in is None:
        return Relation.FIXED if since[version] > decided_at_ms else Relation.NONE
    if fixed_in in since:
        return Relation.FIXED if since[version] >= since[fixed_in] else Relation.NONE
    return Relation.DOUBTFUL if since[version] > decided_at_ms else Relation.NONE


def since(moment_ms: int) -> QuerySet[Release, str]:
    """Return a query for the versions that became releases after this time."""
    return _releases().filter(first_seen_ms__gt=moment_ms).values_list("app_version", flat=True)


def was_seen(version: str) -> bool:
    """Return whether a version is a release."""
    return _releases().filter(app_version=version).exists()


def was_reported(version: str) -> bool:
    """Return whether an event has reported a version, whether or not it is a release."""
    return Release.objects.filter(app_version=version).exists()


def reported(versions: Collection[str]) -> set[str]:
    """Return those of these versions that events have reported, in one query."""
    return set(Release.objects.filter(app_version__in=versions).values_list("app_version", flat=True))


def similar(version: str, limit: int) -> list[Release]:
    """Return the releases that somebody may have meant, the most similar first, then the newest.

    A release that begins with the typed version, or the other way round, is as similar as an equal one: one of two
    hashes can be abbreviated. Letter case makes no difference.
    """
    typed = version.casefold()
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(typed)
    found: list[tuple[float, Release]] = []
    for release in _releases().order_by("-first_seen_ms", "app_version")[:_COMPARED]:
        name = release.app_version.casefold()
        if min(len(name), len(typed)) >= _LEAST_PREFIX and (name.startswith(typed) or typed.startswith(name)):
            found.append((1.0, release))
            continue
        matcher.set_seq1(name)
        if matcher.real_quick_ratio() >= _LEAST_ALIKE and matcher.quick_ratio() >= _LEAST_ALIKE:
            found.append((matcher.ratio(), release))
    ranked = sorted(found, key=lambda pair: -pair[0])  # stable: of equally similar ones, the newest stays first
    return [release for ratio, release in ranked if ratio >= _LEAST_ALIKE][:limit]


def first_seen_between(start_ms: int, end_ms: int) -> list[Release]:
    """Return the versions that became releases in [start_ms, end_ms), oldest first."""
    return list(_releases().filter(first_seen_ms__gte=start_ms, first_seen_ms__lt=end_ms).order_by("first_seen_ms"))


def newest(limit: int) -> list[str]:
    """Return the newest releases, newest first."""
    return list(_releases().order_by("-first_seen_ms").values_list("app_version", flat=True)[:limit])


def settle() -> None:
    """Correct the releases after demo data was deleted or successes became void.

    No other operation lowers the hours of a version. The caller has locked the totals of every type.
    """
    hours = HourlyRollup.objects.filter(accepted__gt=0).values_list("app_version")
    first_hours = dict(hours.annotate(Min("hour_ms")))
    first_successes = dict(hours.filter(event_type=SUCCESS).annotate(Min("hour_ms")))
    for release in Release.objects.order_by("app_version"):
        version = release.app_version
        events = Event.objects.counted().filter(app_version=version)
        if version not in first_hours and not events.exists():
            release.delete()
            continue
        is_release, first_ms = release.is_release, first_hours.get(version, 0)
        if is_release and version in first_successes:
            first_ms = first_successes[version]
        elif is_release:
            left = events.aggregate(events=Count("*"), sessions=Count("session_id", distinct=True))
            is_release = left["events"] >= LEAST_EVENTS and left["sessions"] >= LEAST_SESSIONS
        Release.objects.filter(pk=version).update(
            is_release=is_release, first_seen_ms=max(release.first_seen_ms, first_ms), events=0, session_marks=""
        )
    forget()


@process_memory.register
def forget() -> None:
    """Clear the cache of releases; the next event reads its own release again."""
    _known.clear()
    _waiting.clear()


def _releases() -> QuerySet[Release]:
    return Release.objects.filter(is_release=True)


def _is_news(event: Counted) -> bool:
    version = event.app_version
    known_ms = _known.get(version)
    if known_ms is not None:
        return event.received_at_ms < known_ms and event.event_type == SUCCESS
    return version not in NO_RELEASES and (event.session_id is not None or version not in _waiting)


# These two queries run for every new version. The ORM would need ten times as long to build them.


def _new_versions(day_ms: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT COUNT(*) FROM {Release._meta.db_table}"  # noqa: S608 (our own names)
            " WHERE first_seen_ms >= %s AND first_seen_ms < %s",
            [day_ms, day_ms + DAY_MS],
        )
        return int(cursor.fetchone()[0])


def _stored(versions: Sequence[str]) -> dict[str, _Row]:
    query = f"SELECT {', '.join(_Row._fields)} FROM {Release._meta.db_table} WHERE app_version"  # noqa: S608
    return {
        version: _Row(version, first_seen_ms, bool(is_release), *progress)
        for version, first_seen_ms, is_release, *progress in select_in(query, versions)
    }


def _without_room(received: dict[str, list[Counted]]) -> set[str]:
    """Return the new versions that exceed the capacity of their day."""
    room: dict[int, int] = {}
    full: dict[str, int] = {}
    for version, events in received.items():
        day_ms = min(event.received_at_ms for event in events) // DAY_MS * DAY_MS
        if day_ms not in room:
            room[day_ms] = MAX_NEW_A_DAY - _new_versions(day_ms)
        if room[day_ms] > 0:
            room[day_ms] -= 1
        else:
            full[version] = day_ms
    if full:
        again = arrivals.repeated({f"version {version}": len(received[version]) for version in full})
        for version, day_ms in sorted(full.items()):
            if f"version {version}" in again and room[day_ms] + MAX_REPEATED_A_DAY > 0:
                room[day_ms] -= 1
                del full[version]
    return set(full)


def _after(before: _Row | None, events: Sequence[Counted]) -> _Row:
    """Return the row of a version, updated with these events."""
    successes = [event.received_at_ms for event in events if event.event_type == SUCCESS]
    if before and before.is_release:
        return before._replace(first_seen_ms=min([before.first_seen_ms, *successes]))
    count = before.events if before else 0
    marks = {before.session_marks[at : at + 2] for at in range(0, len(before.session_marks), 2)} if before else set()
    since: list[int] = successes
    for event in sorted(events, key=lambda event: event.received_at_ms):
        count += 1
        if event.session_id is not None and len(marks) < LEAST_SESSIONS:
            marks.add(hashlib.blake2b(event.session_id.encode(), digest_size=1).hexdigest())
        if count >= LEAST_EVENTS and len(marks) >= LEAST_SESSIONS:
            since.append(event.received_at_ms)
            break
    first_ms = min(event.received_at_ms for event in events)
    return _Row(
        events[0].app_version,
        min(since) if since else min(first_ms, before.first_seen_ms if before else first_ms),
        bool(since),
        count,
        "".join(sorted(marks)),
    )


def _learn(rows: Iterable[_Row]) -> None:
    if len(_known) > _MAX_KNOWN or len(_waiting) > _MAX_KNOWN:
        forget()
    for row in rows:
        if row.is_release:
            _known[row.app_version] = row.first_seen_ms
            _waiting.discard(row.app_version)
        elif row.events >= LEAST_EVENTS:
            _waiting.add(row.app_version)
