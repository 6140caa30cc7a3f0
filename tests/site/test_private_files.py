"""What the site writes is for its owner alone, also in a folder that others may open."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks

from tests.conftest import payload, run_apart, success
from tests.fixtures.d1 import export, success_row
from tests.servers import Server, served, wait_until


@pytest.fixture(autouse=True)
def _nothing_is_withheld() -> Iterator[None]:
    """Start every process with the umask that withholds no right."""
    usual = os.umask(0)
    yield
    os.umask(usual)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    return folder


def modes(folder: Path) -> dict[str, str]:
    """Return the mode of everything below a folder, by its path in it."""
    return {str(path.relative_to(folder)): f"{path.stat().st_mode & 0o777:o}" for path in sorted(folder.rglob("*"))}


def test_each_file_of_a_site_is_for_its_owner_alone(data_dir: Path, tmp_path: Path) -> None:
    dump = tmp_path / "export.sql"
    dump.write_text(export(events=[success_row("imported")]), encoding="utf-8")
    with served(data_dir, JOBS_WORKER="1") as server:
        assert server.post("/event", json.dumps(success()).encode())[0] == 201
        assert server.post("/event", json.dumps(payload()).encode())[0] == 201
        wait_until(lambda: server.jobs_processes, "no process runs the jobs")
        assert modes(data_dir) == {
            "jobs.lock": "600",
            "secret_key": "600",
            "server.lock": "600",
            "telemetry.sqlite3": "600",
            "telemetry.sqlite3-shm": "600",
            "telemetry.sqlite3-wal": "600",
        }
        for done in server.commands(
            ("import_d1", str(dump)),
            ("erase_session", "imported", "--vacuum"),
            ("legacy_mode", "gone", "--force", "--reason", "a test"),
            ("drop_legacy",),
        ):
            assert done.returncode == 0, done.stderr
        found = modes(data_dir)
    assert found.pop("backups") == "700"
    assert len(found) == 7
    assert set(found.values()) == {"600"}
    assert "telemetry_site.W003" in server.log.read_text()


def test_a_database_made_by_a_command_alone_is_private(data_dir: Path) -> None:
    done = Server(data_dir).command("migrate", "--verbosity=0")
    assert done.returncode == 0, done.stderr
    assert modes(data_dir) == {"secret_key": "600", "telemetry.sqlite3": "600"}


def test_new_folders_are_private(tmp_path: Path) -> None:
    assert (
        run_apart("from django.conf import settings; settings.DEBUG", DATA_DIR=str(tmp_path / "a" / "b")).stderr == ""
    )
    assert modes(tmp_path) == {"a": "700", "a/b": "700", "a/b/secret_key": "600"}


def test_the_scratch_database_of_an_import_is_private(tmp_path: Path) -> None:
    dump = tmp_path / "export.sql"
    dump.write_text(export(events=[success_row("imported")]), encoding="utf-8")
    result = run_apart(
        "import sys, pathlib, django; django.setup()\n"
        "from legacy.imports import d1_staging\n"
        f"scratch = pathlib.Path({str(tmp_path / 'scratch')!r})\n"
        f"d1_staging.stage(pathlib.Path({str(dump)!r}), scratch, lambda read: None)\n"
        "print(f'{scratch.stat().st_mode & 0o777:o}')",
        DATA_DIR=str(tmp_path / "data"),
    )
    assert result.stdout == "600\n", result.stderr


def test_files_of_an_earlier_release_are_made_private_at_the_start(started_site: Path, data_dir: Path) -> None:
    shutil.copytree(started_site, data_dir, dirs_exist_ok=True)
    for name in ("telemetry.sqlite3", "secret_key", "server.lock"):
        (data_dir / name).chmod(0o644)
    (data_dir / "of-somebody-else").touch(0o644)
    with served(data_dir) as server:
        found = modes(data_dir)
        log = server.log.read_text()
    assert found.pop("of-somebody-else") == "644"
    assert set(found.values()) == {"600"}
    assert f"{data_dir / 'telemetry.sqlite3'} had the mode 0644, so other users could open it. It has 0600 now." in log


@pytest.mark.parametrize(
    ("mode", "is_warned"), [(0o700, False), (0o500, False), (0o710, True), (0o755, True), (0o701, True), (0o770, True)]
)
def test_a_folder_that_others_may_open_is_warned_of(data_dir: Path, mode: int, is_warned: bool, settings: Any) -> None:
    settings.DATA_DIR = data_dir
    data_dir.chmod(mode)
    warnings = [(one.msg, one.hint) for one in run_checks() if one.id == "telemetry_site.W003"]
    words = f"Other users of this machine may open DATA_DIR: {data_dir} has the mode {mode:04o}."
    assert warnings == ([(words, f"Run: chmod 700 {data_dir}")] if is_warned else [])
