"""The adapter to the old system as an app: taking it away is taking its lines out of settings and urls."""

from datetime import datetime
from typing import Any

from django.apps import AppConfig
from django.http import HttpRequest


class OldSystem(AppConfig):
    name = "legacy"
    verbose_name = "The old system"

    def ready(self) -> None:
        from legacy import checks  # noqa: F401  (registers it)

    def retention(self) -> Any:
        """Return what a prune and an erasure ask of this app: its `events.maintenance.retention.Adjunct`."""
        from legacy.cutover import retention

        return retention

    def corrections(self) -> Any:
        """Return what a correction of the count asks of this app: its `events.counting.corrections.Adjunct`."""
        from legacy.cutover import corrections

        return corrections

    def overview_panel(self, request: HttpRequest, now: datetime) -> tuple[str, dict[str, Any]] | None:
        """Return the template and the figures that the admin's index shows of this app; None without the right."""
        from legacy.admin import pages  # models, which are not there yet when apps are made

        return pages.overview_panel(request)
