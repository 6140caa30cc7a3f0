"""An answer of any length, sent no faster than its client reads.

Granian takes whatever it is given and keeps what the client has not read yet in memory; a file it reads only as
the client does. So a streamed answer goes to it as a file: a named pipe, which takes no more than it can hold. A
client that goes away closes the pipe, and the making of chunks ends.
"""

import asyncio
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from granian.rsgi import HTTPProtocol

from telemetry_site.server.threads import ThreadPool

logger = logging.getLogger(__name__)

OPEN_SECONDS = 10.0
CHUNK_SECONDS = 30.0


class Chunks:
    """The chunks of a WSGI response; each is made by a pool thread, and none is held in between."""

    def __init__(self, response: Iterable[bytes]) -> None:
        self._response = response
        self._chunks: Iterator[bytes] = iter(response)

    def next(self) -> bytes | None:
        """Return the next chunk; an empty one gives the thread to others, None is the end."""
        return next(self._chunks, None)

    def close(self) -> None:
        close = getattr(self._response, "close", None)
        if close is not None:
            close()


async def send(protocol: HTTPProtocol, status: int, headers: Any, chunks: Chunks, pool: ThreadPool) -> None:
    """Send the chunks as the client takes them; one that takes none for CHUNK_SECONDS is let go."""
    pipe = -1
    try:
        with tempfile.TemporaryDirectory(prefix="telemetry-stream-") as folder:
            path = Path(folder) / "answer"
            os.mkfifo(path, 0o600)
            protocol.response_file(status, headers, str(path))
            pipe = await asyncio.wait_for(_opened(path), OPEN_SECONDS)
        while (chunk := await pool.run(chunks.next)) is not None:
            await _write(pipe, chunk)
    except BrokenPipeError:
        pass  # the client has gone
    except Exception as error:
        logger.warning("A streamed answer ended early: %s", str(error) or type(error).__name__)
    finally:
        if pipe >= 0:
            os.close(pipe)
        await pool.run(chunks.close)


async def _opened(path: Path) -> int:
    """Return the writing end once the server has opened the reading one."""
    while True:
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads yet
            await asyncio.sleep(0.002)


async def _write(pipe: int, chunk: bytes) -> None:
    waiting = memoryview(chunk)
    while waiting:
        try:
            waiting = waiting[os.write(pipe, waiting) :]
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
