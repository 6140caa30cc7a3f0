"""Known names of models and versions, the sketch of repeated names, and the releases."""

from django.db import models


class KnownName(models.Model):
    """A model or version that was counted under its own name, with the first and last UTC day of that."""

    facet = models.TextField()
    name = models.TextField()
    first_day_ms = models.BigIntegerField()
    last_day_ms = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [
            # This index also finds one name.
            models.UniqueConstraint(fields=["facet", "name"], name="events_knownname_name"),
        ]

    def __str__(self) -> str:
        return self.name


class Arrival(models.Model):
    """One slot of the sketch that counts arrivals of messages and versions beyond the capacity of a day.

    The number of slots is fixed. `key` is the key that occupies the slot now.
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
            # Lists the releases of a span of days for charts, and counts the new versions of a day.
            models.Index(fields=["first_seen_ms"], name="events_release_first_seen"),
        ]

    def __str__(self) -> str:
        return self.app_version
