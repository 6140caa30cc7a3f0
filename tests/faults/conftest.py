"""How long the faults last: seconds in `make test`, in full with FAULTS=full, as `make faults` says; their figures."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.servers import Server, served

NO_LIMITS = {"INGEST_RATE": "off", "BATCH_RATE": "off", "READ_RATE": "off", "CONNECTIONS_PER_CLIENT": "0"}
FULL = os.environ.get("FAULTS") == "full"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def server(data_dir: Path) -> Iterator[Server]:
    with served(data_dir, **NO_LIMITS) as running:
        yield running


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that another user may enter, as those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="telemetry-faults-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def show(request: pytest.FixtureRequest, figures: Mapping[str, object]) -> None:
    """Print the figures of a test under its name, when `make faults` asks for them."""
    if FULL:
        capture = request.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            print(f"\n  {request.node.name.removeprefix('test_').replace('_', ' ')}")  # noqa: T201
            for name, figure in figures.items():
                words = f"{figure:,}" if isinstance(figure, int) else figure
                print(f"    {name:<40} {words:>12}")  # noqa: T201
