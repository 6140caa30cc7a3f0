"""The page that shows how many messages other thresholds would have caused."""

import pytest
from django.test import Client

from events.models import AlertKind
from tests.conftest import make_event, sign_in, text_of

pytestmark = pytest.mark.django_db

PATH = "/admin/events/alert/preview/"


def page(client: Client, query: str = "", status: int = 200) -> str:
    answer = client.get(PATH + query)
    assert answer.status_code == status
    return text_of(answer)


def test_the_thresholds_of_the_settings_are_previewed(client: Client) -> None:
    sign_in(client, "Staff")
    text = page(client)
    assert "would have sent no message in the last 30 days." in text
    assert "In force: 3 failures and 24 hours." in text


def test_other_thresholds_are_previewed(client: Client) -> None:
    sign_in(client, "Staff")
    for session in ("a", "b"):
        make_event(message="Radio <b>vanished</b>", session_id=session)
    assert "would have sent no message" in page(client)
    text = page(client, "?new_after=2&silence_hours=48")
    assert "ALERT_NEW_AFTER=2" in text
    assert "ALERT_SILENCE_HOURS=48" in text
    assert "would have sent 1 message in the last 30 days: 1 [new]." in text
    assert f"[{AlertKind.NEW}]" in text
    assert "Radio &lt;b&gt;vanished&lt;/b&gt;" in text


@pytest.mark.parametrize("query", ["?new_after=0", "?silence_hours=721", "?new_after=x", "?more=1", "?new_after=%00"])
def test_wrong_thresholds_are_refused(client: Client, query: str) -> None:
    sign_in(client, "Staff")
    text = page(client, query, 400)
    assert "would have sent" not in text


def test_a_person_without_rights_sees_nothing(client: Client) -> None:
    sign_in(client)
    assert client.get(PATH).status_code == 403
