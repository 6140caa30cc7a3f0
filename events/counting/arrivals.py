"""Counts repeated messages and versions that exceed the capacity of a day, in a fixed number of rows.

The sketch has SLOTS slots. Each slot is a Boyer-Moore majority vote with one key and its count. An arrival of the same
key raises the count. An arrival of another key lowers it, and takes the slot at zero. So keys that arrive once replace
each other, and a key that arrives again keeps its slot. A count can be too low, never too high. The hash is keyed, so a
client cannot choose messages that take the slot of another.
"""

import hashlib
from collections.abc import Mapping

from django.conf import settings

from events.counting.upserts import Upsert, upsert
from events.models import Arrival

SLOTS = 65_536
# From the third arrival on, a key can use the second capacity of the day.
REPEATED = 3

_ARRIVALS = Upsert(
    Arrival._meta.db_table,
    ("slot", "key", "count"),
    "slot",
    # The count is bounded, so that a key loses its slot soon after it stops arriving.
    f"count = CASE WHEN kept.key = excluded.key AND kept.count >= {REPEATED} THEN kept.count"
    " WHEN kept.key = excluded.key THEN kept.count + excluded.count"
    " WHEN kept.count > excluded.count THEN kept.count - excluded.count ELSE excluded.count END,"
    " key = CASE WHEN kept.key = excluded.key OR kept.count > excluded.count THEN kept.key ELSE excluded.key END",
    "key, count",
)


def repeated(counts: Mapping[str, int]) -> set[str]:
    """Add arrivals by key inside the caller's transaction; return the keys that arrived REPEATED times."""
    secret = hashlib.blake2b(settings.SECRET_KEY.encode(), person=b"arrivals").digest()
    rows: dict[int, tuple[int, str, int]] = {}
    for key, count in counts.items():
        slot = int.from_bytes(hashlib.blake2b(key.encode(), key=secret, digest_size=4).digest()) % SLOTS
        # If two keys of one commit share a slot, count the more frequent one.
        if slot not in rows or rows[slot][2] < count:
            rows[slot] = (slot, key, min(count, REPEATED))
    frequent = {key for key, count in upsert(_ARRIVALS, list(rows.values())) if count >= REPEATED}
    return frequent & counts.keys()
