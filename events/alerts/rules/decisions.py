"""Finds groups that still fail although the decision about them has run out: a mute that ended."""

from collections.abc import Iterator
from datetime import datetime

from django.db.models import F

from events.alerts import texts
from events.alerts.rules.evaluation import Problem
from events.models import FailureGroup, GroupStatus


def find(now: datetime) -> Iterator[Problem]:
    """Yield the groups that failed after their mute ended, one problem for each decision to mute."""
    now_ms = int(now.timestamp() * 1000)
    ended = FailureGroup.objects.filter(
        status=GroupStatus.MUTED, muted_until_ms__lte=now_ms, last_seen_ms__gte=F("muted_until_ms")
    )
    for group in ended.order_by("pk"):
        yield Problem(
            f"{group.pk}:{group.decided_at_ms}",
            subject=group.pk,
            facts={texts.REASON: texts.MUTE_ENDED, "until_ms": group.muted_until_ms},
        )
