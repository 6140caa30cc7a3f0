"""The texts of an event: its causes, and what differs between events."""

import json
from typing import Any

import pytest

from events.models import Event
from events.reports import event_text
from events.reports.event_text import Cause

pytestmark = pytest.mark.django_db


def event(**changes: Any) -> Event:
    """Return an event that is not stored."""
    fields: dict[str, Any] = {
        "id": "0123",
        "received_at_ms": 1_770_000_000_000,
        "occurred_at": "2026-02-12T18:00:00.000Z",
        "event_type": "flash_error",
        "model": "UV-5RM",
        "write_mode": 1,
        "connected": 1,
        "app_version": "19afc18",
        "message": "No ACK",
        "log_lines_json": "[]",
        "metadata_json": "{}",
    }
    return Event(**fields | changes)


def with_metadata(**metadata: Any) -> Event:
    return event(metadata_json=json.dumps(metadata))


# --- causes ---------------------------------------------------------------------------------------------------------


def test_causes_are_no_metadata() -> None:
    sent = [{"name": "NetworkError", "message": "Lost.", "frame": "at read (main.js:4:7)"}, {"message": "No port"}]
    texts = event_text.of(with_metadata(causes=sent, step="write"), now_ms=0)
    assert texts.causes == [Cause("NetworkError", "Lost.", "at read (main.js:4:7)"), Cause(message="No port")]
    assert texts.metadata == [("step", "write")]


@pytest.mark.parametrize(
    "causes",
    [
        [],
        "text",
        {"name": "Error"},
        [["name", "Error"]],
        [{}],
        [{"name": ""}],
        [{"name": 1}],
        [{"name": None, "message": "x"}],
        [{"message": "x", "more": "y"}],
        [{"message": "x"}, None],
        [{"message": {"message": "x"}}],
        [{"message": "x"}] * (event_text.MAX_CAUSES + 1),
    ],
    ids=lambda causes: json.dumps(causes)[:40],
)
def test_causes_of_another_shape_stay_metadata(causes: Any) -> None:
    texts = event_text.of(with_metadata(causes=causes), now_ms=0)
    assert texts.causes == []
    assert [name for name, _ in texts.metadata] == ["causes"]


# --- differences ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "columns"),
    [
        (["No ACK for block 0x1f (got 0x15)", "No ACK for block 0x20 (got 0x06)"],
         {"block": ["0x1f", "0x20"], "got": ["0x15", "0x06"]}),
        (["Read timed out at 0x10, retry", "Read timed out at 0x20, retry"], {"at": ["0x10", "0x20"]}),
        (["7 blocks left", "8 blocks left"], {"Message": ["7", "8"]}),
        (["-5 dB", "5 dB"], {"Message": ["-5", "5"]}),
        (["lost", "the device was lost"], {"Message": ["lost", "the device was lost"]}),
        (["a b c d", "e f g h"], {"Message": ["a b c d", "e f g h"]}),
        (["equal", "equal"], {}),
        (["( )", "( ]"], {"Message": [")", "]"]}),
    ],
)  # fmt: skip
def test_the_differing_words_of_the_messages_are_columns(messages: list[str], columns: dict[str, list[str]]) -> None:
    found = event_text.differences([event(message=message) for message in messages])
    assert found.columns == list(columns)
    assert [cells for _, cells in found.rows] == [
        list(cells) for cells in (zip(*columns.values(), strict=True) if columns else [[]] * len(messages))
    ]


def test_shared_values_are_listed_once() -> None:
    found = event_text.differences([
        event(model="UV-17R", metadata_json='{"browser": "Chrome 139", "elapsed": 1, "os": "Windows"}'),
        event(model="UV-5RM", metadata_json='{"browser": "Chrome 139", "elapsed": 2}'),
    ])  # fmt: skip
    assert found.columns == ["Model", "elapsed", "os"]
    assert [cells for _, cells in found.rows] == [["UV-17R", "1", "Windows"], ["UV-5RM", "2", ""]]
    assert found.shared == [
        ("Version", "19afc18"), ("Mode", "write"), ("Connected", "yes"), ("browser", "Chrome 139"),
    ]  # fmt: skip


def test_a_key_with_few_values_comes_before_one_with_many() -> None:
    events = [with_metadata(elapsed=number, browser=f"Chrome {number % 2}") for number in range(4)]
    assert event_text.differences(events).columns == ["browser", "elapsed"]


def test_columns_without_room_are_named() -> None:
    found = event_text.differences([with_metadata(**{f"k{key}": number for key in range(9)}) for number in range(2)])
    assert found.columns == ["k0", "k1", "k2", "k3", "k4"]
    assert found.more == ["k5", "k6", "k7", "k8"]


@pytest.mark.parametrize("metadata", ["[1, 2]", '"text"', "not json", '{"causes": [{"message": "x"}]}', '{"a": null}'])
def test_metadata_of_any_shape_can_be_compared(metadata: str) -> None:
    assert len(event_text.differences([event(metadata_json=metadata), event()]).rows) == 2
    assert event_text.differences([]).rows == []
