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

from events import clock
from events.ingest.refusals import Outcome
from telemetry_site import request_head
from telemetry_site.request_head import JSON_HEADERS, PAGES, Headers, Refusal, is_below
from telemetry_site.server import environ, listener, lock, streaming
from telemetry_site.server.deadlines import Deadlines
from telemetry_site.server.streaming import Chunks
from telemetry_site.server.threads import ThreadPool
from telemetry_site.sqlite.base import DatabaseWrapper
from telemetry_site.wsgi import site

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
# Load balancers ask these, so they have threads of their own.
HEALTH_PATHS = frozenset({"/health", "/health/", "/health/ready", "/health/ready/"})
# Whoever came behind more than these would be answered late. Refused, it may come again; and it hears of it a moment
# later, for one that asks again at once would be more work than one that waits.
MOST_WAITING = 256
REFUSAL_SECONDS = 0.25
# The budget of received bytes, for all bodies over MAX_BODY_BYTES together: many batches at once must not fill memory.
MOST_LARGE_BYTES = 33_554_432
RETRY_SECONDS = 2
_COLLECT_AFTER = 10_000  # new objects; Python's own 700 are those of two requests
_TOO_SLOW = b'{"ok":false,"error":"Request not received in time"}'
_CUT_OFF = b'{"ok":false,"error":"Request not received whole"}'
_BUSY = b'{"ok":false,"error":"Too busy"}'
_CLOSE = ("connection", "close")  # what was not read stands before the next request
_BODILESS = ("GET", "HEAD", "OPTIONS")
_Stream = tuple[int, Headers, Chunks]


class Application:
    def __init__(self) -> None:
        self._limits = {"/event/batch": settings.MAX_BATCH_BODY_BYTES, "/admin": settings.DATA_UPLOAD_MAX_MEMORY_SIZE}
        self.large_bytes = 0  # received, see _Claim

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._lock = lock.take(settings.DATA_DIR, shared=settings.WORKERS > 1)
        DatabaseWrapper.may_create = False
        self._bodies = Deadlines(BODY_SECONDS, loop)
        # Pages and reads do not wait behind events, nor any of them behind long answers.
        self._pools = {
            "events": ThreadPool(settings.THREADS, loop, late_seconds=LATE_SECONDS),
            "reads": ThreadPool(READ_THREADS, loop, late_seconds=LATE_SECONDS),
            # A watchdog must not wait behind requests that wait for a locked database, or it would kill the site.
            "health": ThreadPool(SPARE_THREADS, loop),
            "pages": ThreadPool(PAGE_THREADS, loop),
        }
        self._streams = ThreadPool(STREAM_THREADS, loop)
        self._watch = loop.create_task(_end_with_parent(os.getppid()))
        self._days = loop.create_task(note_days(self._pools["health"]))
        self._stalls = loop.create_task(listener.limit_stalls(settings.PORT, STALL_SECONDS))
        if settings.CONNECTIONS_PER_CLIENT:
            share = listener.limit_share(settings.PORT, settings.CONNECTIONS_PER_CLIENT)
            self._shares = loop.create_task(share)
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
        headers = environ.headers_of(scope)
        refusal = request_head.refusal_of(scope.method, scope.path, scope.query_string, headers)
        if scope.method in _BODILESS and "content-length" not in scope.headers:
            if refusal is None:
                await self._serve(scope, headers, protocol, b"", 0)
            else:
                _refuse_head(scope, protocol, refusal)
            return
        limit, declared = self._limit_of(scope.path), _declared_length(scope)
        most = limit if declared is None else declared
        claim = _Claim(self) if settings.MAX_BODY_BYTES < most <= limit else None
        try:
            reading = _read(protocol, declared, limit, claim) if refusal is None else _discard(protocol, most, limit)
            try:
                body, length = await self._bodies.within(reading)
            except (TimeoutError, ProtocolClosed) as error:  # of the latter hardly anyone is there to hear
                status, words = (408, _TOO_SLOW) if isinstance(error, TimeoutError) else (400, _CUT_OFF)
                protocol.response_bytes(status, [*JSON_HEADERS, _CLOSE, *_cors(scope)], words)
            except _OverBudgetError:
                await asyncio.sleep(REFUSAL_SECONDS)
                _refuse(scope, protocol, _CLOSE)
            else:
                if refusal is None:
                    await self._serve(scope, headers, protocol, body, length)
                else:
                    _refuse_head(scope, protocol, refusal, *([_CLOSE] if length else []))
        finally:
            if claim is not None:
                claim.release()

    async def _serve(self, scope: Scope, headers: Headers, protocol: HTTPProtocol, body: bytes, length: int) -> None:
        pool = self._pools[pool_name(scope.method, scope.path)]
        if pool.waiting >= MOST_WAITING:
            await asyncio.sleep(REFUSAL_SECONDS)
            _refuse(scope, protocol)
            return
        stream: _Stream | None = await pool.run(_answer, scope, headers, protocol, body, length)
        if stream is not None:
            await streaming.send(protocol, *stream, self._streams)

    def _limit_of(self, path: str) -> int:
        for prefix, limit in self._limits.items():
            if is_below(path, prefix):
                return limit
        return settings.MAX_BODY_BYTES


