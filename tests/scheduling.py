"""Distributes the tests among the processes of pytest-xdist."""

from functools import cache
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling


class SharedFixtures(LoadScopeScheduling):
    """Runs all tests of a file in one process if they share a server or a database, and any other test anywhere.

    These files come first. The others keep their order, because tests with transactions of their own come last: they
    delete rows that migrations wrote.
    """

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        super().__init__(config, log)
        self._source = cache(lambda file: Path(config.rootpath, file).read_text("utf-8"))

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file.startswith("tests/browser/"):
            # The page of the front end has one port. Files with a `visitor` open only pages of a site.
            return file if "visitor" in self._source(file) else "tests/browser"
        return file if 'scope="module"' in self._source(file) else nodeid
