"""The jobs that the apps offer. `jobs()` of an AppConfig returns a tuple of `Job`, so an app can be removed alone."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from django.apps import apps
from django.utils.module_loading import import_string

from events.maintenance.jobs.schedules import Schedule


class JobFailed(Exception):
    """A job did not do its work. The message says in words what happened and what to do."""


class Job(NamedTuple):
    """A piece of work that the site does by itself.

    `work` returns its outcome in words, or raises JobFailed. It may be killed at any point and run again, so each run
    must be harmless after any part of another. A run that exceeds `limit_minutes` is killed, and counts as failed.
    """

    name: str  # of the row, such as "retention"
    title: str  # for people, such as "Delete old events"
    schedule: Schedule
    work: Callable[[], str]
    limit_minutes: int = 60


def work_at(path: str) -> Callable[[], str]:
    """Return the function at a dotted path, which is imported in the process of each run.

    The process that waits for the next job stays small.
    """
    return partial(_run, path)


def _run(path: str) -> str:
    return str(import_string(path)())


def registered() -> dict[str, Job]:
    """Return the jobs by name, in the order of the apps."""
    offered = (getattr(config, "jobs", None) for config in apps.get_app_configs())
    return {job.name: job for offer in offered if offer for job in offer()}
