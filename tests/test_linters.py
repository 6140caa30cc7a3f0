"""The linters: pre-commit runs the commands of `make check`, and the one that npm brings at the same version."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import npm
from tests.servers import PROJECT_DIR

# They look at the whole program and take longer, so they wait for `make check`.
ONLY_IN_CHECK = {"mypy", "lint-imports"}


def hooks() -> dict[str, dict[str, Any]]:
    config = yaml.safe_load((PROJECT_DIR / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    return {hook["id"]: hook for repository in config["repos"] for hook in repository["hooks"]}


def test_pre_commit_runs_what_make_check_runs() -> None:
    makefile = (PROJECT_DIR / "Makefile").read_text(encoding="utf-8")
    [recipe] = re.findall(r"^check: .*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    commands = {f".venv/bin/{command}" for command in re.findall(r"^\t\$\(VENV\)/bin/(.+)$", recipe, re.MULTILINE)}
    checked = {command for command in commands if Path(shlex.split(command)[0]).name not in ONLY_IN_CHECK}
    entries = {hook["entry"] for hook in hooks().values() if "stages" not in hook and hook["language"] == "system"}
    assert entries == checked
    assert "tests/test_linters.py" in recipe  # which runs Biome


def test_pre_commit_installs_the_biome_that_make_check_installs() -> None:
    assert hooks()["biome"]["additional_dependencies"] == [npm.BIOME]


@pytest.mark.needs_npm
def test_biome_finds_no_fault_in_scripts_and_styles(tmp_path: Path) -> None:
    name, *arguments = shlex.split(hooks()["biome"]["entry"])
    command = [npm.install(tmp_path, npm.BIOME) / name, *arguments]
    run = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"Checked [1-9]", run.stderr), "it looked at no file"
