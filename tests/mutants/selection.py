"""A pytest plugin: run only the tests that the file in MUTANT_TESTS lists, one node id on each line."""

import os
from pathlib import Path

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = set(Path(os.environ["MUTANT_TESTS"]).read_text(encoding="utf-8").splitlines())
    left_out = [item for item in items if item.nodeid not in wanted]
    items[:] = [item for item in items if item.nodeid in wanted]
    config.hook.pytest_deselected(items=left_out)
