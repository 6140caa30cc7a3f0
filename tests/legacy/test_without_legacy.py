"""The site without the adapter to the old system: without the folder, a line in settings and a line in urls."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import payload, run_apart
from tests.servers import PROJECT_DIR

pytestmark = pytest.mark.uses_database_url

KEPT = ["events", "telemetry_site", "templates", "tests", "manage.py", "pyproject.toml"]
LINES = {"telemetry_site/settings.py": '    "legacy",\n', "telemetry_site/public_urls.py": '"legacy.urls"'}
SUITE = [
    "ingest/test_contract.py",
    "api/test_event_batch_route.py",
    "api/test_event_route.py",
    "api/test_flash_count_route.py",
    "api/test_health_route.py",
    "counting/test_rollups.py",
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy_without_legacy(tmp_path)


def copy_without_legacy(folder: Path) -> Path:
    """Return a copy of the project without the old system."""
    for name in KEPT:
        source = PROJECT_DIR / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("node_modules"))
        else:
            shutil.copy(source, folder / name)
    for name, mark in LINES.items():
        lines = (folder / name).read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if mark not in line]
        assert len(lines) - len(kept) == 1
        (folder / name).write_text("".join(kept), encoding="utf-8")
    return folder


def test_the_suite_of_events_passes_without_the_old_system(project: Path) -> None:
    files = [f"tests/{name}" for name in SUITE]
    engine = {}
    if os.environ.get("DATABASE_URL"):
        # A separate name, because the outer test run uses the default name.
        url = urlsplit(os.environ["DATABASE_URL"])
        engine["DATABASE_URL"] = url._replace(path=f"{url.path}_without_legacy").geturl()
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files],
        cwd=project,
        env={"PATH": os.environ["PATH"]} | engine,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-4_000:] + ended.stderr[-2_000:]
    passed = re.search(r"(\d+) passed", ended.stdout)
    assert passed
    assert int(passed[1]) > 100


def test_checks_pass_and_no_migration_is_missing_and_the_old_routes_are_404(project: Path) -> None:
    asked = run_apart(
        "import django; django.setup()\n"
        "from django.core.management import call_command\n"
        "from django.test import Client\n"
        "call_command('migrate', verbosity=0)\n"
        "call_command('check', fail_level='WARNING')\n"
        "call_command('makemigrations', check=True, dry_run=True, verbosity=0)\n"
        "client = Client(headers={'host': 'localhost'})\n"
        "print(client.get('/metrics/flash-count').json())\n"
        f"print(client.post('/event', {payload()}, content_type='application/json').status_code)\n"
        "for path in ('/metrics/flash-count', '/admin/login/', '/api/schema/', '/count', '/recent'):\n"
        "    print(client.get(path).status_code)\n"
        "print(b'old routes' in client.get('/api/schema/').content)\n",
        project=project,
        DATA_DIR=str(project / "var"),
    )
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.splitlines()[1:] == [
        "{'ok': True, 'total': 0}",
        "201",
        "200",
        "200",
        "200",
        "404",
        "404",
        "False",
    ]
