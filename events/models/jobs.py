"""Unattended work: the state of each job, its last runs, and the backups."""

from django.db import models
from django.db.models import Q


class JobOutcome(models.TextChoices):
    SUCCEEDED = "succeeded", "succeeded"
    FAILED = "failed", "failed"
    TIMED_OUT = "timed_out", "exceeded its time limit"
    ABANDONED = "abandoned", "its process ended"


class JobState(models.Model):
    """The schedule, the lease and the last end of one job.

    A process claims a job by an UPDATE of its row: it must be due, and its lease free or its heartbeat stale.
    """

    name = models.TextField(primary_key=True)
    due_ms = models.BigIntegerField("next run")
    holder = models.TextField(default="")  # "" while no process runs the job
    heartbeat_ms = models.BigIntegerField(null=True)
    started_ms = models.BigIntegerField("last start", null=True)
    ended_ms = models.BigIntegerField("last end", null=True)
    succeeded_ms = models.BigIntegerField("last success", null=True)
    outcome = models.TextField(choices=JobOutcome, null=True)
    message = models.TextField(default="")

    class Meta:
        default_permissions = ("view", "change")
        ordering = ["name"]
        verbose_name = "job"

    def __str__(self) -> str:
        return self.name


class JobRun(models.Model):
    """One run of a job. The newest 50 of each job are kept; `outcome` is NULL while it runs."""

    job = models.TextField()
    started_ms = models.BigIntegerField("started")
    ended_ms = models.BigIntegerField("ended", null=True)
    outcome = models.TextField(choices=JobOutcome, null=True)
    message = models.TextField(default="")

    class Meta:
        default_permissions = ()
        # The runs of a job, newest first.
        indexes = [models.Index(fields=["job", "-id"], name="events_jobrun_job")]

    def __str__(self) -> str:
        return f"{self.job} {self.started_ms}"


class Backup(models.Model):
    """One verified backup that exists in a BACKUP_DIR.

    `proven_ms` is the time at which a restore drill restored it and found equal counts. `problem` says in words why
    the last check of the file failed. The manifest beside the file has the same values.
    """

    name = models.TextField()  # the file's name in its folder
    # The random name of the folder: machines with one PostgreSQL database may have separate folders.
    folder = models.TextField(default="")
    host = models.TextField(default="")
    made_ms = models.BigIntegerField("made")
    file_bytes = models.BigIntegerField("size")
    sha256 = models.TextField()
    is_encrypted = models.BooleanField("encrypted")
    events = models.BigIntegerField()
    proven_ms = models.BigIntegerField("proven", null=True)
    problem = models.TextField(default="")
    copied_ms = models.BigIntegerField("copied", null=True)  # into the bucket of BACKUP_URL

    class Meta:
        default_permissions = ("view",)
        ordering = ["-made_ms"]
        constraints = [
            models.UniqueConstraint(fields=["folder", "name"], name="events_backup_file"),
            models.CheckConstraint(condition=Q(file_bytes__gt=0), name="events_backup_not_empty"),
        ]

    def __str__(self) -> str:
        return self.name
