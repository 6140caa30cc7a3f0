"""Failure groups, their counts by hour, and for whom they fail."""

from django.db import models
from django.db.models import Q

from events.models.event import EventType
from events.querysets import FailureGroupQuerySet


class GroupStatus(models.TextChoices):
    OPEN = "open", "open"
    RESOLVED = "resolved", "resolved"
    MUTED = "muted", "muted"


class FailureGroup(models.Model):
    """Failures that are the same failure, what is known of them all, and what was decided about it.

    `accepted` counts every event that ever joined; no retention lowers it. Times are epoch
    milliseconds by our clock, UTC. Those of an event can lie in the future: to show them, take `ranking.seen_until`.
    """

    # Added by `ranking.seen_until`.
    first_ms: int
    last_ms: int
    regressed_ms: int | None

    fingerprint = models.TextField(primary_key=True)
    algorithm = models.SmallIntegerField()
    event_type = models.TextField("type", choices=EventType.choices)
    error_name = models.TextField("error", null=True)
    title = models.TextField()
    frame = models.TextField()
    accepted = models.BigIntegerField("events")
    model_count = models.IntegerField("models")
    version_count = models.IntegerField("versions")
    first_seen_ms = models.BigIntegerField("first seen")
    last_seen_ms = models.BigIntegerField("last seen")
    status = models.TextField(choices=GroupStatus.choices)
    # Resolved: in this version, or, where it is NULL, in the first one that is new after `decided_at_ms`.
    fixed_in = models.TextField("fixed in", null=True)
    # Muted: until then, or for good where it is NULL.
    muted_until_ms = models.BigIntegerField("muted until", null=True)
    decided_at_ms = models.BigIntegerField(null=True)
    decided_by_name = models.TextField(null=True)
    note = models.TextField()
    # Set while the group is open again after it was resolved: since when, and the event that did it.
    regressed_at_ms = models.BigIntegerField(null=True)
    regressed_by = models.TextField(null=True)

    objects = FailureGroupQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        verbose_name = "failure group"
        constraints = [
            models.CheckConstraint(condition=Q(status__in=GroupStatus.values), name="events_failuregroup_status"),
            models.CheckConstraint(condition=Q(accepted__gte=0), name="events_failuregroup_accepted"),
        ]
        # One for each column that the list can be sorted by, and the fingerprint, which ends every order.
        indexes = [
            models.Index(fields=["title", "fingerprint"], name="events_group_title"),
            models.Index(fields=["event_type", "fingerprint"], name="events_group_type"),
            models.Index(fields=["accepted", "fingerprint"], name="events_group_accepted"),
            models.Index(fields=["model_count", "fingerprint"], name="events_group_models"),
            models.Index(fields=["version_count", "fingerprint"], name="events_group_versions"),
            # Also how many groups of a type are new on a day, and which.
            models.Index(fields=["first_seen_ms", "fingerprint"], name="events_group_first_seen"),
            models.Index(fields=["last_seen_ms", "fingerprint"], name="events_group_last_seen"),
            models.Index(fields=["status", "fingerprint"], name="events_group_status"),
            # Is there a group of an older algorithm?
            models.Index(fields=["algorithm"], name="events_group_algorithm"),
        ]

    def __str__(self) -> str:
        return self.title


class GroupHour(models.Model):
    """How many failures of one group came in one hour, UTC."""

    fingerprint = models.TextField()
    hour_ms = models.BigIntegerField()
    accepted = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [
            # Also the index of every read: one group, a range of hours.
            models.UniqueConstraint(fields=["fingerprint", "hour_ms"], name="events_grouphour_bucket"),
            models.CheckConstraint(condition=Q(accepted__gte=0), name="events_grouphour_accepted"),
        ]

    def __str__(self) -> str:
        return f"{self.fingerprint} {self.hour_ms}: {self.accepted}"


class Facet(models.TextChoices):
    """By what the failures of a group are broken down."""

    MODEL = "model"
    VERSION = "version"
    MODE = "mode"
    CONNECTED = "connected"


class GroupShare(models.Model):
    """How many failures of one group have one model, version, mode or connection, over all time."""

    fingerprint = models.TextField()
    facet = models.TextField(choices=Facet.choices)
    name = models.TextField()
    accepted = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [
            # Also the index of every read: one group, one facet.
            models.UniqueConstraint(fields=["fingerprint", "facet", "name"], name="events_groupshare_bucket"),
            models.CheckConstraint(condition=Q(accepted__gte=0), name="events_groupshare_accepted"),
        ]

    def __str__(self) -> str:
        return f"{self.fingerprint} {self.facet} {self.name}: {self.accepted}"
