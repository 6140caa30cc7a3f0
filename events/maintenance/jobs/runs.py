"""The runs of each job: the only writer of `events_jobrun`."""

from collections.abc import Iterable

from events.models import JobOutcome, JobRun

KEPT = 50  # of each job


def begin(job: str, started_ms: int) -> int:
    """Add a run, and delete the oldest ones of its job over KEPT. Return the id of the run."""
    run = JobRun.objects.create(job=job, started_ms=started_ms)
    for oldest in JobRun.objects.filter(job=job).order_by("-id").values_list("id", flat=True)[KEPT : KEPT + 1]:
        JobRun.objects.filter(job=job, id__lte=oldest).delete()
    return int(run.pk)


def end(run: int, outcome: JobOutcome, message: str, ended_ms: int) -> None:
    JobRun.objects.filter(pk=run).update(outcome=outcome, message=message, ended_ms=ended_ms)


def abandon(job: str, message: str, ended_ms: int) -> None:
    """End every run of a job that has no end, because no process runs the job any more."""
    unended = JobRun.objects.filter(job=job, outcome__isnull=True)
    unended.update(outcome=JobOutcome.ABANDONED, message=message, ended_ms=ended_ms)


def newest(jobs: Iterable[str]) -> dict[str, list[JobRun]]:
    """Return the runs of each job that has any, newest first."""
    runs: dict[str, list[JobRun]] = {}
    for run in JobRun.objects.filter(job__in=list(jobs)).order_by("-id"):
        runs.setdefault(run.job, []).append(run)
    return {job: rows[:KEPT] for job, rows in runs.items()}
