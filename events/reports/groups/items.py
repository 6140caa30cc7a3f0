"""Failure groups for scripts: finds a group by its key, or by the beginning of it, and returns groups as JSON."""

import re
from collections.abc import Sequence
from typing import Any

from events import clock
from events.counting import releases
from events.grouping import merges
from events.models import FailureGroup, FormerGroup
from events.reports.groups import ranking
from events.reports.groups.breakdowns import Comparison
from events.reports.groups.ranking import RankedGroup

# An abbreviated key, as `Fixes 3fa81c22` in a commit. Overflow groups have no hexadecimal key.
_PREFIX = re.compile("[0-9a-f]{8,}", re.ASCII)
# A prefix of so many former groups does not lead to one group.
_MAX_FORMER = 20
MAX_PARTS = 200
# A group that is merged while it is read is looked up again.
_ATTEMPTS = 3


class AmbiguousKey(Exception):
    """Several groups have a key that begins like this; the message says so."""


def current_key(key: str) -> str | None:
    """Return the key of the group with this key, or of the one that has the events of a former group.

    `key` can also be the beginning of such a key: at least eight characters. None if there is no group. Raises
    AmbiguousKey.
    """
    if "\0" in key:  # PostgreSQL refuses it
        return None
    if FailureGroup.objects.filter(pk=key).exists():
        return key
    if successor := merges.successor_of(key):
        return successor.pk
    if not _PREFIX.fullmatch(key):
        return None
    # Every hexadecimal digit sorts before the letter g. The range is for the index of SQLite.
    beginning = {"pk__gte": key, "pk__lt": f"{key}g", "pk__startswith": key}
    found = set(FailureGroup.objects.filter(**beginning).values_list("pk", flat=True)[:2])
    former = list(FormerGroup.objects.filter(**beginning).values_list("pk", flat=True)[:_MAX_FORMER])
    found.update(successor.pk for successor in map(merges.successor_of, former) if successor)
    if len(found) > 1 or len(former) == _MAX_FORMER:
        raise AmbiguousKey(f"The keys of several groups begin with {key}. Send more characters of the key.")
    return next(iter(found), None)


def find(key: str, now_ms: int) -> RankedGroup | None:
    """Return the group that `current_key` finds, with its figures. Raises AmbiguousKey."""
    for _ in range(_ATTEMPTS):
        current = current_key(key)
        if current is None:
            return None
        if (row := ranking.of_key(current, now_ms)) is not None:
            return row
    return None


def as_json(rows: Sequence[RankedGroup], now_ms: int) -> list[dict[str, Any]]:
    """Return items of `GET /groups`, without their addresses. Times are ISO 8601 and never in the future."""
    reported = releases.reported({row.group.fixed_in for row in rows if row.group.fixed_in is not None})
    return [_as_json(row, now_ms, reported) for row in rows]


def _as_json(row: RankedGroup, now_ms: int, reported: set[str]) -> dict[str, Any]:
    group = row.group

    def moment(at_ms: int | None) -> str | None:
        return None if at_ms is None else clock.iso(min(at_ms, now_ms))

    return {
        "key": group.pk,
        "title": group.title,
        "event_type": group.event_type,
        "error_name": group.error_name,
        "frame": group.frame or None,
        "noise": group.noise or None,
        "status": row.status,
        "fixed_in": group.fixed_in,
        "fixed_in_seen": None if group.fixed_in is None else group.fixed_in in reported,
        "still_failing": row.is_unfixed,
        "muted_until": None if group.muted_until_ms is None else clock.iso(group.muted_until_ms),
        "decided_at": moment(group.decided_at_ms),
        "decided_by": group.decided_by_name,
        "assigned_to": group.assigned_to and group.assigned_to.get_username(),
        "issue_url": group.issue_url,
        "events": group.accepted,
        "last_24_hours": row.last_day,
        "first_seen": moment(group.first_ms),
        "last_seen": moment(group.last_ms),
        "models": group.model_count,
        "versions": group.version_count,
        "common_models": row.models,
        "common_versions": row.versions,
        "regressed_at": moment(group.regressed_ms),
        "note": group.note,
        "advice": {"text": group.advice_text, "url": group.advice_url} if group.advice_text else None,
    }


def shares_as_json(compared: Comparison) -> dict[str, list[dict[str, Any]]]:
    """Return the parts of a group by facet, those that stand out most first: at most MAX_PARTS of each facet."""
    return {
        facet: [
            {
                "name": part.name,
                "events": part.events,
                "of_group": round(part.of_group, 4),
                "of_flashes": None if part.of_others is None else round(part.of_others, 4),
            }
            for part in parts[:MAX_PARTS]
        ]
        for facet, parts in compared.parts.items()
    }
