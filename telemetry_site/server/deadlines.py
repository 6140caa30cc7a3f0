"""Timeouts for many concurrent waits of the event loop."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

_CHECK_SECONDS = 1.0
T = TypeVar("T")


class Deadlines:
    """One timeout for many concurrent waits, checked together once a second.

    `asyncio.timeout` creates a timer for each wait, which took a twelfth of the loop's time.
    """

    def __init__(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        self._seconds = seconds
        self._loop = loop
        self._deadlines: dict[asyncio.Task[object], float] = {}
        self._checker = loop.create_task(self._check())

    async def within(self, wait: Awaitable[T]) -> T:
        """Await for the current task. Raises TimeoutError at most one second after the deadline."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (only tasks await)
        self._deadlines[task] = self._loop.time() + self._seconds
        try:
            return await wait
        except asyncio.CancelledError:
            if task in self._deadlines:
                raise  # somebody else cancelled the task
            task.uncancel()
            raise TimeoutError from None
        finally:
            self._deadlines.pop(task, None)

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            now = self._loop.time()
            for task in [task for task, deadline in self._deadlines.items() if deadline <= now]:
                del self._deadlines[task]
                task.cancel()
