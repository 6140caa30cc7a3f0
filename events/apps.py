"""The AppConfig of the product."""

from typing import Any

from django.apps import AppConfig


class Events(AppConfig):
    name = "events"

    def jobs(self) -> tuple[Any, ...]:
        """Return the jobs of this app: `events.maintenance.jobs.registry.Job`."""
        from events.maintenance.jobs.registry import Job  # Models cannot be imported while app configs load.
        from events.maintenance.jobs.schedules import Daily

        return (Job("daily-counts", "Sum the counts of past days", Daily(1, 10), _sum_past_days),)

    def banners(self) -> tuple[Any, ...]:
        """Return the functions that find problems of the site: `events.maintenance.banners.BannerSource`."""
        return ()


def _sum_past_days() -> str:
    from events import clock
    from events.counting import rollups

    return f"Summed {rollups.sum_past_days(clock.now_ms()):,} days."
