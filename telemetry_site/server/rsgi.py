"""RSGI application: connects Granian to Django.

The event loop reads the body, with a limit and a deadline. Only a complete request occupies a thread of a fixed pool.
So slow clients occupy no thread, and each thread keeps its database connection.
"""

import asyncio
import gc
import logging
import os
import signal
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import IO, Any

from django.conf import settings
from django.core.cache import close_caches
from django.core.handlers.base import reset_urlconf
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import DatabaseError, InterfaceError, close_old_connections, connection, reset_queries
from granian.rsgi import HTTPProtocol, ProtocolClosed, Scope

from events import clock
from events.api.pending import IS_COMPLETED_BY_SERVER, PendingResponse
from events.ingest.refusals import RefusalReason
from events.maintenance.jobs.background import JobsProcess
from telemetry_site import logs
from telemetry_site.server import environ, listener, lock, request_head, streaming
from telemetry_site.server.lanes import POOLS, Lane, lane_of
from telemetry_site.server.request_head import JSON_HEADERS, Headers, Refusal
from telemetry_site.server.static_files import with_static_files
from telemetry_site.server.streaming import Chunks
from telemetry_site.server.threads import ThreadPool, Unfinished, Upload
from telemetry_site.sqlite.base import DatabaseWrapper

logger = logging.getLogger(__name__)

BODY_SECONDS = 15.0
# An upload may take this long, and each of its chunks BODY_SECONDS.
UPLOAD_SECONDS = 300.0
# After the view refuses an upload, read up to this many bytes of its rest: many clients read the response only then.
MAX_DISCARDED = 1_048_576
DISCARD_SECONDS = 1.0
# Threads send most responses themselves. Completions are batched, to save event-loop wake-ups.
LATE_SECONDS = 0.05
STALL_SECONDS = 60.0
PARENT_POLL_SECONDS = 1.0
DAY_POLL_SECONDS = 300.0
COUNTS_POLL_SECONDS = 5.0
STREAM_THREADS = 2
# Load shedding: with this many unanswered requests in a pool, answer 503. The short delay slows down clients that retry
# at once.
MAX_UNANSWERED = 256
REFUSAL_SECONDS = 0.25
# Memory budget for all bodies over MAX_BODY_BYTES together: many simultaneous batches must not fill the memory.
MAX_LARGE_BYTES = 33_554_432
RETRY_SECONDS = 2
_COLLECT_AFTER = 10_000  # new objects; Python's default of 700 is reached every two requests
_TOO_SLOW = b'{"ok":false,"error":"Request not received in time"}'
_CUT_OFF = b'{"ok":false,"error":"Request not received whole"}'
_FAILED = b'{"ok":false,"error":"Internal error"}'
_BUSY = b'{"ok":false,"error":"Too busy"}'
_CLOSE = ("connection", "close")  # unread bytes of the body would precede the next request
_BODILESS = ("GET", "HEAD", "OPTIONS")
_Unsent = tuple[int, Headers, Chunks | bytes]


site = with_static_files(get_wsgi_application())


