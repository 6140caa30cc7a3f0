"""Starts the process that resolves waiting frames (`manage.py resolve_frames`), at most one for each server process.

A process of its own gives its memory back, and holds no lock of the interpreter that requests need. Rows are its queue,
so a killed process loses nothing: the next page that has a waiting frame starts another one.
"""

import logging
import subprocess
import sys
import threading

from django.conf import settings

logger = logging.getLogger(__name__)

_lock = threading.Lock()
_process: subprocess.Popen[bytes] | None = None


def start() -> None:
    """Start the process. Do nothing if it is running, or if the setting SOURCEMAP_WORKER is off."""
    global _process
    if not settings.SOURCEMAP_WORKER:
        return
    with _lock:
        if _process is not None and _process.poll() is None:
            return
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "resolve_frames", "--limited"]
        try:
            _process = subprocess.Popen(  # noqa: S603 (our own command)
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
        except OSError:
            logger.exception("Cannot start the process that resolves frames")
