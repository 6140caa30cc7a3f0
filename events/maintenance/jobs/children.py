"""A process for one run of a job. It is forked from the loop, so it starts at once, and its end frees its memory.

The loop has one thread and no open database connection when it forks.
"""

import ctypes
import json
import logging
import os
import signal
import sys
import time
from contextlib import suppress
from typing import Any, NamedTuple

from events.maintenance.jobs.registry import Job, JobFailed
from events.models import JobOutcome

logger = logging.getLogger(__name__)

MAX_MESSAGE = 2_000
_NICE = 10  # requests run first
_PR_SET_PDEATHSIG = 1


class Result(NamedTuple):
    """How a run ended: what its process wrote, or how the process ended without writing.

    The message of an unexpected exception may quote an event. So it is shown to staff, but not logged.
    """

    outcome: JobOutcome
    message: str
    is_loggable: bool = True


class Child:
    """The process of a run. `pipe` becomes readable when the process ends."""

    def __init__(self, job: Job) -> None:
        self.started = time.monotonic()
        self.pipe, writing_end = os.pipe()
        loop = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.pipe)
                _prepare(loop)
                _write(writing_end, _run(job))
            finally:
                os._exit(0)
        os.close(writing_end)
        self._limit_seconds = job.limit_minutes * 60
        self._is_timed_out = False

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def result(self) -> Result | None:
        """Return the result once the process has ended. Kill the process when its time is over."""
        if self.seconds >= self._limit_seconds and not self._is_timed_out:
            self._is_timed_out = True
            self.kill()
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            return None
        written = self._close()
        if written:
            return Result(JobOutcome(written["outcome"]), written["message"], written["is_loggable"])
        if self._is_timed_out:
            return Result(JobOutcome.TIMED_OUT, f"It was killed after {self._limit_seconds / 60:g} minutes.")
        code = os.waitstatus_to_exitcode(status)
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return Result(JobOutcome.ABANDONED, f"Its process {how}.")

    def kill(self) -> None:
        """Kill the process and the programs that it started. `result` reaps it."""
        with suppress(ProcessLookupError):  # a child that was just forked has no group of its own yet
            os.killpg(self.pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait_for_end(self, seconds: float) -> None:
        """Reap a killed process. It may outlive this call if the kernel cannot end it, for example on a dead disk."""
        deadline = time.monotonic() + seconds
        while not os.waitpid(self.pid, os.WNOHANG)[0] and time.monotonic() < deadline:
            time.sleep(0.01)
        self._close()

    def _close(self) -> dict[str, Any]:
        """Return what the process wrote, and close the pipe."""
        os.set_blocking(self.pipe, False)  # a program that it started may still hold the other end
        written = b""
        with suppress(BlockingIOError):
            while chunk := os.read(self.pipe, 65_536):
                written += chunk
        os.close(self.pipe)
        try:
            return dict(json.loads(written)) if written else {}
        except ValueError:  # it was killed while it wrote
            return {}


def _prepare(loop: int) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()  # the loop can kill it with the programs that it started; a terminal's signals do not reach it
    os.nice(_NICE)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != loop:  # the loop ended before the call
            os._exit(1)


def _run(job: Job) -> Result:
    try:
        return Result(JobOutcome.SUCCEEDED, job.work())
    except JobFailed as failure:
        return Result(JobOutcome.FAILED, str(failure))
    except BaseException as error:
        logger.exception("The job %s failed", job.name)
        return Result(JobOutcome.FAILED, f"{type(error).__name__}: {error}", is_loggable=False)


def _write(pipe: int, result: Result) -> None:
    message = result.message if len(result.message) <= MAX_MESSAGE else f"{result.message[: MAX_MESSAGE - 1]}…"
    # PostgreSQL stores neither NUL nor lone surrogates.
    message = message.replace("\0", "\ufffd").encode(errors="replace").decode()
    written = {"outcome": result.outcome.value, "message": message, "is_loggable": result.is_loggable}
    rest = json.dumps(written).encode()
    while rest:
        rest = rest[os.write(pipe, rest) :]
