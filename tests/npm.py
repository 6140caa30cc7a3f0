"""Tools that only npm brings, each at one exact version, for the few tests marked `needs_npm`."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

AXE = "axe-core@4.14.1"
BIOME = "@biomejs/biome@2.6.8"
ESBUILD = "esbuild@0.25.12"
SOURCE_MAP = "source-map@0.7.6"
TYPESCRIPT = "typescript@5.9.3"
REACT_TYPES = "@types/react@19.2.2"
VITE = "vite@8.3.8"  # as in tests/capture/package.json
WABT = "wabt@1.0.39"


def install(folder: Path, *packages: str) -> Path:
    """Install packages into a folder, without a trace outside it; return where their commands are.

    Off the network the test is skipped, but in CI it fails.
    """
    npm = shutil.which("npm")
    assert npm
    command = [npm, "install", "--prefix", str(folder), "--no-save", "--no-package-lock", "--silent"]
    command += ["--prefer-offline", "--fetch-retries=1", *packages]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        words = f"npm could not fetch {', '.join(packages)}: {run.stderr.strip()[-500:] or 'no network?'}"
        if os.environ.get("CI") == "true":
            pytest.fail(words, pytrace=False)
        pytest.skip(words)
    return folder / "node_modules" / ".bin"
