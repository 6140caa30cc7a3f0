"""Alerts: what happened, the channels that report it, and one delivery for each alert and channel."""

from django.conf import settings
from django.db import models
from django.db.models import Q


class AlertKind(models.TextChoices):
    """The topic of an alert. The value stands in brackets at the start of the subject."""

    NEW = "new", "new failure"
    REGRESSION = "regression", "regression"
    RELEASE = "release", "worse release"
    RATE = "rate", "failure rate"
    SILENCE = "silence", "silence"
    JOB = "job", "jobs and backups"
    DISK = "disk", "disk space"
    PARITY = "parity", "parity with the old system"
    SUMMARY = "summary", "Monday's digest"


class AlertChannel(models.Model):
    """A destination of alerts: an Apprise URL, or a person, who gets mail at the address of the account.

    `sealed_url` is the URL, encrypted with the key of the site, and "" for a person. No page shows it again; `service`
    names its scheme. Times are epoch milliseconds, UTC.
    """

    name = models.TextField(unique=True)
    sealed_url = models.TextField(default="")
    service = models.TextField()
    person = models.OneToOneField(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE)
    kinds = models.JSONField(default=list)  # the values of AlertKind that it gets
    is_on = models.BooleanField("on", default=True)
    added_at_ms = models.BigIntegerField("added")
    added_by_name = models.TextField("added by")
    # The last delivery that succeeded, and why the last one failed ("" if it did not).
    delivered_at_ms = models.BigIntegerField("last message", null=True)
    problem = models.TextField(default="")
    # The time of a request for a test message that no job has sent yet.
    test_requested_ms = models.BigIntegerField(null=True)

    class Meta:
        default_permissions = ("view", "add", "change", "delete")
        ordering = ["name"]
        verbose_name = "alert channel"
        constraints = [
            models.CheckConstraint(
                condition=Q(person__isnull=True) & ~Q(sealed_url="") | Q(person__isnull=False, sealed_url=""),
                name="events_alertchannel_destination",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Alert(models.Model):
    """The outbox: one thing that happened, written in the transaction in which it happened.

    `key` is unique for each kind: of a group, it contains the fingerprint and the decision that the alert follows.
    `facts` are the values for the text. `planned_at_ms` is NULL until the deliveries are written.
    """

    kind = models.TextField(choices=AlertKind.choices)
    key = models.TextField()
    # The fingerprint of a failure group, or "".
    subject = models.TextField(default="")
    facts = models.JSONField(default=dict)
    happened_at_ms = models.BigIntegerField("happened")
    planned_at_ms = models.BigIntegerField(null=True)

    class Meta:
        default_permissions = ("view",)
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=AlertKind.values), name="events_alert_kind"),
            models.UniqueConstraint(fields=["kind", "key"], name="events_alert_once"),
        ]
        indexes = [
            # The alerts without deliveries.
            models.Index(fields=["id"], condition=Q(planned_at_ms__isnull=True), name="events_alert_unplanned"),
            # The page of the outbox, and the deletion of old alerts.
            models.Index(fields=["happened_at_ms", "id"], name="events_alert_happened"),
        ]

    def __str__(self) -> str:
        return f"[{self.kind}] {self.key}"


class DeliveryState(models.TextChoices):
    WAITING = "waiting", "waiting"
    SENT = "sent", "sent"
    GIVEN_UP = "given_up", "given up"


class AlertDelivery(models.Model):
    """The delivery of one alert by one channel. It is repeated until it succeeds, or is given up after a day."""

    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="deliveries")
    channel = models.ForeignKey(AlertChannel, on_delete=models.CASCADE, related_name="deliveries")
    state = models.TextField(choices=DeliveryState.choices, default=DeliveryState.WAITING)
    due_ms = models.BigIntegerField("next attempt")
    attempts = models.IntegerField(default=0)
    ended_at_ms = models.BigIntegerField("ended", null=True)  # the time at which it was sent or given up
    problem = models.TextField(default="")  # why the last attempt failed

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(condition=Q(state__in=DeliveryState.values), name="events_alertdelivery_state"),
            models.UniqueConstraint(fields=["alert", "channel"], name="events_alertdelivery_once"),
        ]
        # The deliveries that are due, by channel.
        indexes = [models.Index(fields=["state", "channel", "due_ms"], name="events_alertdelivery_due")]

    def __str__(self) -> str:
        return f"{self.alert_id} {self.channel_id} {self.state}"
