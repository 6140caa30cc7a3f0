"""The events: one row for each event, in the columns of the specification."""

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
    """The route that an event came from. `increment` marks a placeholder that waits for its `/event`."""

    EVENT = "event"
    CLIENT_LOG = "client_log"
    INCREMENT = "increment"
    IMPORT = "import"
    DEMO = "demo"


def zero_or_one(column: str, *, name: str) -> models.CheckConstraint:
    return models.CheckConstraint(condition=Q(**{f"{column}__in": (0, 1)}), name=name)


class Event(models.Model):
    """One event in a browser: the specified table `telemetry_events`, plus the source and two references.

    `received_at_ms` is our clock (epoch milliseconds, UTC), `occurred_at` the client's
    (`YYYY-MM-DDTHH:MM:SS.mmmZ`). The JSON columns contain compact JSON text.
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
    # The FailureGroup of a failure. Not a foreign key, because each insert would then check the group again.
    fingerprint = models.TextField(null=True)
    # The fingerprint of a failure whose own group was merged into another one, which `fingerprint` names; else NULL.
    merged_from = models.TextField(null=True)
    # The Correction that made this success void, or NULL if the event counts. Not a foreign key, as above.
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
            # The specified idempotency key. The admin also uses it to find a session.
            models.UniqueConstraint(
                fields=["event_type", "session_id"],
                condition=Q(session_id__isnull=False),
                name="telemetry_events_type_session",
            ),
        ]
        indexes = [
            # Lists of one type, newest first; specified.
            models.Index(F("event_type"), F("received_at_ms").desc(), name="telemetry_events_type_received"),
            # Lists of all events, newest first, and retention; specified.
            models.Index(F("received_at_ms").desc(), name="telemetry_events_received"),
            # Recent failures, newest first, on a site where most events are successes.
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
            # Failures without a group, from before groups existed. Nearly always empty.
            models.Index(
                fields=["received_at_ms"],
                condition=Q(fingerprint__isnull=True) & ~Q(event_type=SUCCESS),
                name="telemetry_events_ungrouped",
            ),
            # Counts of the events that retention keeps by default. An ordinary event is not in this index.
            models.Index(
                fields=["source", "event_type", "received_at_ms"],
                condition=Q(source="import") | Q(source="demo"),
                name="telemetry_events_kept",
            ),
            # The successes that a correction made void. Counted events are not in this index.
            models.Index(
                fields=["correction", "received_at_ms", "id"],
                condition=Q(correction__isnull=False),
                name="telemetry_events_void",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event_type}: {self.message}"


class RecentFailure(Event):
    """Failures only, with a separate entry and permission in the admin."""

    class Meta:
        proxy = True
        default_permissions = ("view",)
        verbose_name = "recent failure"
