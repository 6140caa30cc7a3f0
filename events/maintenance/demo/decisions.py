"""What the invented maintainers do, at the times at which they do it: decisions, advice, uploads of source maps."""

import hashlib
import json
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from django.db import transaction

from events.counting.buckets import DAY_MS, HOUR_MS
from events.grouping import advice, issues, triage
from events.maintenance.demo import faults, visits
from events.maintenance.demo.faults import Fault
from events.maintenance.demo.world import DemoRelease, World
from events.models import FailureGroup, GroupHour, SourceMap
from events.sourcemaps import store
from events.sourcemaps.intake import CheckedMap

# No account can have this name, because it contains a space.
AUTHOR = "manage.py demo_data"
ADVICE = "The radio is still in its bootloader. Turn it off, hold the side key, turn it on, and flash again."
ADVICE_URL = "https://flash.example.org/help/bootloader"
ISSUE_URL = "https://git.example.org/radio/flasher/issues/212"


class Decision(NamedTuple):
    """`make` stores the decision. It is called when all events before `at_ms` are stored."""

    at_ms: int
    make: Callable[[], object]


class _Author:
    def get_username(self) -> str:
        return AUTHOR


def of(world: World) -> list[Decision]:
    """Return the decisions of a world, oldest first."""
    span_ms = world.now_ms - world.start_ms
    decisions = [
        Decision(release.at_ms, partial(_upload, world, release)) for release in world.releases if release.has_map
    ]
    if world.fixed is not None:
        at_ms = world.fixed.at_ms + 6 * HOUR_MS
        decisions.append(Decision(at_ms, partial(_resolve, world, world.fixed.version, at_ms)))
    at_ms = world.start_ms + span_ms // 2
    decisions.append(Decision(at_ms, partial(_expect, world, at_ms)))
    decisions.append(Decision(at_ms, partial(_resolve_in_misspelt_version, world, at_ms)))
    at_ms = world.start_ms + span_ms * 7 // 10
    decisions.append(Decision(at_ms, partial(_advise, world, at_ms)))
    decisions.append(Decision(at_ms, partial(_link_issue, world, at_ms)))
    # Demo events have no responses, so the deliveries of their advice are counted at the end.
    decisions.append(Decision(world.now_ms, partial(_count_deliveries, world, at_ms)))
    at_ms = world.start_ms + span_ms * 8 // 10
    decisions.append(Decision(at_ms, partial(_assign, world, at_ms)))
    return sorted(decisions, key=lambda decision: decision.at_ms)


def _resolve(world: World, version: str, at_ms: int) -> None:
    """Mark the fault that comes back later as fixed."""
    triage.resolve(_groups(world, faults.RETURNING_FAULT), fixed_in=version, user=_Author(), at=_moment(at_ms))


def _resolve_in_misspelt_version(world: World, at_ms: int) -> None:
    """Mark a fault as fixed in a version that will never be a release: one character of a release is wrong."""
    version = max(release for release in world.releases if release.at_ms <= at_ms).version
    misspelt = version[:-1] + ("1" if version[-1] != "1" else "7")
    triage.resolve(_groups(world, faults.HANDSHAKE_FAULT), fixed_in=misspelt, user=_Author(), at=_moment(at_ms))


def _assign(world: World, at_ms: int) -> None:
    """Assign the fault of the bad release to the first account, if the site has one."""
    if person := triage.assignable().first():
        triage.assign(_groups(world, faults.BROKEN_FAULT), person=person, user=_Author(), at=_moment(at_ms))


def _link_issue(world: World, at_ms: int) -> None:
    for key in _groups(world, faults.BOOTLOADER_FAULT):
        issues.link(key, ISSUE_URL, replaces=None, user=_Author(), at=_moment(at_ms))


def _expect(world: World, at_ms: int) -> None:
    """Mark the cancelled port pickers as expected."""
    triage.expect(_groups(world, faults.PICKER_FAULT), user=_Author(), at=_moment(at_ms))


def _advise(world: World, at_ms: int) -> None:
    for key in _groups(world, faults.BOOTLOADER_FAULT):
        advice.give(key, ADVICE, ADVICE_URL, user=_Author(), at=_moment(at_ms))


def _count_deliveries(world: World, since_ms: int) -> None:
    hours = GroupHour.objects.filter(fingerprint__in=_groups(world, faults.BOOTLOADER_FAULT), hour_ms__gte=since_ms)
    with transaction.atomic():
        for key, hour_ms, accepted in hours.values_list("fingerprint", "hour_ms", "accepted"):
            advice.count({(key, hour_ms // DAY_MS): accepted})


def _upload(world: World, release: DemoRelease) -> None:
    for chunk in world.bundle_of(release).chunks:
        text = chunk.source_map.encode()
        sources = len(json.loads(text)["sources"])
        checked = CheckedMap(zlib.compress(text), hashlib.sha256(text).hexdigest(), len(text), sources)
        key = store.key_of(release.version, chunk.file)
        store.put(key, checked, replace=False, who=AUTHOR, at=_moment(max(release.at_ms, world.start_ms)))


def _groups(world: World, fault: Fault) -> list[str]:
    """Return the existing groups of a fault."""
    keys = visits.fingerprints_of(world, fault)
    return list(FailureGroup.objects.filter(pk__in=keys).order_by("pk").values_list("pk", flat=True))


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1_000, UTC)


def withdraw(*, at: datetime) -> int:
    """Undo what only the demo decided, after its events were deleted: decisions, assignments, advice, issues, maps.

    The audit log keeps every decision, because it is append-only. Returns the number of groups that are open again.
    """
    versions = SourceMap.objects.filter(uploaded_by_name=AUTHOR).values_list("app_version", flat=True).distinct()
    for version in sorted(versions):
        store.delete(version, who=AUTHOR, at=at)
    for key in FailureGroup.objects.filter(advised_by_name=AUTHOR).order_by("pk").values_list("pk", flat=True):
        advice.withdraw(key, user=_Author(), at=at)
    for key in FailureGroup.objects.filter(issue_url=ISSUE_URL).order_by("pk").values_list("pk", flat=True):
        issues.link(key, None, replaces=ISSUE_URL, user=_Author(), at=at)
    assigned = FailureGroup.objects.filter(assigned_by_name=AUTHOR).values_list("pk", flat=True)
    triage.assign(list(assigned), person=None, user=_Author(), at=at)
    decided = FailureGroup.objects.filter(decided_by_name=AUTHOR).values_list("pk", flat=True)
    return triage.reopen(list(decided), user=_Author(), at=at)