class Application:
    def __init__(self) -> None:
        self.large_bytes = 0  # see _Claim

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._lock = lock.take(settings.DATA_DIR, shared=settings.WORKERS > 1)
        DatabaseWrapper.may_create = False
        logs.take_over()
        loop.set_exception_handler(logs.log_error_of_loop)
        self._pools = {
            name: ThreadPool(
                pool.threads, loop, late_seconds=LATE_SECONDS if pool.most_awake else 0, most_awake=pool.most_awake
            )
            for name, pool in POOLS.items()
        }
        self._streams = ThreadPool(STREAM_THREADS, loop)
        self._parent_watch = loop.create_task(_end_with_parent(os.getppid()))
        self._days = loop.create_task(note_days(self._pools["health"]))
        self._counts = loop.create_task(write_counts(self._pools["health"], self._pools["events"]))
        self._stalls = loop.create_task(listener.limit_stalls(settings.PORT, STALL_SECONDS))
        if settings.CONNECTIONS_PER_CLIENT:
            share = listener.limit_share(settings.PORT, settings.CONNECTIONS_PER_CLIENT)
            self._shares = loop.create_task(share)
        self._jobs = JobsProcess(_take_jobs_lock) if settings.JOBS_WORKER else None
        _disconnect_request_signals()
        for urls in (settings.PUBLIC_URLCONF, settings.ROOT_URLCONF):
            import_module(urls)  # imports all views, so that the first request does not wait for them
        # Exclude all loaded objects from garbage collection: they live as long as the process.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_COLLECT_AFTER)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._parent_watch.cancel()
        if self._jobs is not None:
            self._jobs.stop()

    async def __rsgi__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        if scope.proto != "http":
            return
        try:
            await self._handle(scope, protocol)
        except ProtocolClosed:
            pass  # the client disconnected
        except Exception:  # Granian would print it, with its values
            logger.exception("A request failed outside Django")
            protocol.response_bytes(500, [*JSON_HEADERS, _CLOSE, *_cors(scope)], _FAILED)

    async def _handle(self, scope: Scope, protocol: HTTPProtocol) -> None:
        lane = lane_of(scope.path)
        headers = environ.headers_of(scope)
        refusal = request_head.refusal_of(scope.method, scope.path, scope.query_string, headers)
        if scope.method in _BODILESS and "content-length" not in scope.headers:
            if refusal is None:
                await self._serve(lane, scope, headers, protocol, b"", 0)
            else:
                _refuse_head(scope, protocol, refusal)
            return
        limit, declared = lane.max_body_bytes, _declared_length(scope)
        if lane.takes_uploads and scope.method == "PUT" and refusal is None:
            upload = Upload(protocol, asyncio.get_running_loop(), chunk_seconds=BODY_SECONDS, seconds=UPLOAD_SECONDS)
            await self._serve(lane, scope, headers, protocol, upload, declared)
            return
        most = limit if declared is None else declared
        claim = _Claim(self) if settings.MAX_BODY_BYTES < most <= limit else None
        try:
            reading = _read(protocol, declared, limit, claim) if refusal is None else _discard(protocol, most, limit)
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    body, length = await reading
            except (TimeoutError, ProtocolClosed) as error:  # a closed client rarely reads the response
                status, words = (408, _TOO_SLOW) if isinstance(error, TimeoutError) else (400, _CUT_OFF)
                protocol.response_bytes(status, [*JSON_HEADERS, _CLOSE, *_cors(scope)], words)
            except _OverBudgetError:
                await asyncio.sleep(REFUSAL_SECONDS)
                _refuse(scope, protocol, _CLOSE)
            else:
                if refusal is None:
                    await self._serve(lane, scope, headers, protocol, body, length)
                else:
                    _refuse_head(scope, protocol, refusal, *([_CLOSE] if length else []))
        finally:
            if claim is not None:
                claim.release()

    async def _serve(
        self,
        lane: Lane,
        scope: Scope,
        headers: Headers,
        protocol: HTTPProtocol,
        body: bytes | Upload,
        length: int | None,
    ) -> None:
        pool = self._pools[lane.pool(scope.method)]
        if pool.unanswered >= MAX_UNANSWERED:
            await asyncio.sleep(REFUSAL_SECONDS)
            _refuse(scope, protocol, *([] if isinstance(body, bytes) else [_CLOSE]))
            return
        unsent: _Unsent | None = await pool.run(_answer, scope, headers, protocol, body, length)
        if unsent is None:
            return
        status, answer_headers, response = unsent
        if isinstance(response, Chunks):
            cut = partial(asyncio.to_thread, listener.cut, settings.PORT, scope.client)
            await streaming.send(protocol, status, answer_headers, response, self._streams, cut)
            return
        if isinstance(body, Upload) and "expect" not in scope.headers and (length or 0) <= MAX_DISCARDED:
            with suppress(OSError):  # also TimeoutError
                async with asyncio.timeout(DISCARD_SECONDS):
                    await body.discard(MAX_DISCARDED)
        protocol.response_bytes(status, answer_headers, response)


def _take_jobs_lock() -> IO[str] | None:
    try:
        return lock.take(settings.DATA_DIR, name=lock.JOBS)
    except (OSError, lock.AlreadyServed):  # also a full disk; the caller asks again
        return None


class _OverBudgetError(Exception):
    """The next chunk would exceed the memory budget of large bodies."""


