"""`docs/schema/`: the versioned SQL of every migration, for both engines."""

from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command

KEPT = settings.BASE_DIR / "docs" / "schema"


def read(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text(encoding="utf-8") for file in folder.rglob("*.sql")}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: pytest.FixtureRequest) -> Path:
    folder = tmp_path_factory.mktemp("schema")
    with django_db_blocker.unblock():  # an SQLite in memory; no database of the site's
        call_command("print_schema", into=folder, verbosity=0)
    return folder


def test_the_kept_files_are_what_the_migrations_do(written: Path) -> None:
    assert read(KEPT) == read(written), "run `make sql` and look at what changed"


def test_both_engines_have_every_migration_of_ours(written: Path) -> None:
    migrations = {
        f"{app}_{file.stem}.sql"
        for app in ("events", "legacy")
        for file in (settings.BASE_DIR / app / "migrations").glob("0*.py")
    }
    for engine in ("sqlite", "postgresql"):
        assert {file.name for file in (written / engine).iterdir()} == migrations


def test_a_file_of_a_migration_that_is_gone_is_taken_away(written: Path, django_db_blocker) -> None:
    stale = written / "sqlite" / "events_0000_gone.sql"
    stale.write_text("SELECT 1;")
    with django_db_blocker.unblock():
        call_command("print_schema", into=written, verbosity=0)
    assert not stale.exists()
