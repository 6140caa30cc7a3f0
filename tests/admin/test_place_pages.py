"""The original places on the page of a group: the split of one place, and the merges that one place suggests."""

import pytest
from django.test import Client

from events import clock
from events.grouping import groups, triage
from events.models import AuditEntry, DismissedMerge, Event, FailureGroup
from tests.conftest import make_event, sign_in, text_of
from tests.sourcemaps.maps import BUNDLE, store_map

pytestmark = pytest.mark.django_db


def failure(column: int, number: int = 0, message: str = "No ACK for this block") -> Event:
    stack = f"Error: no\n    at Ht (https://flash.example.org/assets/{BUNDLE}:1:{column})"
    return make_event(message=message, stack=stack, session_id=f"session-{column}-{number}")


def path_of(event: Event, page: str = "") -> str:
    return f"/admin/events/failuregroup/{event.fingerprint}/{page}"


@pytest.fixture
def two_places() -> Event:
    store_map()
    for number in range(3):
        failure(101, number)
    return failure(205)


@pytest.fixture
def same_place() -> tuple[Event, Event]:
    store_map()
    return failure(101), failure(105, message="Something else entirely")


def test_a_group_with_two_places_lists_them_and_offers_the_split(client: Client, two_places: Event) -> None:
    sign_in(client, "Maintainers")
    text = text_of(client.get(path_of(two_places)))
    assert "The newest 4 failures have 2 original places." in text
    assert 'writeBlock (src/protocol.ts:8)</bdi> <span class="quiet">3 failures' in text
    assert 'flash (src/protocol.ts:19)</bdi> <span class="quiet">1 failure<' in text
    assert text.count("Split off…") == 2


def test_a_group_with_one_place_lists_no_places(client: Client) -> None:
    sign_in(client, "Maintainers")
    store_map()
    text = text_of(client.get(path_of(failure(101))))
    assert "places-title" not in text
    assert "same-place-title" not in text


def test_an_overflow_group_has_no_places_and_is_no_suggestion(client: Client, same_place: tuple[Event, Event]) -> None:
    sign_in(client, "Maintainers")
    one, two = same_place
    overflow = groups.overflow_of("flash_error").key
    FailureGroup.objects.filter(pk=two.fingerprint).update(fingerprint=overflow)
    Event.objects.filter(pk=two.pk).update(fingerprint=overflow)
    two.fingerprint = overflow
    failure(205)
    Event.objects.update(fingerprint=overflow)
    assert "places-title" not in text_of(client.get(path_of(two)))
    Event.objects.filter(pk=one.pk).update(fingerprint=one.fingerprint)
    assert "same-place-title" not in text_of(client.get(path_of(one)))


def test_a_split_moves_the_failures_of_one_place(client: Client, two_places: Event) -> None:
    sign_in(client, "Maintainers")
    places = client.get(path_of(two_places)).context["found_places"].places
    query = {"place": next(place.key for place in places if place.function == "flash")}
    assert "1 of the newest 4 failures" in text_of(client.get(path_of(two_places, "split-place/"), query))
    assert FailureGroup.objects.count() == 1  # the question changes nothing
    answer = client.post(path_of(two_places, "split-place/"), query, follow=True)
    assert "Later failures at these positions of the bundle join this group." in text_of(answer)
    assert sorted(FailureGroup.objects.values_list("accepted", flat=True)) == [1, 3]
    again = client.post(path_of(two_places, "split-place/"), query, follow=True)
    assert "no longer have this place" in text_of(again)


@pytest.mark.parametrize("place", ["", "elsewhere (src/a.ts:1)", "\0"])
def test_an_unknown_place_changes_nothing(client: Client, two_places: Event, place: str) -> None:
    sign_in(client, "Maintainers")
    for answer in (
        client.get(path_of(two_places, "split-place/"), {"place": place}, follow=True),
        client.post(path_of(two_places, "split-place/"), {"place": place}, follow=True),
    ):
        assert "Nothing was changed." in text_of(answer)
    assert FailureGroup.objects.count() == 1


def test_groups_of_one_place_suggest_the_merge(client: Client, same_place: tuple[Event, Event]) -> None:
    sign_in(client, "Maintainers")
    one, two = same_place
    for event, other in ((one, two), (two, one)):
        text = text_of(client.get(path_of(event)))
        assert f'{path_of(event, "merge/")}?into={other.fingerprint}"' in text
    assert client.get(path_of(one, "merge/"), {"into": two.fingerprint}).status_code == 200


def test_a_dismissed_suggestion_does_not_return_on_either_page(client: Client, same_place: tuple[Event, Event]) -> None:
    sign_in(client, "Maintainers")
    one, two = same_place
    for _ in range(2):
        client.post(path_of(one, "dismiss-merge/"), {"other": two.fingerprint})
    for event in same_place:
        assert "same-place-title" not in text_of(client.get(path_of(event)))
    assert DismissedMerge.objects.count() == 1
    words = sorted(AuditEntry.objects.values_list("what", flat=True))
    assert [entry.startswith("Dismissed the suggestion to merge with “") for entry in words] == [True, True]


@pytest.mark.parametrize("other", ["", "unknown", "\0", "itself"])
def test_an_impossible_dismissal_does_nothing(client: Client, same_place: tuple[Event, Event], other: str) -> None:
    sign_in(client, "Maintainers")
    one, _ = same_place
    body = {"other": one.fingerprint if other == "itself" else other}
    assert client.post(path_of(one, "dismiss-merge/"), body).status_code == 302
    assert client.get(path_of(one, "dismiss-merge/"), body).status_code == 302
    assert not DismissedMerge.objects.exists()


def test_staff_without_the_right_see_places_and_change_nothing(client: Client, two_places: Event) -> None:
    user = sign_in(client, "Staff")
    assert not user.has_perm("events.triage_event")
    text = text_of(client.get(path_of(two_places)))
    assert "Places in the original code" in text
    assert "Split off…" not in text
    for page in ("split-place/", "dismiss-merge/"):
        assert client.get(path_of(two_places, page)).status_code == 403
        assert client.post(path_of(two_places, page)).status_code == 403


def test_two_maintainers_dismiss_at_once_and_one_row_stays(same_place: tuple[Event, Event], client: Client) -> None:
    user = sign_in(client, "Maintainers")
    one, two = (event.fingerprint or "" for event in same_place)
    assert [
        triage.dismiss_merge(*pair, user=user, at=clock.now()) for pair in ((one, two), (two, one), (one, one))
    ] == [True, False, False]
