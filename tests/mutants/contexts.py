"""A pytest plugin for `coverage run`: note which test ran each line.

A line that ran in another process is noted for the file of tests: the tests of a file often share a server.
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
    test = item.nodeid
    if item.get_closest_marker("xdist_group"):
        test = test.rpartition("@")[0]  # xdist adds the group
    measured.switch_context(test)
    # A process that the test starts reads these: the configuration as it is for every process, and the context in it.
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
    os.environ["COVERAGE_PROCESS_START"] = str(PROJECT / "pyproject.toml")
    os.environ["COVERAGE_CONTEXT"] = test.partition("::")[0]
    try:
        return (yield)
    finally:
        measured.switch_context("")
