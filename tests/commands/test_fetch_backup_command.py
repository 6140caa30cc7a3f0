"""`manage.py fetch_backup`: a lost machine comes back from the bucket on an empty one."""

import json
import re
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import payload
from tests.s3 import Service
from tests.servers import Server, served_prepared

PASSPHRASE = "correct horse battery"


def variables(s3: Service, prefix: str) -> dict[str, str]:
    return {
        "BACKUP_PASSPHRASE": PASSPHRASE,
        "BACKUP_URL": s3.url(prefix),
        "BACKUP_S3_KEY_ID": s3.key_id,
        "BACKUP_S3_SECRET": s3.secret,
    }


def test_a_lost_machine_is_restored_from_the_bucket(s3: Service, data_dir: Path, tmp_path: Path) -> None:
    copies = variables(s3, f"sites/{uuid.uuid4().hex}")
    with served_prepared(data_dir, **copies) as server:
        assert server.post("/event", json.dumps(payload()).encode())[0] == 201
        made = server.command("backup")
        assert made.returncode == 0, made.stderr
        with closing(sqlite3.connect(data_dir / "telemetry.sqlite3")) as database:
            database.execute("DELETE FROM events_jobstate")
            database.execute(
                "INSERT INTO events_jobstate (name, due_ms, holder, message) VALUES (?, 1, '', '')", ("backup-copies",)
            )
            database.commit()
        copied = server.command("run_jobs", "--once")
    [name] = re.findall(r"telemetry-\S+\.tar\.age", made.stdout)[:1]
    assert re.search(rf"^backup-copies: succeeded in .* Copied: {name}\.$", copied.stdout, re.MULTILINE), copied
    empty = tmp_path / "empty"
    other = Server(empty, **copies)
    listed, fetched, again, restored = other.commands(
        ("fetch_backup", "--list"), ("fetch_backup",), ("fetch_backup", name),
        ("restore", str(empty / "backups" / name)),
    )  # fmt: skip
    assert listed.returncode == fetched.returncode == again.returncode == 0, listed.stderr + fetched.stderr
    assert re.fullmatch(
        rf"[0-9a-f]{{16}}  of \S+ for http://\S+\n  {name}  [\d-]+ [\d:]+ UTC +1 events +[\d.]+ MB  not proven\n",
        listed.stdout,
    )
    file = empty / "backups" / name
    assert f"\n  fetched  {file}\n  SHA-256  " in fetched.stdout
    assert fetched.stdout.endswith(f"\n  restore  manage.py restore {file}\n")
    assert f"\n  existed  {file}\n" in again.stdout
    assert restored.returncode == 0, restored.stderr
    with closing(sqlite3.connect(empty / "telemetry.sqlite3")) as database:
        assert database.execute("SELECT COUNT(*) FROM telemetry_events").fetchone() == (1,)
    assert (empty / "secret_key").read_text() == (data_dir / "secret_key").read_text()
    assert s3.secret not in listed.stdout + fetched.stdout + copied.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("../../etc/passwd",), "'../../etc/passwd' is no name of a backup"),
        (("telemetry-20261128T031500Z.tar.age/../x",), "is no name of a backup"),
        (("telemetry-20261128T031500Z.tar.age",), "There is no copy telemetry-20261128T031500Z.tar.age."),
        (("--folder", "../0123456789abcd"), "'../0123456789abcd' is no folder of --list"),
        ((), "There is no copy."),
    ],
)
def test_what_cannot_be_fetched_is_explained(
    s3: Service, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    refused = Server(tmp_path / "data", **variables(s3, f"sites/{uuid.uuid4().hex}")).command(
        "fetch_backup", *arguments
    )
    assert refused.returncode == 1
    assert refused.stderr.startswith("CommandError: ")
    assert words in refused.stderr
    assert not (tmp_path / "data" / "backups").exists()


def test_an_empty_bucket_and_a_missing_address_are_explained(s3: Service, tmp_path: Path) -> None:
    listed = Server(tmp_path / "data", **variables(s3, "nothing-here")).command("fetch_backup", "--list")
    assert listed.stdout == f"There is no copy in s3://backups/nothing-here at http://127.0.0.1:{s3.port}.\n"
    refused = Server(tmp_path / "data").command("fetch_backup")
    assert (refused.returncode, refused.stderr) == (1, "CommandError: BACKUP_URL is not set.\n")
