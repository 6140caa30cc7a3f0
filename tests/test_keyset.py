"""`events/keyset.py`: cursors, pages and batches."""

import pytest

from events import keyset
from events.keyset import Cursor
from events.models import Event
from tests.conftest import make_event

pytestmark = pytest.mark.django_db
AT_MS = 1_770_919_200_000


@pytest.fixture
def events() -> list[Event]:
    """Return five events in the order of time and id; three of them were received in the same millisecond."""
    moments = [AT_MS, AT_MS + 1, AT_MS + 1, AT_MS + 1, AT_MS + 2]
    stored = [make_event(message=f"failure {at}", received_at_ms=moment) for at, moment in enumerate(moments)]
    return sorted(stored, key=lambda event: (event.received_at_ms, event.pk))


@pytest.mark.parametrize(("size", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (6, [5])])
@pytest.mark.parametrize("sign", ["", "-"])
def test_batches_contain_every_row_once_and_in_order(
    events: list[Event], sign: str, size: int, sizes: list[int]
) -> None:
    ordered = Event.objects.order_by(f"{sign}received_at_ms", f"{sign}id")
    expected = events[::-1] if sign else events
    for rows in (
        ordered,
        ordered.values_list("received_at_ms", "id"),
        ordered.values_list("id", "received_at_ms", named=True),
    ):
        batches = list(keyset.in_batches(rows, size))
        assert [len(batch) for batch in batches] == sizes
    assert [event for batch in keyset.in_batches(ordered, size) for event in batch] == expected


def test_no_row_makes_no_batch() -> None:
    assert list(keyset.in_batches(Event.objects.newest_first(), 2)) == []


def test_a_cursor_separates_the_rows_before_it_from_those_after_it(events: list[Event]) -> None:
    newest_first = Event.objects.newest_first()
    for at, event in enumerate(events):
        cursor = keyset.cursor_of(newest_first, event)
        assert list(keyset.after(newest_first, cursor)) == events[:at][::-1]
        assert list(keyset.before(newest_first, cursor)) == events[at + 1 :]
        assert list(keyset.until(newest_first, cursor)) == events[at:][::-1]


def test_a_page_ends_with_the_cursor_of_the_next_page(events: list[Event]) -> None:
    rows, cursor = keyset.page(Event.objects.newest_first(), 3)
    assert (rows, cursor) == (events[2:][::-1], Cursor(events[2].received_at_ms, events[2].pk))
    assert keyset.page(Event.objects.newest_first(), 3, Cursor.parse(str(cursor))) == (events[:2][::-1], None)
    assert keyset.page(Event.objects.newest_first(), 5) == (events[::-1], None)


@pytest.mark.parametrize("raw", ["", ".", "1", "1.", ".a", "a.b", "1234567890123456.a", "-1.a"])
def test_other_texts_are_no_cursors(raw: str) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        Cursor.parse(raw)
