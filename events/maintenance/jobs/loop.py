"""The loop that runs due jobs. It has one thread, and runs each job in a process of its own.

A job usually starts after the others have ended. One that takes longer than PATIENCE_SECONDS does not delay the others:
then the next one starts beside it.
"""

import logging
import os
import select
import signal
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from types import FrameType
from typing import NamedTuple

from django.db import DatabaseError, InterfaceError, connection, connections

from events import clock
from events.maintenance.jobs import leases
from events.maintenance.jobs.children import Child, Result
from events.maintenance.jobs.leases import Lease
from events.maintenance.jobs.registry import Job
from events.models import JobOutcome, JobState

logger = logging.getLogger(__name__)

POLL_SECONDS = 5.0
MAX_PAUSE_SECONDS = 60.0
PATIENCE_SECONDS = 60.0
STOP_SECONDS = 2.0
LOST = "Another process took over. Nothing was recorded."


class Ended(NamedTuple):
    """The end of a run. `is_recorded` is False if the lease was lost."""

    job: Job
    outcome: JobOutcome
    message: str
    seconds: float
    is_recorded: bool = True
    is_loggable: bool = True

    def __str__(self) -> str:
        return f"{self.job.name}: {self.outcome.label} in {self.seconds:.1f} s. {self.message}".rstrip()

    @property
    def log_line(self) -> str:
        """Return the line without a message that may quote an event."""
        return str(self if self.is_loggable else self._replace(message="The page Jobs shows the error."))


class DatabaseUnusable(Exception):
    """The database did not answer while `run_once` needed it."""


class _Running(NamedTuple):
    job: Job
    lease: Lease
    child: Child


class _Observed(NamedTuple):
    """The lease of another process, and since when its heartbeat has not changed."""

    holder: str
    heartbeat_ms: int | None
    since: float
    is_alive: bool  # its heartbeat was seen to change


class _Finished(NamedTuple):
    job: Job
    lease: Lease
    result: Result
    seconds: float


