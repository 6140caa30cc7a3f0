"""A file lock that allows one server per DATA_DIR. The operating system releases it when the process ends."""

import fcntl
import os
from pathlib import Path
from typing import IO


class AlreadyServed(Exception):
    """Another process serves this folder. `holder` is its process id, or empty."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"process {holder or 'unknown'} serves it already")


SERVER, JOBS = "server.lock", "jobs.lock"


def take(data_dir: Path, *, shared: bool = False, name: str = SERVER) -> IO[str]:
    """Lock the folder until the returned file is closed. Raises AlreadyServed.

    Workers of one server take a shared lock. It still prevents a second server from taking its exclusive lock. The
    worker with the lock JOBS runs the jobs; it is separate, because it must not prevent a start of the server.
    """
    file = open(data_dir / name, "a+", encoding="ascii")  # noqa: SIM115 (stays open while it serves)
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
