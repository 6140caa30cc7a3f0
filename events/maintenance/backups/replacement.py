"""Replaces the files of the site by those of a backup. The former files move into a folder of DATA_DIR.

A journal in DATA_DIR exists from before the first move until the end. So an interrupted replacement can be undone:
`roll_back` puts the former files back, whatever was moved before.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.db import connection

from events.maintenance.backups.files import folder

JOURNAL = "restore-in-progress.json"
KEY = "secret_key"


class Replacement(NamedTuple):
    """A replacement that has begun. `moved` are the files that existed before it."""

    aside: Path
    moved: list[str]

    @property
    def schema_aside(self) -> str:
        """Return the name for the former schema of PostgreSQL."""
        return self.aside.name.replace("-", "_").lower()


def begin(now: datetime, *, with_key: bool) -> Replacement:
    """Write the journal, and move the former files aside. Close all connections before."""
    data_dir = Path(settings.DATA_DIR)
    aside = data_dir / f"before-restore-{now:%Y%m%dT%H%M%SZ}"
    aside.mkdir(mode=0o700)
    moved = [name for name in _names(with_key=with_key) if _is_there(data_dir / name)]
    folder.write_durably(_journal(), json.dumps({"aside": aside.name, "moved": moved, "with_key": with_key}).encode())
    for name in moved:
        (data_dir / name).rename(aside / name)
    folder.sync(aside)
    folder.sync(data_dir)
    return Replacement(aside, moved)


def put_database(restored: Path) -> None:
    """Give a restored SQLite file the name of the site's database."""
    folder.put(restored, Path(settings.SQLITE_FILE))


def put_key(secret_key: str) -> None:
    folder.write_durably(Path(settings.DATA_DIR) / KEY, secret_key.encode("ascii"))


def finish(replacement: Replacement) -> None:
    """Delete the journal: the replacement is complete."""
    _journal().unlink()
    if not replacement.moved:
        replacement.aside.rmdir()
    folder.sync(Path(settings.DATA_DIR))


def is_interrupted() -> bool:
    return _journal().exists()


def roll_back() -> None:
    """Undo a replacement that did not finish: put the former files back, and delete those of the backup.

    It may be interrupted and repeated.
    """
    data_dir = Path(settings.DATA_DIR)
    journal = json.loads(_journal().read_bytes())
    aside = data_dir / journal["aside"]
    for name in _names(with_key=journal["with_key"]):
        if name not in journal["moved"]:
            (data_dir / name).unlink(missing_ok=True)
    for name in journal["moved"]:
        if _is_there(aside / name):
            (aside / name).replace(data_dir / name)
    folder.sync(data_dir)
    if aside.is_dir():
        aside.rmdir()
    _journal().unlink()
    folder.sync(data_dir)


def _names(*, with_key: bool) -> list[str]:
    """Return the files to replace. The log goes first: SQLite must never apply it to another database."""
    name = Path(settings.SQLITE_FILE).name
    database = [f"{name}-wal", f"{name}-shm", name] if connection.vendor == "sqlite" else []
    return [*database, KEY] if with_key else database


def _is_there(file: Path) -> bool:
    return file.exists() or file.is_symlink()


def _journal() -> Path:
    return Path(settings.DATA_DIR) / JOURNAL
