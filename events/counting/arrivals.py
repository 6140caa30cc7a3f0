"""Counts how often messages and versions arrive for which a day has no room, in a fixed number of rows.

The sketch has SLOTS slots. Each slot holds one key and its count, as in the Boyer-Moore majority vote: an arrival of
the same key adds to the count, an arrival of another key lowers it and takes the slot at zero. So messages that arrive
once replace each other, and a message that arrives again keeps its slot. A count can be too low, never too high. The
hash is keyed, so a client cannot choose messages that take the slot of another.
"""

import hashlib
from collections.abc import Mapping

from django.conf import settings

from events.counting.upserts import Upsert, upsert
from events.models import Arrival

SLOTS = 65_536
# The third arrival earns a place of its own.
REPEATED = 3

_ARRIVALS = Upsert(
    Arrival._meta.db_table,
    ("slot", "key", "count"),
    "slot",
    # Bounded, so that no key can keep its slot for long after it has stopped arriving.
    f"count = CASE WHEN kept.key = excluded.key AND kept.count >= {REPEATED} THEN kept.count"
    " WHEN kept.key = excluded.key THEN kept.count + excluded.count"
    " WHEN kept.count > excluded.count THEN kept.count - excluded.count ELSE excluded.count END,"
    " key = CASE WHEN kept.key = excluded.key OR kept.count > excluded.count THEN kept.key ELSE excluded.key END",
    "key, count",
)


def repeated(counts: Mapping[str, int]) -> set[str]:
    """Add arrivals, by their keys, inside the caller's transaction; return the keys that arrived REPEATED times."""
    secret = hashlib.blake2b(settings.SECRET_KEY.encode(), person=b"arrivals").digest()
    rows: dict[int, tuple[int, str, int]] = {}
    for key, count in counts.items():
        slot = int.from_bytes(hashlib.blake2b(key.encode(), key=secret, digest_size=4).digest()) % SLOTS
        # Of two keys with one slot in one commit the more frequent one is counted.
        if slot not in rows or rows[slot][2] < count:
            rows[slot] = (slot, key, min(count, REPEATED))
    held = {key for key, count in upsert(_ARRIVALS, list(rows.values())) if count >= REPEATED}
    return held & counts.keys()
