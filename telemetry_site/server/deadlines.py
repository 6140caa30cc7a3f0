"""Waits of the event loop that may each take so long and no longer."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

_LOOK_SECONDS = 1.0
T = TypeVar("T")


class Deadlines:
    """Many waits, looked at together once a second: `asyncio.timeout` makes a timer for each.

    Those timers took a twelfth of the loop's time.
    """

    def __init__(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        self._seconds = seconds
        self._loop = loop
        self._ends: dict[asyncio.Task[object], float] = {}
        self._watch = loop.create_task(self._look())

    async def within(self, wait: Awaitable[T]) -> T:
        """Return what the current task waits for; raises TimeoutError at most a second past the deadline."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (only a task can wait)
        self._ends[task] = self._loop.time() + self._seconds
        try:
            return await wait
        except asyncio.CancelledError:
            if task in self._ends:
                raise  # was ended by others
            task.uncancel()
            raise TimeoutError from None
        finally:
            self._ends.pop(task, None)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = self._loop.time()
            for task in [task for task, end in self._ends.items() if end <= now]:
                del self._ends[task]
                task.cancel()
