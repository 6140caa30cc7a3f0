"""Events: the same list, of every type."""

import pytest
from django.test import Client

from events import clock
from events.counting.buckets import DAY_MS
from tests.conftest import make_event, sign_in, success

pytestmark = pytest.mark.django_db
PATH = "/admin/events/event/"


def types(client: Client, **query: object) -> list[str]:
    return [event.event_type for event in client.get(PATH, query).context["page"].events]


def test_staff_without_the_right_may_not(client: Client) -> None:
    sign_in(client)
    assert client.get(PATH).status_code == 403


def test_the_list_has_successes_and_failures(client: Client) -> None:
    sign_in(client, "Staff")
    now_ms = clock.now_ms()
    make_event(received_at_ms=now_ms - 2)
    make_event(**success(), received_at_ms=now_ms - 1)
    assert types(client) == ["flash_success", "flash_error"]
    assert types(client, type="flash_success") == ["flash_success"]


def test_a_session_is_every_event_of_it(client: Client) -> None:
    sign_in(client, "Staff")
    now_ms = clock.now_ms()
    make_event(session_id="sess-1", received_at_ms=now_ms - 2)
    make_event(**success(session_id="sess-1"), received_at_ms=now_ms - 1)
    make_event(session_id="sess-2")
    assert types(client, session="sess-1") == ["flash_success", "flash_error"]
    assert client.get(PATH, {"q": "sess-1"})["Location"] == f"{PATH}?session=sess-1"
    assert 'name="session" value="sess-1"' in client.get(PATH, {"session": "sess-1"}).content.decode()


def test_a_day_is_half_open(client: Client) -> None:
    sign_in(client, "Staff")
    midnight_ms = clock.now_ms() // DAY_MS * DAY_MS - DAY_MS
    make_event(message="before", received_at_ms=midnight_ms - 1)
    make_event(message="first", received_at_ms=midnight_ms)
    make_event(message="after", received_at_ms=midnight_ms + DAY_MS)
    query = {"since": clock.iso(midnight_ms)[:10], "until": clock.iso(midnight_ms + DAY_MS)[:10]}
    assert [event.message for event in client.get(PATH, query).context["page"].events] == ["first"]
