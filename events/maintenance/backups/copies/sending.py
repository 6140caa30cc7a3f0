"""Copies the backups of BACKUP_DIR into the bucket, and deletes copies that BACKUP_KEEP no longer keeps.

A copy is deleted only if newer copies in the bucket take its place by the rules of BACKUP_KEEP. What BACKUP_DIR lacks
is no reason: an emptied disk or a restored machine must not delete the copies.
"""

import hashlib
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from django.conf import settings

from events.maintenance.backups import records, rotation
from events.maintenance.backups.copies import remote
from events.maintenance.backups.copies.remote import Copy
from events.maintenance.backups.copies.store import Store, StoreFailed
from events.maintenance.backups.files import folder, manifests
from events.maintenance.backups.files.folder import BackupFailed, Damaged
from events.maintenance.backups.files.manifests import Manifest

_CHUNK = 1 << 20


def copy_backups(now: datetime) -> str:
    """Make the bucket contain every sound backup, the newest first. Return the outcome in words. Raises BackupFailed.

    The bucket is the source, and the table mirrors it: a killed run or a lost reply changes nothing that counts.
    """
    store = Store()
    folder.make()
    with folder.copying():
        stored = manifests.stored()
        if not stored:
            return f"There is no backup in {folder.path()} to copy."
        identity = folder.identity()
        found = remote.read(store, identity)
        copies = {copy.manifest.name: copy for copy in found.copies}
        sent, problems = [], []
        may_send = [backup for backup in stored if backup.is_encrypted or store.may_be_plain]
        try:
            for backup in may_send:
                if not backup.problem:
                    try:
                        if _send(store, identity, backup, copies, now):
                            sent.append(backup.name)
                    except StoreFailed:
                        raise
                    except BackupFailed as problem:
                        problems.append(str(problem))
            deleted = _delete_old(store, identity, stored, copies, found.lone)
        finally:
            records.note_copies({name: copy.copied_at_ms for name, copy in copies.items() if not copy.manifest.problem})
    if problems:
        raise BackupFailed(" ".join(problems))
    return _in_words(store, sent, deleted, copies, len(stored) - len(may_send))


def _send(store: Store, identity: str, backup: Manifest, copies: dict[str, Copy], now: datetime) -> bool:
    """Copy a backup unless its copy counts already. Return whether the file was sent."""
    existing = copies.get(backup.name)
    if existing is not None and not existing.manifest.problem:
        if existing.manifest.sha256 != backup.sha256:
            raise BackupFailed(
                f"{store.place} has another file {backup.name} in {identity}/: two machines have the same"
                f" {folder.path()}/.folder-id. Delete this file on the machine that was copied from the other one."
            )
        if existing.manifest != backup:  # a drill proved it since
            copies[backup.name] = existing._replace(manifest=backup)
            remote.write_manifest(store, copies[backup.name])
        return False
    file = folder.path() / backup.name
    try:
        store.send(remote.key_of(identity, backup.name), _checked(file, backup), backup.file_bytes)
    except Damaged as problem:
        records.change(backup._replace(problem=str(problem)))
        raise
    copy = Copy(identity, backup, socket.gethostname(), settings.SITE_URL, int(now.timestamp() * 1000))
    remote.write_manifest(store, copy)
    copies[backup.name] = copy
    return True


def _checked(file: Path, backup: Manifest) -> Iterator[bytes]:
    """Yield the content of a backup, and raise before its end if it is not what the manifest describes.

    The upload is incomplete at that time, so nothing of it counts.
    """
    sha256, size, last = hashlib.sha256(), 0, b""
    try:
        with file.open("rb") as content:
            while chunk := content.read(_CHUNK):
                sha256.update(chunk)
                size += len(chunk)
                if last:
                    yield last
                last = chunk
    except OSError as error:
        raise BackupFailed(f"{file.name} cannot be read: {folder.in_words(error)}.") from None
    if size != backup.file_bytes or sha256.hexdigest() != backup.sha256:
        raise Damaged(f"{file.name} is damaged: its SHA-256 is not the one in {manifests.beside(file).name}.")
    yield last


def _delete_old(
    store: Store, identity: str, stored: list[Manifest], copies: dict[str, Copy], lone: list[str]
) -> list[str]:
    """Delete the copies that BACKUP_KEEP does not keep, and the rests of killed runs. Return the copies' names."""
    here = {backup.name for backup in stored}
    newest_ms = max(backup.made_at_ms for backup in stored)
    if any(copy.manifest.made_at_ms > newest_ms for copy in copies.values()):
        return []  # BACKUP_DIR is an older state of itself, for example of a restored disk
    names = rotation.kept([copy.manifest for copy in copies.values()], settings.BACKUP_KEEP)
    deleted = [name for name in copies if name not in names and name not in here]
    for name in deleted:
        store.delete([remote.manifest_key_of(identity, name), remote.key_of(identity, name)])
        del copies[name]
    store.delete([remote.key_of(identity, name) for name in lone if name not in here])
    return deleted


def _in_words(store: Store, sent: list[str], deleted: list[str], copies: dict[str, Copy], plain: int) -> str:
    words = [f"{store.place} has {len(copies)} {'copy' if len(copies) == 1 else 'copies'}."]
    if sent:
        words.append(f"Copied: {', '.join(sent)}.")
    if deleted:
        words.append(f"Deleted by BACKUP_KEEP: {', '.join(deleted)}.")
    if plain:
        words.append(f"Not copied, because they are not encrypted: {plain}.")
    return " ".join(words)
