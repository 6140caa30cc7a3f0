"""`manage.py reclaim_space`: free pages go back to the disk; a file that cannot shrink is rewritten when asked."""

import io
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from events.maintenance import database_file
from events.maintenance.database_file import Reclaimed
from tests.conftest import make_event, payload, run_apart

WORDS = {
    Reclaimed(0, 0): "0 B freed",
    Reclaimed(63_963_136, 0): "61.0 MiB freed",
    Reclaimed(0, 4_096, cannot_shrink=True): (
        "0 B freed; 4.0 KiB stay in the file for new events, because it was created without auto_vacuum. To shrink it,"
        " stop the site and run `manage.py reclaim_space --vacuum`"
    ),
    Reclaimed(0, 0, cannot_shrink=True): "0 B freed",
    Reclaimed(0, 1_048_576): "0 B freed; about 1.0 MiB inside the database are free for new events",  # PostgreSQL
}


def test_an_outcome_is_said_in_words() -> None:
    assert {reclaimed: str(reclaimed) for reclaimed in WORDS} == WORDS


@pytest.mark.django_db(transaction=True)
def test_a_long_reader_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint that waits for an export would block ingest for as long."""
    if connection.vendor != "sqlite":
        return
    monkeypatch.setattr(database_file, "_CHECKPOINT_TRIES", 1)
    make_event(**payload())
    with closing(sqlite3.connect(connection.settings_dict["NAME"])) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM telemetry_events").fetchone()
        make_event(**payload(message="newer"))
        assert not database_file._truncate_log_without_waiting()
        with connection.cursor() as cursor:
            assert cursor.execute("PRAGMA busy_timeout").fetchone() == (5_000,)
    assert database_file._truncate_log_without_waiting()


@pytest.mark.django_db
def test_a_rewrite_needs_free_disk_space_and_sqlite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_file, "held_bytes", lambda: 10**15)
    words = "needs about 1819 TiB" if connection.vendor == "sqlite" else "--vacuum is for SQLite"
    with pytest.raises(CommandError, match=words):
        call_command("reclaim_space", "--vacuum", stdout=io.StringIO())


def test_a_file_of_another_program_shrinks_after_a_rewrite(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "telemetry.sqlite3")) as file:
        file.execute("CREATE TABLE other (text)")
        file.execute("INSERT INTO other VALUES (zeroblob(500000))")
        file.commit()
        file.execute("DELETE FROM other")
        file.commit()
    asked = (
        "import django; django.setup()\n"
        "from django.core.management import call_command\n"
        "call_command('reclaim_space')\n"
        "call_command('reclaim_space', '--vacuum')\n"
        "call_command('reclaim_space')\n"
    )
    result = run_apart(asked, DATA_DIR=str(tmp_path))
    assert result.returncode == 0, result.stderr
    before, _, rewritten, *after = result.stdout.splitlines()
    assert before.startswith("0 B freed; ")
    assert before.endswith("`manage.py reclaim_space --vacuum`.")
    assert re.fullmatch(r"Rewrote the file: (48\d|49\d) KiB less\.", rewritten)
    assert after[0] == after[2] == "0 B freed."
