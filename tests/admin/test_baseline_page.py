"""The baseline of the public count: a form that asks before it counts, and the history of every change."""

import pytest
from django.test import Client

from events import clock
from events.counting import rollups
from events.models import CounterBaseline
from events.reports import metrics
from tests.conftest import make_event, sign_in, success

pytestmark = pytest.mark.django_db
PATH = "/admin/events/counterbaseline/"
WANTED = {"value": "412", "note": "from KV"}


def test_staff_may_look_and_not_set(client: Client) -> None:
    rollups.set_baseline(7, note="before", user=None, user_name="command", at=clock.now())
    sign_in(client, "Staff")
    text = client.get(PATH).content.decode()
    assert "before" in text
    assert "Set a new baseline" not in text
    assert client.post(PATH, WANTED | {"confirmed": "yes"}).status_code == 403
    assert metrics.flash_count().baseline == 7


def test_a_maintainer_is_asked_first(client: Client) -> None:
    sign_in(client, "Maintainers")
    make_event(**success())
    text = client.post(PATH, WANTED).content.decode()
    assert "from <strong>1</strong> to <strong>413</strong>" in text
    assert metrics.flash_count().baseline == 0


def test_a_confirmed_baseline_counts_and_is_kept_with_who_and_when(client: Client) -> None:
    user = sign_in(client, "Maintainers")
    make_event(**success())
    answer = client.post(PATH, WANTED | {"confirmed": "yes"}, follow=True)
    assert '<span class="quiet">current</span>' in answer.content.decode()
    assert metrics.flash_count() == (412, 1)
    kept = CounterBaseline.objects.get()
    assert (kept.value, kept.note, kept.set_by, kept.set_by_name) == (412, "from KV", user, user.username)
    client.post(PATH, {"value": "500", "note": "found more", "confirmed": "yes"})
    text = client.get(PATH).content.decode()
    assert text.index("found more") < text.index("from KV")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"value": "-1"}, "greater than or equal to 0"),
        ({"value": "many"}, "Enter a whole number"),
        ({"note": " "}, "This field is required"),
    ],
)
def test_an_invalid_value_is_explained(client: Client, changes: dict[str, str], said: str) -> None:
    sign_in(client, "Maintainers")
    assert said in client.post(PATH, WANTED | changes | {"confirmed": "yes"}).content.decode()
    assert not CounterBaseline.objects.exists()


def test_a_note_stays_text(client: Client) -> None:
    sign_in(client, "Maintainers")
    answer = client.post(PATH, WANTED | {"note": "<script>1</script>", "confirmed": "yes"}, follow=True)
    assert b"<script>1" not in answer.content


def test_the_add_address_shows_the_same_form(client: Client) -> None:
    sign_in(client, "Maintainers")
    assert b"Set a new baseline" in client.get(PATH + "add/").content
