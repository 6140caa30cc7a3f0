"""Corrections of the public count, and the shares that an undo gives back."""

from django.db import models
from django.db.models import F, Q


class Correction(models.Model):
    """One operation that made successes void: which, why, by whom, when; and its undo.

    The selection is half-open by our clock; NULL in `model`, `app_version` or `source` selects any.
    `voided` and `restored` grow batch by batch, in the transaction of each batch.
    """

    since_ms = models.BigIntegerField()
    until_ms = models.BigIntegerField()
    model = models.TextField(null=True)
    app_version = models.TextField("version", null=True)
    source = models.TextField(null=True)
    reason = models.TextField()
    made_by_name = models.TextField("made by")
    made_at = models.DateTimeField("made")
    # How many successes matched when the operation began.
    matched = models.BigIntegerField()
    voided = models.BigIntegerField(default=0)
    # NULL: the operation still runs, or was stopped before its last batch.
    finished_at = models.DateTimeField(null=True)
    restored = models.BigIntegerField(default=0)
    undo_reason = models.TextField(default="")
    undone_by_name = models.TextField(default="")
    # When the undo began; it is complete when `restored` is `voided`.
    undone_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ("add", "view")
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(restored__gte=0) & Q(restored__lte=F("voided")), name="events_correction_restored"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pk}: {self.reason}"

    @property
    def in_force(self) -> int:
        """Return how many successes are void by this correction now."""
        return self.voided - self.restored


class CorrectionShare(models.Model):
    """How many successes of one hour, model, version, mode, connection and source a correction made void.

    An undo restores every count from these rows, also for events that were pruned or erased meanwhile.
    `first_ms` is when the first of them was received.
    """

    correction = models.ForeignKey(Correction, on_delete=models.CASCADE, db_index=False, related_name="shares")
    hour_ms = models.BigIntegerField()
    model = models.TextField()
    app_version = models.TextField()
    write_mode = models.SmallIntegerField()
    connected = models.SmallIntegerField()
    source = models.TextField()
    first_ms = models.BigIntegerField()
    voided = models.BigIntegerField()
    restored = models.BigIntegerField(default=0)

    class Meta:
        default_permissions = ()
        constraints = [
            # Also the index of every read: one correction.
            models.UniqueConstraint(
                fields=["correction", "hour_ms", "model", "app_version", "write_mode", "connected", "source"],
                name="events_correctionshare_key",
            ),
            models.CheckConstraint(
                condition=Q(restored__gte=0) & Q(restored__lte=F("voided")), name="events_correctionshare_restored"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.hour_ms} {self.model} {self.app_version}: {self.voided}"
