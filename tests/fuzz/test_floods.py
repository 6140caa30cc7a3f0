"""Floods of invented names and messages among real events. The stored events determine the expected counts."""

from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import TestCase
from hypothesis import given
from hypothesis import strategies as st

from events import process_memory
from events.counting import buckets, releases, rollups
from events.counting.buckets import DAY_MS, HOUR_MS, OTHER
from events.grouping import groups, triage
from events.grouping.fingerprints import fingerprint
from events.ingest import contract, writer
from events.maintenance import regrouping
from events.models import Event, FailureGroup, HourlyRollup, Release
from events.rows import EventRow
from tests.conftest import payload
from tests.fuzz.judge import case, check, rolled_back, share

pytestmark = pytest.mark.django_db

MIDNIGHT_MS = 1_770_854_400_000  # 2026-02-12 00:00 UTC
# Small capacities, which a few events fill.
CAPACITIES = {
    (buckets, "MAX_MODELS_A_DAY"): 5,
    (buckets, "MAX_VERSIONS_A_DAY"): 5,
    (releases, "MAX_NEW_A_DAY"): 4,
    (groups, "MAX_NEW_A_DAY"): 4,
}
NAMES = st.sampled_from(["real", "also real", *(f"invented {letter}" for letter in "klmnopqrst")])
# Letters, because fingerprints mask digits.
MESSAGES = st.sampled_from(["no ACK", "timed out", *(f"fault {letter}" for letter in "klmnopqrst")])
INVENTED = {"model": "invented {}", "app_version": "invented {}", "message": "fault {}"}
EVENTS = st.fixed_dictionaries(
    {
        "event_type": st.sampled_from(["flash_success", "flash_error", "flash_error", "connect_error"]),
        "model": NAMES,
        "app_version": NAMES,
        "message": MESSAGES,
        "session_id": st.none() | st.sampled_from(["one", "another"]) | st.integers(0, 400).map("session {}".format),
    }
).filter(lambda event: event["event_type"] != "flash_success" or event["session_id"])


def flood(column: str, event: dict[str, Any], count: int, has_sessions: bool) -> list[dict[str, Any]]:
    """Return copies of an event with invented values in one column. A success always gets a session."""
    needs_session = has_sessions or event["event_type"] == "flash_success"
    return [
        event
        | {column: INVENTED[column].format("klmnopqrst"[number])}
        | {"session_id": f"flood {number}" if needs_session else None}
        for number in range(count)
    ]


FLOODS = st.builds(flood, st.sampled_from(list(INVENTED)), EVENTS, st.integers(5, 10), st.booleans())
# Each batch, whether a new process stores it, and whether all groups are resolved before it.
BATCHES = st.lists(
    st.tuples(FLOODS | st.lists(EVENTS, min_size=1, max_size=12), st.booleans(), st.booleans()), min_size=1, max_size=6
)


@pytest.fixture(autouse=True)
def _small_capacities(monkeypatch: pytest.MonkeyPatch) -> None:
    for (module, name), capacity in CAPACITIES.items():
        monkeypatch.setattr(module, name, capacity)


@pytest.fixture(autouse=True)
def user(db: None) -> User:
    return User.objects.create_user("olga")


def store(batch: list[dict[str, Any]], *, at_ms: int) -> None:
    rows = [contract.parse(payload(**event), received_at_ms=at_ms + number) for number, event in enumerate(batch)]
    with TestCase.captureOnCommitCallbacks(execute=True):
        writer.record_many(rows)


def resolve_all(user: User, at_ms: int) -> None:
    keys = list(FailureGroup.objects.values_list("pk", flat=True))
    triage.resolve(keys, fixed_in=None, user=user, at=datetime.fromtimestamp(at_ms / 1_000, UTC))


