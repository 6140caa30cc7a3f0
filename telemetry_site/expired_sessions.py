"""Deletes sign-in sessions that have expired: Django keeps them until somebody does."""

import logging
import time

from django.contrib.sessions.models import Session
from django.db import DatabaseError
from django.db.models.functions import Now

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 10_000
DAY_SECONDS = 24 * 3600
_last_at = float("-inf")


def delete() -> int:
    """Delete up to MOST_AT_ONCE expired sessions, the oldest first; return how many."""
    expired = Session.objects.filter(expire_date__lt=Now()).order_by("expire_date").values("pk")[:MOST_AT_ONCE]
    deleted, _ = Session.objects.filter(pk__in=expired).delete()
    return deleted


def delete_daily() -> None:
    """Delete them at most once a day in each process. A database that refuses stops nobody's sign-in."""
    global _last_at
    if time.monotonic() - _last_at < DAY_SECONDS:
        return
    _last_at = time.monotonic()
    try:
        delete()
    except DatabaseError as error:
        logger.warning("Expired sessions were not deleted: %s", error)
