"""The registry of the caches and pending counts that this process keeps in memory between requests.

Each module registers how to clear its own. Tests clear all of them, because each test begins with an empty database.
Other code clears only its own cache, when it changed the table behind it.
"""

from collections.abc import Callable, Hashable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

Value = TypeVar("Value")
Clear = TypeVar("Clear", bound=Callable[[], None])
_registered: list[Callable[[], None]] = []


def register(clear: Clear) -> Clear:
    """Register a function that clears a cache; returns it, so that it can be used as a decorator."""
    _registered.append(clear)
    return clear


def clear() -> None:
    for clear_cache in _registered:
        clear_cache()


class Recent(Generic[Value]):
    """Values that this process reads at most once per `seconds`, by key.

    Other processes change the rows behind them, so a value can be `seconds` old. Threads may read a value twice.
    """

    MOST_KEYS = 16

    def __init__(self, seconds: float) -> None:
        self._seconds = timedelta(seconds=seconds)
        self._kept: dict[Hashable, tuple[datetime, Value]] = {}
        register(self.clear)

    def get(self, key: Hashable, now: datetime, read: Callable[[], Value]) -> Value:
        kept = self._kept.get(key)
        if kept is not None and abs(now - kept[0]) < self._seconds:
            return kept[1]
        value = read()
        if len(self._kept) >= self.MOST_KEYS:
            self._kept = {}
        self._kept[key] = (now, value)
        return value

    def clear(self) -> None:
        self._kept = {}
