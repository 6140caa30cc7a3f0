"""The admin page of the retention: the rule in force, what the next run would delete, and the last runs."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db import connection
from django.http import HttpRequest, HttpResponse

from events import clock
from events.admin.pages import PagesAdmin
from events.counting import site_days
from events.maintenance import disk, retention
from events.maintenance.jobs import registry
from events.maintenance.retention_policy import preview
from events.models import JobRun, JobState, RetentionMark

JOBS = ("retention", "reclaim-space")
RUNS = 10


@admin.register(RetentionMark)
class RetentionAdmin(PagesAdmin):
    """Shows the retention to everybody who may view events. Only the settings of the site change it."""

    title = "Retention"

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("events.view_event")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self.demand(self.has_view_permission(request) and request.method != "POST")
        now = clock.now()
        jobs = registry.registered()
        context = {
            "title": self.title,
            "now": now,
            "preview": (expected := preview.in_force(now)),
            "origin": expected.rule.origin.name,
            "whole_since_ms": retention.whole_since_ms(),
            "database_bytes": site_days.database_bytes(),
            "free_bytes": disk.free_bytes(),
            "min_free_bytes": settings.MIN_FREE_BYTES,
            "is_postgresql": connection.vendor == "postgresql",
            "next_run_ms": JobState.objects.filter(name=JOBS[0]).values_list("due_ms", flat=True).first(),
            "runs": [
                (jobs[run.job].title if run.job in jobs else run.job, run)
                for run in JobRun.objects.filter(job__in=JOBS).order_by("-id")[:RUNS]
            ],
        }
        return self.render(request, "events/retention.html", context)
