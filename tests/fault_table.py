"""The table at the end of `make fuzz` and `make faults`: each class of fault, its members and the result."""

from collections.abc import Iterable
from typing import NamedTuple

import pytest


class FaultRow(NamedTuple):
    fault: str
    members: str
    result: str


def fault_of(node: pytest.Item) -> str:
    """Return the class of fault that a test names with `@pytest.mark.fault("…")`."""
    marker = node.get_closest_marker("fault")
    assert marker, f"{node.nodeid} names no class of fault"
    return str(marker.args[0])


def write(reporter: pytest.TerminalReporter, title: str, rows: Iterable[FaultRow]) -> None:
    lines = [FaultRow("class of fault", "members tried", "result"), *rows]
    widths = [max(len(line[column]) for line in lines) for column in (0, 1)]
    reporter.section(title)
    for line in lines:
        reporter.line(f"{line.fault:<{widths[0]}}  {line.members:<{widths[1]}}  {line.result}")
