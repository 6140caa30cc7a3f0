"""What alerts say: how much, since when and for whom. The texts about groups are written when a message is sent.

So they have the counts of that moment, and the outbox keeps no text of a client. Of a failure, only its title is shown.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import Q, Sum

from events.alerts import outbox, timing
from events.alerts.messages import Part, one_line, page
from events.counting.buckets import OTHER, UNKNOWN
from events.models import (
    Alert,
    AlertKind,
    Event,
    Facet,
    FailureGroup,
    FormerGroup,
    GroupHour,
    GroupShare,
    GroupStatus,
    Noise,
)
from events.reports.groups import ranking

REASON = outbox.REASON
MUTE_ENDED = "mute_ended"

NAMES_SHOWN = 3
_UNNAMED = {UNKNOWN, OTHER}  # these say nothing about who is affected, so they are named last


def obsolete(alerts: Iterable[Alert], now_ms: int) -> dict[int, str]:
    """Return the alerts that should not be sent any more, by id, each with the reason."""
    about_groups = {alert.pk: _current_key(alert) for alert in alerts if alert.subject}
    groups = FailureGroup.objects.in_bulk(list(about_groups.values()))
    reasons = {}
    for alert_id, key in about_groups.items():
        group = groups.get(key)
        if group is None:
            reasons[alert_id] = "The group has no failures any more."
        elif ranking.status_of(group, now_ms) in (GroupStatus.MUTED, GroupStatus.EXPECTED):
            reasons[alert_id] = f"The group is {ranking.status_of(group, now_ms)} now."
    return reasons


def parts_of(alerts: Iterable[Alert], limit: int) -> list[Part]:
    """Return the texts of up to `limit` alerts: of groups the largest, of others the newest. Gone groups have none."""
    about_groups: dict[str, Alert] = {}
    others = []
    for alert in alerts:
        if alert.subject:
            about_groups[_current_key(alert)] = alert
        else:
            others.append(alert)
    others.sort(key=lambda alert: -alert.pk)
    parts = [Part(alert.facts["heading"], tuple(alert.facts["lines"]), alert.facts["path"]) for alert in others[:limit]]
    groups = FailureGroup.objects.filter(pk__in=about_groups).order_by("-accepted", "pk")[:limit]
    names = _names([group.pk for group in groups])
    for group in groups:
        path = page("events_failuregroup_change", group.pk)
        lines = (*_occasion(about_groups[group.pk], group), *_extent(group, names))
        parts.append(Part(group.title, lines, path, group.issue_url or ""))
    return parts[:limit]


def facts_of(part: Part) -> dict[str, Any]:
    """Return a text as facts of an alert."""
    return {"heading": one_line(part.heading), "lines": [one_line(line) for line in part.lines], "path": part.path}


def _current_key(alert: Alert) -> str:
    return FormerGroup.objects.successor(alert.subject)


def _occasion(alert: Alert, group: FailureGroup) -> Iterable[str]:
    """Say why the group is an alert: that it regressed, that it is still failing, or that a mute has ended."""
    if alert.facts.get(REASON) == MUTE_ENDED:
        until_ms = alert.facts["until_ms"]
        hours = GroupHour.objects.filter(fingerprint=group.pk, hour_ms__gte=until_ms - until_ms % 3_600_000)
        number = hours.aggregate(total=Sum("accepted"))["total"] or 0
        yield f"It still happens after its mute ended on {timing.moment(until_ms)}: {_count(number)} since."
    elif alert.facts.get(REASON) == outbox.STILL_FAILING:
        yield f"Resolved in {alert.facts['fixed_in']}, which is not a release. Newer releases still fail."
        yield f"The third failure was in {alert.facts['version']} on {timing.moment(alert.happened_at_ms)}."
        yield "If the version is misspelt, correct it. If the fix does not work, open the group again."
    elif alert.kind == AlertKind.REGRESSION:
        version = alert.facts.get("version", "")
        fixed = f" in {group.fixed_in}" if group.fixed_in else ""
        by = f" by {group.decided_by_name}" if group.decided_by_name else ""
        yield f"Resolved{fixed}{by}; failed again in {version} on {timing.moment(alert.happened_at_ms)}."


def _extent(group: FailureGroup, names: Mapping[tuple[str, str], list[tuple[str, int]]]) -> Iterable[str]:
    first, last = timing.moment(group.first_seen_ms), timing.moment(group.last_seen_ms)
    yield f"{_count(group.accepted)} ({group.event_type}) since {first}; the last on {last}."
    if sessions := _sessions(group.pk):
        yield f"{sessions:,} session{'' if sessions == 1 else 's'} affected."
    for label, facet in (("Models", Facet.MODEL), ("Versions", Facet.VERSION)):
        found = names.get((group.pk, facet), [])
        shown = ", ".join(f"{name} ({number:,})" for name, number in found[:NAMES_SHOWN])
        more = f" and {len(found) - NAMES_SHOWN:,} more" if len(found) > NAMES_SHOWN else ""
        if shown:
            yield f"{label}: {shown}{more}."
    if group.noise != Noise.NONE:
        yield f"Probably no failure of the page: {Noise(group.noise).label}."


def _sessions(key: str) -> int:
    """Return the number of sessions with stored failures of the group: one event of each type and session is stored."""
    return Event.objects.of_group(key).filter(session_id__isnull=False).count()


def _names(keys: list[str]) -> dict[tuple[str, str], list[tuple[str, int]]]:
    """Return the models and versions of groups with their failures: the most frequent first, unnamed ones last."""
    shares = GroupShare.objects.filter(Q(facet=Facet.MODEL) | Q(facet=Facet.VERSION), fingerprint__in=keys)
    totals = shares.values_list("fingerprint", "facet", "name").annotate(total=Sum("accepted")).order_by()
    found: defaultdict[tuple[str, str], list[tuple[str, int]]] = defaultdict(list)
    for key, facet, name, total in totals:
        found[key, facet].append((name, total))
    for parts in found.values():
        parts.sort(key=lambda part: (part[0] in _UNNAMED, -part[1], part[0]))
    return dict(found)


def _count(number: int) -> str:
    return f"{number:,} failure{'' if number == 1 else 's'}"
