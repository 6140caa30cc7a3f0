"""The figures at the end of a run."""

import os

import pytest

from tests.fuzz.judge import WORDS, tally


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if "FUZZ_CASES" in os.environ and tally["cases"]:
        terminalreporter.section("fuzz")
        terminalreporter.line(f"cases tried: {tally['cases']:,}")
        for name, words in WORDS.items():
            terminalreporter.line(f"{words}: {tally[name]}")
