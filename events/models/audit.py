"""The append-only log of maintainers' actions."""

from django.db import models
from django.db.models import F, Q


class AuditKind(models.TextChoices):
    """The kind of action that an entry of the audit log records."""

    EXPORT = "export"
    TRIAGE = "triage"
    TOKEN = "token"  # noqa: S105 (a word)
    BASELINE = "baseline"
    MODE = "mode"
    PRUNE = "prune"
    ERASURE = "erasure"
    CORRECTION = "correction"
    SOURCE_MAP = "sourcemap", "Source map"
    JOB = "job"
    RESTORE = "restore"
    ALERT = "alert"
    VIEW = "view"


class AuditEntry(models.Model):
    """One action: who, when, what, why. Rows are only added; triggers refuse updates and deletes.

    `who` is a name and no foreign key, so that it survives the deletion of the account.
    """

    at_ms = models.BigIntegerField("when")
    kind = models.TextField(choices=AuditKind.choices)
    who = models.TextField()
    what = models.TextField()
    why = models.TextField()
    about = models.TextField()
    # The fingerprint of a failure group, or "".
    subject = models.TextField()

    class Meta:
        default_permissions = ("view",)
        verbose_name = "audit entry"
        verbose_name_plural = "audit log"
        # No constraint on `kind`: adding one would make SQLite recreate the table without its triggers.
        # Each index ends with the order of the page, newest first.
        indexes = [
            # All entries.
            models.Index(F("at_ms").desc(), F("id").desc(), name="events_audit_at"),
            # Filter by kind.
            models.Index(F("kind"), F("at_ms").desc(), F("id").desc(), name="events_audit_kind"),
            # Filter by person.
            models.Index(F("who"), F("at_ms").desc(), F("id").desc(), name="events_audit_who"),
            # The history of a failure group.
            models.Index(
                F("subject"), F("at_ms").desc(), F("id").desc(), condition=~Q(subject=""), name="events_audit_subject"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.who}: {self.what}"
