"""Limits on connections. Granian accepts connections itself, so this module finds them among the open files."""

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
_ROUNDS_PER_FULL_COUNT = 20  # the number of open files also changes with database files
_PAUSE_PER_COUNT = 10  # pause as a multiple of the duration of a count
_FILES = "/proc/self/fd"
# Position of tcpi_last_data_recv in Linux's `struct tcp_info`: milliseconds since the last data arrived.
_LAST_DATA_RECEIVED = slice(52, 56)


async def limit_stalls(port: int, seconds: float) -> None:
    """Let the kernel close a connection whose client has acknowledged no data for `seconds`.

    Granian waits for a slow reader without limit. Connections inherit TCP_USER_TIMEOUT from the listening socket.
    Granian opens that socket after this process starts and does not expose it, so search the open files. Linux only.
    """
    while sys.platform == "linux" and not _limit(port, seconds):
        await asyncio.sleep(_POLL_SECONDS)


def _limit(port: int, seconds: float) -> bool:
    for name in os.listdir(_FILES):
        with suppress(OSError):  # closed meanwhile, or another kind of file
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                with socket.socket(fileno=os.dup(int(name))) as handle:
                    if handle.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and handle.getsockname()[1] == port:
                        handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1_000))
                        return True
    return False


class _Connection(NamedTuple):
    silent_ms: int
    file: int
    peer: tuple[str, int]


async def limit_share(port: int, share: int) -> None:
    """Close the connections of a client that exceed its share, the longest idle ones first.

    A client is an IPv4 address or an IPv6 /64 network. Connections without a request count too. Linux only.
    """
    other_files = rounds = 0
    while sys.platform == "linux":
        started = time.monotonic()
        files = len(os.listdir(_FILES))
        # Skip the full count while all connections together fit into one client's share.
        if files - other_files > share or rounds % _ROUNDS_PER_FULL_COUNT == 0:
            other_files = files - await asyncio.to_thread(_close_excess, port, share)
        rounds += 1
        await asyncio.sleep(max(_COUNT_SECONDS, _PAUSE_PER_COUNT * (time.monotonic() - started)))


def _close_excess(port: int, share: int) -> int:
    """Close the excess connections. Return the number of open connections."""
    by_client: defaultdict[str, list[_Connection]] = defaultdict(list)
    for connection in _connections(port):
        by_client[client_network(connection.peer[0])].append(connection)
    for connections in by_client.values():
        for connection in sorted(connections)[share:]:
            _close(connection)
    return sum(map(len, by_client.values()))


def cut(port: int, client: str) -> None:
    """Close the connection of a client, `address:port`, in the middle of its response. Linux only.

    Granian ends a streamed response as if it were complete. Only a closed connection tells the client otherwise.
    """
    if sys.platform == "linux":
        address, _, client_port = client.rpartition(":")
        peer = (address.strip("[]"), int(client_port))
        for connection in _connections(port):
            if connection.peer == peer:
                _close(connection)


def _close(connection: _Connection) -> None:
    # The file number may have been reused. Duplicate it first, then compare the peer.
    with suppress(OSError), socket.socket(fileno=os.dup(connection.file)) as handle:
        if handle.getpeername()[:2] == connection.peer:
            handle.shutdown(socket.SHUT_RDWR)


def _connections(port: int) -> Iterator[_Connection]:
    for name in os.listdir(_FILES):
        with suppress(OSError):  # closed meanwhile, a listener, or not TCP
            file = int(name)
            if stat.S_ISSOCK(os.fstat(file).st_mode):
                with socket.socket(fileno=os.dup(file)) as handle:
                    if handle.family != socket.AF_UNIX and handle.getsockname()[1] == port:
                        info = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECEIVED.stop)
                        silent_ms = int.from_bytes(info[_LAST_DATA_RECEIVED], sys.byteorder)
                        yield _Connection(silent_ms, file, handle.getpeername()[:2])
