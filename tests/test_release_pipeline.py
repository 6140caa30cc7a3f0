"""The step of docs/releases.md for a deployment pipeline, run by a shell against a real server."""

import json
import re
import subprocess
import textwrap
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.conftest import payload
from tests.servers import Server, inherited, served_prepared

pytestmark = pytest.mark.needs_jq

PAGE = (Path(__file__).resolve().parent.parent / "docs/releases.md").read_text(encoding="utf-8")
_sessions = count(1)


@pytest.fixture
def site(data_dir: Path) -> Iterator[Server]:
    with served_prepared(data_dir) as server:
        yield server


def step() -> str:
    """Return the script in the YAML block of the page."""
    [block] = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return textwrap.dedent(block.partition("run: |\n")[2])


def run_step(site: Server, version: str, token: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-e", "-c", step()],
        cwd=folder,
        env=inherited()
        | {
            "TOKEN": token,
            "SITE": f"http://127.0.0.1:{site.port}",
            "VERSION": version,
            "WAIT_SECONDS": "0",
            "EVERY_SECONDS": "1",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def flash(site: Server, version: str, successes: int, failures: int) -> None:
    events = [
        payload(
            event_type="flash_error" if is_failure else "flash_success",
            app_version=version,
            session_id=f"pipeline-{next(_sessions)}",
        )
        for is_failure in [False] * successes + [True] * failures
    ]
    for start in range(0, len(events), 100):
        status, answer = site.post("/event/batch", json.dumps({"events": events[start : start + 100]}).encode())
        assert (status, b'"ok":false' in answer) == (200, False)


def test_the_step_waits_for_a_verdict_and_fails_on_worse(site: Server, tmp_path: Path) -> None:
    token = site.command("issue_token", "pipeline", "--expires", "1d", "--scope", "read").stdout.strip()

    def ended(version: str, token: str = token) -> tuple[int, str]:
        run = run_step(site, version, token, tmp_path)
        assert run.stderr == ""
        return run.returncode, run.stdout

    assert ended("first") == (3, "first: no flash yet\nThere are too few flashes for a verdict.\n")
    flash(site, "first", 370, 30)
    assert ended("first") == (0, "first: first\n")
    flash(site, "second", 19, 1)
    assert ended("second") == (3, "second: too_few\nThere are too few flashes for a verdict.\n")
    flash(site, "second", 361, 19)
    assert ended("second") == (0, "second: no_worse\n")
    flash(site, "third", 60, 40)
    status, said = ended("third")
    assert (status, said.splitlines()[0]) == (1, "third: worse")
    assert json.loads(said.partition("\n")[2]) == {
        "compared_with": "second",
        "flashes": 100,
        "failures": 40,
        "difference_interval": [0.2558, 0.4495],
        "new_groups": [],
    }
    status, said = ended("third", "wrong")
    assert (status, said) == (2, '{"ok":false,"error":"Unauthorized"}')
