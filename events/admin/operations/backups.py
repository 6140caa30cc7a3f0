"""The admin page of the backups: each one with its size and proof, the next runs, and what to do without any."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from events import clock
from events.admin.pages import PagesAdmin
from events.maintenance.backups import schedule
from events.models import Backup, JobState

MOST = 200


class Run(NamedTuple):
    """The last and the next run of a job."""

    title: str
    due: datetime
    state: JobState | None


@admin.register(Backup)
class BackupAdmin(PagesAdmin):
    """The backups, newest first. Commands make and restore them, so the page changes nothing."""

    title = "Backups"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self.demand(self.has_view_permission(request) and request.method != "POST")
        now = clock.now()
        backups = list(Backup.objects.order_by("-made_ms", "-name")[: MOST + 1])
        context = {
            "title": self.title,
            "now": now,
            "backups": backups[:MOST],
            "has_more": len(backups) > MOST,
            "hosts": len({backup.folder for backup in backups}) > 1,
            "bytes": sum(backup.file_bytes for backup in backups),
            "runs": _runs(now),
            "folder": settings.BACKUP_DIR,
            "keep": "".join(f"{count}{unit}" for unit, count in (settings.BACKUP_KEEP or {}).items()) or "off",
            "target": str(settings.BACKUP_URL or ""),
            "is_nightly": settings.NIGHTLY_BACKUP,
            "has_passphrase": bool(settings.BACKUP_PASSPHRASE),
        }
        return self.render(request, "events/backups.html", context)


def _runs(now: datetime) -> list[Run]:
    jobs = schedule.jobs()
    states = JobState.objects.in_bulk([job.name for job in jobs])
    return [
        Run(
            job.title,
            datetime.fromtimestamp(states[job.name].due_ms / 1000, UTC)
            if job.name in states
            else job.schedule.next_after(now),
            states.get(job.name),
        )
        for job in jobs
    ]
