"""Failure groups, their counts by hour, and their shares."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from events.models.event import EventType
from events.querysets import FailureGroupQuerySet, FormerGroupQuerySet


class GroupStatus(models.TextChoices):
    OPEN = "open", "open"
    RESOLVED = "resolved", "resolved"
    MUTED = "muted", "muted"
    # No failure: its events are left out of every failure figure.
    EXPECTED = "expected", "expected"


class Noise(models.TextChoices):
    """Why a failure is not one of the page: it comes from an extension, or browsers report it without a fault."""

    NONE = "", "failure of the page"
    EXTENSION = "extension", "browser extension"
    BROWSER = "browser", "browser noise"


class FailureGroup(models.Model):
    """A group of failures with the same fingerprint, their common data, and the decision about the group.

    `accepted` counts every event that ever joined; no retention lowers it. Times are epoch milliseconds by our clock,
    UTC. Event times can be in the future after a wrong clock, so pages use `ranking.seen_until`.
    """

    # Added by `ranking.seen_until`.
    first_ms: int
    last_ms: int
    regressed_ms: int | None
    # Added by some rankings: the failures of the last 24 hours.
    last_day: int

    fingerprint = models.TextField(primary_key=True)
    algorithm = models.SmallIntegerField()
    event_type = models.TextField("type", choices=EventType.choices)
    error_name = models.TextField("error", null=True)
    title = models.TextField()
    frame = models.TextField()
    # The error without the wording of its browser, or "" when the title says the same.
    canonical = models.TextField(default="")
    noise = models.TextField(choices=Noise.choices, default=Noise.NONE)
    accepted = models.BigIntegerField("events")
    model_count = models.IntegerField("models")
    version_count = models.IntegerField("versions")
    first_seen_ms = models.BigIntegerField("first seen")
    last_seen_ms = models.BigIntegerField("last seen")
    status = models.TextField(choices=GroupStatus.choices)
    # Resolved: fixed in this version, or, if NULL, in the first release after `decided_at_ms`.
    fixed_in = models.TextField("fixed in", null=True)
    # Muted: until this time, or for ever if NULL.
    muted_until_ms = models.BigIntegerField("muted until", null=True)
    # Expected: ExpectedRollup lacks its stored events received before this time. NULL if it counts all of them.
    uncounted_before_ms = models.BigIntegerField(null=True)
    decided_at_ms = models.BigIntegerField(null=True)
    decided_by_name = models.TextField(null=True)
    note = models.TextField()
    # Set while a resolved group is open again: the time and the event of the regression.
    regressed_at_ms = models.BigIntegerField(null=True)
    regressed_by = models.TextField(null=True)
    # Set while a resolved group is still failing: the time of its third event from releases that are newer than the
    # decision, while `fixed_in` is no release. Later decisions clear it, and so does the release of `fixed_in`.
    unfixed_at_ms = models.BigIntegerField(null=True)
    # The account that works on it, and who assigned it when. A deleted account leaves the two others.
    assigned_to = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    assigned_at_ms = models.BigIntegerField(null=True)
    assigned_by_name = models.TextField(null=True)
    # The advice in the responses to its failures ("" = none), an https URL or NULL, and who gave it when.
    advice_text = models.TextField(default="", db_default="")
    advice_url = models.TextField(null=True)
    advised_at_ms = models.BigIntegerField(null=True)
    advised_by_name = models.TextField(null=True)
    # The address of the issue about the group in a tracker.
    issue_url = models.TextField("issue", null=True)

    objects = FailureGroupQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        verbose_name = "failure group"
        constraints = [
            models.CheckConstraint(condition=Q(status__in=GroupStatus.values), name="events_failuregroup_status"),
            models.CheckConstraint(condition=Q(accepted__gte=0), name="events_failuregroup_accepted"),
            models.CheckConstraint(
                condition=Q(advice_text="", advice_url__isnull=True, advised_at_ms__isnull=True)
                | (~Q(advice_text="") & Q(advice_text__length__lte=280, advised_at_ms__isnull=False)),
                name="events_failuregroup_advice_text",
            ),
            models.CheckConstraint(
                condition=Q(advice_url__isnull=True)
                | Q(advice_url__startswith="https://", advice_url__length__lte=2000),
                name="events_failuregroup_advice_url",
            ),
            models.CheckConstraint(
                condition=Q(issue_url__isnull=True) | Q(issue_url__startswith="https://", issue_url__length__lte=500),
                name="events_failuregroup_issue_url",
            ),
        ]
        # One index for each column that sorts the list. The fingerprint breaks ties.
        indexes = [
            models.Index(fields=["title", "fingerprint"], name="events_group_title"),
            models.Index(fields=["event_type", "fingerprint"], name="events_group_type"),
            models.Index(fields=["accepted", "fingerprint"], name="events_group_accepted"),
            models.Index(fields=["model_count", "fingerprint"], name="events_group_models"),
            models.Index(fields=["version_count", "fingerprint"], name="events_group_versions"),
            # Also counts and lists the new groups of a day.
            models.Index(fields=["first_seen_ms", "fingerprint"], name="events_group_first_seen"),
            models.Index(fields=["last_seen_ms", "fingerprint"], name="events_group_last_seen"),
            models.Index(fields=["status", "fingerprint"], name="events_group_status"),
            # Partial, so that the upserts of ingest rarely change them.
            models.Index(
                fields=["unfixed_at_ms"], condition=Q(unfixed_at_ms__isnull=False), name="events_group_unfixed"
            ),
            models.Index(fields=["assigned_to"], condition=Q(assigned_to__isnull=False), name="events_group_assigned"),
            # Finds groups of an older algorithm.
            models.Index(fields=["algorithm"], name="events_group_algorithm"),
        ]

    def __str__(self) -> str:
        return self.title


class FormerGroup(models.Model):
    """A failure group whose events belong to another group now: `joined`, which can be a former group too.

    If `is_merged`, a maintainer merged it: later failures with its fingerprint join the other group too. Its GroupHour
    and GroupShare rows count its failures that are no longer stored, which the other group counts as well. Otherwise
    the rules of grouping have changed, and the row only leads old addresses to the other group.
    """

    fingerprint = models.TextField(primary_key=True)
    joined = models.TextField()
    is_merged = models.BooleanField()
    # Whether the other group had no decision and took over the one about this group.
    gave_decision = models.BooleanField()
    # Whether the other group had no issue and took over the one of this group.
    gave_issue = models.BooleanField(default=False, db_default=False)
    # The columns of the FailureGroup before it became a former group.
    row = models.JSONField()
    moved_at_ms = models.BigIntegerField()
    moved_by_name = models.TextField(null=True)

    objects = FormerGroupQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(condition=~Q(joined=F("fingerprint")), name="events_formergroup_joins_another"),
        ]
        # The former groups of one group.
        indexes = [models.Index(fields=["joined"], name="events_formergroup_joined")]

    def __str__(self) -> str:
        return str(self.row["title"])


class DismissedMerge(models.Model):
    """A suggested merge of two groups that a maintainer dismissed. `fingerprint` is the lesser one of the two."""

    fingerprint = models.TextField()
    other = models.TextField()
    dismissed_at_ms = models.BigIntegerField("dismissed")
    dismissed_by_name = models.TextField("dismissed by")

    class Meta:
        default_permissions = ()
        constraints = [
            # This index also finds the pairs of a group's fingerprint; the next one those of the other.
            models.UniqueConstraint(fields=["fingerprint", "other"], name="events_dismissedmerge_pair"),
            models.CheckConstraint(condition=Q(fingerprint__lt=F("other")), name="events_dismissedmerge_order"),
        ]
        indexes = [models.Index(fields=["other"], name="events_dismissedmerge_other")]

    def __str__(self) -> str:
        return f"{self.fingerprint} and {self.other}"


class PlaceRule(models.Model):
    """A rule that a maintainer made: failures of one fingerprint at one position of a built script join another group.

    `position` is `file:line:column` of the frame in which the failure occurred, with the version if the file has no
    hash in its name. `frame` describes the other group: the original place.
    """

    fingerprint = models.TextField()
    position = models.TextField()
    joined = models.TextField()
    frame = models.TextField()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["fingerprint", "position"], name="events_placerule_position"),
            models.CheckConstraint(condition=~Q(joined=F("fingerprint")), name="events_placerule_joins_another"),
        ]

    def __str__(self) -> str:
        return f"{self.position}: {self.frame}"


class GroupHour(models.Model):
    """The number of failures of one group in one hour, UTC."""

    fingerprint = models.TextField()
    hour_ms = models.BigIntegerField()
    accepted = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["fingerprint", "hour_ms"], name="events_grouphour_bucket"),
            models.CheckConstraint(condition=Q(accepted__gte=0), name="events_grouphour_accepted"),
        ]
        # Every read uses this index: the sums of a group over a range of hours. It has all columns, so the overview,
        # which sums the hours of all groups, reads no row of the table.
        indexes = [models.Index(fields=["fingerprint", "hour_ms", "accepted"], name="events_grouphour_sums")]

    def __str__(self) -> str:
        return f"{self.fingerprint} {self.hour_ms}: {self.accepted}"


class Facet(models.TextChoices):
    """A property by which the failures of a group are counted."""

    MODEL = "model"
    VERSION = "version"
    MODE = "mode"
    CONNECTED = "connected"


class GroupShare(models.Model):
    """The number of failures of one group with one value of a facet, such as one model, on one UTC day.

    `day_ms` is 0 if the day is unknown: in rows from before days were stored, and in those of more than 100 days ago.
    """

    fingerprint = models.TextField()
    facet = models.TextField()  # a Facet, or `f.` and a name of FACETS
    name = models.TextField()
    day_ms = models.BigIntegerField()
    accepted = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [
            # Every read uses this index: one group, one facet; ingest also finds the other days of a name.
            models.UniqueConstraint(fields=["fingerprint", "facet", "name", "day_ms"], name="events_groupshare_bucket"),
            models.CheckConstraint(condition=Q(accepted__gte=0), name="events_groupshare_accepted"),
        ]

    def __str__(self) -> str:
        return f"{self.fingerprint} {self.facet} {self.name} {self.day_ms}: {self.accepted}"


class AdviceDay(models.Model):
    """The number of responses on one UTC day that delivered the advice of one group.

    A row stays with its group when the group is merged, split off or regrouped: it records what this group delivered.
    """

    fingerprint = models.TextField()
    day_ms = models.BigIntegerField()
    delivered = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [
            # Every read uses this index: one group and its former groups, a range of days.
            models.UniqueConstraint(fields=["fingerprint", "day_ms"], name="events_adviceday_bucket"),
            models.CheckConstraint(condition=Q(delivered__gte=1), name="events_adviceday_delivered"),
        ]

    def __str__(self) -> str:
        return f"{self.fingerprint} {self.day_ms}: {self.delivered}"
