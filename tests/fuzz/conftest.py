"""The class of fault of each test, and the table at the end of a run."""

import os

import pytest

from tests import fault_table
from tests.fuzz import judge


@pytest.fixture(autouse=True)
def _class_of_fault(request: pytest.FixtureRequest) -> None:
    judge.begin(fault_table.fault_of(request.node))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if "FUZZ_CASES" in os.environ and judge.by_fault:
        rows = [
            fault_table.FaultRow(fault, f"{figures.cases:,} cases", figures.in_words())
            for fault, figures in judge.by_fault.items()
        ]
        fault_table.write(terminalreporter, "fuzz", rows)
        terminalreporter.line(f"cases tried: {sum(figures.cases for figures in judge.by_fault.values()):,}")
        for name, words in judge.WORDS.items():
            terminalreporter.line(f"{words}: {sum(figures.wrong[name] for figures in judge.by_fault.values())}")
