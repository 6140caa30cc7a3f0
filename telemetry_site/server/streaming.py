"""Streams responses of any length with back-pressure.

Granian buffers a streamed response in memory without limit, but reads a file only as fast as the client does. So the
response goes through a named pipe that Granian opens as a file. The kernel limits the size of the pipe. When the client
disconnects, Granian closes the pipe, and the generator of chunks stops.
"""

import asyncio
import fcntl
import logging
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from granian.rsgi import HTTPProtocol

from telemetry_site.server.threads import ThreadPool

logger = logging.getLogger(__name__)

OPEN_SECONDS = 10.0
CHUNK_SECONDS = 30.0
# A pipe of this size takes a chunk of an export at once. Granian then sends it while a thread produces the next one.
_PIPE_BYTES = 1 << 20  # without privileges, Linux allows no more


class Chunks:
    """The chunks of a WSGI response. A pool thread produces each chunk; no thread waits between two chunks."""

    def __init__(self, response: Iterable[bytes]) -> None:
        self._response = response
        self._chunks: Iterator[bytes] = iter(response)

    def next(self) -> bytes | None:
        """Return the next chunk, or None at the end. A generator yields an empty chunk to release the thread."""
        return next(self._chunks, None)

    def close(self) -> None:
        close = getattr(self._response, "close", None)
        if close is not None:
            close()


async def send(
    protocol: HTTPProtocol,
    status: int,
    headers: Any,
    chunks: Chunks,
    pool: ThreadPool,
    cut: Callable[[], Awaitable[None]],
) -> None:
    """Send the chunks as fast as the client reads. End the response when it reads nothing for CHUNK_SECONDS.

    After an error, `cut` closes the connection: the end of the pipe alone would be the end of a complete response.
    """
    pipe = -1
    try:
        with tempfile.TemporaryDirectory(prefix="telemetry-stream-") as folder:
            path = Path(folder) / "answer"
            os.mkfifo(path, 0o600)
            protocol.response_file(status, headers, str(path))
            pipe = await asyncio.wait_for(_open(path), OPEN_SECONDS)
        while (chunk := await pool.run(chunks.next)) is not None:
            await _write(pipe, chunk)
    except BrokenPipeError:
        pass  # the client disconnected
    except Exception as error:
        logger.warning("A streamed answer ended early: %s", error)
        await cut()
    finally:
        if pipe >= 0:
            os.close(pipe)
        await pool.run(chunks.close)


async def _open(path: Path) -> int:
    """Open the pipe for writing, as soon as Granian has opened it for reading."""
    while True:
        try:
            pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # Granian has not opened it yet
            await asyncio.sleep(0.002)
            continue
        with suppress(OSError, AttributeError):  # beyond the limit of this user; not Linux
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        return pipe


async def _write(pipe: int, chunk: bytes) -> None:
    unsent = memoryview(chunk)
    while unsent:
        try:
            unsent = unsent[os.write(pipe, unsent) :]
        except BlockingIOError:
            await asyncio.wait_for(_writable(pipe), CHUNK_SECONDS)


async def _writable(pipe: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_writer(pipe, ready.set_result, None)
    try:
        await ready
    finally:
        loop.remove_writer(pipe)
