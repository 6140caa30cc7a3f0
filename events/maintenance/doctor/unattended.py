"""Findings about unattended work: jobs, backups, alerts. Their messages may contain names, so none is repeated."""

from collections.abc import Iterator
from datetime import date, timedelta

from django.conf import settings

from events.maintenance.backups import schedule, warnings
from events.maintenance.doctor.findings import Examination, Finding, age
from events.maintenance.jobs import registry
from events.models import AlertChannel, Backup, JobOutcome, JobState, SiteDay

MINUTE_MS, DAY_MS = 60_000, 86_400_000
LATE_MS = 15 * MINUTE_MS
SILENT_MS = 10 * MINUTE_MS  # since the heartbeat of a process that runs a job
OLD_BACKUP_MS, OLD_PROOF_MS = 2 * DAY_MS, 15 * DAY_MS
NEW = timedelta(days=2)
WHY = "*Jobs* in the admin shows why."
SERVE = "Run the site with `manage.py serve`"


def jobs(examination: Examination) -> Iterator[Finding]:
    """Yield one finding for each job that needs a look, and one for all others."""
    offered = registry.registered()
    rows = {row.name: row for row in JobState.objects.filter(name__in=offered)}
    if offered and not rows:
        yield Finding.look("unattended.jobs", "Jobs", "no process has run them yet", f"{SERVE}, which runs the jobs.")
        return
    findings = [
        finding for name, job in offered.items() for finding in _of_job(examination, name, job.title, rows.get(name))
    ]
    yield from findings
    if not offered:
        yield Finding.fine("unattended.jobs", "Jobs", "there are none")
    elif not findings:
        last_ms = max((row.ended_ms or 0 for row in rows.values()), default=0)
        words = f"the last one ended {age(examination.now_ms - last_ms)} ago" if last_ms else "none has run yet"
        yield Finding.fine("unattended.jobs", "Jobs", f"{len(offered)} as planned; {words}")


def _of_job(examination: Examination, name: str, title: str, row: JobState | None) -> Iterator[Finding]:
    finding, now_ms = f"unattended.job.{name}", examination.now_ms
    if row is None:
        yield Finding.look(finding, title, "has never run", f"{SERVE}, which runs the jobs.")
        return
    is_running = bool(row.holder)
    if is_running and now_ms - (row.heartbeat_ms or 0) > SILENT_MS:
        yield Finding.look(
            finding,
            title,
            f"its process has been silent for {age(now_ms - (row.heartbeat_ms or row.started_ms or now_ms))}",
            "Another process takes it over. If none does, restart the site.",
        )
    elif row.outcome and row.outcome != JobOutcome.SUCCEEDED and not is_running:
        since = f"; its last success was {age(now_ms - row.succeeded_ms)} ago" if row.succeeded_ms else ""
        ended = f" {age(now_ms - row.ended_ms)} ago" if row.ended_ms else ""
        yield Finding.wrong(finding, title, f"{JobOutcome(row.outcome).label}{ended}{since}", WHY)
    elif not is_running and now_ms - row.due_ms > LATE_MS:
        yield Finding.wrong(
            finding,
            title,
            f"was due {age(now_ms - row.due_ms)} ago, and no process runs it",
            f"{SERVE}, or the jobs alone with `manage.py run_jobs`.",
        )


def backups(examination: Examination) -> Iterator[Finding]:
    if not settings.NIGHTLY_BACKUP:
        yield Finding.fine(
            "unattended.backups",
            "Backups",
            f"{Backup.objects.count()} kept; NIGHTLY_BACKUP is off, so none is expected",
        )
        return
    now_ms = examination.now_ms
    newest = Backup.objects.order_by("-made_ms").first()
    if newest is None:
        yield _without_backup(examination.now.date())
        return
    title, made = "Backups", age(now_ms - newest.made_ms)
    text = f"{Backup.objects.count()} kept; the newest is {made} old{', encrypted' if newest.is_encrypted else ''}"
    make = "Run `manage.py backup`, and look at the job *Backup*: " + WHY
    if newest.problem:
        yield Finding.wrong("unattended.backups", title, f"{text}; its check failed", make)
    elif now_ms - newest.made_ms > OLD_BACKUP_MS:
        yield Finding.wrong("unattended.backups", title, text, make)
    else:
        yield Finding.fine("unattended.backups", title, text)
    yield _proof(now_ms)


def copies(examination: Examination) -> Iterator[Finding]:
    """Yield a finding about the copies in the bucket, as the last run of their job saw them. Sends no request."""
    if settings.BACKUP_URL is None:
        return
    name, title = "unattended.copies", "Copies"
    backups = list(Backup.objects.order_by("-made_ms"))
    copied = [backup for backup in backups if backup.copied_ms is not None]
    text = (
        f"{len(copied)} of {len(backups)} backups are copied to BACKUP_URL; the newest is"
        f" {age(examination.now_ms - copied[0].made_ms)} old"
        if copied
        else "none yet in BACKUP_URL"
    )
    if warnings.uncopied_days(backups, examination.now):
        yield Finding.wrong(name, title, text, f"Run the job *{schedule.COPY_TITLE}* in the admin. {WHY}")
    elif not copied:
        yield Finding.look(name, title, text, "The site copies a new backup within an hour.")
    else:
        yield Finding.fine(name, title, text)


def alerts(examination: Examination) -> Iterator[Finding]:
    name, title = "unattended.alerts", "Alerts"
    channels = AlertChannel.objects.filter(is_on=True)
    number, failing = channels.count(), channels.exclude(problem="").count()
    if failing:
        text = f"the last message failed on {failing} of {number} channels"
        yield Finding.look(name, title, text, "*Alert channels* in the admin and `manage.py channels` show why.")
    else:
        yield Finding.fine(name, title, f"channels that are on: {number}" if number else "no channel is on")


def _without_backup(today: date) -> Finding:
    name, title, make = "unattended.backups", "Backups", "Run `manage.py backup`."
    first = SiteDay.objects.order_by("seen_on").values_list("seen_on", flat=True).first()
    if first is None or today - first < NEW:
        return Finding.look(name, title, "none yet; the site makes one each day", make)
    return Finding.wrong(name, title, "none: all events are lost if the disk fails", make)


def _proof(now_ms: int) -> Finding:
    name, title = "unattended.proof", "Restore drill"
    run = "Run the job *Restore drill* in the admin."
    proven = Backup.objects.filter(proven_ms__isnull=False).order_by("-made_ms").first()
    if proven is not None and proven.proven_ms is not None:
        text = f"the newest backup that was restored is {age(now_ms - proven.made_ms)} old"
        if now_ms - proven.proven_ms <= OLD_PROOF_MS:
            return Finding.fine(name, title, text)
        return Finding.look(name, title, f"{text}; the last drill was {age(now_ms - proven.proven_ms)} ago", run)
    first_ms = Backup.objects.order_by("made_ms").values_list("made_ms", flat=True).first() or now_ms
    if now_ms - first_ms > OLD_PROOF_MS:
        return Finding.wrong(name, title, "no backup was ever restored, so none is proven", run)
    return Finding.look(name, title, "no backup was restored yet; the site tries one each week", run)
