"""Other processes on the database of the test at hand."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from django.db import connection

from tests.servers import PROJECT_DIR, inherited

_started: list[subprocess.Popen[str]] = []


def shared_site(data_dir: Path) -> dict[str, str]:
    """Return the environment of a process that has this test's database, and a folder of data of its own."""
    environment = {
        **inherited(),
        "DATA_DIR": str(data_dir),
        "PYTEST_VERSION": "as in tests: no .env is read",
    }
    data_dir.mkdir(exist_ok=True)
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        database = data_dir / "telemetry.sqlite3"
        if not database.is_symlink():
            database.symlink_to(name)
        return environment
    return environment | {"DATABASE_URL": urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()}


def manage(environment: dict[str, str], *args: str) -> subprocess.Popen[str]:
    """Start a command of the site; `communicate()` waits for its end and returns its output.

    If the test fails before that, `end_all` ends it.
    """
    process = subprocess.Popen(
        [sys.executable, "manage.py", *args],
        cwd=PROJECT_DIR,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _started.append(process)
    return process


def end_all() -> None:
    while _started:
        with _started.pop() as process:  # closes the pipes and waits
            process.kill()
