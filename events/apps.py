"""The AppConfig of the product."""

from typing import Any

from django.apps import AppConfig


class Events(AppConfig):
    name = "events"

    def jobs(self) -> tuple[Any, ...]:
        """Return the jobs of this app: `events.maintenance.jobs.registry.Job`."""
        from events.ingest import tokens  # models cannot be imported while app configs load
        from events.maintenance import integrity
        from events.maintenance.backups import schedule
        from events.maintenance.jobs.registry import Job
        from events.maintenance.jobs.schedules import Daily
        from events.maintenance.retention_policy import pruning
        from events.sourcemaps import store

        return (
            Job("daily-sums", "Sum the counts of past days", Daily(1, 10), _sum_past_days),
            *schedule.JOBS,
            Job("retention", "Delete old events", Daily(3, 17), pruning.delete_old_events, pruning.LIMIT_MINUTES),
            Job("reclaim-space", "Reclaim disk space", Daily(4, 47), pruning.reclaim_space),
            Job("counts", "Check the counts", Daily(3, 40), integrity.check_yesterday),
            Job("source-maps", "Delete source maps over the limit", Daily(3, 20), store.prune_all, 10),
            Job("expired-tokens", "Revoke expired tokens", Daily(3, 10), tokens.revoke_expired, 10),
        )

    def banners(self) -> tuple[Any, ...]:
        """Return the functions that find problems of the site: `events.maintenance.banners.BannerSource`."""
        from events.maintenance import disk
        from events.maintenance.backups import warnings
        from events.maintenance.jobs import problems

        return (problems.find, disk.banners, warnings.find)

    def doctor_checks(self) -> tuple[Any, ...]:
        """Return the checks of `manage.py doctor`: `events.maintenance.doctor.findings.Check`."""
        from django.conf import settings

        from events.maintenance.doctor import counts, database, files, traffic, unattended, versions
        from events.maintenance.doctor.findings import Check

        return (
            Check("versions", "Versions", lambda _: versions.versions(settings.VERSION), needs_database=False),
            Check("files.data_dir", "DATA_DIR", files.data_dir, needs_database=False),
            Check("files.free_disk", "Free disk", files.free_space, needs_database=False),
            Check("database.state", "State", database.state),
            Check("database.migrations", "Migrations", database.migrations),
            Check("database.integrity", "Integrity", database.integrity),
            Check("counts.totals", "Totals", counts.totals),
            Check("counts.rows", "Rows", counts.rows),
            Check("counts.clock", "Clock", counts.newest),
            Check("counts.kept", "Events", counts.kept),
            Check("counts.groups", "Groups", counts.groups),
            Check("unattended.jobs", "Jobs", unattended.jobs),
            Check("unattended.backups", "Backups", unattended.backups),
            Check("traffic.proxies", "Proxies", traffic.proxies),
            Check("traffic.refusals", "Refusals", traffic.refusals),
            Check("traffic.hosts", "Hosts", traffic.hosts),
        )


def _sum_past_days() -> str:
    from events import clock
    from events.counting import rollups

    return f"Summed {rollups.sum_past_days(clock.now_ms()):,} days."
