"""The mode of the old routes.

One database row contains the mode. Every process caches it for a second, so all processes use a new mode within two
seconds. A request with an outdated mode does no harm: before it writes only to the old tables, it checks the mode under
the row's lock.
"""

import time

from django.db import DatabaseError, connection

from events import process_memory
from legacy.models import Cutover, Mode, ModeInForce

CACHE_SECONDS = 1.0

_cached: tuple[float, Mode] = (float("-inf"), Mode.ALIAS)


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
