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


class ResolvedFrame(models.Model):
    """The original position of one distinct frame, found with a source map when the frame was first read.

    A row is never older than its map: it is deleted when the map is replaced or deleted, and outlives a pruned map.
    `unresolved` is NULL for a resolved frame; else it says why the frame stays raw, or that a worker resolves it.
    """

    # SHA-256 of the next four columns, 32 hexadecimal digits. A page finds all its frames with one query.
    key = models.TextField()
    app_version = models.TextField("version")
    file = models.TextField()
    line = models.IntegerField()
    column = models.IntegerField()
    # The SourceMap and its version. Not a foreign key, because a pruned map keeps its rows.
    source_map = models.BigIntegerField()
    map_version = models.TextField()
    # The function that encloses the position, and the name at the position: the called function of a call.
    function = models.TextField(null=True)
    token = models.TextField(null=True)
    source_file = models.TextField(null=True)
    source_line = models.IntegerField(null=True)
    source_column = models.IntegerField(null=True)
    # JSON: the mark in the line as shown, and the lines with their numbers.
    context = models.TextField(null=True)
    in_app = models.BooleanField(default=True)
    unresolved = models.TextField(null=True)
    attempts = models.SmallIntegerField(default=0)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["key"], name="events_resolvedframe_key"),
            models.CheckConstraint(
                condition=Q(unresolved__isnull=False)
                | Q(source_file__isnull=False, source_line__isnull=False, source_column__isnull=False),
                name="events_resolvedframe_resolved",
            ),
        ]
        indexes = [
            # Finds the rows of a map after its upload, replacement or deletion.
            models.Index(fields=["file", "app_version"], name="events_resolvedframe_file"),
            # Finds the frames that wait for the worker. Nearly always empty.
            models.Index(
                fields=["source_map"],
                condition=Q(unresolved="resolving"),
                name="events_resolvedframe_waiting",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column} of {self.app_version}"
