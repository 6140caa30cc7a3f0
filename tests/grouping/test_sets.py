"""Failures of real-world shapes form the groups that a maintainer expects."""

from typing import Any

import pytest

from tests.grouping.sets import read_sets, result_of

SETS = list(read_sets())


@pytest.mark.parametrize("failure_set", SETS, ids=lambda failure_set: failure_set["id"])
def test_a_set_forms_the_expected_groups(failure_set: dict[str, Any]) -> None:
    result = result_of(failure_set, dict)
    assert result.is_expected, result


def test_a_set_with_a_fault_is_not_as_expected() -> None:
    events = [{"label": label, "event_type": "flash_error", "message": text} for label, text in ("aA", "aB", "bB")]
    result = result_of({"id": "x", "expected_groups": 2, "events": events}, dict)
    assert not result.is_expected
    assert (result.split, result.merged) == (["a"], ["a = b"])
