"""Makes a backup: dump, check, encrypt, manifest, rename, rotation."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.db import connection

from events.maintenance.backups import records
from events.maintenance.backups.databases import postgresql, sqlite
from events.maintenance.backups.databases.contents import Contents
from events.maintenance.backups.files import containers, folder, manifests
from events.maintenance.backups.files.folder import BackupFailed
from events.maintenance.backups.files.manifests import Manifest


class Made(NamedTuple):
    file: Path
    manifest: Manifest
    contents: Contents
    deleted: list[str]  # names of older backups

    def in_words(self) -> str:
        size = f"{self.manifest.file_bytes / 1_000_000:,.1f} MB"
        deleted = f" Deleted by BACKUP_KEEP: {', '.join(self.deleted)}." if self.deleted else ""
        kind = "encrypted, with the secret key" if self.manifest.is_encrypted else "without the secret key"
        return f"{self.file.name}: {self.contents.events:,} events, {size}, {kind}.{deleted}"


def make(
    now: datetime, *, file: Path | None = None, on_wait: Callable[[], object] = lambda: None, is_recorded: bool = True
) -> Made:
    """Write a verified backup into BACKUP_DIR, or to a new `file`. Raises BackupFailed.

    A `file` is neither recorded nor rotated. Without `is_recorded`, the table is left alone, because it may not exist
    yet.
    """
    if connection.in_atomic_block:
        raise BackupFailed("A backup cannot be made inside a transaction.")
    try:
        target_folder = folder.make() if file is None else _folder_of(file)
        with folder.working(target_folder if file is None else None, on_wait) as scratch:
            return _make(now, target_folder, file, scratch, is_recorded=is_recorded)
    except OSError as error:
        raise BackupFailed(f"The backup cannot be written: {folder.in_words(error)}.") from None


def _make(now: datetime, target_folder: Path, file: Path | None, scratch: Path, *, is_recorded: bool) -> Made:
    engine = postgresql if connection.vendor == "postgresql" else sqlite
    suffix = folder.SUFFIXES[connection.vendor]
    needed, is_encrypted = engine.needed_bytes(), bool(settings.BACKUP_PASSPHRASE)
    needs = {target_folder: needed}
    if is_encrypted:
        needs[scratch] = needed
    folder.demand_room(needs, "The backup")
    target = file or target_folder / folder.new_name(now, folder.ENCRYPTED if is_encrypted else suffix)
    partial = target.with_name(f"{folder.PARTIAL}{target.name}")
    # A plain copy of an encrypted backup stays in DATA_DIR. BACKUP_DIR may be on a disk that others can read.
    dumped = scratch / containers.name_of_database(suffix) if is_encrypted else partial
    try:
        partial.unlink(missing_ok=True)
        contents = engine.dump(dumped, int(now.timestamp() * 1000))
        if is_encrypted:
            containers.pack(partial, dumped, contents._asdict(), settings.SECRET_KEY, settings.BACKUP_PASSPHRASE)
            dumped.unlink()
        manifest = Manifest(
            name=target.name,
            made_at_ms=contents.made_at_ms,
            file_bytes=partial.stat().st_size,
            sha256=folder.digest(partial),
            is_encrypted=is_encrypted,
            events=contents.events,
            contents=None if is_encrypted else json.loads(json.dumps(contents._asdict())),
        )
        # The manifest first: a manifest without a backup is deleted later, a backup without one is a foreign file.
        manifests.write(target, manifest)
        folder.put(partial, target)
    except BaseException:
        for leftover in target_folder.glob(f"{partial.name}*"):
            leftover.unlink(missing_ok=True)
        if not target.exists():
            manifests.beside(target).unlink(missing_ok=True)
        raise
    deleted = []
    if file is None:
        records.delete_lone_manifests()
        deleted = records.delete_old(settings.BACKUP_KEEP)
        if is_recorded:
            records.mirror()
    return Made(target, manifest, contents, deleted)


def _folder_of(file: Path) -> Path:
    if file.exists() or manifests.beside(file).exists():
        raise BackupFailed(f"{file} exists already. A backup never overwrites a file.")
    if not file.parent.is_dir():
        raise BackupFailed(f"{file.parent}: no such folder.")
    return file.parent
