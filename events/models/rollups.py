"""Counts by hour and over all time, the tallies of ingest, and the baseline of the public count."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from events.models.event import EventType


class LifetimeTotal(models.Model):
    """The number of accepted events of one type, without void successes; no deletion lowers it.

    The row of `flash_success` also contains the current baseline, so that the public count reads one row.
    """

    event_type = models.TextField(primary_key=True, choices=EventType.choices)
    accepted = models.BigIntegerField(default=0)
    baseline = models.BigIntegerField(default=0)
    last_received_at_ms = models.BigIntegerField(default=0)
    # The number of merges and splits of failure groups of this type. Ingest compares it with its cache of the rules.
    merges = models.BigIntegerField(db_default=0)

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(condition=Q(accepted__gte=0), name="events_lifetimetotal_accepted"),
            models.CheckConstraint(condition=Q(baseline__gte=0), name="events_lifetimetotal_baseline"),
        ]

    def __str__(self) -> str:
        return f"{self.event_type}: {self.baseline} + {self.accepted}"


class HourlyRollup(models.Model):
    """The number of events of one type, model and version in one hour, UTC, by our clock."""

    hour_ms = models.BigIntegerField()
    event_type = models.TextField(choices=EventType.choices)
    model = models.TextField()
    app_version = models.TextField()
    accepted = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [
            # Every read uses this index: a range of hours.
            models.UniqueConstraint(
                fields=["hour_ms", "event_type", "model", "app_version"], name="events_hourlyrollup_bucket"
            ),
            models.CheckConstraint(condition=Q(accepted__gte=0), name="events_hourlyrollup_accepted"),
        ]

    def __str__(self) -> str:
        return f"{self.hour_ms} {self.event_type} {self.model} {self.app_version}: {self.accepted}"


class SumOfDay(models.Model):
    """The sum of the hourly rows of one type, model and version over one past UTC day.

    A day without rows is read by hour.
    """

    day_ms = models.BigIntegerField()
    event_type = models.TextField(choices=EventType.choices)
    model = models.TextField()
    app_version = models.TextField()
    accepted = models.BigIntegerField()

    class Meta:
        abstract = True
        default_permissions = ()
        constraints = [
            # Every read uses this index: a range of days.
            models.UniqueConstraint(
                fields=["day_ms", "event_type", "model", "app_version"], name="%(app_label)s_%(class)s_bucket"
            ),
            models.CheckConstraint(condition=Q(accepted__gt=0), name="%(app_label)s_%(class)s_accepted"),
        ]

    def __str__(self) -> str:
        return f"{self.day_ms} {self.event_type} {self.model} {self.app_version}: {self.accepted}"


class DailyRollup(SumOfDay):
    """The sums of HourlyRollup. Long spans read these instead of the hours: they are a tenth as many rows."""


class ExpectedRollup(models.Model):
    """The number of events of one expected group in one hour, UTC, by model, version, mode and connection.

    HourlyRollup and ModeRollup count these events too, under the same names. A reader subtracts these counts to get the
    failures. A group that was merged into an expected one keeps rows for its events that are no longer stored.
    """

    fingerprint = models.TextField()
    hour_ms = models.BigIntegerField()
    event_type = models.TextField(choices=EventType.choices)
    model = models.TextField()
    app_version = models.TextField()
    write_mode = models.SmallIntegerField()
    connected = models.SmallIntegerField()
    accepted = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [
            # The figures of a range of hours.
            models.UniqueConstraint(
                fields=["hour_ms", "fingerprint", "model", "app_version", "write_mode", "connected"],
                name="events_expectedrollup_bucket",
            ),
            models.CheckConstraint(condition=Q(accepted__gte=0), name="events_expectedrollup_accepted"),
        ]
        # The rows of one group, to delete or recount them.
        indexes = [models.Index(fields=["fingerprint", "hour_ms"], name="events_expectedrollup_group")]

    def __str__(self) -> str:
        return f"{self.fingerprint} {self.hour_ms} {self.model} {self.app_version}: {self.accepted}"


class DailyExpected(SumOfDay):
    """The sums of ExpectedRollup, over all groups."""


class ModeRollup(models.Model):
    """The number of events of one type on one UTC day, by write mode and by whether a radio was connected."""

    day_ms = models.BigIntegerField()
    event_type = models.TextField(choices=EventType.choices)
    write_mode = models.SmallIntegerField()
    connected = models.SmallIntegerField()
    accepted = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [
            # Every read uses this index: a range of days.
            models.UniqueConstraint(
                fields=["day_ms", "event_type", "write_mode", "connected"], name="events_moderollup_bucket"
            ),
            models.CheckConstraint(condition=Q(accepted__gte=0), name="events_moderollup_accepted"),
        ]

    def __str__(self) -> str:
        return f"{self.day_ms} {self.event_type} {self.write_mode} {self.connected}: {self.accepted}"


class FacetRollup(models.Model):
    """The number of events of one type on one UTC day with one value of a facet of the metadata.

    An event without a value has no row: its number is that of all events minus those with a value.
    """

    day_ms = models.BigIntegerField()
    event_type = models.TextField(choices=EventType.choices)
    facet = models.TextField()
    name = models.TextField()
    accepted = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [
            # Every read uses this index: a range of days.
            models.UniqueConstraint(fields=["day_ms", "event_type", "facet", "name"], name="events_facetrollup_bucket"),
            models.CheckConstraint(condition=Q(accepted__gte=0), name="events_facetrollup_accepted"),
        ]

    def __str__(self) -> str:
        return f"{self.day_ms} {self.event_type} {self.facet} {self.name}: {self.accepted}"


class IngestTally(models.Model):
    """The number of requests or batch items that stored no event, by UTC day and outcome.

    The outcomes are those of `refusals.RefusalReason`, and those that other apps define.
    """

    seen_on = models.DateField()
    outcome = models.TextField()
    count = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["seen_on", "outcome"], name="events_ingesttally_day_outcome"),
        ]

    def __str__(self) -> str:
        return f"{self.seen_on} {self.outcome}: {self.count}"


class CounterBaseline(models.Model):
    """The start of the public count: successes from before this site. The newest row is the current one.

    Rows are only added, so the table is the history of all changes: value, reason, author, time.
    """

    value = models.BigIntegerField()
    note = models.TextField()
    set_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    set_by_name = models.TextField("set by")
    set_at = models.DateTimeField()

    class Meta:
        default_permissions = ("add", "view")
        ordering = ["-id"]
        verbose_name = "baseline"
        verbose_name_plural = "baseline history"
        constraints = [
            models.CheckConstraint(condition=Q(value__gte=0), name="events_counterbaseline_value"),
        ]

    def __str__(self) -> str:
        return f"{self.value} ({self.note})"
