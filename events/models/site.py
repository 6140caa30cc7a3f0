"""Data about the site itself: tokens, refused hosts, retention, its days, commits, visits, and the readiness probe."""

from django.conf import settings
from django.db import models
from django.db.models import Q


class IngestToken(models.Model):
    """A signed token of a front end or a script. The token itself is not stored.

    `scopes` lists what it may do: words of `tokens.Scope`, separated by spaces. `rate` is its own rate limit, such as
    `60/m` or `off`, and "" for the site's default.
    """

    name = models.TextField(unique=True)
    scopes = models.TextField(db_default="ingest")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    rate = models.TextField(db_default="")

    class Meta:
        default_permissions = ("view", "add", "change")
        ordering = ["name"]
        constraints = [models.CheckConstraint(condition=~Q(scopes=""), name="events_ingesttoken_has_scope")]

    def __str__(self) -> str:
        return self.name


class RefusedHost(models.Model):
    """The number of requests refused because of one `Host` header, by UTC day: at most 20 hosts, and `(other)`."""

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


class RetentionMark(models.Model):
    """The only row contains the start of complete data: events received before it may have been pruned.

    `of_types` maps event types to their own start, where it is earlier.
    """

    id = models.SmallIntegerField(primary_key=True)
    whole_since_ms = models.BigIntegerField()
    of_types = models.JSONField(null=True)  # null also in rows of the previous release

    class Meta:
        default_permissions = ()
        constraints = [models.CheckConstraint(condition=Q(id=1), name="events_retentionmark_one_row")]

    def __str__(self) -> str:
        return str(self.whole_since_ms)


class RetentionDefault(models.Model):
    """The only row contains the days for which events are kept while RETENTION_DAYS is not set; NULL means for ever.

    A migration writes it, and nothing changes it: so it outlives every event, and a backup contains it.
    """

    id = models.SmallIntegerField(primary_key=True)
    days = models.SmallIntegerField(null=True)

    class Meta:
        default_permissions = ()
        constraints = [models.CheckConstraint(condition=Q(id=1), name="events_retentiondefault_one_row")]

    def __str__(self) -> str:
        return f"{self.days} days" if self.days else "off"


class Visit(models.Model):
    """The last visit of a member of staff to the overview, so that it can mark what is new since the visit before.

    Views with less than `visits.PAUSE` between them are one visit. `before_ms` is the last view of the visit before,
    NULL during the first one.
    """

    user = models.OneToOneField(settings.AUTH_USER_MODEL, primary_key=True, on_delete=models.CASCADE, related_name="+")
    seen_ms = models.BigIntegerField()
    before_ms = models.BigIntegerField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.user_id}: {self.seen_ms}"


class SiteDay(models.Model):
    """The record of one UTC day, by our clock: the last start of the server, and the size of the database.

    `clock_confirmed_ms` is the last time at which `site_days.confirm_clock` found the clock to be right.
    `proxy_headers` describes the headers that proxies added to the last page of the day, in JSON and without addresses.
    """

    seen_on = models.DateField(primary_key=True)
    started_at_ms = models.BigIntegerField(null=True)
    database_bytes = models.BigIntegerField()
    clock_confirmed_ms = models.BigIntegerField(null=True)
    proxy_headers = models.TextField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.seen_on}: {self.database_bytes}"


class CommitBucket(models.Model):
    """One bucket of a histogram of the commits of events, over all processes and all time.

    `count` is the number of commits with a value over the next lower bound and up to this one; `total` is the sum of
    these values. No row is ever deleted, so the counters of the monitoring never go down.
    """

    measure = models.TextField()  # one of `monitoring.commits.BOUNDS`
    bound = models.TextField()  # a decimal number, or "+Inf"
    count = models.BigIntegerField()
    total = models.FloatField()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["measure", "bound"], name="events_commitbucket_measure_bound"),
            models.CheckConstraint(condition=Q(count__gte=0, total__gte=0), name="events_commitbucket_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.measure} up to {self.bound}: {self.count}"


class ReadinessProbe(models.Model):
    """The only row, which `/health/ready` writes to check that the database accepts writes."""

    id = models.SmallIntegerField(primary_key=True)
    written_at_ms = models.BigIntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.written_at_ms)
