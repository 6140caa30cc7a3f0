"""The jobs that need a person: those that failed, and all of them when no process runs them."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from django.db.migrations.recorder import MigrationRecorder

from events import clock
from events.maintenance.banners import Banner
from events.maintenance.jobs import leases
from events.maintenance.jobs.registry import Job, registered
from events.models import JobOutcome, JobState

# A job may wait while others run, each for up to a minute.
OVERDUE = timedelta(minutes=15)
SHOWN = 3
_MAX_MESSAGE = 300
_PAGE = {"page": "events_jobstate_changelist", "link": "Open the jobs"}


def find(now: datetime) -> Iterator[Banner]:
    """Yield the banners about jobs. The rows of all jobs are one query."""
    jobs = registered()
    states = leases.states(jobs)
    if are_idle(states.values(), now):
        yield Banner(
            "No process runs the jobs, so the site does not maintain itself.",
            "Start the site with “manage.py serve”, or run “manage.py run_jobs” in a service of its own.",
            **_PAGE,
        )
    failed = [(job, states[name]) for name, job in jobs.items() if name in states and has_failed(states[name], now)]
    for job, state in failed[:SHOWN]:
        yield Banner(f"The job “{job.title}” {what_happened(state)}.", _shortened(state.message), **_PAGE)
    if more := [job.title for job, _ in failed[SHOWN:]]:
        yield Banner("More jobs failed:", f"{', '.join(more)}.", **_PAGE)


def are_idle(states: Iterable[JobState], now: datetime) -> bool:
    """Return whether no process runs the jobs: one is overdue, and none has started or ended lately."""
    rows = list(states)
    latest_ms = clock.epoch_ms(now - OVERDUE)
    if not rows:  # the loop adds them when it starts
        return _installed_before(now - OVERDUE)
    signs = (sign for row in rows for sign in (row.started_ms, row.ended_ms, row.heartbeat_ms))
    return any(row.due_ms < latest_ms for row in rows) and not any(sign and sign >= latest_ms for sign in signs)


def has_failed(state: JobState, now: datetime) -> bool:
    """Return whether the last run of a job failed. One that lost its process only counts if it waits to run again."""
    if state.outcome == JobOutcome.ABANDONED:
        return not state.holder and state.due_ms > clock.epoch_ms(now)
    return state.outcome in (JobOutcome.FAILED, JobOutcome.TIMED_OUT)


def overdue(jobs: Mapping[str, Job], states: Mapping[str, JobState], now: datetime) -> list[str]:
    """Return the names of the jobs that should have started long ago."""
    latest_ms = clock.epoch_ms(now - OVERDUE)
    return [name for name in jobs if name in states and not states[name].holder and states[name].due_ms < latest_ms]


def what_happened(state: JobState) -> str:
    """Return the failure of a job in words, such as "lost its process"."""
    return {
        JobOutcome.FAILED: "failed",
        JobOutcome.TIMED_OUT: "exceeded its time limit",
        JobOutcome.ABANDONED: "lost its process",
    }[JobOutcome(state.outcome or "")]


def _shortened(message: str) -> str:
    return message if len(message) <= _MAX_MESSAGE else f"{message[: _MAX_MESSAGE - 1]}…"


def _installed_before(time: datetime) -> bool:
    applied = MigrationRecorder.Migration.objects.filter(app="events").order_by("applied")
    first = applied.values_list("applied", flat=True).first()
    return first is not None and first < time
