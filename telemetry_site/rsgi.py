"""Granian's protocol on one side, Django on the other.

The event loop reads the body, under a limit and a deadline; only a whole request takes one of a fixed pool of
threads. So clients that send a byte a second hold no thread, and each thread keeps its database connection.
"""

import asyncio
import gc
import logging
import os
import signal
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.cache import close_caches
from django.core.handlers.base import reset_urlconf
from django.core.signals import request_finished, request_started
from django.db import DatabaseError, InterfaceError, close_old_connections, connection, reset_queries
from granian.rsgi import HTTPProtocol, ProtocolClosed, Scope

from events import clock, refusals
from telemetry_site import environ, listener, lock, streaming
from telemetry_site.deadlines import Deadlines
from telemetry_site.sqlite.base import DatabaseWrapper
from telemetry_site.streaming import Chunks
from telemetry_site.threads import ThreadPool
from telemetry_site.wsgi import application

logger = logging.getLogger(__name__)

BODY_SECONDS = 15.0
# Most answers were sent when their call ends, and the loop need not be woken to hear of it.
LATE_SECONDS = 0.05
STALL_SECONDS = 60.0
PARENT_POLL_SECONDS = 1.0
DAY_POLL_SECONDS = 300.0
SPARE_THREADS = 2
PAGE_THREADS = 4
# A read neither waits for the disk nor for a commit: more threads would only take the interpreter from each other.
READ_THREADS = 3
STREAM_THREADS = 2
PAGES = ("/admin", "/static")
# Whoever came behind more than these would be answered late. Refused, it may come again; and it hears of it a moment
# later, for one that asks again at once would be more work than one that waits.
MOST_WAITING = 256
REFUSAL_SECONDS = 0.25
# Of bodies over MAX_BODY_BYTES, all that come or wait at one time together: a crowd of batches must not fill memory.
MOST_LARGE_BYTES = 33_554_432
RETRY_SECONDS = 2
_COLLECT_AFTER = 10_000  # new objects; Python's own 700 are those of two requests
_TOO_SLOW = b'{"ok":false,"error":"Request not received in time"}'
_CUT_OFF = b'{"ok":false,"error":"Request not received whole"}'
_BUSY = b'{"ok":false,"error":"Too busy"}'
_BODILESS = ("GET", "HEAD", "OPTIONS")
_Stream = tuple[int, list[tuple[str, str]], Chunks]
_JSON = [
    ("content-type", "application/json"),
    ("cache-control", "no-store"),
    *((name.lower(), value) for name, value in settings.SECURITY_HEADERS.items()),
]


class Application:
    def __init__(self) -> None:
        self._limits = {"/event/batch": settings.MAX_BATCH_BODY_BYTES, "/admin": settings.DATA_UPLOAD_MAX_MEMORY_SIZE}
        self._large_bytes = 0

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._lock = lock.take(settings.DATA_DIR, shared=settings.WORKERS > 1)
        DatabaseWrapper.may_create = False
        self._bodies = Deadlines(BODY_SECONDS, loop)
        self._events = ThreadPool(settings.THREADS, loop, late_seconds=LATE_SECONDS)
        self._reads = ThreadPool(READ_THREADS, loop, late_seconds=LATE_SECONDS)
        # A watchdog must not wait behind requests that wait for a locked database, or it would kill the site.
        self._spare = ThreadPool(SPARE_THREADS, loop)
        # Pages and reads do not wait behind events, nor any of them behind long answers.
        self._pages = ThreadPool(PAGE_THREADS, loop)
        self._streams = ThreadPool(STREAM_THREADS, loop)
        self._watch = loop.create_task(_end_with_parent(os.getppid()))
        self._days = loop.create_task(note_days(self._spare))
        self._stalls = loop.create_task(listener.limit_stalls(settings.PORT, STALL_SECONDS))
        _look_after_one_connection()
        for urls in (settings.PUBLIC_URLCONF, settings.ROOT_URLCONF):
            import_module(urls)  # with all views, or the first request waits for them
        # What is loaded by now stays: the collector need not walk all of it again every few requests.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_COLLECT_AFTER)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watch.cancel()

    async def __rsgi__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        if scope.proto != "http":
            return
        if scope.method in _BODILESS and "content-length" not in scope.headers:
            await self._serve(scope, protocol, b"", 0)
            return
        limit, declared = self._limit_of(scope.path), _declared_length(scope)
        most = limit if declared is None else declared
        large = most if settings.MAX_BODY_BYTES < most <= limit else 0
        if large and self._large_bytes + large > MOST_LARGE_BYTES:
            await asyncio.sleep(REFUSAL_SECONDS)
            _refuse(scope, protocol, ("connection", "close"))  # the body, not read, stands before the next request
            return
        self._large_bytes += large
        try:
            try:
                body, length = await self._bodies.within(_read(protocol, declared, limit))
            except (TimeoutError, ProtocolClosed) as error:  # of the latter hardly anyone is there to hear
                status, words = (408, _TOO_SLOW) if isinstance(error, TimeoutError) else (400, _CUT_OFF)
                protocol.response_bytes(status, [*_JSON, ("connection", "close"), *_cors(scope)], words)
                return
            await self._serve(scope, protocol, body, length)
        finally:
            self._large_bytes -= large

    async def _serve(self, scope: Scope, protocol: HTTPProtocol, body: bytes, length: int) -> None:
        pool = self._pool_of(scope)
        if pool.waiting >= MOST_WAITING:
            await asyncio.sleep(REFUSAL_SECONDS)
            _refuse(scope, protocol)
            return
        stream: _Stream | None = await pool.run(_answer, scope, protocol, body, length)
        if stream is not None:
            await streaming.send(protocol, *stream, self._streams)

    def _pool_of(self, scope: Scope) -> ThreadPool:
        if scope.path.startswith("/health"):
            return self._spare
        if scope.path.startswith(PAGES):
            return self._pages
        return self._events if scope.method == "POST" else self._reads

    def _limit_of(self, path: str) -> int:
        for prefix, limit in self._limits.items():
            if path.startswith(prefix):
                return limit
        return settings.MAX_BODY_BYTES


