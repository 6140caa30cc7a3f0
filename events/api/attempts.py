"""Failed attempts at a credential, counted in fixed windows: a password, or ADMIN_TOKEN."""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache

from events.ingest import guards

logger = logging.getLogger(__name__)


class Limit(NamedTuple):
    """Failed attempts that are let through in each window of so many seconds."""

    name: str
    attempts: int
    seconds: int


@dataclass(frozen=True)
class Counter:
    """The failed attempts of somebody in one window, which ends in `seconds_left`."""

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
            # Neither open to guessing nor shut to everybody: each process counts for itself.
            logger.error(
                "Sign-ins are counted in this process alone, as wrong tokens are: the cache does not answer: %s", error
            )
            return _change_in(caches["process"], self, by)


def counter(kind: str, limit: Limit, whose: str, now: datetime) -> Counter:
    """Return the count of one kind of credential for somebody, in the window that `now` is in."""
    window, begun = divmod(int(now.timestamp()), limit.seconds)
    return Counter(limit, f"{kind}.{limit.name}.{window}.{guards.keyed_hash(whose)}", limit.seconds - begun)


def _change_in(cache: BaseCache, counter: Counter, by: int) -> int:
    if not by:
        return int(cache.get(counter.key, 0))
    cache.add(counter.key, 0, counter.limit.seconds)
    try:
        return cache.incr(counter.key, by)
    except ValueError:  # it was let go in between
        cache.set(counter.key, max(by, 0), counter.limit.seconds)
        return max(by, 0)
