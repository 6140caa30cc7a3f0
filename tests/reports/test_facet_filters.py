"""Filters by facet: an event matches exactly if ingest counts it under this value."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from events.counting import facets
from events.models import Event
from events.reports import failures
from events.reports.failures import Criteria
from tests.conftest import make_event, payload
from tests.counting.test_facets import TOLD

pytestmark = pytest.mark.django_db

MORE = [
    r'{"browser":"Chrome 139","note":"\"browser\":\"Edge\""}',
    '{"browser":"chrome 139"}',
    '{"browser":"Chrome 1390"}',
    '{"browser":["x"],"deep":{"browser":true}}',
    '{"browser":12345678901234567890}',
    '{"browser":"12345678901234567890"}',
    '{"browser":"1"}',
    '{"browser":"true"}',
    '{"browser":10}',
    '{"my":{"browser":1},"browser":2}',
    '{"browser":"a","x":{"browser":"b"}}',
    "{}",
]


@pytest.fixture
def stored() -> dict[str, set[str]]:
    """Return the ids of stored failures by their value, which ingest told."""
    ids: dict[str, set[str]] = {}
    for number, text in enumerate([text for text, _ in TOLD] + MORE):
        event = make_event(**payload(message=f"Failure {number}", metadata_json=text))
        for facet, value in facets.values_in(event.metadata_json):
            if facet == "f.browser":
                ids.setdefault(value, set()).add(event.id)
    return ids


def values(stored: dict[str, set[str]]) -> Iterator[str]:
    yield from stored
    yield from ("Edge", "b", "2.0", "1.0", "1e3", "1000", "01", "-0", "null", "[]", "{}", "%", "_", '"', "\\", "x" * 65)


def test_exactly_the_events_that_ingest_counts_match(stored: dict[str, set[str]]) -> None:
    # PostgreSQL 15 cannot test for JSON, so its parser must not see this.
    Event.objects.filter(message="Failure 0").update(metadata_json='{"browser":"Chrome 139"')
    stored["Chrome 139"] -= set(Event.objects.filter(message="Failure 0").values_list("id", flat=True))
    for value in values(stored):
        page = failures.page(Criteria(facets=(("browser", value),)), limit=100)
        assert {event.id for event in page.events} == stored.get(value, set()), value
    assert len(stored) == 20


def test_all_facets_apply() -> None:
    make_event(**payload(message="one", metadata_json='{"browser":"Chrome 139","os":"Windows"}'))
    make_event(**payload(message="two", metadata_json='{"browser":"Chrome 139","os":"Linux"}'))
    page = failures.page(Criteria(facets=(("browser", "Chrome 139"), ("os", "Linux"))), limit=10)
    assert [event.message for event in page.events] == ["two"]


def test_a_search_reads_a_bounded_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "SEARCH_ROWS", 2)
    for number in range(5):
        browser = "Safari 18" if number == 0 else "Chrome 139"
        make_event(**payload(message=f"Failure {number}", metadata_json=f'{{"browser":"{browser}"}}'))
    criteria = Criteria(facets=(("browser", "Safari 18"),))
    first = failures.page(criteria, limit=10)
    assert (first.events, first.searched_to_ms is None) == ([], False)
    found: list[str] = []
    cursor = first.older
    while cursor:
        page = failures.page(criteria, limit=10, after=cursor)
        found += [event.message for event in page.events]
        cursor = page.older
    assert found == ["Failure 0"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"f.browser": "Chrome 139"}, 200),
        ({"f.browser": "Chrome 139", "f.os": ""}, 200),
        ({"f.browser": "x" * 65}, 400),
        ({"f.browser": "a\0"}, 400),
        ({"f.colour": "red"}, 400),
    ],
)
def test_the_route_filters_and_refuses_what_is_no_facet(
    client: Client, settings: Any, query: dict[str, str], status: int
) -> None:
    settings.ADMIN_TOKEN = "a" * 32
    make_event(**payload(message="one", metadata_json='{"browser":"Chrome 139"}'))
    make_event(**payload(message="two", metadata_json='{"browser":"Edge 139"}'))
    answer = client.get("/failures", query, headers={"Authorization": "Bearer " + "a" * 32})
    assert answer.status_code == status
    if status == 200:
        assert [one["message"] for one in answer.json()["results"]] == ["one"]
    else:
        assert query.keys() == answer.json()["fields"].keys()
