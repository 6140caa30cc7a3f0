"""The AppConfig of the product."""

from typing import Any

from django.apps import AppConfig

RULES_MINUTES = 5


class Events(AppConfig):
    name = "events"

    def jobs(self) -> tuple[Any, ...]:
        """Return the jobs of this app: `events.maintenance.jobs.registry.Job`."""
        from events.maintenance.backups import schedule  # models cannot be imported while app configs load
        from events.maintenance.jobs.registry import Job, work_at
        from events.maintenance.jobs.schedules import Daily, Every

        pruning = "events.maintenance.retention_policy.pruning"
        check_counts = work_at("events.maintenance.integrity.check_yesterday")
        prune_maps = work_at("events.sourcemaps.store.prune_all")
        revoke_tokens = work_at("events.ingest.tokens.revoke_expired")
        return (
            Job("daily-sums", "Sum the counts of past days", Daily(1, 10), _sum_past_days),
            *schedule.jobs(),
            Job("retention", "Delete old events", Daily(3, 17), work_at(f"{pruning}.delete_old_events"), 300),
            Job("reclaim-space", "Reclaim disk space", Daily(4, 47), work_at(f"{pruning}.reclaim_space")),
            Job("counts", "Check the counts", Daily(3, 40), check_counts),
            Job("source-maps", "Delete source maps over the limit", Daily(3, 20), prune_maps, 10),
            Job("alert-tests", "Send requested test messages", Every(60), _send_test_messages, 60),
            Job("expired-tokens", "Revoke expired tokens", Daily(3, 10), revoke_tokens, 10),
            Job("alert-rules", "Look for alerts", Every(RULES_MINUTES), _evaluate_alert_rules, 10),
            Job("alerts", "Send alerts", Every(1), _deliver_alerts, 12),
            Job("old-alerts", "Delete old alerts", Daily(3, 50), _delete_old_alerts, 10),
        )

    def alert_rules(self) -> tuple[Any, ...]:
        """Return the rules that find alerts: `events.alerts.rules.evaluation.Rule`."""
        from events.alerts.rules import decisions, rates, releases, silences, summaries
        from events.alerts.rules.evaluation import Rule
        from events.maintenance import alerts
        from events.models import AlertKind

        return (
            Rule("decisions", AlertKind.REGRESSION, decisions.find),
            Rule("releases", AlertKind.RELEASE, releases.find),
            Rule("rates", AlertKind.RATE, rates.find),
            Rule("silences", AlertKind.SILENCE, silences.find, silences.ended),
            Rule("jobs", AlertKind.JOB, alerts.jobs),
            Rule("backups", AlertKind.JOB, alerts.backups),
            Rule("disk", AlertKind.DISK, alerts.disk_space),
            Rule("summaries", AlertKind.SUMMARY, summaries.find),
        )

    def digest_lines(self) -> tuple[Any, ...]:
        """Return the functions that describe the state of the site in Monday's digest."""
        from events.maintenance import alerts

        return (alerts.digest_lines,)

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
            Check("unattended.copies", "Copies", unattended.copies),
            Check("unattended.alerts", "Alerts", unattended.alerts),
            Check("traffic.proxies", "Proxies", traffic.proxies),
            Check("traffic.refusals", "Refusals", traffic.refusals),
            Check("traffic.hosts", "Hosts", traffic.hosts),
        )


def _send_test_messages() -> str:
    from events.alerts.channels import trials

    return trials.send_requested()


def _sum_past_days() -> str:
    from events import clock
    from events.counting import rollups

    return f"Summed {rollups.sum_past_days(clock.now_ms()):,} days."


# Each of these imports its code when it runs: the process that waits for the next job stays small.
def _evaluate_alert_rules() -> str:
    from events import clock
    from events.alerts.rules import evaluation
    from events.maintenance.jobs.registry import JobFailed

    try:
        return evaluation.evaluate(clock.now())
    except evaluation.RulesFailed as failure:
        raise JobFailed(str(failure)) from None


def _deliver_alerts() -> str:
    from events.alerts import delivery

    return delivery.deliver()


def _delete_old_alerts() -> str:
    from events import clock
    from events.alerts import outbox

    return f"Deleted {outbox.delete_old(clock.now_ms()):,} alerts."
