"""The socket that the server listens on: what every connection that comes by it has from the start."""

import asyncio
import os
import socket
import stat
import sys
from contextlib import suppress

_POLL_SECONDS = 0.05


async def limit_stalls(port: int, seconds: float) -> None:
    """Let the system end a connection whose client has taken nothing for so long.

    The server itself waits without an end for a client to read. Each connection inherits this from the listener, which
    the server opens in a moment and does not name, so it is looked for among our open files. On Linux only.
    """
    while sys.platform == "linux" and not _limit(port, seconds):
        await asyncio.sleep(_POLL_SECONDS)


def _limit(port: int, seconds: float) -> bool:
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # it is closed by now, or is of another kind
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                with socket.socket(fileno=os.dup(int(name))) as found:
                    if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and found.getsockname()[1] == port:
                        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1_000))
                        return True
    return False
