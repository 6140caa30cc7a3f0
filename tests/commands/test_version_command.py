"""`manage.py version`: the version of the site, which is the newest one of the changelog."""

import re
from pathlib import Path

from django.conf import settings

from telemetry_site import __version__
from tests.conftest import run_apart

VERSIONS = re.findall(
    r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$",
    (settings.BASE_DIR / "CHANGELOG.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)


def test_the_version_is_the_newest_one_of_the_changelog() -> None:
    assert VERSIONS[0] == __version__
    numbers = [tuple(map(int, version.split("."))) for version in VERSIONS]
    assert numbers == sorted(set(numbers), reverse=True)


def test_the_command_prints_it_whatever_the_configuration_is(tmp_path: Path) -> None:
    code = "import manage, sys; sys.argv[1:] = ['version']; manage.main()"
    result = run_apart(code, DATA_DIR=str(tmp_path / "none"), PORT="high")
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{__version__}\n", "")
    assert list(tmp_path.iterdir()) == []
