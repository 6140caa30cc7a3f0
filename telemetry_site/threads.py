"""A fixed number of threads that run calls for an event loop; each keeps its own database connection."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.db import close_old_connections

# A thread with nothing to do looks this often whether its connection is still good: others may wait until it lets go.
IDLE_SECONDS = 2.0


class ThreadPool:
    def __init__(self, size: int, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[_Call] = deque()
        # The thread that has rested least is woken first: the processor and its connection remember more of its work.
        self._resting: list[threading.Lock] = []
        self._is_one_waking = False
        self._done: deque[_Done] = deque()
        self._is_loop_told = False
        for number in range(size):
            threading.Thread(target=self._work, name=f"request-{number}", daemon=True).start()

    @property
    def waiting(self) -> int:
        """Return how many calls no thread has begun."""
        return len(self._calls)

    def run(self, call: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Return a future of what the call gives; it waits in line while every thread is busy."""
        future = self._loop.create_future()
        self._calls.append((future, call, args))
        self._wake_one()
        return future

    def _wake_one(self) -> None:
        # Not one for each call: whoever is awake takes the next ones too, and many at once would only wait for the
        # interpreter. Who wakes and finds more than one wakes another.
        if self._is_one_waking:
            return
        with suppress(IndexError):  # all are busy, and each looks for more before it rests
            woken = self._resting.pop()
            self._is_one_waking = True
            woken.release()

    def _next(self, woken: threading.Lock) -> "_Call":
        while True:
            try:
                call = self._calls.popleft()
            except IndexError:
                self._rest(woken)
                continue
            if self._calls:
                self._wake_one()
            return call

    def _rest(self, woken: threading.Lock) -> None:
        self._resting.append(woken)
        if self._calls:  # came between the look and the rest: whoever brought it may have found nobody
            self._wake_one()
        while not woken.acquire(timeout=IDLE_SECONDS):
            close_old_connections()
        self._is_one_waking = False

    def _work(self) -> None:
        woken = threading.Lock()
        woken.acquire()
        while True:
            future, call, args = self._next(woken)
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
