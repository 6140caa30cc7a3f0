"""A pytest plugin for `coverage run` that records which test ran each line.

A line that ran in another process is recorded for the test file, because the tests of a file often share a server.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    measured = coverage.Coverage.current()
    assert measured is not None
    measured.switch_context(item.nodeid)
    # Processes that the test starts read these variables.
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
    os.environ["COVERAGE_PROCESS_START"] = str(PROJECT / "pyproject.toml")
    os.environ["COVERAGE_CONTEXT"] = item.nodeid.partition("::")[0]
    try:
        return (yield)
    finally:
        measured.switch_context("")
