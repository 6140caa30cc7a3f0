"""The source maps of the front end's bundles."""

from django.db import models
from django.db.models import Q


class SourceMap(models.Model):
    """The source map of one JavaScript file of one version.

    `content` is the map, compressed with zlib; `bytes` and `digest` (SHA-256, hexadecimal) describe it unpacked. Lists
    defer `content`. It is the last column, so that SQLite reads the other columns without it.
    """

    app_version = models.TextField("version")
    # The name of the JavaScript file, such as index-DSJGr6wX.js.
    file = models.TextField()
    digest = models.TextField()
    bytes = models.IntegerField()
    sources = models.IntegerField()
    uploaded_at_ms = models.BigIntegerField("uploaded")
    uploaded_by_name = models.TextField("uploaded by")
    # The last time at which a frame was resolved with this map, or NULL.
    last_used_at_ms = models.BigIntegerField("last used", null=True)
    content = models.BinaryField()

    class Meta:
        default_permissions = ("view", "delete")
        constraints = [
            # This index also finds the maps of a version.
            models.UniqueConstraint(fields=["app_version", "file"], name="events_sourcemap_file"),
            models.CheckConstraint(condition=Q(bytes__gt=0) & Q(sources__gte=0), name="events_sourcemap_sizes"),
        ]
        indexes = [
            # The newest map of a file name, of any version.
            models.Index(fields=["file", "uploaded_at_ms"], name="events_sourcemap_newest"),
            # The newest upload of each version, for pruning and for the list.
            models.Index(fields=["app_version", "uploaded_at_ms"], name="events_sourcemap_version"),
        ]

    def __str__(self) -> str:
        return f"{self.file} of {self.app_version}"