class _Claim:
    """The share of one large body in the memory budget, from its arrival to the response."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._bytes = 0

    def add(self, size: int) -> None:
        """Reserve bytes. Raises _OverBudgetError when the budget is exhausted."""
        if self._application.large_bytes + size > MAX_LARGE_BYTES:
            self.release()
            raise _OverBudgetError
        self._application.large_bytes += size
        self._bytes += size

    def release(self) -> None:
        self._application.large_bytes -= self._bytes
        self._bytes = 0


def _disconnect_request_signals() -> None:
    """Disconnect Django's request signals. `_answer` closes obsolete connections itself, for the one database.

    The other receivers serve caches that need closing and URLconfs per request, which this site does not have.
    """
    request_started.disconnect(close_old_connections)
    request_finished.disconnect(close_old_connections)
    request_finished.disconnect(close_caches)
    request_finished.disconnect(reset_urlconf)
    if not settings.DEBUG:  # Django records queries only with DEBUG
        request_started.disconnect(reset_queries)


def _declared_length(scope: Scope) -> int | None:
    declared = scope.headers.get("content-length")
    return int(declared) if declared is not None and declared.isdigit() else None


async def _read(protocol: HTTPProtocol, declared: int | None, limit: int, claim: _Claim | None) -> tuple[bytes, int]:
    """Return the body and its length. Stop reading over the limit; the view then refuses by the length."""
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
        chunks.clear()  # a traceback would keep the chunks in memory


async def _discard(protocol: HTTPProtocol, most: int, limit: int) -> tuple[bytes, int]:
    """Read and discard a body, so that the client can read the response. Return b"" and the unread length."""
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
        request_head.note_refusal(scope.method, scope.path, RefusalReason.MEDIA_TYPE)
    protocol.response_bytes(refusal.status, [*JSON_HEADERS, *more, *_cors(scope)], refusal.body)


def _refuse(scope: Scope, protocol: HTTPProtocol, *more: tuple[str, str]) -> None:
    """Load shedding: answer 503 from the event loop, without a thread."""
    request_head.note_refusal(scope.method, scope.path, RefusalReason.OVERLOADED)
    retry = ("retry-after", str(RETRY_SECONDS))
    protocol.response_bytes(503, [*JSON_HEADERS, retry, *more, *_cors(scope)], _BUSY)


def _cors(scope: Scope) -> Headers:
    return request_head.cors_headers(scope.path, scope.headers.get("origin"))


def _answer(
    scope: Scope, headers: Headers, protocol: HTTPProtocol, body: bytes | Upload, length: int | None
) -> _Unsent | Unfinished | None:
    """Call Django and send the response from this thread, without waiting for the event loop.

    Return a streamed response instead of sending it, or one to an upload that was not read to its end: only the event
    loop can send the first and read on for the second. A response that waits for a commit is completed and sent later.
    """
    connection.close_if_unusable_or_obsolete()
    request = environ.of(scope, headers, body, length)
    logs.begin(request)
    try:
        status, answer_headers, response = _call_django(request)
    finally:
        logs.end()
        connection.close_if_unusable_or_obsolete()
    if isinstance(response, PendingResponse):
        return Unfinished(partial(_complete, response, request, protocol))
    if not (body.is_at_end if isinstance(body, Upload) else length == len(body)):
        answer_headers.append(_CLOSE)
        if isinstance(body, Upload):
            return status, answer_headers, response
    if scope.method == "HEAD":
        protocol.response_empty(status, answer_headers)  # headers as for GET, no body
    elif isinstance(response, bytes):
        protocol.response_bytes(status, answer_headers, response)
    else:
        return status, answer_headers, response
    return None


def _complete(response: PendingResponse, request: dict[str, Any], protocol: HTTPProtocol) -> None:
    logs.begin(request)
    try:
        response.complete()
    finally:
        logs.end()
        connection.close_if_unusable_or_obsolete()
        response.close()
    headers = [(name.lower(), value) for name, value in response.items()]
    protocol.response_bytes(response.status_code, headers, response.content)


def _call_django(request: dict[str, Any]) -> tuple[int, Headers, bytes | Chunks | PendingResponse]:
    head: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        head[:] = int(status[:3]), [(name.lower(), value) for name, value in headers]

    request[IS_COMPLETED_BY_SERVER] = True
    response = site(request, start_response)
    if isinstance(response, PendingResponse):
        return head[0], head[1], response
    chunks = Chunks(response)
    has_body = request["REQUEST_METHOD"] != "HEAD"
    if has_body and getattr(response, "streaming", False):
        return head[0], head[1], chunks
    try:
        return head[0], head[1], b"".join(response) if has_body else b""
    finally:
        chunks.close()


async def note_days(pool: ThreadPool) -> None:
    """Record the size of the database once per UTC day. `serve` records it at start."""
    from events.counting import site_days  # models are not ready when this module is imported

    recorded_on = clock.today()
    while True:
        await asyncio.sleep(DAY_POLL_SECONDS)
        today = clock.today()
        if today != recorded_on:
            try:
                await pool.run(site_days.note_size, today)
                recorded_on = today
            except (DatabaseError, InterfaceError) as error:
                logger.error("The size of the database was not recorded: %s", error)


async def write_counts(pool: ThreadPool, events: ThreadPool) -> None:
    """Write the counts of the last requests, which would otherwise wait in memory for the next one."""
    from events.ingest import group_commit, writer  # models are not ready when this module is imported
    from events.monitoring import commits

    commits.watch(lambda: events.waiting)
    while True:
        await asyncio.sleep(COUNTS_POLL_SECONDS)
        with suppress(group_commit.StorageUnavailable):  # logged; the counts stay in memory until the next try
            await pool.run(writer.flush_if_due)


async def _end_with_parent(parent: int) -> None:
    """End this worker when its parent process has ended: Granian's workers would keep running."""
    while os.getppid() == parent:
        await asyncio.sleep(PARENT_POLL_SECONDS)
    logger.error("The main process is gone; this worker ends")
    os.kill(os.getpid(), signal.SIGTERM)


app = Application()
