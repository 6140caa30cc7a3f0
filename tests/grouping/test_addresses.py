"""A failure with whole addresses and the same failure as the client shortened it are one group.

The browser tests run the same table for the client.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from events.grouping.fingerprints import fingerprint
from events.grouping.reading.texts import masked, normalised

TABLE: dict[str, list[Any]] = json.loads(
    (Path(__file__).parent.parent / "fixtures" / "addresses.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("row", TABLE["messages"], ids=lambda row: row["kind"])
def test_a_shortened_address_in_a_message_is_masked_like_the_whole_one(row: dict[str, str]) -> None:
    assert masked(normalised(row["short"])) == masked(normalised(row["whole"]))


@pytest.mark.parametrize("row", TABLE["stacks"], ids=lambda row: row["kind"])
def test_a_shortened_stack_leads_to_the_same_place(row: dict[str, str]) -> None:
    places = [fingerprint("window_error", "Error", "No ACK", row[form]).frame for form in ("whole", "short")]
    assert places[0] == places[1]


@pytest.mark.parametrize("texts", TABLE["masked"], ids=lambda texts: str(texts[0]))
def test_texts_that_differ_only_in_their_addresses_are_one_group(texts: list[str]) -> None:
    assert len({fingerprint("window_error", None, text, None).key for text in texts}) == 1
