"""The saved views of lists in the admin."""

from django.conf import settings
from django.db import models
from django.db.models import Q

MAX_VIEW_NAME = 64
MAX_VIEW_QUERY = 2_000


class SavedView(models.Model):
    """The filters, the order and the columns of a list under a name, for one account or for everybody.

    `list` is the list, as the app and the name of its model: `events_recentfailure`. `query` is the normalised query
    string of its address. `owner` is NULL for a view for everybody, which outlives the account that saved it.
    """

    id = models.TextField(primary_key=True)  # random letters and digits, so that nobody can guess the link to a view
    list = models.TextField()
    name = models.TextField()
    query = models.TextField()
    # Its index is the first constraint below.
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    created_by_name = models.TextField()
    created_at_ms = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        permissions = [("share_savedview", "Can save views of lists for everybody")]
        constraints = [
            # Also finds the views of an account, for every page.
            models.UniqueConstraint(fields=["owner", "list", "name"], name="events_savedview_owner_list_name"),
            # Also finds the views for everybody, for every page.
            models.UniqueConstraint(
                fields=["list", "name"], condition=Q(owner__isnull=True), name="events_savedview_everybody_list_name"
            ),
            models.CheckConstraint(
                condition=Q(name__length__gte=1, name__length__lte=MAX_VIEW_NAME), name="events_savedview_name"
            ),
            models.CheckConstraint(condition=Q(query__length__lte=MAX_VIEW_QUERY), name="events_savedview_query"),
        ]

    def __str__(self) -> str:
        return self.name
