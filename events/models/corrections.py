"""Corrections of the public count, and the shares that an undo restores."""

from django.db import models
from django.db.models import F, Q


class Correction(models.Model):
    """One operation that made successes void: the selection, the reason, the author, the times; and its undo.

    The selection is half-open by our clock; NULL in `model`, `app_version` or `source` matches any value.
    `voided` and `restored` increase in the transaction of each batch.
    """

    since_ms = models.BigIntegerField()
    until_ms = models.BigIntegerField()
    model = models.TextField(null=True)
    app_version = models.TextField("version", null=True)
    source = models.TextField(null=True)
    reason = models.TextField()
    made_by_name = models.TextField("made by")
    made_at = models.DateTimeField("made")
    # The number of matching successes when the operation began.
    matched = models.BigIntegerField()
    voided = models.BigIntegerField(default=0)
    # NULL: the operation still runs, or was stopped before its last batch.
    finished_at = models.DateTimeField(null=True)
    restored = models.BigIntegerField(default=0)
    undo_reason = models.TextField(default="")
    undone_by_name = models.TextField(default="")
    # The time at which the undo began. The undo is complete when `restored` equals `voided`.
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
        """Return the number of successes that this correction keeps void now."""
        return self.voided - self.restored


class CorrectionFacet(models.Model):
    """The number of successes of one day with one value of a facet that a correction made void; see CorrectionShare."""

    correction = models.ForeignKey(Correction, on_delete=models.CASCADE, db_index=False, related_name="facets")
    day_ms = models.BigIntegerField()
    facet = models.TextField()
    name = models.TextField()
    voided = models.BigIntegerField()
    restored = models.BigIntegerField(default=0)

    class Meta:
        default_permissions = ()
        constraints = [
            # Every read uses this index: one correction.
            models.UniqueConstraint(
                fields=["correction", "day_ms", "facet", "name"], name="events_correctionfacet_key"
            ),
            models.CheckConstraint(
                condition=Q(restored__gte=0) & Q(restored__lte=F("voided")), name="events_correctionfacet_restored"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.day_ms} {self.facet} {self.name}: {self.voided}"


class CorrectionShare(models.Model):
    """The number of successes of one hour, model, version, mode, connection and source that a correction made void.

    An undo restores every count from these rows, also for events that were pruned or erased since. `first_ms` is the
    time at which the first of them was received.
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
            # Every read uses this index: one correction.
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
