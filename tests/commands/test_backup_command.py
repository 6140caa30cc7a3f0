"""`manage.py backup`, as an operator runs it beside a running site, and without one."""

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.conftest import payload
from tests.servers import Server, served_prepared


def test_a_backup_is_made_beside_a_running_site(data_dir: Path, tmp_path: Path) -> None:
    with served_prepared(data_dir, BACKUP_DIR=str(tmp_path / "backups")) as server:
        assert server.post("/event", json.dumps(payload()).encode())[0] == 201
        made, named, again = server.commands(
            ("backup",), ("backup", str(tmp_path / "mine.sqlite3")), ("backup", str(tmp_path / "mine.sqlite3"))
        )
    assert (made.returncode, made.stderr) == (0, "")
    assert re.match(r"telemetry-\d{8}T\d{6}Z\.sqlite3: 1 events, [\d.]+ MB, without the secret key\.\n", made.stdout)
    assert named.returncode == 0
    with closing(sqlite3.connect(tmp_path / "mine.sqlite3")) as database:
        assert database.execute("SELECT COUNT(*) FROM telemetry_events").fetchone() == (1,)
        assert database.execute("PRAGMA auto_vacuum").fetchone() == (2,)
    mine = tmp_path / "mine.sqlite3"
    assert (again.returncode, again.stderr) == (
        1, f"CommandError: {mine} exists already. A backup never overwrites a file.\n",
    )  # fmt: skip


def test_an_unusable_folder_is_explained(data_dir: Path) -> None:
    refused = Server(data_dir, BACKUP_DIR="/proc/backups").command("backup")
    assert refused.returncode == 1
    assert refused.stderr.startswith("CommandError: BACKUP_DIR='/proc/backups' cannot be used: ")
