"""The failure groups that are new in a release, that came back in it, and that are gone since another release.

Expected groups, and those of browser extensions and browser noise, are left out. Source: FailureGroup, GroupShare.
"""

from typing import Any, NamedTuple

from django.db.models import BigIntegerField, Exists, F, OuterRef, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce

from events.models import Event, Facet, FailureGroup, GroupShare, GroupStatus, Noise, Release
from events.reports.groups.ranking import is_status
from events.reports.releases.figures import Comparison, Figures

# A group is gone if at least this many failures were to be expected: none has a chance of 5 % or less then (e⁻³).
LEAST_EXPECTED = 3
MAX_GROUPS = 100


class Changed(NamedTuple):
    """A failure group and its failures: in the release; for a gone group, in the other release."""

    group: FailureGroup
    events: int


class Changes(NamedTuple):
    """The groups of each kind, the most failures first, at most MAX_GROUPS.

    - `new`: with failures in the release, and none in an earlier one.
    - `came_back`: resolved before, and reopened by a failure of the release. The event must still be stored.
    - `gone`: without failures in the release, though at the rate of the other one LEAST_EXPECTED were to be expected.
    """

    new: list[Changed]
    came_back: list[Changed]
    gone: list[Changed]


def of(comparison: Comparison, now_ms: int) -> Changes:
    """Return what changed in a release. Uses three queries, two without another release."""
    release, other = comparison.release, comparison.other
    groups = FailureGroup.objects.exclude(status=GroupStatus.EXPECTED).filter(noise=Noise.NONE)
    of_release = groups.filter(last_seen_ms__gte=release.first_seen_ms).annotate(events=_events_of(release.version))
    earlier = Release.objects.filter(is_release=True, first_seen_ms__lt=release.first_seen_ms).values("app_version")
    before = _shares().filter(name__in=earlier)
    came_back = Event.objects.filter(pk=OuterRef("regressed_by"), app_version=release.version)
    # Databases check the conditions in this order: most groups have no failure in the release.
    in_release = Exists(_shares().filter(name=release.version))
    return Changes(
        _changed(of_release.filter(in_release).filter(~Exists(before))),
        _changed(of_release.filter(is_status("regression", now_ms), Exists(came_back))),
        [] if other is None else _gone(groups, release, other),
    )


def _gone(groups: QuerySet[FailureGroup], release: Figures, other: Figures) -> list[Changed]:
    if not release.flashes.total:
        return []
    least = max(LEAST_EXPECTED * other.flashes.total / release.flashes.total, 1)
    # Few groups have that many failures in all versions together, and it is a column.
    large = groups.filter(last_seen_ms__gte=other.first_seen_ms, accepted__gte=least)
    in_other = large.annotate(events=_events_of(other.version)).filter(events__gte=least)
    return _changed(in_other.filter(~Exists(_shares().filter(name=release.version))))


def _shares() -> QuerySet[GroupShare]:
    # A share that falls to 0 is deleted. A condition on the number would read the row of each entry of the index.
    return GroupShare.objects.filter(fingerprint=OuterRef("pk"), facet=Facet.VERSION)


def _events_of(version: str) -> Coalesce:
    total = _shares().filter(name=version).values("fingerprint").annotate(total=Sum("accepted")).values("total")
    return Coalesce(Subquery(total), Value(0), output_field=BigIntegerField())


def _changed(groups: Any) -> list[Changed]:
    return [Changed(group, group.events) for group in groups.order_by(F("events").desc(), "pk")[:MAX_GROUPS]]
