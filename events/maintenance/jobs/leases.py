"""The lease of each job on its row: the only writer of `events_jobstate`.

Each write is one UPDATE with a condition, and its row count says whether it took effect. So it works alike on both
engines and for any number of servers. `holder` names one run of one process. It is also the fencing token: a process
that lost its lease cannot record an outcome.

Clocks of two servers may differ, and a clock may jump. So a process never compares a heartbeat with its own clock. It
calls a lease stale after it has seen the same heartbeat for STALE_SECONDS (of a monotonic clock).
"""

import os
import secrets
import socket
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db import transaction
from django.db.models import QuerySet

from events import audit, clock
from events.maintenance.jobs import runs
from events.maintenance.jobs.registry import Job
from events.models import AuditKind, JobOutcome, JobState

# A live process may miss five beats, for example while SQLite is locked. A dead one delays its job by a minute.
BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0
# A failed job runs again after this time, if its schedule does not ask for it sooner. So does one that lost its process
# twice in a row: it may be the cause, for example by its memory.
RETRY = timedelta(hours=1)
RETRY_ONCE = timedelta(minutes=1)
# A time that is further ahead than the schedule allows was computed with a wrong clock. Clocks may differ by this much.
CLOCK_TOLERANCE = timedelta(hours=1)


class Lease(NamedTuple):
    """The right of one process to run a job once."""

    job: str
    holder: str
    run: int
    started_ms: int
    was_abandoned: bool  # the run before lost its process


def add_missing(jobs: Mapping[str, Job], now: datetime) -> None:
    """Add a row for each job that has none."""
    known = set(JobState.objects.filter(name__in=jobs).values_list("name", flat=True))
    missing = [
        JobState(name=name, due_ms=clock.epoch_ms(job.schedule.next_after(now)))
        for name, job in jobs.items()
        if name not in known
    ]
    if missing:
        JobState.objects.bulk_create(missing, ignore_conflicts=True)


def states(jobs: Iterable[str]) -> dict[str, JobState]:
    """Return the rows of these jobs by name. Rows of jobs that no longer exist are not read."""
    return JobState.objects.in_bulk(list(jobs))


def correct_due(job: Job, state: JobState, now: datetime) -> bool:
    """Return whether the next run is further ahead than the schedule allows; if so, correct it.

    A clock that was ahead computed it. Without the correction, the job would not run until that time.
    """
    if state.due_ms <= clock.epoch_ms(job.schedule.next_after(now + CLOCK_TOLERANCE)):
        return False
    rows = JobState.objects.filter(name=job.name, due_ms=state.due_ms)
    return bool(rows.update(due_ms=clock.epoch_ms(job.schedule.next_after(now))))


def claim(job: Job, state: JobState, now: datetime) -> Lease | None:
    """Return the lease of a job that is due and free, None if another process was faster."""
    now_ms = clock.epoch_ms(now)
    holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    with transaction.atomic():
        due = JobState.objects.filter(name=job.name, holder="", due_ms__lte=now_ms)
        if not due.update(holder=holder, heartbeat_ms=now_ms, started_ms=now_ms):
            return None
        run = runs.begin(job.name, now_ms)
    return Lease(job.name, holder, run, now_ms, state.outcome == JobOutcome.ABANDONED)


def beat(lease: Lease, now: datetime) -> bool:
    """Renew a lease. Return False if it is lost."""
    return bool(_held(lease).update(heartbeat_ms=clock.epoch_ms(now)))


def end(job: Job, lease: Lease, outcome: JobOutcome, message: str, now: datetime) -> bool:
    """Record the outcome of a run and free the job. Return False, and record nothing, if the lease is lost."""
    due = _due_after(job, lease, outcome, now)
    return _end(lease, outcome, message, now, due)


def give_back(lease: Lease, message: str, now: datetime) -> bool:
    """Free a job whose process was told to stop. It is due again at once."""
    return _end(lease, JobOutcome.ABANDONED, message, now, now)


def abandon(state: JobState, now: datetime) -> bool:
    """Free a job whose lease is stale, so that it runs again. Return False if its process has shown a sign of life."""
    message = f"Its process ({state.holder.rpartition(':')[0]}) ended or stopped responding."
    due = now + RETRY if state.outcome == JobOutcome.ABANDONED else now
    with transaction.atomic():
        unchanged = JobState.objects.filter(name=state.name, holder=state.holder, heartbeat_ms=state.heartbeat_ms)
        is_freed = unchanged.update(
            holder="",
            heartbeat_ms=None,
            ended_ms=clock.epoch_ms(now),
            outcome=JobOutcome.ABANDONED,
            message=message,
            due_ms=clock.epoch_ms(due),
        )
        if is_freed:
            runs.abandon(state.name, message, clock.epoch_ms(now))
    return bool(is_freed)


def run_now(job: Job, *, who: str, now: datetime) -> bool:
    """Make a job due at once. Return False if a process runs it already."""
    add_missing({job.name: job}, now)
    with transaction.atomic():
        is_free = JobState.objects.filter(name=job.name, holder="").update(due_ms=clock.epoch_ms(now))
        if is_free:
            audit.note(AuditKind.JOB, "Requested a run.", who=who, at=now, about=job.title)
    return bool(is_free)


def _end(lease: Lease, outcome: JobOutcome, message: str, now: datetime, due: datetime) -> bool:
    ended_ms = clock.epoch_ms(now)
    success = {"succeeded_ms": ended_ms} if outcome == JobOutcome.SUCCEEDED else {}
    with transaction.atomic():
        is_held = _held(lease).update(
            holder="",
            heartbeat_ms=None,
            ended_ms=ended_ms,
            outcome=outcome,
            message=message,
            due_ms=clock.epoch_ms(due),
            **success,
        )
        if is_held:
            runs.end(lease.run, outcome, message, ended_ms)
    return bool(is_held)


def _due_after(job: Job, lease: Lease, outcome: JobOutcome, now: datetime) -> datetime:
    if outcome == JobOutcome.ABANDONED:
        return now + (RETRY if lease.was_abandoned else RETRY_ONCE)
    due = job.schedule.next_after(datetime.fromtimestamp(lease.started_ms / 1000, UTC))
    if due <= now:  # one run took longer than the period; missed runs are not made up for
        due = job.schedule.next_after(now)
    return due if outcome == JobOutcome.SUCCEEDED else min(due, now + RETRY)


def _held(lease: Lease) -> QuerySet[JobState]:
    return JobState.objects.filter(name=lease.job, holder=lease.holder)
