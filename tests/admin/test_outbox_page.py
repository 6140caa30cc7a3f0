"""The page of the outbox: what was sent, waits or was given up, and another attempt."""

from typing import Any

import pytest
from django.test import Client

from events import clock
from events.models import Alert, AlertChannel, AlertDelivery, AuditEntry, DeliveryState
from tests.conftest import make_event, sign_in, text_of

pytestmark = pytest.mark.django_db

PATH = "/admin/events/alert/"
RETRY = f"{PATH}retry/"
_keys = iter(range(10_000))


def channel(name: str = "ops") -> AlertChannel:
    found = AlertChannel.objects.filter(name=name).first()
    return found or AlertChannel.objects.create(
        name=name, sealed_url="x", service="json", added_at_ms=0, added_by_name="admin"
    )


def alert(kind: str = "job", *, minutes: int = 5, subject: str = "", key: str = "") -> Alert:
    at_ms = clock.now_ms() - minutes * 60_000
    key = key or f"key {next(_keys)}"
    facts = {} if subject else {"heading": key, "lines": [], "path": "/admin/events/jobstate/"}
    return Alert.objects.create(kind=kind, key=key, subject=subject, facts=facts, happened_at_ms=at_ms)


def deliver(to: Alert, state: DeliveryState, *, name: str = "ops", **values: Any) -> AlertDelivery:
    row = {"due_ms": clock.now_ms(), "attempts": 1} | values
    if state != DeliveryState.WAITING:
        row["ended_at_ms"] = clock.now_ms()
    return AlertDelivery.objects.create(alert=to, channel=channel(name), state=state, **row)


def page(client: Client, query: str = "", status: int = 200) -> str:
    answer = client.get(PATH + query)
    assert answer.status_code == status
    return text_of(answer)


def test_an_empty_outbox_says_what_belongs_there(client: Client) -> None:
    sign_in(client, "Staff")
    text = page(client)
    assert "No alert yet" in text
    assert "No channel is on" in text


def test_each_alert_has_its_messages_with_the_reason(client: Client) -> None:
    sign_in(client, "Maintainers")
    group = make_event(message="Radio <b>vanished</b>").fingerprint or ""
    first = alert("regression", subject=group)
    deliver(first, DeliveryState.SENT)
    deliver(first, DeliveryState.GIVEN_UP, name="team", problem="The service answered 403 (Forbidden).")
    deliver(alert(), DeliveryState.WAITING, attempts=2, problem="The host refused the connection.")
    alert("disk", key="free disk")
    text = page(client)
    assert "[regression]" in text
    assert f'href="/admin/events/failuregroup/{group}/"' in text
    assert "Radio &lt;b&gt;vanished&lt;/b&gt;" in text
    assert "sent</span>" in text
    assert "The service answered 403 (Forbidden)." in text
    assert "2 attempts so far" in text
    assert "The host refused the connection." in text
    assert "Not planned yet" in text
    assert '<a href="/admin/events/jobstate/"><bdi>free disk</bdi></a>' in text
    assert text.count(">Try again<") == 1


def test_the_filters_apply_together(client: Client) -> None:
    sign_in(client, "Staff")
    deliver(alert("new", key="new, sent"), DeliveryState.SENT)
    deliver(alert("new", key="new, given up"), DeliveryState.GIVEN_UP)
    deliver(alert("disk", key="disk, given up"), DeliveryState.GIVEN_UP, name="team")
    keys = ["new, sent", "new, given up", "disk, given up"]

    def shown(query: str) -> list[str]:
        text = page(client, query)
        return [key for key in keys if key in text]

    assert shown("") == keys
    assert shown("?state=given_up") == keys[1:]
    assert shown("?state=given_up&kind=new") == ["new, given up"]
    assert shown("?channel=team") == ["disk, given up"]
    assert shown("?channel=team&state=sent") == []
    assert "No alert matches these filters" in page(client, "?channel=nobody")
    assert "These filters are invalid" in page(client, "?state=nonsense&cursor=x&more=1&channel=%00", 400)
    assert "Try again" not in page(client)


def test_a_long_outbox_has_pages(client: Client) -> None:
    sign_in(client, "Staff")
    for number in range(51):
        alert(minutes=number, key=f"alert-{number:03}")
    first = page(client)
    assert "alert-049" in first
    assert "alert-050" not in first
    cursor = first.partition("cursor=")[2].partition('"')[0]
    second = page(client, f"?cursor={cursor}")
    assert "alert-050" in second
    assert "alert-049" not in second


def test_the_page_needs_the_same_number_of_queries_for_each_alert(
    client: Client, django_assert_max_num_queries: Any
) -> None:
    sign_in(client, "Staff")
    for number in range(50):
        deliver(alert(key=f"{number}"), DeliveryState.SENT, name=f"c{number % 5}")
    with django_assert_max_num_queries(20):
        page(client)


def test_a_message_that_was_given_up_is_tried_again(client: Client) -> None:
    user = sign_in(client, "Maintainers")
    row = deliver(alert(), DeliveryState.GIVEN_UP, attempts=29, problem="The host refused the connection.")
    answer = client.post(RETRY, {"delivery": row.pk}, follow=True)
    assert "ops tries again within a minute." in text_of(answer)
    row.refresh_from_db()
    assert (row.state, row.attempts, row.ended_at_ms, row.problem) == (DeliveryState.WAITING, 0, None, "")
    assert row.due_ms <= clock.now_ms()
    entry = AuditEntry.objects.get(kind="alert")
    assert (entry.who, entry.about, entry.what) == (
        user.username,
        "ops",
        "Requested another attempt of the alert [job].",
    )
    assert "was not given up" in text_of(client.post(RETRY, {"delivery": row.pk}, follow=True))


def test_a_channel_that_is_off_is_not_tried(client: Client) -> None:
    sign_in(client, "Maintainers")
    row = deliver(alert(), DeliveryState.GIVEN_UP)
    AlertChannel.objects.update(is_on=False)
    assert "ops is off. Switch it on first." in text_of(client.post(RETRY, {"delivery": row.pk}, follow=True))
    row.refresh_from_db()
    assert row.state == DeliveryState.GIVEN_UP


@pytest.mark.parametrize("number", ["", "0", "x", "-1", "²", "9" * 30, "1\0"])
def test_an_unknown_message_is_not_found(client: Client, number: str) -> None:
    sign_in(client, "Maintainers")
    assert client.post(RETRY, {"delivery": number}).status_code == 404


def test_staff_cannot_repeat_and_a_get_repeats_nothing(client: Client) -> None:
    row = deliver(alert(), DeliveryState.GIVEN_UP)
    sign_in(client, "Staff")
    assert client.post(RETRY, {"delivery": row.pk}).status_code == 403
    maintainer = Client()
    sign_in(maintainer, "Maintainers")
    assert maintainer.get(RETRY).status_code == 405
    row.refresh_from_db()
    assert row.state == DeliveryState.GIVEN_UP
