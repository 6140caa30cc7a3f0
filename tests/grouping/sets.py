"""Sets of failures with real-world shapes, and the groups that they should form.

A line of a file is one set: `id`, `expected_groups`, and `events`. Events with the same `label` are the same failure.
An event with `via: client` is reported through telemetry.js, one with `via: raw` is sent as it is.
"""

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from events.grouping.fingerprints import fingerprint

FIXTURE = Path(__file__).parent.parent / "fixtures" / "failure_sets.jsonl"
Event = dict[str, Any]


class Result(NamedTuple):
    """The groups of one set: the labels that are in several groups, and the labels that share a group."""

    name: str
    expected: int
    actual: int
    split: list[str]
    merged: list[str]

    @property
    def is_expected(self) -> bool:
        return self.expected == self.actual and not self.split and not self.merged

    def __str__(self) -> str:
        faults = [f"split: {', '.join(self.split)}"] if self.split else []
        faults += [f"merged: {', '.join(self.merged)}"] if self.merged else []
        return f"{self.name:<48}{self.expected:>9}{self.actual:>8}  {'; '.join(faults) or 'as expected'}"


def read_sets() -> Iterator[dict[str, Any]]:
    """Yield the sets of the fixture, and of the files that the variable SETS names, separated by colons."""
    for path in (FIXTURE, *map(Path, filter(None, os.environ.get("SETS", "").split(":")))):
        with path.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def result_of(failure_set: dict[str, Any], report: Callable[[Event], Event]) -> Result:
    """Group one set. `report` returns an event as the site receives it."""
    labels: defaultdict[str, set[str]] = defaultdict(set)
    keys: defaultdict[str, set[str]] = defaultdict(set)
    for event in failure_set["events"]:
        sent = report(event)
        key = fingerprint(sent["event_type"], sent.get("error_name"), sent["message"], sent.get("stack")).key
        labels[key].add(event["label"])
        keys[event["label"]].add(key)
    return Result(
        failure_set["id"],
        failure_set["expected_groups"],
        len(labels),
        [label for label, found in keys.items() if len(found) > 1],
        [" = ".join(sorted(names)) for names in labels.values() if len(names) > 1],
    )


def table(results: Iterable[Result]) -> str:
    rows = list(results)
    as_expected = sum(result.is_expected for result in rows)
    head = f"{'set':<48}{'expected':>9}{'actual':>8}"
    return "\n".join([head, *map(str, rows), f"{as_expected} of {len(rows)} as expected"])
