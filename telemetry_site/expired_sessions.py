"""Deletes sign-in sessions that have expired: Django keeps them until somebody does."""

import logging
from datetime import datetime

from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.db import DatabaseError

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 10_000
DAY_SECONDS = 24 * 3600


def delete(now: datetime) -> int:
    """Delete up to MOST_AT_ONCE expired sessions, the oldest first; return how many."""
    expired = Session.objects.filter(expire_date__lt=now).order_by("expire_date").values("pk")[:MOST_AT_ONCE]
    deleted, _ = Session.objects.filter(pk__in=expired).delete()
    return deleted


def delete_daily(now: datetime) -> None:
    """Delete them at most once a day in each process. A database that refuses stops nobody's sign-in."""
    if caches["process"].add("expired-sessions", True, DAY_SECONDS):
        try:
            delete(now)
        except DatabaseError as error:
            logger.warning("Expired sessions were not deleted: %s", error)