@pytest.mark.fault("floods of names, versions and messages")
@share(1, short=10)
@given(days=st.lists(BATCHES, min_size=1, max_size=3))
def test_a_flood(days: list[Any], user: User) -> None:
    process_memory.clear()
    with rolled_back():
        with case():
            for number, batches in enumerate(days):
                for hour, (batch, is_new_process, is_resolved) in enumerate(batches):
                    at_ms = MIDNIGHT_MS + number * DAY_MS + hour * HOUR_MS
                    if is_new_process:
                        process_memory.clear()
                    if is_resolved:
                        resolve_all(user, at_ms - 1)
                    store(batch, at_ms=at_ms)
        expect_all_visible()


def expect_all_visible() -> None:
    stored = [EventRow(*row) for row in Event.objects.order_by("received_at_ms", "id").values_list(*EventRow._fields)]
    expect_known_names(stored)
    expect_releases(stored)
    expect_groups(stored)
    expect_regressions(stored)


def day_of(event: EventRow) -> int:
    return event.received_at_ms // DAY_MS


def expect_known_names(stored: list[EventRow]) -> None:
    """A name that was counted on an earlier day is counted. New names share the remaining capacity."""
    for column in ("model", "app_version"):
        counted: defaultdict[int, set[str]] = defaultdict(set)
        totals: Counter[int] = Counter()
        for hour_ms, name, accepted in HourlyRollup.objects.values_list("hour_ms", column, "accepted"):
            counted[hour_ms // DAY_MS].add(name)
            totals[hour_ms // DAY_MS] += accepted
        known: set[str] = set()
        for day in sorted({day_of(event) for event in stored}):
            sent = {getattr(event, column) for event in stored if day_of(event) == day}
            check("else", (sent & known) <= counted[day], "a known name is hidden", column, day, sent, known, counted)
            new = counted[day] - known - {OTHER}
            # `unknown` is always known.
            check("else", len(new) <= max(5 - 1 - len(known), 1), "too many new names", column, day, new, known)
            known |= new
    check("else", totals == Counter(map(day_of, stored)), "an event is not counted", totals)
    differences = [difference for day in rollups.days_in_use(0, None) for difference in rollups.compare(day)]
    check("else", differences + rollups.compare_totals() == [], differences)


def expect_releases(stored: list[EventRow]) -> None:
    """A release has a success, or 5 events from 3 sessions."""
    for version in Release.objects.filter(is_release=True).values_list("app_version", flat=True):
        of_version = [event for event in stored if event.app_version == version]
        earned = any(event.event_type == "flash_success" for event in of_version) or (
            len(of_version) >= 5 and len({event.session_id for event in of_version}) >= 3
        )
        check("else", earned, "an invented version is a release", version, of_version)


def expect_groups(stored: list[EventRow]) -> None:
    """Groups count their events. A message that arrived three times beyond the capacity has its own group."""
    check("else", regrouping.compare() == [], "a group does not count its events")
    failures = [event for event in stored if event.event_type != "flash_success"]
    received = Counter(fingerprint(one.event_type, one.error_name, one.message, one.stack).key for one in failures)
    own = set(FailureGroup.objects.values_list("pk", flat=True))
    hidden = {key for key, count in received.items() if count >= 3 and key not in own}
    check("else", not hidden, "a repeated message has no group", hidden, received)


def expect_regressions(stored: list[EventRow]) -> None:
    """A resolved group is open again only if it failed after the decision in a version released after it."""
    released = dict(Release.objects.filter(is_release=True).values_list("app_version", "first_seen_ms"))
    fingerprints = dict(Event.objects.values_list("id", "fingerprint"))
    for group in FailureGroup.objects.filter(decided_at_ms__isnull=False).exclude(pk__startswith="overflow-"):
        since_ms = group.decided_at_ms or 0
        failed_again = any(
            fingerprints[event.id] == group.pk
            and event.received_at_ms >= since_ms
            and released.get(event.app_version, 0) > since_ms
            for event in stored
        )
        check("else", (group.status == "open") is failed_again, group.title, group.status, since_ms, released, stored)
