"""Admin page of the jobs: their schedule, last and next run, a button that requests a run, and the last runs."""

from datetime import datetime
from typing import Any, NamedTuple

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern

from events import clock
from events.admin.pages import PagesAdmin
from events.maintenance.jobs import leases, problems, registry, runs
from events.maintenance.jobs.registry import Job
from events.models import JobOutcome, JobRun, JobState


class JobRow(NamedTuple):
    """A job, its state and its newest runs. `state` is None before a process has seen the job."""

    job: Job
    state: JobState | None
    runs: list[JobRun]
    has_failed: bool
    is_overdue: bool
    next_run: str

    @property
    def host(self) -> str:
        """The machine that runs the job."""
        return self.state.holder.partition(":")[0] if self.state else ""

    @property
    def last(self) -> JobRun | None:
        """The newest run that has ended."""
        return next((run for run in self.runs if run.outcome), None)


@admin.register(JobState)
class JobStateAdmin(PagesAdmin):
    """The jobs in the order of the apps. Rows of jobs that no longer exist are not shown."""

    title = "Jobs"

    def get_urls(self) -> list[URLPattern]:
        return [*super().get_urls(), self.route("run/", self.run_view, "run")]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self.demand(self.has_view_permission(request) and request.method != "POST")
        now = clock.now()
        context = {
            "title": self.title,
            "now": now,
            "now_ms": clock.epoch_ms(now),
            "jobs": _rows(now),
            "kept": runs.KEPT,
            "may_run": self.has_change_permission(request),
            "run_url": self.url("run"),
            "succeeded": JobOutcome.SUCCEEDED,
        }
        return self.render(request, "events/jobs.html", context)

    def run_view(self, request: HttpRequest) -> HttpResponse:
        """Make a job due now (POST). A run is harmless at any time, so there is no confirmation page."""
        self.demand(self.has_change_permission(request))
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        job = registry.registered().get(request.POST.get("job", ""))
        if job is None:
            raise Http404
        if leases.run_now(job, who=request.user.get_username(), now=clock.now()):
            messages.success(request, f"“{job.title}” runs within a few seconds. Reload this page for its outcome.")
        else:
            messages.warning(request, f"“{job.title}” is running already.")
        return HttpResponseRedirect(self.url("changelist"))


def _rows(now: datetime) -> list[JobRow]:
    jobs = registry.registered()
    states = leases.states(jobs)
    newest = runs.newest(jobs)
    overdue = problems.overdue(jobs, states, now)
    rows = []
    for name, job in jobs.items():
        state = states.get(name)
        has_failed = state is not None and problems.has_failed(state, now)
        next_run = _next_run(state, now)
        rows.append(JobRow(job, state, newest.get(name, []), has_failed, name in overdue, next_run))
    return rows


def _next_run(state: JobState | None, now: datetime) -> str:
    if state is None:
        return "not planned yet"
    if state.holder:
        return "after this run"
    minutes = -(-(state.due_ms - clock.epoch_ms(now)) // 60_000)
    if minutes <= 0:
        return "now"
    if minutes < 120:
        return f"in {minutes} min"
    return f"in {minutes // 60} h" if minutes < 2_880 else f"in {minutes // 1_440} days"
