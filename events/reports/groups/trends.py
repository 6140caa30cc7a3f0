"""The failure groups that need attention: regressions, new groups and growing groups.

Muted, resolved and expected groups are excluded. The new and the growing groups exclude those of browser extensions and
browser noise too. Source: FailureGroup, GroupHour.
"""

from collections.abc import Sequence
from typing import NamedTuple

from django.db.models import F, Q

from events.models import FailureGroup, Noise
from events.reports.groups.ranking import failures_between, is_status, seen_until, status_of

# Smaller increases do not count as growth.
LEAST_GROWTH = 3


class Trend(NamedTuple):
    """A group with its failures in a span and in the span before."""

    group: FailureGroup
    events: int
    before: int

    @property
    def more(self) -> int:
        return self.events - self.before


class Attention(NamedTuple):
    """Regressions and new groups, the latest first, and growing older groups, the largest increase first."""

    regressed: Sequence[FailureGroup]
    new: Sequence[FailureGroup]
    growing: list[Trend]


def attention(start_ms: int, end_ms: int, now_ms: int, *, limit: int) -> Attention:
    """Return up to `limit` groups of each kind for [start_ms, end_ms), in one query.

    An incomplete span is compared with an equally long part of the span before it: today until 9:00 with yesterday
    until 9:00.
    """
    known_ms, span_ms = min(end_ms, now_ms), end_ms - start_ms
    groups = (
        seen_until(now_ms)
        .annotate(
            events=failures_between(start_ms, known_ms), before=failures_between(start_ms - span_ms, known_ms - span_ms)
        )
        .annotate(more=F("events") - F("before"))
    )
    open_ = groups.filter(is_status("open", now_ms), regressed_at_ms__isnull=True)  # regressions have their own list
    regressed = groups.filter(is_status("regression", now_ms)).order_by("-regressed_at_ms", "fingerprint")
    is_new = Q(first_seen_ms__gte=start_ms, first_seen_ms__lt=end_ms)
    of_page = open_.filter(noise=Noise.NONE)
    new = of_page.filter(is_new).order_by("-first_seen_ms", "fingerprint")
    known = of_page.filter(last_seen_ms__gte=start_ms, first_seen_ms__lt=start_ms, more__gte=LEAST_GROWTH)
    growing = known.order_by("-more", "fingerprint")
    selected = list(
        groups.filter(
            Q(pk__in=regressed.values("pk")[:limit])
            | Q(pk__in=new.values("pk")[:limit])
            | Q(pk__in=growing.values("pk")[:limit])
        )
    )
    reopened = [group for group in selected if status_of(group, now_ms) == "regression"]
    others = [group for group in selected if group not in reopened]
    fresh = [group for group in others if start_ms <= group.first_seen_ms < end_ms]
    counted = ((group, vars(group)["events"], vars(group)["before"]) for group in others)
    more = [Trend(*row) for row in counted if row[0].first_seen_ms < start_ms]
    return Attention(
        sorted(reopened, key=lambda group: (-(group.regressed_at_ms or 0), group.pk))[:limit],
        sorted(fresh, key=lambda group: (-group.first_seen_ms, group.pk))[:limit],
        sorted(
            (trend for trend in more if trend.more >= LEAST_GROWTH),
            key=lambda trend: (-trend.more, trend.group.pk),
        )[:limit],
    )
