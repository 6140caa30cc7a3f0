"""The registry of the caches and pending counts that this process keeps in memory between requests.

Each module registers how to clear its own. Tests clear all of them, because each test begins with an empty database.
Other code clears only its own cache, when it changed the table behind it.
"""

from collections.abc import Callable
from typing import TypeVar

Clear = TypeVar("Clear", bound=Callable[[], None])
_registered: list[Callable[[], None]] = []


def register(clear: Clear) -> Clear:
    """Register a function that clears a cache; returns it, so that it can be used as a decorator."""
    _registered.append(clear)
    return clear


def clear() -> None:
    for clear_cache in _registered:
        clear_cache()
