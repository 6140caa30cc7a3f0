"""Limits on connections, set from outside: the server opens and accepts them itself, and hands none to us."""

import asyncio
import os
import socket
import stat
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from events.ingest.addresses import client_network

_POLL_SECONDS = 0.05
_COUNT_SECONDS = 0.25
_ROUNDS_PER_FULL_COUNT = 20  # database files open and close too
_REST_PER_COUNT = 10  # a count that takes long is repeated more rarely
_FILES = "/proc/self/fd"
# Of Linux's `struct tcp_info`: milliseconds since the last data arrived.
_LAST_DATA_RECEIVED = slice(52, 56)


async def limit_stalls(port: int, seconds: float) -> None:
    """Let the system end a connection whose client has taken nothing for so long.

    The server itself waits without an end for a client to read. Each connection inherits this from the listener, which
    the server opens in a moment and does not name, so it is looked for among our open files. On Linux only.
    """
    while sys.platform == "linux" and not _limit(port, seconds):
        await asyncio.sleep(_POLL_SECONDS)


def _limit(port: int, seconds: float) -> bool:
    for name in os.listdir(_FILES):
        with suppress(OSError):  # it is closed by now, or is of another kind
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                with socket.socket(fileno=os.dup(int(name))) as found:
                    if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and found.getsockname()[1] == port:
                        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1_000))
                        return True
    return False


class _Connection(NamedTuple):
    silent_ms: int
    file: int
    peer: tuple[str, int]


async def limit_share(port: int, share: int) -> None:
    """Close the connections of a client past its share, those that have been silent for longest first.

    A client is an address, or the /64 network of an IPv6 one. The connections are found among our open files, whether
    they have sent a request or not. On Linux only.
    """
    others = rounds = 0
    while sys.platform == "linux":
        began = time.monotonic()
        files = len(os.listdir(_FILES))
        # Most rounds end here: all connections together are within one client's share.
        if files - others > share or rounds % _ROUNDS_PER_FULL_COUNT == 0:
            others = files - await asyncio.to_thread(_close_excess, port, share)
        rounds += 1
        await asyncio.sleep(max(_COUNT_SECONDS, _REST_PER_COUNT * (time.monotonic() - began)))


def _close_excess(port: int, share: int) -> int:
    """Return the number of connections that were found."""
    held: defaultdict[str, list[_Connection]] = defaultdict(list)
    for connection in _connections(port):
        held[client_network(connection.peer[0])].append(connection)
    for connections in held.values():
        for connection in sorted(connections)[share:]:
            # The number may be another file's by now, so the peer is compared on a handle of our own.
            with suppress(OSError), socket.socket(fileno=os.dup(connection.file)) as handle:
                if handle.getpeername()[:2] == connection.peer:
                    handle.shutdown(socket.SHUT_RDWR)
    return sum(map(len, held.values()))


def _connections(port: int) -> Iterator[_Connection]:
    for name in os.listdir(_FILES):
        with suppress(OSError):  # closed by now, a listener, or no TCP
            file = int(name)
            if stat.S_ISSOCK(os.fstat(file).st_mode):
                with socket.socket(fileno=os.dup(file)) as handle:
                    if handle.family != socket.AF_UNIX and handle.getsockname()[1] == port:
                        info = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECEIVED.stop)
                        silent_ms = int.from_bytes(info[_LAST_DATA_RECEIVED], sys.byteorder)
                        yield _Connection(silent_ms, file, handle.getpeername()[:2])
