"""Exports that are stored under a name, for all users."""

from django.db import models
from django.db.models import Q


class NamedExport(models.Model):
    """A list, its filters as a query string, the columns in their order, and a format.

    A relative filter, such as `window=30d`, is stored as it is, and refers to the time of each export.
    """

    name = models.TextField(unique=True)
    list_key = models.TextField()
    filters = models.TextField()
    columns = models.JSONField()
    format = models.TextField()
    created_at_ms = models.BigIntegerField()
    created_by_name = models.TextField()

    class Meta:
        default_permissions = ("view", "add", "change", "delete")
        ordering = ["name"]
        verbose_name = "stored export"
        constraints = [
            models.CheckConstraint(
                condition=Q(name__length__gte=1) & Q(name__length__lte=64), name="events_namedexport_name"
            ),
        ]

    def __str__(self) -> str:
        return self.name
