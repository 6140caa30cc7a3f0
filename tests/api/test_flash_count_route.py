"""`GET /metrics/flash-count`: the public count."""

from typing import Any

import pytest
from django.test import Client

from events import clock
from events.counting import rollups
from events.models import Event
from tests.conftest import make_event, success

pytestmark = pytest.mark.django_db


def test_an_empty_site_counts_nothing(client: Client) -> None:
    answer = client.get("/metrics/flash-count")
    assert answer.status_code == 200
    assert answer.json() == {"ok": True, "total": 0}


def test_the_total_is_the_baseline_and_every_success(client: Client) -> None:
    rollups.set_baseline(412, note="the old counter", user=None, user_name="command", at=clock.now())
    make_event(**success())
    make_event(**success())
    make_event()
    assert client.get("/metrics/flash-count/").json() == {"ok": True, "total": 414}


def test_the_count_is_one_row_whatever_the_number_of_events(client: Client, django_assert_num_queries: Any) -> None:
    make_event(**success())
    with django_assert_num_queries(1) as captured:
        client.get("/metrics/flash-count")
    assert "telemetry_events" not in captured[0]["sql"]


def test_head_has_no_body(client: Client) -> None:
    answer = client.head("/metrics/flash-count")
    assert answer.status_code == 200
    assert answer.content == b""


def test_a_deleted_event_still_counts(client: Client) -> None:
    make_event(**success())
    Event.objects.all().delete()
    assert client.get("/metrics/flash-count").json() == {"ok": True, "total": 1}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_the_count_is_only_read(client: Client, method: str) -> None:
    answer = client.generic(method, "/metrics/flash-count")
    assert (answer.status_code, answer.json()) == (405, {"ok": False, "error": "Method not allowed"})
