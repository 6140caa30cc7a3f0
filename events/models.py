"""What is kept: columns, constraints, indexes. Who may write them: `ingest`, `rollups`, `retention`, `audit`."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Length

from events.querysets import SUCCESS, EventQuerySet, FailureGroupQuerySet

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


class LifetimeTotal(models.Model):
    """Every event of one type that was ever accepted, except void successes; no deletion lowers it.

    The row of `flash_success` also carries the baseline in force, so that the public count is one row.
    """

    event_type = models.TextField(primary_key=True, choices=EventType.choices)
    accepted = models.BigIntegerField(default=0)
    baseline = models.BigIntegerField(default=0)
    last_received_at_ms = models.BigIntegerField(default=0)

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(condition=Q(accepted__gte=0), name="events_lifetimetotal_accepted"),
            models.CheckConstraint(condition=Q(baseline__gte=0), name="events_lifetimetotal_baseline"),
        ]

    def __str__(self) -> str:
        return f"{self.event_type}: {self.baseline} + {self.accepted}"


class HourlyRollup(models.Model):
    """How many events of one type, model and version came in one hour, UTC, by our clock."""

    hour_ms = models.BigIntegerField()
    event_type = models.TextField(choices=EventType.choices)
    model = models.TextField()
    app_version = models.TextField()
    accepted = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [
            # Also the index of every read: a range of hours.
            models.UniqueConstraint(
                fields=["hour_ms", "event_type", "model", "app_version"], name="events_hourlyrollup_bucket"
            ),
            models.CheckConstraint(condition=Q(accepted__gte=0), name="events_hourlyrollup_accepted"),
        ]

    def __str__(self) -> str:
        return f"{self.hour_ms} {self.event_type} {self.model} {self.app_version}: {self.accepted}"


class ModeRollup(models.Model):
    """How many events of one type came in one day, UTC, by whether a radio was written to and was connected."""

    day_ms = models.BigIntegerField()
    event_type = models.TextField(choices=EventType.choices)
    write_mode = models.SmallIntegerField()
    connected = models.SmallIntegerField()
    accepted = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [
            # Also the index of every read: a range of days.
            models.UniqueConstraint(
                fields=["day_ms", "event_type", "write_mode", "connected"], name="events_moderollup_bucket"
            ),
            models.CheckConstraint(condition=Q(accepted__gte=0), name="events_moderollup_accepted"),
        ]

    def __str__(self) -> str:
        return f"{self.day_ms} {self.event_type} {self.write_mode} {self.connected}: {self.accepted}"


class KnownName(models.Model):
    """A model or version that was counted under its own name, and the first and last UTC day of that."""

    facet = models.TextField()
    name = models.TextField()
    first_day_ms = models.BigIntegerField()
    last_day_ms = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [
            # Also the index that finds one name.
            models.UniqueConstraint(fields=["facet", "name"], name="events_knownname_name"),
        ]

    def __str__(self) -> str:
        return self.name


class Arrival(models.Model):
    """One slot of the sketch that counts arrivals of messages and versions for which a day had no room.

    The number of slots is fixed. `key` is the key that holds the slot now.
    """

    slot = models.IntegerField(primary_key=True)
    key = models.TextField()
    count = models.IntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.key}: {self.count}"


class Release(models.Model):
    """A version of the front end. It is a candidate until it meets the conditions of a release.

    `first_seen_ms` is the time of a candidate's first event. For a release it is the time at which the version became
    one; releases are ordered by it.
    """

    app_version = models.TextField(primary_key=True)
    first_seen_ms = models.BigIntegerField()
    is_release = models.BooleanField(db_default=False)
    # Progress of a candidate: its events, and two hex digits of the hash of up to three sessions.
    events = models.IntegerField(db_default=0)
    session_marks = models.TextField(db_default="")

    class Meta:
        default_permissions = ()
        indexes = [
            # The releases of a span of days, as ticks under its chart; how many versions are new on a day.
            models.Index(fields=["first_seen_ms"], name="events_release_first_seen"),
        ]

    def __str__(self) -> str:
        return self.app_version


class GroupStatus(models.TextChoices):
    OPEN = "open", "open"
    RESOLVED = "resolved", "resolved"
    MUTED = "muted", "muted"


class FailureGroup(models.Model):
    """Failures that are the same failure, what is known of them all, and what was decided about it.

    `accepted` counts every event that ever joined; no retention lowers it. Times are epoch
    milliseconds by our clock, UTC.
    """

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


class IngestTally(models.Model):
    """How many requests or batch items ended without a stored event, by UTC day and outcome.

    Outcomes: those of `refusals.Outcome`, and those that other apps name.
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


class RefusedHost(models.Model):
    """How many requests were refused because of one `Host` header, by UTC day: at most 20 hosts, and `(other)`."""

    seen_on = models.DateField()
    host = models.TextField()
    count = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["seen_on", "host"], name="events_refusedhost_day_host"),
        ]

    def __str__(self) -> str:
        return f"{self.seen_on} {self.host}: {self.count}"


class CounterBaseline(models.Model):
    """What the public count begins with: successes from before this site. The newest row is in force.

    Rows are only ever added, so the table is the history of every change: what, why, who, when.
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


class IngestToken(models.Model):
    """A signed token that a front end sends when INGEST_TOKEN_REQUIRED is on; only its name is kept here."""

    name = models.TextField(unique=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ("view", "change")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


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


class RetentionMark(models.Model):
    """The one row that says since when events are whole: what was received before that may have been pruned."""

    id = models.SmallIntegerField(primary_key=True)
    whole_since_ms = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [models.CheckConstraint(condition=Q(id=1), name="events_retentionmark_one_row")]

    def __str__(self) -> str:
        return str(self.whole_since_ms)


class SiteDay(models.Model):
    """What was noted on one UTC day, by our clock: when the server last started, and the size of the database."""

    seen_on = models.DateField(primary_key=True)
    started_at_ms = models.BigIntegerField(null=True)
    database_bytes = models.BigIntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.seen_on}: {self.database_bytes}"


class ReadinessProbe(models.Model):
    """The one row that `/health/ready` writes, to know that the database takes writes."""

    id = models.SmallIntegerField(primary_key=True)
    written_at_ms = models.BigIntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.written_at_ms)