def pool_name(method: str, path: str) -> str:
    """Return the name of the thread pool that answers a request."""
    if path in HEALTH_PATHS:
        return "health"
    if is_below(path, *PAGES):
        return "pages"
    return "events" if method == "POST" else "reads"


class _OverBudgetError(Exception):
    """A chunk of a body would exceed the budget of large bodies."""


class _Claim:
    """The bytes that one large body holds of the budget, from their arrival to the answer."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._bytes = 0

    def add(self, size: int) -> None:
        """Raises _OverBudgetError when the budget has no room for the bytes."""
        if self._application.large_bytes + size > MOST_LARGE_BYTES:
            self.release()
            raise _OverBudgetError
        self._application.large_bytes += size
        self._bytes += size

    def release(self) -> None:
        self._application.large_bytes -= self._bytes
        self._bytes = 0


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


async def _read(protocol: HTTPProtocol, declared: int | None, limit: int, claim: _Claim | None) -> tuple[bytes, int]:
    """Return the body and its length; past the limit it is read no further, and the guard refuses its length."""
    if declared is not None and declared > limit:
        return b"", declared
    if declared is not None and claim is None:
        return await protocol(), declared
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in protocol:
            if claim is not None:
                claim.add(len(chunk))
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                return b"", size
        return b"".join(chunks), size
    finally:
        chunks.clear()  # a traceback would keep them


async def _discard(protocol: HTTPProtocol, most: int, limit: int) -> tuple[bytes, int]:
    """Read a body and keep nothing of it, so that its client gets the answer; return b"" and the length left unread."""
    if most > limit:
        return b"", most
    size = 0
    async for chunk in protocol:
        size += len(chunk)
        if size > limit:
            return b"", size
    return b"", 0


def _refuse_head(scope: Scope, protocol: HTTPProtocol, refusal: Refusal, *more: tuple[str, str]) -> None:
    if refusal is request_head.MEDIA_TYPE:
        request_head.note_refusal(scope.method, scope.path, Outcome.MEDIA_TYPE)
    protocol.response_bytes(refusal.status, [*JSON_HEADERS, *more, *_cors(scope)], refusal.body)


def _refuse(scope: Scope, protocol: HTTPProtocol, *more: tuple[str, str]) -> None:
    """Answer that there is too much to do, which costs no thread."""
    request_head.note_refusal(scope.method, scope.path, Outcome.OVERLOADED)
    retry = ("retry-after", str(RETRY_SECONDS))
    protocol.response_bytes(503, [*JSON_HEADERS, retry, *more, *_cors(scope)], _BUSY)


def _cors(scope: Scope) -> Headers:
    return request_head.cors_headers(scope.path, scope.headers.get("origin"))


def _answer(scope: Scope, headers: Headers, protocol: HTTPProtocol, body: bytes, length: int) -> _Stream | None:
    """Answer from the thread that made the answer: its client need not wait until the event loop has time.

    Returns what only the loop can send.
    """
    connection.close_if_unusable_or_obsolete()
    try:
        status, answer_headers, response = _call_django(environ.of(scope, headers, body, length))
    finally:
        connection.close_if_unusable_or_obsolete()
    if length > len(body):
        answer_headers.append(_CLOSE)
    if scope.method == "HEAD":
        protocol.response_empty(status, answer_headers)  # a WSGI server leaves the body out, not its headers
    elif isinstance(response, bytes):
        protocol.response_bytes(status, answer_headers, response)
    else:
        return status, answer_headers, response
    return None


def _call_django(request: dict[str, Any]) -> tuple[int, Headers, bytes | Chunks]:
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        started[:] = int(status[:3]), [(name.lower(), value) for name, value in headers]

    response = site(request, start_response)
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
    from events.counting import site_days  # models, which are not there yet when this module is loaded

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
