"""The only writer of `events_backup`: the table mirrors the manifests in BACKUP_DIR, for pages and metrics.

The manifests are the source, so that a restored database learns of backups that are newer than itself.
"""

import socket
from collections.abc import Iterable, Mapping

from django.db import connection, transaction
from django.db.models import QuerySet

from events.counting.buckets import DAY_MS
from events.maintenance.backups import rotation
from events.maintenance.backups.files import folder, manifests
from events.maintenance.backups.files.manifests import Manifest
from events.models import Backup

# Another machine's folder without a newer backup is taken for gone.
FORGOTTEN_DAYS = 14


def mirror() -> None:
    """Make the rows of this folder equal to its manifests. The rows of other machines' folders stay.

    Rows of a folder that is gone must not stay: they would look like backups.
    """
    stored = {manifest.name: manifest for manifest in manifests.stored()}
    identity, host = folder.identity(), socket.gethostname()
    with transaction.atomic():
        Backup.objects.filter(folder=identity).exclude(name__in=stored).delete()
        _other_folders_that_are_gone(identity, host, stored.values()).delete()
        for manifest in stored.values():
            values = {
                "made_ms": manifest.made_at_ms,
                "file_bytes": manifest.file_bytes,
                "sha256": manifest.sha256,
                "is_encrypted": manifest.is_encrypted,
                "events": manifest.events,
                "proven_ms": manifest.proven_at_ms,
                "problem": manifest.problem,
                "host": host,
            }
            Backup.objects.update_or_create(folder=identity, name=manifest.name, defaults=values)


def _other_folders_that_are_gone(identity: str, host: str, stored: Iterable[Manifest]) -> QuerySet[Backup]:
    others = Backup.objects.exclude(folder=identity)
    newest_ms = max((manifest.made_at_ms for manifest in stored), default=0)
    if connection.vendor == "sqlite":
        return others  # one machine has the database
    live = others.exclude(host=host).filter(made_ms__gt=newest_ms - FORGOTTEN_DAYS * DAY_MS)
    return others.exclude(folder__in=list(live.values_list("folder", flat=True).distinct()))


def note_copies(copied_ms: Mapping[str, int]) -> None:
    """Store when each backup of this folder was copied into the bucket: the bucket is the source of these times."""
    rows = Backup.objects.filter(folder=folder.identity())
    with transaction.atomic():
        rows.exclude(name__in=copied_ms).update(copied_ms=None)
        for name, moment_ms in copied_ms.items():
            rows.filter(name=name).update(copied_ms=moment_ms)


def delete_old(keep: dict[str, int] | None) -> list[str]:
    """Delete the backups that BACKUP_KEEP does not keep, and return their names."""
    stored = manifests.stored()
    names = rotation.kept(stored, keep)
    deleted = [manifest.name for manifest in stored if manifest.name not in names]
    for name in deleted:
        file = folder.path() / name
        # The backup first: without its manifest it would be a foreign file, which nobody deletes.
        file.unlink(missing_ok=True)
        manifests.beside(file).unlink(missing_ok=True)
    if deleted:
        folder.sync(folder.path())
    return deleted


def delete_lone_manifests() -> None:
    """Delete the manifests of backups that are gone: a process was killed, or an operator moved the file."""
    for file in folder.path().glob("telemetry-*.json"):
        name = file.name.removesuffix(".json")
        if folder.is_ours(name) and not (folder.path() / name).exists():
            file.unlink(missing_ok=True)


def change(manifest: Manifest) -> None:
    """Store a changed manifest: in its file, and in the table."""
    manifests.write(folder.path() / manifest.name, manifest)
    mirror()
