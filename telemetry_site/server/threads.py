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
from typing import Any, NamedTuple

from django.db import close_old_connections

# An idle thread closes an obsolete connection after this time: other connections may wait for it to close.
IDLE_SECONDS = 2.0
# A thread finishes its calls together when it has this many.
MOST_UNFINISHED = 256


class Unfinished(NamedTuple):
    """The result of a call that waits for something which several calls share, such as a commit.

    The thread of the call runs `finish`, whose result is the result of the call. It first runs the other queued calls.
    """

    finish: Callable[[], Any]


class ThreadPool:
    """Threads that run calls.

    With `late_seconds`, calls that return None are reported to the loop in batches, up to `late_seconds` later. That
    saves event-loop wake-ups.

    With `most_awake`, a call wakes no thread while this many threads are awake: they take it next, and more threads
    would only contend for the GIL. Calls that still wait after `late_seconds` wake a thread.
    """

    def __init__(
        self, size: int, loop: asyncio.AbstractEventLoop, *, late_seconds: float = 0.0, most_awake: int | None = None
    ) -> None:
        self._loop = loop
        self._late_seconds = late_seconds
        self._least_idle = 0 if most_awake is None else max(0, size - most_awake)
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

    @property
    def unanswered(self) -> int:
        """Return the number of calls that are not complete. Only for the event loop."""
        self._settle()
        return self._unsettled

    def run(self, call: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Queue a call. Return a future of its result."""
        self._settle()
        self._unsettled += 1
        if self._late_seconds and self._timer is None:
            self._timer = self._loop.call_later(self._late_seconds, self._settle_late)
        future = self._loop.create_future()
        self._calls.append((future, call, args))
        self._wake_one(self._least_idle)
        return future

    def _wake_one(self, least_idle: int = 0) -> None:
        # Wake one thread at a time: several would only contend for the GIL. A busy thread takes the next call itself.
        # A woken thread that finds more than one call wakes another thread.
        if self._is_waking or len(self._idle) <= least_idle:
            return
        with suppress(IndexError):  # all threads are busy; each checks the queue before it idles
            wake_up = self._idle.pop()
            self._is_waking = True
            wake_up.release()

    def _wait(self, wake_up: threading.Lock) -> None:
        self._idle.append(wake_up)
        if self._calls:  # queued after the check; `_wake_one` may have found no idle thread
            self._wake_one(self._least_idle)
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
        unfinished: list[tuple[asyncio.Future[Any], Unfinished]] = []
        while True:
            call = self._next() if len(unfinished) < MOST_UNFINISHED else None
            if call is not None:
                future, function, args = call
                result, error = _result_of(function, args)
                if isinstance(result, Unfinished):
                    unfinished.append((future, result))
                else:
                    self._complete(future, result, error)
            elif unfinished:
                for future, part in unfinished:
                    self._complete(future, *_result_of(part.finish))
                unfinished.clear()
            else:
                self._wait(wake_up)

    def _next(self) -> "_Call | None":
        try:
            call = self._calls.popleft()
        except IndexError:
            return None
        if self._calls:
            self._wake_one(self._least_idle)
        return call

    def _complete(self, future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        self._completed.append((future, result, error))
        if self._late_seconds and result is None and error is None:
            return
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
        if self._calls:  # all awake threads are busy
            self._wake_one()
        is_needed = self._unsettled > 0
        self._timer = self._loop.call_later(self._late_seconds, self._settle_late) if is_needed else None


_Call = tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]
_Completion = tuple[asyncio.Future[Any], Any, BaseException | None]


def _result_of(call: Callable[..., Any], args: tuple[Any, ...] = ()) -> tuple[Any, BaseException | None]:
    try:
        return call(*args), None
    except BaseException as error:
        return None, error


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
