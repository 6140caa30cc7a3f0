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
    """Threads that run calls. That a call gave None may be told to the loop `late_seconds` after it."""

    def __init__(self, size: int, loop: asyncio.AbstractEventLoop, *, late_seconds: float = 0.0) -> None:
        self._loop = loop
        self._late_seconds = late_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._unsettled = 0
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
        self._settle()
        self._unsettled += 1
        if self._late_seconds and self._timer is None:
            self._timer = self._loop.call_later(self._late_seconds, self._settle_late)
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
            with suppress(ValueError):  # was woken just now
                self._resting.remove(woken)  # nobody waits for a connection that takes long to close
                close_old_connections()
                break
        else:
            self._is_one_waking = False

    def _work(self) -> None:
        woken = threading.Lock()
        woken.acquire()
        while True:
            future, call, args = self._next(woken)
            result, raised = None, None
            try:
                result = call(*args)
            except BaseException as error:
                raised = error
            self._done.append((future, result, raised))
            if self._late_seconds and result is None and raised is None:
                continue
            # To wake the loop is a system call; what is done before it wakes needs no second one.
            if not self._is_loop_told:
                self._is_loop_told = True
                self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        self._is_loop_told = False  # first: what is done from now on tells the loop again
        while self._done:
            future, result, raised = self._done.popleft()
            self._unsettled -= 1
            if future.done():  # nobody waits for it any more
                continue
            if raised is None:
                future.set_result(result)
            else:
                future.set_exception(raised)

    def _settle_late(self) -> None:
        self._settle()
        again = self._unsettled > 0
        self._timer = self._loop.call_later(self._late_seconds, self._settle_late) if again else None


_Call = tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]
_Done = tuple[asyncio.Future[Any], Any, BaseException | None]
