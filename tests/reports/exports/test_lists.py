"""The rows of an export: none twice and none skipped while others write, and how often the database is searched."""

import pytest
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext

from events import clock
from events.models import Event
from events.reports import failures
from events.reports.exports import choices, lists
from tests.conftest import make_event

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("query", ["", "model=UV-5RM", "f.browser=Chrome+139"])
def test_rows_that_arrive_or_are_pruned_meanwhile_shift_no_other(monkeypatch: pytest.MonkeyPatch, query: str) -> None:
    monkeypatch.setattr(lists, "ROWS_A_CHUNK", 2)
    now_ms = clock.now_ms()
    for number in range(9):
        make_event(message=str(number), received_at_ms=now_ms - number, metadata_json='{"browser":"Chrome 139"}')
    choice = choices.of_query(lists.LISTS["events"], QueryDict(f"{query}&x.column=message"))
    found: list[str] = []
    for chunk in choice.rows(choice.read(clock.now(), None)):
        found += [message for (message,) in chunk]
        make_event(
            message=f"new {len(found)}", received_at_ms=now_ms + len(found), metadata_json='{"browser":"Chrome 139"}'
        )
        Event.objects.filter(message="7").delete()
    assert found == ["0", "1", "2", "3", "4", "5", "6", "8"]


@pytest.mark.parametrize(("query", "searches"), [("", 0), ("model=UV-5RM", 3), ("model=none", 3)])
def test_a_filter_without_an_index_bounds_many_chunks_with_one_search(
    monkeypatch: pytest.MonkeyPatch, query: str, searches: int
) -> None:
    monkeypatch.setattr(lists, "ROWS_A_CHUNK", 2)
    monkeypatch.setattr(failures, "SEARCH_ROWS", 8)
    for number in range(20):
        make_event(message=str(number), received_at_ms=100 - number)
    choice = choices.of_query(lists.LISTS["events"], QueryDict(f"{query}&x.column=message"))
    with CaptureQueriesContext(connection) as captured:
        found = [message for chunk in choice.rows(choice.read(clock.now(), None)) for (message,) in chunk]
    assert found == ([] if query == "model=none" else [str(number) for number in range(20)])
    assert sum(" OFFSET 7" in each["sql"] for each in captured) == searches
