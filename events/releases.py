"""Which versions of the front end there were, in the order in which their first events came."""

import time
from collections.abc import Iterable

from django.db import transaction
from django.db.models import Min

from events.buckets import OTHER, UNKNOWN, bucket_of
from events.models import HourlyRollup, Release
from events.rollups import Counted
from events.upserts import Upsert, upsert

# What a tab that was never released says, and what stands for a version that nobody told.
NO_RELEASES = frozenset({"dev", UNKNOWN, OTHER})

_RELEASES = Upsert(
    Release._meta.db_table,
    ("app_version", "first_seen_ms"),
    "app_version",
    "first_seen_ms = CASE WHEN excluded.first_seen_ms < kept.first_seen_ms"
    " THEN excluded.first_seen_ms ELSE kept.first_seen_ms END",
)
_MAX_KNOWN = 10_000
_KNOWN_SECONDS = 60
_known: dict[str, int] = {}
_known_since = 0.0


def note(events: Iterable[Counted]) -> None:
    """Keep the versions that are new, or older than we knew, inside the caller's transaction."""
    global _known_since
    if time.monotonic() - _known_since > _KNOWN_SECONDS:  # another process may have deleted a release
        _known.clear()
        _known_since = time.monotonic()
    earliest: dict[str, Counted] = {}
    for event in events:
        known_ms = _known.get(event.app_version)
        if known_ms is not None and known_ms <= event.received_at_ms:
            continue
        first = earliest.get(event.app_version)
        if first is None or event.received_at_ms < first.received_at_ms:
            earliest[event.app_version] = event
    fresh = {version: event.received_at_ms for version, event in earliest.items() if _is_release(event)}
    if fresh:
        upsert(_RELEASES, list(fresh.items()))
        transaction.on_commit(lambda: _learn(fresh))


def is_no_earlier(version: str, fixed_in: str | None, decided_at_ms: int) -> bool:
    """Tell whether a fix should be in this version: one first seen no earlier than the one that it is in.

    Without `fixed_in` the fix is in the first version that is new after `decided_at_ms`. Versions that are no
    release have no order, so for them this is never true.
    """
    if version in NO_RELEASES:
        return False
    if version == fixed_in:
        return True
    seen = dict(Release.objects.filter(app_version__in=[version, fixed_in or version]).values_list())
    if version not in seen:
        return False
    if fixed_in is None:
        return seen[version] > decided_at_ms
    return fixed_in in seen and seen[version] >= seen[fixed_in]


def was_seen(version: str) -> bool:
    return Release.objects.filter(app_version=version).exists()


def first_seen_between(start_ms: int, end_ms: int) -> list[Release]:
    """Return the releases whose first event came in [start_ms, end_ms), oldest first."""
    return list(Release.objects.filter(first_seen_ms__gte=start_ms, first_seen_ms__lt=end_ms).order_by("first_seen_ms"))


def newest(limit: int) -> list[str]:
    """Return the versions that were first seen last, newest first."""
    return list(Release.objects.order_by("-first_seen_ms").values_list("app_version", flat=True)[:limit])


def settle() -> None:
    """Delete the versions that no event is counted for, and move `first_seen_ms` of others to their first hour.

    Called after made-up events were deleted or successes became void: nothing else lowers the hours of a version.
    The caller holds the totals of every type.
    """
    hours = dict(HourlyRollup.objects.filter(accepted__gt=0).values_list("app_version").annotate(Min("hour_ms")))
    for release in Release.objects.order_by("app_version"):
        first_hour_ms = hours.get(release.app_version)
        if first_hour_ms is None:
            release.delete()
        elif release.first_seen_ms < first_hour_ms:
            Release.objects.filter(pk=release.pk).update(first_seen_ms=first_hour_ms)
    forget()


def forget() -> None:
    """Forget which releases are in the table; the next event writes its own again."""
    _known.clear()


def _is_release(event: Counted) -> bool:
    # Past so many a day a version has no bucket of its own, and is no release: nobody may flood this table either.
    bucket = bucket_of(event.received_at_ms, event.event_type, event.model, event.app_version)
    return bucket.app_version not in NO_RELEASES


def _learn(fresh: dict[str, int]) -> None:
    if len(_known) > _MAX_KNOWN:
        _known.clear()
    _known.update(fresh)
