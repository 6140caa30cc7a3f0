"""The decisions of the invented maintainers, at the times at which they make them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from events.counting.buckets import HOUR_MS
from events.grouping import triage
from events.maintenance.demo import faults, visits
from events.maintenance.demo.world import World
from events.models import FailureGroup

# No account can have this name, because it contains a space.
AUTHOR = "manage.py demo_data"


class Decision(NamedTuple):
    """`make` stores the decision. It is called when all events before `at_ms` are stored."""

    at_ms: int
    make: Callable[[], object]


class _Author:
    def get_username(self) -> str:
        return AUTHOR


def of(world: World) -> list[Decision]:
    """Return the decisions of a world, oldest first."""
    decisions = []
    fixed = world.fixed
    if fixed is not None:
        at_ms = fixed.at_ms + 6 * HOUR_MS
        decisions.append(Decision(at_ms, lambda: _resolve(world, fixed.version, at_ms)))
    return decisions


def _resolve(world: World, version: str, at_ms: int) -> None:
    """Mark the fault that comes back later as fixed."""
    at = datetime.fromtimestamp(at_ms / 1_000, UTC)
    fingerprints = visits.fingerprints_of(world, faults.RETURNING_FAULT)
    triage.resolve(fingerprints, fixed_in=version, user=_Author(), at=at)


def withdraw(*, at: datetime) -> int:
    """Open the groups again that only the demo has decided about, after its events were deleted.

    The audit log keeps every decision, because it is append-only.
    """
    decided = FailureGroup.objects.filter(decided_by_name=AUTHOR).values_list("pk", flat=True)
    return triage.reopen(list(decided), user=_Author(), at=at)
