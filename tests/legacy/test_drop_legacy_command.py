"""`manage.py drop_legacy`: it archives, verifies and drops the old tables, and the site works without them."""

import gzip
import io
import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from legacy.cutover import archive, modes
from legacy.models import ClientLog, LegacyCount
from tests.conftest import payload, sign_in, success
from tests.fixtures.d1 import EXPORT

pytestmark = pytest.mark.django_db
TABLES = {"client_logs", "legacy_legacycount"}


@pytest.fixture(autouse=True)
def _nothing_is_left() -> None:
    """Restore the tables, because other tests need them."""
    for path in backups():
        path.unlink()


def backups() -> list[Path]:
    return sorted((settings.DATA_DIR / "backups").glob("legacy-*"))


def run(*args: str) -> str:
    said = io.StringIO()
    call_command(*args, stdout=said)
    return said.getvalue()


def fill(post: Callable[..., Any]) -> list[dict[str, Any]]:
    """Write events to both sides, switch to `gone`, and return all rows of the old tables."""
    run("import_d1", str(EXPORT))
    modes.forget()
    post("/increment", {"sessionId": "a"})
    post("/client-log", payload(message='"quoted"\n📻\u2028'))
    run("legacy_mode", "gone", "--force", "--reason", "a test")
    modes.forget()
    rows = [{"table": "client_logs"} | row for row in ClientLog.objects.values()]
    return rows + [{"table": "legacy_legacycount"} | row for row in LegacyCount.objects.values()]


def by_key(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (row["table"], row.get("id") or row["session_id"]))


def tables() -> set[str]:
    return TABLES & set(connection.introspection.table_names())


@pytest.mark.parametrize("mode", [None, "separate", "alias"])
def test_before_the_end_nothing_is_dropped(mode: str | None) -> None:
    if mode:
        run("legacy_mode", mode)
    with pytest.raises(CommandError, match=f"The old routes are in {mode or 'alias'}; end them first"):
        run("drop_legacy")
    assert tables() == TABLES
    assert backups() == []


def test_every_row_is_archived_and_the_tables_are_dropped(post: Callable[..., Any]) -> None:
    rows = fill(post)
    said = run("drop_legacy")
    (path,) = backups()
    assert said == (
        f"{path} contains 20 rows of client_logs, 4 rows of legacy_legacycount, and was verified."
        " The tables were dropped.\n"
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
        assert by_key([json.loads(line) for line in lines]) == by_key(rows)
    assert tables() == set()


def test_the_site_works_without_the_tables(client: Client, post: Callable[..., Any]) -> None:
    fill(post)
    count = client.get("/metrics/flash-count").json()
    assert count["total"] == 44
    run("drop_legacy")
    assert client.get("/metrics/flash-count").json() == count
    modes.forget()
    for method, path in [("POST", "/client-log"), ("GET", "/count"), ("POST", "/increment"), ("GET", "/recent")]:
        assert client.generic(method, path).status_code == 410
    assert post("/event", success()).status_code == 201
    assert client.get("/metrics/flash-count").json()["total"] == 45
    sign_in(client, "Maintainers")
    assert client.get("/admin/").status_code == 200
    assert client.get("/failures").status_code == 200


def test_commands_that_need_the_tables_are_refused_with_a_message(post: Callable[..., Any]) -> None:
    fill(post)
    run("drop_legacy")
    refused = {
        ("import_d1", str(EXPORT)): "nothing can be imported",
        ("check_parity",): "nothing can be compared",
        ("drop_legacy",): "were dropped already",
        ("legacy_mode", "alias"): "the old routes stay gone",
        ("legacy_mode", "separate"): "the old routes stay gone",
        ("legacy_mode", "gone"): "The old tables were dropped",
    }
    for command, why in refused.items():
        with pytest.raises(CommandError, match=why):
            run(*command)
    assert "The old routes are in gone" in run("legacy_mode")


@pytest.mark.django_db(transaction=True)
def test_tables_that_changed_after_the_archive_are_not_dropped(post: Callable[..., Any], tmp_path: Path) -> None:
    fill(post)
    archived = archive.write(tmp_path / "archive.gz")
    LegacyCount.objects.create(session_id="late", counted_at_ms=1, in_stream=True)
    with pytest.raises(archive.NotVerified, match="legacy_legacycount has changed"):
        archive.drop(archived)
    assert tables() == TABLES


def test_an_archive_that_cannot_be_written_drops_nothing(post: Callable[..., Any]) -> None:
    fill(post)
    folder = settings.DATA_DIR / "backups"
    if folder.is_dir():
        folder.rmdir()
    folder.write_text("in the way")
    try:
        with pytest.raises(CommandError, match="Nothing was dropped"):
            run("drop_legacy")
    finally:
        folder.unlink()
    assert tables() == TABLES


def test_an_archive_is_never_overwritten(post: Callable[..., Any], tmp_path: Path) -> None:
    fill(post)
    (tmp_path / "archive.gz").write_text("of another day")
    with pytest.raises(FileExistsError):
        archive.write(tmp_path / "archive.gz")
    assert (tmp_path / "archive.gz").read_text() == "of another day"


def test_only_a_complete_archive_has_the_final_name(
    post: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an error or a kill, no file has the name of an archive."""
    fill(post)
    seen = []
    lines = archive._lines

    def watched() -> Iterator[str]:
        for line in lines():
            seen.append([path.name for path in tmp_path.iterdir()])
            yield line

    monkeypatch.setattr(archive, "_lines", watched)
    archive.write(tmp_path / "archive.gz")
    assert seen[0] == ["archive.gz.part"]
    assert [path.name for path in tmp_path.iterdir()] == ["archive.gz"]
    with pytest.raises(FileExistsError):
        archive.write(tmp_path / "archive.gz")
