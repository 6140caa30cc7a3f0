"""`telemetry_site/settings.py`: what the environment makes of the site."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import run_apart


def test_the_folder_of_data_is_made_also_for_a_site_with_a_key_of_its_own(tmp_path: Path) -> None:
    data_dir = tmp_path / "new" / "data"
    told = run_apart("from django.conf import settings; settings.DEBUG", DATA_DIR=str(data_dir), SECRET_KEY="k" * 50)
    assert told.returncode == 0, told.stderr
    assert data_dir.stat().st_mode & 0o777 == 0o700
    assert list(data_dir.iterdir()) == []


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    asked = "from django.conf import settings; print(settings.SECRET_KEY)"
    first, second = (run_apart(asked, DATA_DIR=str(tmp_path)).stdout for _ in range(2))
    assert first == second
    assert len(first.strip()) >= 50
    assert (tmp_path / "secret_key").stat().st_mode & 0o777 == 0o600


def test_every_value_that_cannot_be_read_is_named_at_once(tmp_path: Path) -> None:
    told = run_apart(
        "from django.conf import settings; settings.DEBUG", DATA_DIR=str(tmp_path), PORT="eighty", INGEST_RATE="fast"
    )
    assert told.returncode != 0
    assert "PORT='eighty' is not a whole number from 1 to 65535." in told.stderr
    assert "INGEST_RATE='fast' is not a rate such as 120/m, or off." in told.stderr


def test_an_https_site_passes_the_deployment_checks(tmp_path: Path) -> None:
    told = run_apart(
        "import django; django.setup()\n"
        "from django.core.management import call_command\n"
        "call_command('check', deploy=True, fail_level='WARNING')",
        DATA_DIR=str(tmp_path),
        SITE_URL="https://telemetry.example.org",
        TRUSTED_PROXY_COUNT="1",
    )
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize("folder", ["a file", "a file/deeper"])
def test_a_folder_of_data_that_cannot_be_made_is_told_in_words(tmp_path: Path, folder: str) -> None:
    (tmp_path / "a file").touch()
    told = run_apart("import manage, sys; sys.argv[1:] = ['check']; manage.main()", DATA_DIR=str(tmp_path / folder))
    assert told.returncode != 0
    assert f"DATA_DIR='{tmp_path / folder}' cannot be used: " in told.stderr
    assert "Traceback" not in told.stderr


def test_a_new_connection_reads_while_another_process_writes(tmp_path: Path) -> None:
    begin = "import django; django.setup()\n"
    migrate = "from django.core.management import call_command; call_command('migrate', verbosity=0)"
    told = run_apart(begin + migrate, DATA_DIR=str(tmp_path))
    assert told.returncode == 0, told.stderr
    with closing(sqlite3.connect(tmp_path / "telemetry.sqlite3", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        told = run_apart(
            begin + "from events import metrics; print(metrics.flash_count().total)", DATA_DIR=str(tmp_path)
        )
    assert (told.returncode, told.stdout, told.stderr) == (0, "0\n", "")
