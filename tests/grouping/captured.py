"""Failures that `make capture` collected from real browsers, and the groups that their fingerprints form.

`python -m tests.grouping.captured` prints `table()`.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from fractions import Fraction
from math import ceil
from pathlib import Path
from string import ascii_uppercase
from typing import NamedTuple

from events.grouping.fingerprints import fingerprint

FIXTURE = Path(__file__).parent.parent / "fixtures" / "captured_failures.jsonl"
BROWSERS = ("chromium", "firefox", "webkit")
BUILDS = ("a", "b")


class Captured(NamedTuple):
    """The report of one fault by one build in one browser. `causes` are from the metadata."""

    fault: str
    build: str
    browser: str
    event_type: str
    message: str
    error_name: str | None
    stack: str | None
    causes: list[dict[str, str]]


class Goal(NamedTuple):
    """The least share of faults whose reports by both builds in these browsers must form one group."""

    browsers: tuple[str, ...]
    share: Fraction


GOALS = (
    *(Goal((browser,), Fraction(29, 30)) for browser in BROWSERS),
    Goal(("chromium", "firefox"), Fraction(18, 30)),
    Goal(BROWSERS, Fraction(10, 30)),
)


class Result(NamedTuple):
    goal: Goal
    together: int  # faults that form one group
    produced: int  # faults that each of the goal's browsers can produce

    @property
    def required(self) -> int:
        return ceil(self.produced * self.goal.share)

    def __str__(self) -> str:
        where = ", ".join(self.goal.browsers)
        return f"one group over both builds in {where}: {self.together} of {self.produced}, at least {self.required}"


class Groups:
    """The groups of captured failures, by fault, browser and build."""

    def __init__(self, failures: Iterable[Captured]) -> None:
        self._keys: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
        for one in failures:
            key = fingerprint(one.event_type, one.error_name, one.message, one.stack).key
            self._keys[one.fault][one.browser, one.build] = key

    def results(self) -> list[Result]:
        """Return one result for each of GOALS."""
        return [self._result(goal) for goal in GOALS]

    def shared(self) -> list[tuple[str, ...]]:
        """Return the faults of each group that has several."""
        faults = defaultdict(set)
        for fault, keys in self._keys.items():
            for key in keys.values():
                faults[key].add(fault)
        return sorted({tuple(sorted(names)) for names in faults.values() if len(names) > 1})

    def table(self) -> str:
        """Return a row for each fault, with a letter for the group of each build, and then the results."""
        lines = [f"{'fault':<20}" + "".join(f"{browser:<10}" for browser in BROWSERS) + "groups"]
        for fault, keys in sorted(self._keys.items()):
            letters = dict(zip(dict.fromkeys(keys.values()), ascii_uppercase, strict=False))
            cells = (
                "".join(letters.get(keys.get((browser, build), ""), "-") for build in BUILDS) for browser in BROWSERS
            )
            lines.append(f"{fault:<20}" + "".join(f"{cell:<10}" for cell in cells) + str(len(letters)))
        shared = [f"one group of several faults: {', '.join(names)}" for names in self.shared()]
        return "\n".join([*lines, "", *map(str, self.results()), *shared])

    def _result(self, goal: Goal) -> Result:
        wanted = [(browser, build) for browser in goal.browsers for build in BUILDS]
        produced = [keys for keys in self._keys.values() if all(one in keys for one in wanted)]
        together = [keys for keys in produced if len({keys[one] for one in wanted}) == 1]
        return Result(goal, len(together), len(produced))


def captured() -> Iterator[Captured]:
    """Yield the failures of the fixture."""
    for line in FIXTURE.read_text(encoding="utf-8").splitlines():
        yield Captured(**json.loads(line))


if __name__ == "__main__":
    sys.stdout.write(Groups(captured()).table() + "\n")
