"""The client is small: what a page loads of it, minified and compressed."""

import gzip
import subprocess
from pathlib import Path

import pytest
from django.conf import settings

from tests import npm

pytestmark = pytest.mark.needs_npm

MAX_BYTES = 5_800  # docs/decisions.md: The client may have 5,800 bytes


def test_the_client_is_as_small_as_decided(tmp_path: Path) -> None:
    minifier = npm.install(tmp_path, npm.ESBUILD) / "esbuild"
    source = settings.BASE_DIR / "events/static/events/telemetry.js"
    minified = subprocess.run(
        [minifier, "--minify", "--format=esm", "--target=es2020", source], capture_output=True, check=True
    ).stdout
    assert b"createTelemetry" in minified
    size = len(gzip.compress(minified, mtime=0))
    print(f"telemetry.js: {size} bytes of {MAX_BYTES}, minified and compressed")  # noqa: T201
    assert size <= MAX_BYTES
