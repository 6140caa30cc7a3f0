"""The mode of the old routes, and the switch from one mode to another.

One database row contains the mode. Every process caches it for a second, so all processes use a new mode within two
seconds. A request with an outdated mode does no harm: before it writes only to the old tables, it checks the mode under
the row's lock. A switch copies the missing rows under the same lock before it takes effect.
"""

import time
from datetime import date, datetime, timedelta
from typing import Any

from django.db import DatabaseError, connection, transaction

from events import audit, clock, process_memory
from events.counting import rollups
from events.ingest import writer
from events.models import AuditKind
from events.querysets import SUCCESS
from events.reports import metrics
from legacy import old_tables
from legacy.cutover import copying
from legacy.models import Cutover, Mode, ModeInForce

CACHE_SECONDS = 1.0
GONE_DAYS = 7
_GONE = "gone "
# An event can be committed this long after its `received_at_ms`, so the last copy begins this much earlier.
_COMMIT_MS = 120_000

_cached: tuple[float, Mode] = (float("-inf"), Mode.ALIAS)


class CannotSwitch(Exception):
    """The switch is refused; the message names the missing condition."""


def current() -> Mode:
    """Return the mode, from a cache that is at most CACHE_SECONDS old; without the database, the last known mode."""
    global _cached
    read_at, mode = _cached
    if time.monotonic() - read_at < CACHE_SECONDS:
        return mode
    try:
        mode = Mode(in_force().mode)
    except DatabaseError:
        return mode
    _cached = (time.monotonic(), mode)
    return mode


def in_force() -> ModeInForce:
    """Return the row with the current mode. A site that never switched has no row, and is in `alias`."""
    return ModeInForce.objects.filter(id=1).first() or ModeInForce(id=1, mode=Mode.ALIAS)


@process_memory.register
def forget() -> None:
    """Clear the cache of this process."""
    global _cached
    _cached = (float("-inf"), _cached[1])


def was_ever_switched() -> bool:
    return Cutover.objects.exists()


def holds_under_lock(mode: Mode) -> bool:
    """Return whether this is the current mode, and lock it until the caller's transaction ends.

    On SQLite, write transactions already exclude each other. On PostgreSQL, writers take a shared lock on the row, and
    a switch waits for them.
    """
    if not connection.features.has_select_for_update:
        return in_force().mode == mode
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT mode FROM {ModeInForce._meta.db_table} WHERE id = 1 FOR SHARE")  # noqa: S608
        return bool(cursor.fetchone()[0] == mode)


def count_now() -> int:
    """Return the public count of the current mode, without the cache.

    A count must never fall. With the cached mode, a process could return a lower count than another process.
    """
    while True:
        mode = in_force().mode
        count = public_count(Mode(mode))
        if in_force().mode == mode:
            return count


def public_count(mode: Mode) -> int:
    """Return the count of `/count` in this mode; in `gone`, the count of its successor."""
    return old_tables.count() if mode == Mode.SEPARATE else old_tables.stream_count()


def gone_outcome(route: str) -> str:
    """Return the outcome under which a 410 of an old route is counted."""
    return f"{_GONE}{route}"


def gone_by_route(today: date) -> dict[str, int]:
    """Return the number of 410 responses by route on the GONE_DAYS UTC days that end with today."""
    tallies = metrics.tallies(today - timedelta(days=GONE_DAYS - 1), today + timedelta(days=1))
    return {name.removeprefix(_GONE): count for name, count in tallies.items() if name.startswith(_GONE)}


def refuse_without_tables(row: ModeInForce) -> None:
    """Raise CannotSwitch if the old tables were dropped."""
    if row.tables_dropped:
        raise CannotSwitch("The old tables were dropped, so the old routes stay gone.")


def switch(mode: Mode, *, reason: str, user: Any, user_name: str, at: datetime) -> Cutover:
    """Copy the rows that either side lacks, then switch to a mode; raises CannotSwitch.

    Short transactions copy most rows first, so ingest hardly waits. The transaction of the switch copies the rest, and
    raises the lower count to the higher one. So the public count never falls.
    """
    row = in_force()
    refuse_without_tables(row)
    before = public_count(Mode(row.mode))
    began_ms = clock.now_ms() - _COMMIT_MS
    to_stream = copying.to_stream(writer.record_many)
    # In `separate`, only the old tables are read, so their rows need the texts.
    texts_too = mode == Mode.SEPARATE
    to_legacy = copying.to_legacy(since_ms=0, texts_too=texts_too)
    if texts_too:
        old_tables.fill_in_texts(since_ms=0, at_once=copying.CHUNK)
    with transaction.atomic(durable=True):
        ModeInForce.objects.get_or_create(id=1, defaults={"mode": row.mode})
        ModeInForce.objects.select_for_update().get(id=1)
        to_stream += copying.to_stream(writer.record_within)
        # Block new successes until the commit, because the old tables would lack them.
        rollups.lock([SUCCESS])
        to_legacy += copying.to_legacy(since_ms=began_ms, texts_too=texts_too)
        if texts_too:
            old_tables.fill_in_texts(since_ms=began_ms, at_once=copying.CHUNK)
        copying.add_missing_sessions()
        ModeInForce.objects.filter(id=1).update(mode=mode)
        words = f"Switched the old routes from {row.mode} to {mode}."
        audit.note(AuditKind.MODE, words, who=user_name, at=at, why=reason)
        cutover = Cutover.objects.create(
            mode=mode,
            reason=reason,
            switched_by=user,
            switched_by_name=user_name,
            switched_at=at,
            count_before=before,
            count_after=public_count(mode),
            copied_to_stream=to_stream,
            copied_to_legacy=to_legacy,
        )
    forget()
    return cutover
