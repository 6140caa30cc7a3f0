"""The append-only log of what maintainers did."""

from django.db import models
from django.db.models import F, Q


class AuditKind(models.TextChoices):
    """Of what an entry of the audit log tells."""

    EXPORT = "export"
    TRIAGE = "triage"
    TOKEN = "token"  # noqa: S105 (a word)
    BASELINE = "baseline"
    MODE = "mode"
    PRUNE = "prune"
    ERASURE = "erasure"
    CORRECTION = "correction"


class AuditEntry(models.Model):
    """One thing that somebody did: who, when, what, why. Rows are only ever added; triggers refuse the rest.

    `who` is a name and no foreign key: it outlives the person's account.
    """

    at_ms = models.BigIntegerField("when")
    kind = models.TextField(choices=AuditKind.choices)
    who = models.TextField()
    what = models.TextField()
    why = models.TextField()
    about = models.TextField()
    # The fingerprint of a failure group, or nothing.
    subject = models.TextField()

    class Meta:
        default_permissions = ("view",)
        verbose_name = "audit entry"
        verbose_name_plural = "audit log"
        # No constraint on `kind`: a new one would have SQLite make the table anew, without its triggers.
        # Each ends with the order of the page, newest first.
        indexes = [
            # Everything.
            models.Index(F("at_ms").desc(), F("id").desc(), name="events_audit_at"),
            # Of one kind.
            models.Index(F("kind"), F("at_ms").desc(), F("id").desc(), name="events_audit_kind"),
            # By one person.
            models.Index(F("who"), F("at_ms").desc(), F("id").desc(), name="events_audit_who"),
            # The history of a failure group.
            models.Index(
                F("subject"), F("at_ms").desc(), F("id").desc(), condition=~Q(subject=""), name="events_audit_subject"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.who}: {self.what}"