def _look_after_one_connection() -> None:
    """Let `_answer` do what Django does at both ends of a request for as many databases as a site may have.

    The rest of it is for what no site of ours has: caches with something to close, addresses that change by request.
    """
    request_started.disconnect(close_old_connections)
    request_finished.disconnect(close_old_connections)
    request_finished.disconnect(close_caches)
    request_finished.disconnect(reset_urlconf)
    if not settings.DEBUG:  # nothing is kept of queries
        request_started.disconnect(reset_queries)


def _declared_length(scope: Scope) -> int | None:
    declared = scope.headers.get("content-length")
    return int(declared) if declared is not None and declared.isdigit() else None


async def _read(protocol: HTTPProtocol, declared: int | None, limit: int) -> tuple[bytes, int]:
    """Return the body and its length; past the limit it is read no further, and the guard refuses its length."""
    if declared is not None:
        return (b"", declared) if declared > limit else (await protocol(), declared)
    chunks, size = [], 0
    async for chunk in protocol:
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            return b"", size
    return b"".join(chunks), size


def _refuse(scope: Scope, protocol: HTTPProtocol, *more: tuple[str, str]) -> None:
    """Answer that there is too much to do, which costs no thread."""
    if scope.method == "POST" and not scope.path.startswith(PAGES):
        refusals.note(refusals.Outcome.OVERLOADED, clock.now_ms())
    retry = ("retry-after", str(RETRY_SECONDS))
    protocol.response_bytes(503, [*_JSON, retry, *more, *_cors(scope)], _BUSY)


def _cors(scope: Scope) -> list[tuple[str, str]]:
    """Return what lets a browser read an answer that Django has no part in; the admin's pages are read by nobody."""
    origin = scope.headers.get("origin")
    if origin not in settings.CORS_ALLOWED_ORIGINS or scope.path.startswith("/admin"):
        return []
    return [
        ("vary", "origin"),
        ("access-control-allow-origin", origin),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "Retry-After"),
    ]


def _answer(scope: Scope, protocol: HTTPProtocol, body: bytes, length: int) -> _Stream | None:
    """Answer from the thread that made the answer: its client need not wait until the event loop has time.

    Returns what only the loop can send.
    """
    connection.close_if_unusable_or_obsolete()
    try:
        status, headers, response = _call_django(environ.of(scope, body, length))
    finally:
        connection.close_if_unusable_or_obsolete()
    if length > len(body):
        headers.append(("connection", "close"))  # what was not read stands before the next request
    if scope.method == "HEAD":
        protocol.response_empty(status, headers)  # a WSGI server leaves the body out, not its headers
    elif isinstance(response, bytes):
        protocol.response_bytes(status, headers, response)
    else:
        return status, headers, response
    return None


def _call_django(request: dict[str, Any]) -> tuple[int, list[tuple[str, str]], bytes | Chunks]:
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        started[:] = int(status[:3]), [(name.lower(), value) for name, value in headers]

    response = application(request, start_response)
    chunks = Chunks(response)
    has_body = request["REQUEST_METHOD"] != "HEAD"
    if has_body and getattr(response, "streaming", False):
        return started[0], started[1], chunks
    try:
        return started[0], started[1], b"".join(response) if has_body else b""
    finally:
        chunks.close()


async def note_days(pool: ThreadPool) -> None:
    """Have the size of the database written down on each UTC day; `serve` wrote it on the first."""
    from events import site_days  # models, which are not there yet when this module is loaded

    noted = clock.today()
    while True:
        await asyncio.sleep(DAY_POLL_SECONDS)
        today = clock.today()
        if today != noted:
            try:
                await pool.run(site_days.note_size, today)
                noted = today
            except (DatabaseError, InterfaceError) as error:
                logger.error("The size of the database was not noted: %s", error)


async def _end_with_parent(parent: int) -> None:
    """End this worker when the process that started it is gone: nobody else would."""
    while os.getppid() == parent:
        await asyncio.sleep(PARENT_POLL_SECONDS)
    logger.error("The main process is gone; this worker ends")
    os.kill(os.getpid(), signal.SIGTERM)


app = Application()
