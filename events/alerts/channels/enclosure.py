"""What the sending process may do: an audit hook that refuses private addresses, files and programs.

Python calls the hook before each of these operations, whichever library asks for it. A hook cannot be removed, so only
the process of `program` installs it. It does not see C code that bypasses Python's own modules: the resolver of the C
library connects to its DNS servers, and OpenSSL reads the certificates of the system.
"""

import mimetypes
import os
import socket
import sys
import zoneinfo
from collections.abc import Iterable
from typing import Any

from events.alerts.channels import addresses
from events.alerts.channels.addresses import Allowance

_PROGRAMS = {
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.forkpty",
    "pty.spawn",
}
_CONNECTIONS = {"socket.connect", "socket.sendto", "socket.sendmsg"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Refused(PermissionError):
    """The sending process asked for something that it may not do."""


class Enclosure:
    """The rules, and the addresses that were refused."""

    def __init__(self, allowances: Iterable[Allowance]) -> None:
        self.refused_addresses: list[str] = []
        self._allowances = list(allowances)
        # Modules are imported, and certificates and tables of types are read, when a message needs them.
        roots = {sys.prefix, sys.base_prefix, *zoneinfo.TZPATH}
        self._readable = tuple(os.path.join(os.path.realpath(root), "") for root in roots)
        self._files = {os.devnull, *map(os.path.realpath, mimetypes.knownfiles)}

    def close(self) -> None:
        """Install the hook, for as long as the process lives."""
        sys.addaudithook(self.check)

    def check(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Raise Refused for an operation that is not allowed."""
        if event in _CONNECTIONS:
            self._check_connection(*arguments[:2])
        elif event == "open":
            self._check_file(*arguments)
        elif event in _PROGRAMS:
            raise Refused("no programs")

    def _check_connection(self, sock: Any, address: Any) -> None:
        if address is None:  # sendmsg on a connected socket
            return
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            host, port = address[:2]
            # A name as address is refused: Python would resolve it after this check.
            if isinstance(host, str) and addresses.may_connect(host, port, self._allowances):
                return
            self.refused_addresses.append(f"{host} (port {port})")
        raise Refused("no private addresses")

    def _check_file(self, path: Any, mode: str | None, flags: int) -> None:
        if isinstance(path, int):  # an open descriptor
            return
        file = os.path.realpath(os.fsdecode(path))
        if file in self._files:
            return
        if flags & _WRITES or (mode and set(mode) & set("wax+")) or not file.startswith(self._readable):
            raise Refused("no files")
