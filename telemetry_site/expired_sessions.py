"""Deletes expired sign-in sessions. Django itself never deletes them."""

import logging
import time

from django.contrib.sessions.models import Session
from django.db import DatabaseError
from django.db.models.functions import Now

logger = logging.getLogger(__name__)

MAX_PER_RUN = 10_000
DAY_SECONDS = 24 * 3600
_last_at = float("-inf")


def delete() -> int:
    """Delete up to MAX_PER_RUN expired sessions, the oldest first. Return the number of deleted sessions."""
    expired = Session.objects.filter(expire_date__lt=Now()).order_by("expire_date").values("pk")[:MAX_PER_RUN]
    deleted, _ = Session.objects.filter(pk__in=expired).delete()
    return deleted


def delete_daily() -> None:
    """Delete expired sessions at most once a day per process. A database error does not prevent the sign-in."""
    global _last_at
    if time.monotonic() - _last_at < DAY_SECONDS:
        return
    _last_at = time.monotonic()
    try:
        delete()
    except DatabaseError as error:
        logger.warning("Expired sessions were not deleted: %s", error)
