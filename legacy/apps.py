"""The AppConfig of the adapter to the old system."""

from datetime import datetime
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.http import HttpRequest


class OldSystem(AppConfig):
    name = "legacy"
    verbose_name = "The old system"

    def ready(self) -> None:
        checks.register(_check, deploy=True)

    def jobs(self) -> tuple[Any, ...]:
        """Return the nightly comparison, while an old route still accepts events."""
        from events.maintenance.jobs.registry import Job, work_at
        from events.maintenance.jobs.schedules import Daily
        from legacy.cutover import modes
        from legacy.models import Mode

        if modes.current() == Mode.GONE:
            return ()
        check = work_at("legacy.cutover.parity.check_nightly")
        return (Job("parity", "Compare the old routes with /event", Daily(2, 30), check),)

    def alert_rules(self) -> tuple[Any, ...]:
        """Return the rule about parity, while an old route still accepts events."""
        from events.alerts.rules.evaluation import Rule
        from events.models import AlertKind
        from legacy.cutover import modes, parity
        from legacy.models import Mode

        if modes.current() == Mode.GONE:
            return ()
        return (Rule("parity", AlertKind.PARITY, parity.alert_problems),)

    def retention(self) -> Any:
        """Return the module that applies a prune or an erasure: `events.maintenance.retention.RetentionHooks`."""
        from legacy.cutover import retention

        return retention

    def corrections(self) -> Any:
        """Return the module that applies a correction of the count: `events.counting.corrections.CorrectionHooks`."""
        from legacy.cutover import corrections

        return corrections

    def doctor_checks(self) -> tuple[Any, ...]:
        """Return the checks of the old routes: `events.maintenance.doctor.findings.Check`."""
        from legacy import diagnosis

        return diagnosis.doctor_checks()

    def overview_panel(self, request: HttpRequest, now: datetime) -> tuple[str, dict[str, Any]] | None:
        """Return the template and the context of the panel on the admin's index, or None without the permission."""
        from legacy.admin import pages  # Models cannot be imported while app configs load.

        return pages.overview_panel(request, now)


def _check(**kwargs: Any) -> list[checks.CheckMessage]:
    from legacy.checks import old_routes_beside_tokens  # the process of the jobs needs neither checks nor their imports

    return old_routes_beside_tokens()