class JobLoop:
    """Runs the offered jobs, and reports each end of a run. The times are parameters for tests."""

    def __init__(
        self,
        offered: Callable[[], Mapping[str, Job]],
        report: Callable[[Ended], None],
        *,
        poll_seconds: float = POLL_SECONDS,
        beat_seconds: float = leases.BEAT_SECONDS,
        stale_seconds: float = leases.STALE_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._offered = offered
        self._jobs: Mapping[str, Job] = {}
        self._report = report
        self._poll_seconds = poll_seconds
        self._beat_seconds = beat_seconds
        self._stale_seconds = stale_seconds
        self._patience_seconds = patience_seconds
        self._running: dict[str, _Running] = {}
        self._finished: list[_Finished] = []  # not recorded yet
        self._observed: dict[str, _Observed] = {}
        self._beaten = time.monotonic()
        self._pause = 0.0  # above 0 while the database fails
        self._is_stopping = False

    def run(self, parent_pipe: int | None = None) -> None:
        """Run jobs until SIGTERM or SIGINT, or until the other end of `parent_pipe` is closed."""
        wakeup = self._catch_signals()
        while not self._is_stopping:
            self._tick()
            self._wait(wakeup, parent_pipe)
        self._stop()

    def run_once(self) -> None:
        """Run once each job that is due now, unless another live process runs it. Raises DatabaseUnusable."""
        wakeup = self._catch_signals()
        due: set[str] | None = None
        while not self._is_stopping:
            states = self._tick(due or ())
            if states is None:
                if self._pause >= MAX_PAUSE_SECONDS and not self._running:
                    raise DatabaseUnusable
            elif due is None:
                now_ms = clock.now_ms()
                due = {name for name, state in states.items() if state.due_ms <= now_ms}
                continue
            else:
                due = {name for name in due if name in states and self._may_become_free(states[name])}
                if not due and not self._running and not self._finished:
                    return
            self._wait(wakeup, None)
        self._stop()

    def _may_become_free(self, state: JobState) -> bool:
        """Return whether this process may still have to run a job that was due when it started."""
        if state.holder:
            observed = self._observed.get(state.name)
            return state.name not in self._running and not (observed and observed.is_alive)
        return state.due_ms <= clock.now_ms()

    def _catch_signals(self) -> int:
        """Return a pipe that becomes readable when a signal requests a stop."""
        reading_end, writing_end = os.pipe()
        os.set_blocking(writing_end, False)
        signal.set_wakeup_fd(writing_end)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._request_stop)
        return reading_end

    def _request_stop(self, number: int, frame: FrameType | None) -> None:
        self._is_stopping = True

    def _wait(self, wakeup: int, parent_pipe: int | None) -> None:
        """Wait until a child or the parent ends, a signal arrives, or it is time for the next round."""
        pipes = [wakeup, *(running.child.pipe for running in self._running.values())]
        if parent_pipe is not None:
            pipes.append(parent_pipe)
        seconds = min(self._pause or self._poll_seconds, self._beat_seconds)
        readable, _, _ = select.select(pipes, [], [], seconds)
        if parent_pipe in readable and not os.read(parent_pipe, 1):
            self._is_stopping = True

    def _tick(self, may_start: Collection[str] | None = None) -> dict[str, JobState] | None:
        """Collect what ended, renew the leases, and start a job. Return the rows as they were, None without them."""
        self._collect()
        try:
            self._record()
            self._beat()
            now = clock.now()
            self._jobs = self._offered()  # an app may stop offering a job
            states = leases.states(self._jobs)
            if len(states) < len(self._jobs):
                leases.add_missing(self._jobs, now)
                states = leases.states(self._jobs)
            for name, state in states.items():
                if state.holder:
                    self._observe(state, now)
                elif leases.correct_due(self._jobs[name], state, now):
                    logger.warning("The next run of %s was too far ahead: the clock has gone back", name)
            self._start_one([state for name, state in states.items() if may_start is None or name in may_start], now)
        except (DatabaseError, InterfaceError) as error:
            self._note_failure(error)
            return None
        finally:
            if connection.vendor == "sqlite" or self._pause:
                connections.close_all()  # an idle loop keeps no file open that a restore may replace
        if self._pause:
            logger.warning("The jobs continue: the database answers again")
        self._pause = 0.0
        return states

    def _note_failure(self, error: Exception) -> None:
        if not self._pause:
            logger.error("The jobs wait, because the database fails: %s", error)
        self._pause = min(2 * self._pause or self._poll_seconds, MAX_PAUSE_SECONDS)

    def _collect(self) -> None:
        for name, running in list(self._running.items()):
            seconds = running.child.seconds
            result = running.child.result()
            if result is not None:
                del self._running[name]
                self._finished.append(_Finished(running.job, running.lease, result, seconds))

    def _record(self) -> None:
        while self._finished:
            job, lease, (outcome, message, is_loggable), seconds = self._finished[0]
            is_recorded = leases.end(job, lease, outcome, message, clock.now())
            self._finished.pop(0)
            words = message if is_recorded else LOST
            self._report(Ended(job, outcome, words, seconds, is_recorded, is_loggable or not is_recorded))

    def _beat(self) -> None:
        if not self._running or time.monotonic() - self._beaten < self._beat_seconds:
            return
        now = clock.now()
        for name, running in list(self._running.items()):
            if not leases.beat(running.lease, now):
                running.child.kill()
                running.child.wait_for_end(STOP_SECONDS)
                del self._running[name]
                self._report(Ended(running.job, JobOutcome.ABANDONED, LOST, running.child.seconds, is_recorded=False))
        self._beaten = time.monotonic()

    def _observe(self, state: JobState, now: datetime) -> None:
        """Abandon the lease of another process if its heartbeat has not changed for too long."""
        if state.name in self._running or any(state.name == ended.job.name for ended in self._finished):
            return
        observed = self._observed.get(state.name)
        if observed is None or (observed.holder, observed.heartbeat_ms) != (state.holder, state.heartbeat_ms):
            is_alive = observed is not None and observed.holder == state.holder
            self._observed[state.name] = _Observed(state.holder, state.heartbeat_ms, time.monotonic(), is_alive)
        elif time.monotonic() - observed.since >= self._stale_seconds and leases.abandon(state, now):
            logger.warning("The process %s no longer runs the job %s", state.holder, state.name)

    def _start_one(self, states: list[JobState], now: datetime) -> None:
        if any(running.child.seconds < self._patience_seconds for running in self._running.values()):
            return
        now_ms = clock.epoch_ms(now)
        for state in sorted(states, key=lambda state: state.due_ms):
            if state.holder or state.due_ms > now_ms:
                continue
            job = self._jobs[state.name]
            lease = leases.claim(job, state, now)
            if lease is not None:
                self._start(job, lease)
                return

    def _start(self, job: Job, lease: Lease) -> None:
        if not self._running:
            self._beaten = time.monotonic()
        connections.close_all()  # a child must not inherit a connection
        try:
            self._running[job.name] = _Running(job, lease, Child(job))
        except OSError as error:  # no memory, or too many processes
            result = Result(JobOutcome.ABANDONED, f"Its process cannot start: {error}.")
            self._finished.append(_Finished(job, lease, result, 0.0))

    def _stop(self) -> None:
        """Kill the children, and give their jobs back."""
        stopped = list(self._running.values())
        for running in stopped:
            running.child.kill()
        for running in stopped:
            running.child.wait_for_end(STOP_SECONDS)
        try:
            self._record()
            for running in stopped:
                leases.give_back(running.lease, "The process of the jobs was stopped.", clock.now())
        except (DatabaseError, InterfaceError) as error:
            logger.error("The jobs stop, and the database fails: %s", error)  # the leases become stale
        connections.close_all()
