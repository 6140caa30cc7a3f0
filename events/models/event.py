"""The stored stream: one row for each event, in the columns of the plan."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Length

from events.querysets import SUCCESS, EventQuerySet

models.TextField.register_lookup(Length, "length")


class EventType(models.TextChoices):
    FLASH_SUCCESS = SUCCESS, "flash_success"
    FLASH_ERROR = "flash_error", "flash_error"
    CONNECT_ERROR = "connect_error", "connect_error"
    WINDOW_ERROR = "window_error", "window_error"
    UNHANDLED_REJECTION = "unhandled_rejection", "unhandled_rejection"


class Source(models.TextChoices):
    """By which door an event came in. `increment` marks a placeholder that waits for its `/event`."""

    EVENT = "event"
    CLIENT_LOG = "client_log"
    INCREMENT = "increment"
    IMPORT = "import"
    DEMO = "demo"


def zero_or_one(column: str, *, name: str) -> models.CheckConstraint:
    return models.CheckConstraint(condition=Q(**{f"{column}__in": (0, 1)}), name=name)


class Event(models.Model):
    """One thing that happened in a browser: the plan's `telemetry_events`, and where it came from.

    `received_at_ms` is our clock (epoch milliseconds, UTC), `occurred_at` the client's
    (`YYYY-MM-DDTHH:MM:SS.mmmZ`). The JSON columns hold compact JSON text.
    """

    id = models.TextField(primary_key=True)
    received_at_ms = models.BigIntegerField("received")
    occurred_at = models.TextField("occurred")
    event_type = models.TextField("type", choices=EventType.choices)
    session_id = models.TextField("session", null=True)
    model = models.TextField()
    write_mode = models.SmallIntegerField("write mode")
    connected = models.SmallIntegerField()
    app_version = models.TextField("version")
    message = models.TextField()
    error_name = models.TextField("error", null=True)
    stack = models.TextField(null=True)
    log_lines_json = models.TextField("log lines")
    metadata_json = models.TextField("metadata")
    source = models.TextField(choices=Source.choices)
    # Which FailureGroup a failure is in; no foreign key, or each insert would look the group up once more.
    fingerprint = models.TextField(null=True)
    # The Correction that made this success void; no foreign key, as above. NULL: the event counts.
    correction = models.BigIntegerField(null=True)

    objects = EventQuerySet.as_manager()

    class Meta:
        db_table = "telemetry_events"
        default_permissions = ("view",)
        permissions = [
            ("triage_event", "Can triage failures"),
            ("export_event", "Can export events as CSV"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(event_type__in=EventType.values), name="telemetry_events_event_type"),
            models.CheckConstraint(condition=Q(source__in=Source.values), name="telemetry_events_source"),
            zero_or_one("write_mode", name="telemetry_events_write_mode"),
            zero_or_one("connected", name="telemetry_events_connected"),
            models.CheckConstraint(
                condition=~Q(event_type=SUCCESS) | Q(session_id__isnull=False),
                name="telemetry_events_success_has_session",
            ),
            models.CheckConstraint(
                condition=Q(session_id__isnull=True) | (Q(session_id__length__gte=1) & Q(session_id__length__lte=128)),
                name="telemetry_events_session_id",
            ),
            models.CheckConstraint(
                condition=Q(message__length__gte=1) & Q(message__length__lte=500),
                name="telemetry_events_message",
            ),
            models.CheckConstraint(condition=Q(occurred_at__length=24), name="telemetry_events_occurred_at"),
            models.CheckConstraint(
                condition=~Q(event_type=SUCCESS) | Q(fingerprint__isnull=True),
                name="telemetry_events_success_has_no_fingerprint",
            ),
            # The plan's idempotency key; what finds a pasted session too.
            models.UniqueConstraint(
                fields=["event_type", "session_id"],
                condition=Q(session_id__isnull=False),
                name="telemetry_events_type_session",
            ),
        ]
        indexes = [
            # Lists of one type, newest first; the plan's.
            models.Index(F("event_type"), F("received_at_ms").desc(), name="telemetry_events_type_received"),
            # Lists of everything, newest first, and retention; the plan's.
            models.Index(F("received_at_ms").desc(), name="telemetry_events_received"),
            # Recent failures, newest first, on a site whose events are mostly successes.
            models.Index(
                F("received_at_ms").desc(),
                F("id").desc(),
                condition=~Q(event_type=SUCCESS),
                name="telemetry_events_failures",
            ),
            # The events of a failure group, newest first.
            models.Index(
                F("fingerprint"),
                F("received_at_ms").desc(),
                F("id").desc(),
                condition=Q(fingerprint__isnull=False),
                name="telemetry_events_group",
            ),
            # Is there a failure from before there were groups? Nearly always empty.
            models.Index(
                fields=["received_at_ms"],
                condition=Q(fingerprint__isnull=True) & ~Q(event_type=SUCCESS),
                name="telemetry_events_ungrouped",
            ),
            # The successes that a correction made void. An event that counts costs this index nothing.
            models.Index(
                fields=["correction", "received_at_ms", "id"],
                condition=Q(correction__isnull=False),
                name="telemetry_events_void",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event_type}: {self.message}"


class RecentFailure(Event):
    """Failures alone, so that they have an entry of their own in the admin; whoever views events views them."""

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name = "recent failure"
