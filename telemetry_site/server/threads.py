"""A pool with a fixed number of threads that run calls for an event loop. Each thread keeps its database connection.

A thread can also read a body from the event loop while it arrives (`Upload`).
"""

import asyncio
import io
import threading
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from django.db import close_old_connections

# An idle thread closes an obsolete connection after this time: other connections may wait for it to close.
IDLE_SECONDS = 2.0


class ThreadPool:
    """Threads that run calls.

    With `late_seconds`, calls that return None are reported to the loop in batches, up to `late_seconds` later. That
    saves event-loop wake-ups.
    """

    def __init__(self, size: int, loop: asyncio.AbstractEventLoop, *, late_seconds: float = 0.0) -> None:
        self._loop = loop
        self._late_seconds = late_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._unsettled = 0
        self._calls: deque[_Call] = deque()
        # LIFO wake-up: the most recently idle thread has warm caches. Each idle thread waits for its own lock.
        self._idle: list[threading.Lock] = []
        self._is_waking = False
        self._completed: deque[_Completion] = deque()
        self._is_settle_scheduled = False
        for number in range(size):
            threading.Thread(target=self._work, name=f"request-{number}", daemon=True).start()

    @property
    def waiting(self) -> int:
        """Return the number of queued calls that no thread has started."""
        return len(self._calls)

    def run(self, call: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Queue a call. Return a future of its result."""
        self._settle()
        self._unsettled += 1
        if self._late_seconds and self._timer is None:
            self._timer = self._loop.call_later(self._late_seconds, self._settle_late)
        future = self._loop.create_future()
        self._calls.append((future, call, args))
        self._wake_one()
        return future

    def _wake_one(self) -> None:
        # Wake one thread at a time: several would only contend for the GIL. A busy thread takes the next call itself.
        # A woken thread that finds more than one call wakes another thread.
        if self._is_waking:
            return
        with suppress(IndexError):  # all threads are busy; each checks the queue before it idles
            wake_up = self._idle.pop()
            self._is_waking = True
            wake_up.release()

    def _next(self, wake_up: threading.Lock) -> "_Call":
        while True:
            try:
                call = self._calls.popleft()
            except IndexError:
                self._wait(wake_up)
                continue
            if self._calls:
                self._wake_one()
            return call

    def _wait(self, wake_up: threading.Lock) -> None:
        self._idle.append(wake_up)
        if self._calls:  # queued after the check; `_wake_one` may have found no idle thread
            self._wake_one()
        while not wake_up.acquire(timeout=IDLE_SECONDS):
            with suppress(ValueError):  # `_wake_one` has just removed it
                self._idle.remove(wake_up)  # a slow close must not delay a call
                close_old_connections()
                break
        else:
            self._is_waking = False

    def _work(self) -> None:
        wake_up = threading.Lock()
        wake_up.acquire()
        while True:
            future, call, args = self._next(wake_up)
            result, raised = None, None
            try:
                result = call(*args)
            except BaseException as error:
                raised = error
            self._completed.append((future, result, raised))
            if self._late_seconds and result is None and raised is None:
                continue
            # Waking the loop is a system call. One wake-up serves all calls that complete before it runs.
            if not self._is_settle_scheduled:
                self._is_settle_scheduled = True
                self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        self._is_settle_scheduled = False  # before the loop below: later completions schedule again
        while self._completed:
            future, result, raised = self._completed.popleft()
            self._unsettled -= 1
            if future.done():  # cancelled
                continue
            if raised is None:
                future.set_result(result)
            else:
                future.set_exception(raised)

    def _settle_late(self) -> None:
        self._settle()
        is_needed = self._unsettled > 0
        self._timer = self._loop.call_later(self._late_seconds, self._settle_late) if is_needed else None


_Call = tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]
_Completion = tuple[asyncio.Future[Any], Any, BaseException | None]


class Upload(io.RawIOBase):
    """The body of one request, which a thread of a pool reads while it arrives.

    Nothing is read before the first call, so the view can refuse a request by its head. The server then asks no client
    that sent `Expect: 100-continue` for the body. Back-pressure: the next chunk is read when the last one was used up.
    """

    def __init__(
        self, body: AsyncIterable[bytes], loop: asyncio.AbstractEventLoop, *, chunk_seconds: float, seconds: float
    ) -> None:
        self._body = body
        self._loop = loop
        self._chunk_seconds = chunk_seconds
        self._ends_at = time.monotonic() + seconds
        self._chunks: AsyncIterator[bytes] | None = None
        self._rest = b""
        self.is_at_end = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, for `read`. Raises TimeoutError, or another OSError when the client disconnected."""
        while not self._rest and not self.is_at_end:
            self._rest = self._next_chunk()
        part, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)

    def _next_chunk(self) -> bytes:
        seconds = min(self._chunk_seconds, self._ends_at - time.monotonic())
        future = asyncio.run_coroutine_threadsafe(self._receive(), self._loop)
        try:
            chunk = future.result(max(seconds, 0.0))
        except TimeoutError:
            future.cancel()
            raise
        return chunk or b""

    async def discard(self, most: int) -> None:
        """Read and drop at most this many bytes, on the event loop. Raises OSError."""
        dropped = 0
        while not self.is_at_end and dropped < most:
            dropped += len(await self._receive() or b"")

    async def _receive(self) -> bytes | None:
        if self._chunks is None:
            self._chunks = aiter(self._body)
        try:
            # Without a default: with one, Python 3.11 crashes when `__anext__` itself raises (gh-128078).
            return await anext(self._chunks)
        except StopAsyncIteration:
            self.is_at_end = True
            return None
        except RuntimeError as error:  # Granian's ProtocolClosed is a RuntimeError
            raise ConnectionError("The client disconnected") from error
