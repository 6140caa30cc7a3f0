"""Counters of failed attempts at a password or ADMIN_TOKEN, in fixed windows."""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache

from events.ingest import guards

logger = logging.getLogger(__name__)


class Limit(NamedTuple):
    """At most `attempts` failed attempts in each window of `seconds`."""

    name: str
    attempts: int
    seconds: int


@dataclass(frozen=True)
class AttemptCounter:
    """The failed attempts of one subject in one window, which ends in `seconds_left`."""

    limit: Limit
    key: str
    seconds_left: int

    def add(self) -> int:
        return self._change(1)

    def take_back(self) -> None:
        self._change(-1)

    def read(self) -> int:
        return self._change(0)

    def _change(self, by: int) -> int:
        try:
            return _change_in(caches["default"], self, by)
        except guards.cache_errors() as error:
            # Fall back to a counter per process: guessing stays limited, and sign-in stays possible.
            logger.error(
                "Sign-ins are counted in this process alone, as wrong tokens are: the cache does not answer: %s", error
            )
            return _change_in(caches["process"], self, by)


def counter(kind: str, limit: Limit, subject: str, now: datetime) -> AttemptCounter:
    """Return the counter of one kind of credential and one subject, for the window that contains `now`."""
    window, elapsed = divmod(int(now.timestamp()), limit.seconds)
    return AttemptCounter(limit, f"{kind}.{limit.name}.{window}.{guards.keyed_hash(subject)}", limit.seconds - elapsed)


def _change_in(cache: BaseCache, counter: AttemptCounter, by: int) -> int:
    if not by:
        return int(cache.get(counter.key, 0))
    cache.add(counter.key, 0, counter.limit.seconds)
    try:
        return cache.incr(counter.key, by)
    except ValueError:  # the cache evicted the key meanwhile
        cache.set(counter.key, max(by, 0), counter.limit.seconds)
        return max(by, 0)
