"""The restore drill: restores the newest backup into a scratch database with the code of `restore`, and compares."""

from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.db import connection

from events.maintenance.backups import opening, records
from events.maintenance.backups.databases import contents, postgresql, sqlite
from events.maintenance.backups.databases.contents import Contents
from events.maintenance.backups.files import folder, manifests
from events.maintenance.backups.files.folder import BackupFailed, Damaged
from events.maintenance.backups.files.manifests import Manifest
from events.maintenance.backups.opening import Opened


def prove(now: datetime) -> str:
    """Check every stored backup, and prove the newest one. Return the outcome in words. Raises BackupFailed.

    A backup that is damaged gets a `problem`. A problem of the machine, such as a full disk, is no fault of the backup.
    """
    folder.make()
    with folder.working(folder.path()) as scratch:
        stored = manifests.stored()
        records.mirror()
        if not stored:
            raise BackupFailed(f"There is no backup in {folder.path()} to prove. Make one: manage.py backup")
        damaged = [words for manifest in stored if not manifest.problem and (words := _damage_of(manifest))]
        newest = next((manifest for manifest in manifests.stored() if not manifest.problem), None)
        if newest is None:
            raise BackupFailed(" ".join(damaged or ["Every backup is damaged."]) + " Make a backup: manage.py backup")
        outcome = _prove(newest, scratch, now)
    if damaged:
        raise BackupFailed(f"{' '.join(damaged)} {outcome}")
    return outcome


def _damage_of(manifest: Manifest) -> str:
    """Return in words what is wrong with a stored file, and record it."""
    try:
        manifests.check(folder.path() / manifest.name, manifest)
    except Damaged as problem:
        records.change(manifest._replace(problem=str(problem)))
        return str(problem)
    return ""


def _prove(manifest: Manifest, scratch: Path, now: datetime) -> str:
    file = folder.path() / manifest.name
    folder.demand_room({scratch: opening.needed_bytes(file)}, "The restore drill")
    try:
        opened = opening.open_backup(file, scratch, settings.BACKUP_PASSPHRASE)
        opening.refuse_unusable(opened)
        restored = _restored(opened, scratch)
        if differences := restored.differences_from(opened.contents):
            raise Damaged(f"{manifest.name} was restored, but it differs: {'; '.join(differences)}.")
    except Damaged as problem:
        records.change(manifest._replace(problem=str(problem)))
        raise
    records.change(manifest._replace(proven_at_ms=int(now.timestamp() * 1000)))
    with_figures = f" and {len(restored.figures)} figures of the overview" if restored.figures else ""
    return (
        f"{manifest.name} is proven: it was restored, and the rows of {len(restored.tables)} tables{with_figures} are"
        f" equal ({restored.events:,} events)."
    )


def _restored(opened: Opened, scratch: Path) -> Contents:
    """Restore a backup into a scratch database, and return its contents there."""
    made_at_ms = opened.contents.made_at_ms
    if connection.vendor == "sqlite":
        target = scratch / "restored.sqlite3"
        sqlite.restore(opened.dump, target)
        return sqlite.read_restored(target, made_at_ms)
    with postgresql.scratch_database(opened.contents):
        postgresql.restore(opened.dump, opened.contents, aside=None)
        return contents.read(made_at_ms)
