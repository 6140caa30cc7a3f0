"""`manage.py doctor` as a process: it reports, writes nothing, and shows no secret. test_doctor.py has the findings."""

import json
import subprocess
from pathlib import Path

from tests.conftest import run_apart

SECRETS = {
    "SECRET_KEY": "a-secret" * 8,
    "ADMIN_TOKEN": "a-secret-a-secret-a-secret",
    "ADMIN_PASSWORD": "a-secret",
    "CACHE_URL": "redis://:a-secret@cache.example:6379/0",
}


def doctor(data_dir: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = f"import manage, sys; sys.argv[1:] = {['doctor', *arguments]}; manage.main()"
    return run_apart(code, DATA_DIR=str(data_dir), **environment)


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir() if path.is_file()}


def test_a_whole_site_is_reported_and_nothing_is_written(data_dir: Path) -> None:
    before = contents(data_dir)
    result = doctor(data_dir, "--json", "--full", MIN_FREE_BYTES="1", HOST_FILE="/dev/null", **SECRETS)
    assert result.stderr == ""
    made = json.loads(result.stdout)
    wrong = [finding["name"] for finding in made["findings"] if finding["level"] == "wrong"]
    assert (wrong, result.returncode) == ([], 0)
    texts = {finding["title"]: finding["text"] for finding in made["findings"]}
    assert texts["Integrity"] == "integrity_check found no fault"
    assert texts["CACHE_URL"] == "redis://***@***:6379/0"
    assert texts["ADMIN_TOKEN"] == "set"
    assert texts["HOST_FILE"] == "has no effect: only secrets can be in files"
    assert "a-secret" not in result.stdout
    assert "cache.example" not in result.stdout
    assert contents(data_dir) == before


def test_a_configuration_that_does_not_work_is_reported(tmp_path: Path) -> None:
    url = "postgres://u:a-secret@db.example:port/x"
    result = doctor(tmp_path / "none", PORT="high", DATABASE_URL=url, ADMIN_PASSWORD="a-secret")
    assert (result.returncode, result.stderr) == (1, "")
    assert result.stdout.splitlines()[1:8] == [
        "2 wrong, 0 to look at, 13 fine",
        "",
        "What to do",
        "  wrong  PORT: 'high' is not a whole number from 1 to 65535.",
        "  wrong  DATABASE_URL: has a port that is not a number from 1 to 65535.",
        "         → Correct the value in the environment or in `.env`: docs/settings.md. The site does not",
        "           start before.",
    ]
    assert "a-secret" not in result.stdout
    assert "db.example" not in result.stdout
    assert list(tmp_path.iterdir()) == []
