"""The AppConfig of the product."""

from typing import Any

from django.apps import AppConfig


class Events(AppConfig):
    name = "events"

    def jobs(self) -> tuple[Any, ...]:
        """Return the jobs of this app: `events.maintenance.jobs.registry.Job`."""
        return ()
