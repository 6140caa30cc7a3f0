"""`events/querysets.py`: the words for reading."""

import pytest

from events.models import Event
from events.querysets import in_pages
from tests.conftest import make_event

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (1, [1]), (4, [2, 2]), (5, [2, 2, 1])])
def test_no_row_is_left_out_of_the_pages(count: int, sizes: list[int]) -> None:
    ids = sorted(make_event(message=f"failure {number}").pk for number in range(count))
    pages = list(in_pages(Event.objects.order_by("pk"), 2))
    assert [len(page) for page in pages] == sizes
    assert [event.pk for page in pages for event in page] == ids
