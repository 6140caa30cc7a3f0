"""Keeps the process of the jobs (`manage.py run_jobs`) running beside a server.

A worker of the server starts the process and restarts it. Granian restarts a worker that dies, so nothing else needs to
be watched. The process holds one end of a pipe, and ends when the worker closes the other end, also by being killed.
"""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO

from django.conf import settings

logger = logging.getLogger(__name__)

# The server is busy when it starts, and no job is urgent.
START_SECONDS = 3.0
RESTART_SECONDS = 1.0
MAX_RESTART_SECONDS = 60.0
STABLE_SECONDS = 60.0
STOP_SECONDS = 4.0

TakeLock = Callable[[], IO[str] | None]


class JobsProcess:
    """One thread that keeps the process running.

    `take_lock` returns an open file while this worker alone may run it, else None: of several workers of a server, one
    runs the jobs.
    """

    def __init__(self, take_lock: TakeLock) -> None:
        self._take_lock = take_lock
        self._is_stopping = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        threading.Thread(target=self._keep_running, name="jobs", daemon=True).start()

    def stop(self) -> None:
        """Stop the process, and wait a few seconds for its end."""
        self._is_stopping.set()
        with self._lock:
            process = self._process
        if process is not None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)

    def _keep_running(self) -> None:
        pause = RESTART_SECONDS
        held: IO[str] | None = None
        self._is_stopping.wait(START_SECONDS)
        while not self._is_stopping.is_set():
            held = held or self._take_lock()
            if held is None:
                self._is_stopping.wait(START_SECONDS)
                continue
            started = time.monotonic()
            ended = self._run()
            if self._is_stopping.is_set():
                return
            pause = RESTART_SECONDS if time.monotonic() - started > STABLE_SECONDS else pause
            logger.error("The process of the jobs %s. It starts again in %g s.", ended, pause)
            self._is_stopping.wait(pause)
            pause = min(2 * pause, MAX_RESTART_SECONDS)

    def _run(self) -> str:
        """Start the process and wait for its end. Return how it ended."""
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "run_jobs", "--stop-with-parent"]
        with self._lock:
            if self._is_stopping.is_set():
                return "was not started"
            try:
                self._process = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: S603 (our own command)
            except OSError as error:
                return f"cannot start: {error}"
        return f"ended with exit code {self._process.wait()}"
