"""Counts refused `Host` headers, so that an operator sees a host that is missing in ALLOWED_HOSTS.

Anyone can send any `Host`, so memory and rows are bounded: at most 20 names per UTC day. A flood of random names must
not evict a frequent name. In memory, a Misra-Gries counter keeps the frequent names of the day: every name with more
than one in MOST_IN_MEMORY of the refusals. In the table, a name replaces the rarest name only if it is more frequent on
that day. The row `(other)` counts all other names.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from django.db.models import Sum
from django.http.request import split_domain_port

from events import clock, process_memory
from events.counting import site_days
from events.counting.buckets import OTHER
from events.counting.upserts import Upsert, upsert
from events.models import RefusedHost

MOST_A_DAY = 20
MOST_IN_MEMORY = 1_000
MAX_HOST = 255
DAYS_KEPT = 90
NO_HOST = "(none)"


@dataclass(slots=True)
class _Name:
    """`seen` counts a name since it entered the memory; `weight` is its Misra-Gries counter, which can fall."""

    seen: int = 0
    weight: int = 0


@dataclass(slots=True)
class _HostsOfDay:
    """The names of one day, and the pending counts: by name, and for `(other)`."""

    names: dict[str, _Name] = field(default_factory=dict)
    waiting: Counter[str] = field(default_factory=Counter)
    other: int = 0

    def count(self, host: str) -> None:
        name = self.names.get(host)
        if name is None and len(self.names) >= MOST_IN_MEMORY:
            # Visits all names, but at most once per MOST_IN_MEMORY refusals, since each refusal raised a weight by one.
            self._lower_all()
            self.other += 1
            return
        if name is None:
            name = self.names[host] = _Name()
        name.seen += 1
        name.weight += 1
        self.waiting[host] += 1

    def _lower_all(self) -> None:
        for host, name in list(self.names.items()):
            name.weight -= 1
            if not name.weight:
                del self.names[host]
                self.other += self.waiting.pop(host, 0)

    def take(self) -> "Taken":
        names = {host: (self.names[host].seen, count) for host, count in self.waiting.items()}
        taken = Taken(names, self.other)
        self.waiting.clear()
        self.other = 0
        return taken

    def put_back(self, taken: "Taken") -> None:
        self.other += taken.other
        for host, (_, count) in taken.names.items():
            if host in self.names:
                self.waiting[host] += count
            else:
                self.other += count


class Taken(NamedTuple):
    """The pending counts of one day: for each name its total and the pending part, and the count for `(other)`."""

    names: dict[str, tuple[int, int]]
    other: int


_lock = threading.Lock()
_days: dict[date, _HostsOfDay] = {}
process_memory.register(_days.clear)


def note(host: str, at_ms: int) -> None:
    """Count a request that was refused because of this `Host` header."""
    day = datetime.fromtimestamp(at_ms / 1000, UTC).date()
    name = cleaned(host)
    with _lock:
        if day not in _days:
            for earlier in [known for known in _days if known < day - timedelta(days=1)]:
                del _days[earlier]  # The database has been unavailable for a day.
            _days[day] = _HostsOfDay()
        if name == OTHER:
            _days[day].other += 1
        else:
            _days[day].count(name)


def cleaned(host: str) -> str:
    """Return a `Host` header in the form of ALLOWED_HOSTS: without the port and unprintable characters."""
    name = split_domain_port(host)[0] or host
    return "".join(character for character in name if character.isprintable())[:MAX_HOST].strip() or NO_HOST


@contextmanager
def taken() -> Iterator[dict[date, Taken]]:
    """Yield the pending counts. If the block raises, they are put back."""
    with _lock:
        waiting = {day: counted.take() for day, counted in _days.items() if counted.waiting or counted.other}
    try:
        yield waiting
    except BaseException:
        with _lock:
            for day, pending in waiting.items():
                _days.setdefault(day, _HostsOfDay()).put_back(pending)
        raise


def write(waiting: dict[date, Taken]) -> None:
    """Add the pending counts to the rows of their days, inside the caller's transaction."""
    for day, pending in sorted(waiting.items()):
        _write_day(day, pending)


def _write_day(day: date, pending: Taken) -> None:
    # This row is the lock of the day: another process waits for it, and then reads what this process wrote.
    upsert(_LOCK, [(day.isoformat(), OTHER, 0)])
    before = dict(RefusedHost.objects.filter(seen_on=day).values_list("host", "count"))
    rows = dict(before)
    other = rows.pop(OTHER) + pending.other
    for host, (seen, waiting) in sorted(pending.names.items(), key=lambda item: (-item[1][0], item[0])):
        if host in rows:
            rows[host] += waiting
            continue
        if len(rows) >= MOST_A_DAY:
            rarest = min(rows, key=lambda name: (rows[name], name))
            if rows[rarest] >= seen:
                other += waiting
                continue
            other += rows.pop(rarest)
        rows[host] = seen
        other -= seen - waiting  # The part that `(other)` counted before the name had a row.
    rows[OTHER] = max(other, 0)
    upsert(_COUNT, [(day.isoformat(), *row) for row in rows.items() if before.get(row[0]) != row[1]])
    if replaced := before.keys() - rows.keys():
        RefusedHost.objects.filter(seen_on=day, host__in=replaced).delete()
    if before == {OTHER: 0}:  # The first refusal of the day.
        too_old = RefusedHost.objects.filter(seen_on__lt=day - timedelta(days=DAYS_KEPT))
        if too_old.exists() and not site_days.doubt_of(clock.now()):
            too_old.delete()


def most_refused(start: date, end: date) -> dict[str, int]:
    """Return the most refused hosts of [start, end), most first; `(other)` is last."""
    rows = RefusedHost.objects.filter(seen_on__gte=start, seen_on__lt=end)
    counts = dict(rows.values_list("host").annotate(total=Sum("count")).order_by("-total", "host"))
    other = counts.pop(OTHER, 0)
    named = list(counts.items())
    other += sum(count for _, count in named[MOST_A_DAY:])
    return dict(named[:MOST_A_DAY]) | ({OTHER: other} if other else {})


_LOCK = Upsert(
    RefusedHost._meta.db_table,
    ("seen_on", "host", "count"),
    "seen_on, host",
    "count = kept.count",
)
_COUNT = _LOCK._replace(update="count = excluded.count")
