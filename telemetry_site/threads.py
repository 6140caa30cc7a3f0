"""A fixed number of threads that run calls for an event loop; each keeps its own database connection."""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from django.db import close_old_connections

# A thread with nothing to do looks this often whether its connection is still good: others may wait until it lets go.
IDLE_SECONDS = 2.0


class ThreadPool:
    def __init__(self, size: int, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        self._done: deque[_Done] = deque()
        self._is_loop_told = False
        for number in range(size):
            threading.Thread(target=self._work, name=f"request-{number}", daemon=True).start()

    @property
    def waiting(self) -> int:
        """Return how many calls no thread has begun."""
        return self._calls.qsize()

    def run(self, call: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Return a future of what the call gives; it waits in line while every thread is busy."""
        future = self._loop.create_future()
        self._calls.put((future, call, args))
        return future

    def _work(self) -> None:
        while True:
            try:
                future, call, args = self._calls.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                close_old_connections()
                continue
            done: _Done
            try:
                done = future, call(*args), None
            except BaseException as error:
                done = future, None, error
            self._done.append(done)
            # To wake the loop is a system call; what is done before it wakes needs no second one.
            if not self._is_loop_told:
                self._is_loop_told = True
                self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        self._is_loop_told = False  # first: what is done from now on tells the loop again
        while self._done:
            future, result, error = self._done.popleft()
            if future.done():  # nobody waits for it any more
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)


_Call = tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]
_Done = tuple[asyncio.Future[Any], Any, BaseException | None]
