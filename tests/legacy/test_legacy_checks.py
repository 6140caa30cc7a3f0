"""`check --deploy` warns if `/event` requires a token and the old routes accept events without one."""

from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks

from legacy.models import Mode, ModeInForce
from tests.conftest import run_apart
from tests.servers import Server, free_port


def warnings(*, deploy: bool = True) -> list[str]:
    return [one.msg for one in run_checks(include_deployment_checks=deploy) if one.id == "legacy.W001"]


@pytest.mark.django_db
@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("mode", [None, *Mode])
def test_open_old_routes_beside_tokens_are_warned_of(required: bool, mode: Mode | None, settings: Any) -> None:
    settings.INGEST_TOKEN_REQUIRED = required
    if mode is not None:
        ModeInForce.objects.create(id=1, mode=mode)
    words = f"INGEST_TOKEN_REQUIRED=1, but the old routes are in {mode or 'alias'} and accept events without a token."
    assert warnings() == ([words] if required and mode != Mode.GONE else [])
    assert warnings(deploy=False) == []


CHECK = "import sys, manage; sys.argv[1:] = ['check', '--deploy']; manage.main()"


@pytest.mark.parametrize(
    "database",
    ["missing", "not migrated", "no database", "a server that is away"],
)
def test_an_unreadable_database_gives_no_warning_and_is_not_created(tmp_path: Path, database: str) -> None:
    file = tmp_path / "telemetry.sqlite3"
    if database == "not migrated":
        file.touch()
    if database == "no database":
        file.write_bytes(b"no database " * 100)
    away = f"postgres://nobody@127.0.0.1:{free_port()}/none" if database == "a server that is away" else ""
    checked = run_apart(CHECK, DATA_DIR=str(tmp_path), INGEST_TOKEN_REQUIRED="1", DATABASE_URL=away)
    assert checked.returncode == 0, checked.stderr
    assert "legacy.W001" not in checked.stderr
    assert "Traceback" not in checked.stderr
    assert file.exists() is (database in ("not migrated", "no database"))


def test_a_readable_database_gives_the_warning(data_dir: Path) -> None:
    site = Server(data_dir, INGEST_TOKEN_REQUIRED="1")
    assert (
        "(legacy.W001) INGEST_TOKEN_REQUIRED=1, but the old routes are in alias"
        in site.command("check", "--deploy").stderr
    )
