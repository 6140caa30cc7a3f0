"""Receives an uploaded map into an unnamed file, and checks it in a process of its own (`check`)."""

import json
import logging
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

from django.conf import settings

from events.sourcemaps import check
from events.sourcemaps.check import InvalidMap

logger = logging.getLogger(__name__)

WAIT_SECONDS = 120.0


class CheckedMap(NamedTuple):
    """A valid map. `content` is compressed; `digest` and `bytes` describe it unpacked."""

    content: bytes
    digest: str
    bytes: int
    sources: int


class CheckFailed(Exception):
    """The site could not check the map, for a reason that is not in the map."""

    is_loggable = True  # log lines contain the message


@contextmanager
def spooled(chunks: Iterable[bytes]) -> Iterator[BinaryIO]:
    """Write a body to a file without a name, which ends with this process. Raises CheckFailed when the disk is full.

    It is in DATA_DIR, because the system's folder for temporary files may be in memory.
    """
    try:
        file = tempfile.TemporaryFile(dir=settings.DATA_DIR)  # noqa: SIM115 (closed below)
    except OSError as error:
        raise CheckFailed(f"No file can be made in DATA_DIR: {error}") from error
    with file:
        for chunk in chunks:
            try:
                file.write(chunk)
            except OSError as error:
                raise CheckFailed(f"The upload cannot be written to DATA_DIR: {error}") from error
        yield file


def checked(body: BinaryIO, *, is_gzip: bool) -> CheckedMap:
    """Return the map in a file. Raises InvalidMap, or CheckFailed when the check itself failed."""
    body.flush()
    body.seek(0)
    command = [sys.executable, "-m", "events.sourcemaps.check", check.GZIP if is_gzip else check.PLAIN]
    try:
        with tempfile.TemporaryFile(dir=settings.DATA_DIR) as result:
            # The child's own descriptor shares the position of `body`, which is at its beginning.
            status = subprocess.run(  # noqa: S603 (our own program)
                command,
                stdin=body,
                stdout=result,
                stderr=subprocess.DEVNULL,  # not a log line: it has another form, and may quote the map
                cwd=settings.BASE_DIR,
                timeout=WAIT_SECONDS,
                check=False,
            ).returncode
            result.seek(0)
            return _read(result, status)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CheckFailed(f"The check of a source map did not end: {error}") from error


def _read(result: BinaryIO, status: int) -> CheckedMap:
    if status == -signal.SIGXCPU:
        raise InvalidMap(f"The map takes more than {check.CPU_SECONDS} s to check.")
    if status:
        raise CheckFailed(f"The check of a source map ended with status {status}")
    verdict = json.loads(result.readline())
    if "error" in verdict:
        raise InvalidMap(verdict["error"])
    return CheckedMap(result.read(), **verdict)
