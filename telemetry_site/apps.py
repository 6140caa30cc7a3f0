"""App configurations of the site and of its admin."""

import sys
from typing import Any

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class TelemetrySite(AppConfig):
    """Templates, commands and checks of the site as a whole."""

    name = "telemetry_site"

    def ready(self) -> None:
        from telemetry_site import checks  # noqa: F401  (registers them)

    def jobs(self) -> tuple[Any, ...]:
        """Return the jobs of the site: `events.maintenance.jobs.registry.Job`."""
        from events.maintenance.jobs.registry import Job, work_at
        from events.maintenance.jobs.schedules import Every

        delete = work_at("telemetry_site.expired_sessions.delete_all")
        # Hourly, so that the site soon notices when no process runs the jobs.
        return (Job("expired-sessions", "Delete expired sign-ins", Every(60), delete, 10),)

    def doctor_checks(self) -> tuple[Any, ...]:
        """Return the checks of the settings: `events.maintenance.doctor.findings.Check`."""
        from telemetry_site import configuration

        return configuration.doctor_checks()


class TelemetryAdmin(AdminConfig):
    default_site = "telemetry_site.admin.TelemetryAdminSite"

    def ready(self) -> None:
        # The process of the jobs has no pages. They would cost it 6 MB for as long as the site runs.
        if sys.argv[1:2] != ["run_jobs"]:
            super().ready()
