"""Deletes expired sign-in sessions. Django itself never deletes them."""

from django.contrib.sessions.models import Session
from django.db.models.functions import Now

BATCH = 10_000


def delete_all() -> str:
    """Delete all expired sessions, the oldest first, in batches. Return the outcome in words."""
    total = 0
    while deleted := _delete_batch():
        total += deleted
    return f"Deleted {total:,} expired sign-in{'' if total == 1 else 's'}."


def _delete_batch() -> int:
    expired = Session.objects.filter(expire_date__lt=Now()).order_by("expire_date").values("pk")[:BATCH]
    deleted, _ = Session.objects.filter(pk__in=expired).delete()
    return deleted
