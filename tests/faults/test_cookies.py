"""The cookie parser of each Python on this machine, also of versions with CVE-2024-7592."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import django
import pytest

from telemetry_site.server import request_head
from tests.faults import cookie_parsers
from tests.faults.conftest import FULL, show

OLDEST = (3, 11)


def pythons() -> list[str]:
    """Return the path of each installed version of Python from 3.11 on, this one first."""
    named = filter(None, (shutil.which(f"python3.{minor}") for minor in range(OLDEST[1], 20)))
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    places = [*pyenv.glob("versions/*/bin/python"), *Path("/opt/hostedtoolcache/Python").glob("*/x64/bin/python")]
    by_version: dict[tuple[int, ...], str] = {}
    for program in (sys.executable, *named, "/usr/bin/python3", *map(str, sorted(places))):
        asked = [program, "-c", "import sys; print(*sys.version_info[:3])"]
        try:
            answer = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            continue
        version = tuple(map(int, answer.split()))
        if version >= OLDEST:
            by_version.setdefault(version, program)
    return list(by_version.values())


def measured(program: str, rounds: int) -> dict[str, Any]:
    environ = {"PYTHONPATH": str(Path(django.__file__).parent.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [program, cookie_parsers.__file__, str(rounds)], env=environ, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.mark.fault("cookies that a parser reads in quadratic time")
def test_the_worst_cookies_that_are_let_in(request: pytest.FixtureRequest) -> None:
    """It only prints times, because a test must not depend on the speed of the machine. Short form: this Python."""
    for name, cookie in cookie_parsers.SHAPES.items():
        assert request_head.refusal_of("GET", "/", "", [("cookie", cookie)]) is None, name
    most = (max(map(len, cookie_parsers.SHAPES.values())), max(c.count("\\") for c in cookie_parsers.SHAPES.values()))
    assert most == (request_head.MAX_COOKIE_BYTES, request_head.MAX_COOKIE_BACKSLASHES)
    results = [measured(program, 15 if FULL else 1) for program in (pythons() if FULL else [sys.executable])]
    figures, slowest = {}, []
    for one in results:
        shape, milliseconds = max(one["shapes"].items(), key=lambda item: item[1])
        figures[f"Python {one['version']}, {shape}"] = f"{milliseconds:.1f} ms"
        slowest.append(f"{one['version']} {milliseconds:.1f} ms")
    members = f"{len(cookie_parsers.SHAPES)} shapes, {len(results)} Pythons"
    show(request, figures, members, f"slowest CPU: {', '.join(slowest)}")
