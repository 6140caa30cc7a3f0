"""Fixtures of the fault tests, and the table of `make faults`. FAULTS=full selects the full length of the tests."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import fault_table
from tests.servers import Server, served_prepared

NO_LIMITS = {"INGEST_RATE": "off", "BATCH_RATE": "off", "READ_RATE": "off", "CONNECTIONS_PER_CLIENT": "0"}
FULL = os.environ.get("FAULTS") == "full"
# `make test` skips these files, because they start many servers. It runs the tests in the comments instead.
collect_ignore = (
    []
    if FULL
    else [
        "test_clocks.py",  # test_wrong_clock
        "test_killed_corrections.py",  # test_corrections
        "test_killed_regrouping.py",  # test_regroup_failures_command
        "test_little_room.py",  # test_disk
        "test_signals.py",  # test_serve_command
        "test_starts.py",  # test_serve_command, test_private_files
    ]
)


@pytest.fixture
def server(data_dir: Path) -> Iterator[Server]:
    with served_prepared(data_dir, **NO_LIMITS) as running:
        yield running


@contextmanager
def made_open_folder() -> Iterator[Path]:
    """Yield a folder that another user may open, unlike the folders of pytest."""
    folder = Path(tempfile.mkdtemp(prefix="telemetry-faults-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    with made_open_folder() as folder:
        yield folder


_table: list[fault_table.FaultRow] = []


def show(
    request: pytest.FixtureRequest, figures: Mapping[str, object], members: str, result: Sequence[str] | str = ()
) -> None:
    """Print the figures of a test under its name, in `make faults` only.

    `members` and `result` are columns of the table at the end. `result` is a text, or names of figures.
    """
    if FULL:
        capture = request.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            print(f"\n  {request.node.name.removeprefix('test_').replace('_', ' ')}")  # noqa: T201
            for name, figure in figures.items():
                print(f"    {name:<40} {_in_words(figure):>12}")  # noqa: T201
        if not isinstance(result, str):
            result = ", ".join(f"{name} {_in_words(figures[name])}" for name in result)
        _table.append(fault_table.FaultRow(fault_table.fault_of(request.node), members, result))


def _in_words(figure: object) -> str:
    return f"{figure:,}" if isinstance(figure, int) else str(figure)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _table:
        fault_table.write(terminalreporter, "faults", _table)
