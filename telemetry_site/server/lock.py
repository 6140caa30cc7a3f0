"""One server on one folder of data: a lock that the operating system lets go of when its holder ends."""

import fcntl
import os
from pathlib import Path
from typing import IO


class AlreadyServed(Exception):
    """Another process serves this folder; `holder` is its process id, or empty."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"process {holder or 'unknown'} serves it already")


def take(data_dir: Path, *, shared: bool = False) -> IO[str]:
    """Take the lock and keep it as long as the returned file is open; raises AlreadyServed.

    Workers of one server share it, and still keep a second server's `take` away.
    """
    file = open(data_dir / "server.lock", "a+", encoding="ascii")  # noqa: SIM115 (open as long as it serves)
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip()
        file.close()
        raise AlreadyServed(holder) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file
