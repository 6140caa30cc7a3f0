"""The original places of a group, and the groups that have the same place."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events.models import Event, FailureGroup
from events.reports.groups import places
from events.reports.groups.places import Places
from tests.conftest import make_event
from tests.sourcemaps.maps import BUNDLE, MAPPINGS, PROTOCOL, encoded, store_map

pytestmark = pytest.mark.django_db

MOVED = [
    (row, column, source, line + 9, *rest) if source == 0 else (row, column, source, line, *rest)
    for row, column, source, line, *rest in MAPPINGS
]


def stack(column: int, *, name: str = "Ht", engine: str = "V8") -> str:
    address = f"https://flash.example.org/assets/{BUNDLE}:1:{column}"
    return f"Error: no\n    at {name} ({address})" if engine == "V8" else f"{name}@{address}"


def at_moment(number: int) -> dict[str, Any]:
    return {"received_at_ms": 1_000 + number, "session_id": f"session-{number}"}


def places_of(event: Event, **options: Any) -> Places:
    assert event.fingerprint
    return places.places(event.fingerprint, now_ms=5_000, **options)


def suggested(event: Event) -> list[tuple[str, str]]:
    group = FailureGroup.objects.get(pk=event.fingerprint)
    merges = places.suggested_merges(group, places_of(event), now_ms=5_000)
    return [(merge.group.pk, merge.frame) for merge in merges]


def test_one_group_can_have_two_places() -> None:
    store_map()
    for number, column in enumerate([101, 101, 105, 205]):
        event = make_event(message="No ACK", stack=stack(column), session_id=f"session-{number}")
    make_event(message="No ACK", stack=stack(5))  # the map has no position
    found = places_of(event)
    assert [(place.frame, place.events) for place in found.places] == [
        ("writeBlock (src/protocol.ts:8)", 3),
        ("flash (src/protocol.ts:19)", 1),
    ]
    assert found.places[0].positions == {f"{BUNDLE}:1:101", f"{BUNDLE}:1:105"}
    assert (found.events, found.unresolved, found.can_split) == (5, 1, True)


def test_places_with_one_position_cannot_be_split() -> None:
    store_map()
    library = stack(310, name="r")
    for caller in (101, 205):
        address = f"https://flash.example.org/assets/{BUNDLE}:1:{caller}"
        event = make_event(message="No ACK", stack=f"{library}\n    at Ht ({address})")
    found = places_of(event)
    assert (len(found.places), found.can_split) == (2, False)


def test_a_line_that_another_version_moved_is_the_same_place() -> None:
    store_map("old")
    store_map("new", at_ms=2_000, sourcesContent=["\n" * 9 + PROTOCOL, None, None], mappings=encoded(MOVED))
    for number, version in enumerate(["old", "new", "new"]):
        event = make_event(message="No ACK", stack=stack(101), app_version=version, **at_moment(number))
    found = places_of(event)
    assert [(place.frame, place.events) for place in found.places] == [("writeBlock (src/protocol.ts:17)", 3)]
    assert found.places[0].identity.startswith("src/protocol.ts\x1fwriteBlock\x1fif (ack")


def test_without_a_map_there_is_no_place() -> None:
    event = make_event(stack=stack(101))
    found = places_of(event)
    assert (found.places, found.unresolved, found.can_split) == ([], 1, False)
    assert suggested(event) == []


def test_only_the_newest_failures_are_read_and_equal_stacks_once() -> None:
    store_map()
    for number in range(6):
        event = make_event(message="No ACK", stack=stack(101 if number else 205), **at_moment(number))
    assert [place.events for place in places_of(event, newest=5).places] == [5]
    assert [place.events for place in places_of(event).places] == [5, 1]
    with CaptureQueriesContext(connection) as queries:
        places_of(event)
    assert len(queries) == 2


def test_groups_of_one_place_suggest_each_other() -> None:
    store_map()
    one = make_event(message="No ACK for this block", stack=stack(101))
    two = make_event(message="Something else entirely", stack=stack(105, name="writeBlock", engine="Gecko"))
    make_event(message="A place elsewhere", stack=stack(205))
    make_event(message="Another type", stack=stack(101), event_type="connect_error")
    assert one.fingerprint != two.fingerprint
    assert suggested(one) == [(two.fingerprint, "writeBlock (src/protocol.ts:8:32)")]
    assert suggested(two) == [(one.fingerprint, "writeBlock (src/protocol.ts:8:32)")]


@pytest.mark.parametrize(
    ("own", "other", "is_suggested"),
    [("", "", True), ("a", "", True), ("", "a", True), ("a", "a", True), ("a", "b", False)],
)
def test_only_groups_with_a_compatible_error_are_suggested(own: str, other: str, is_suggested: bool) -> None:
    store_map()
    one = make_event(message="No ACK for this block", stack=stack(101))
    two = make_event(message="Something else entirely", stack=stack(101))
    FailureGroup.objects.filter(pk=one.fingerprint).update(canonical=own)
    FailureGroup.objects.filter(pk=two.fingerprint).update(canonical=other)
    assert bool(suggested(one)) is is_suggested
