"""Reads copies back from the bucket: to check the newest one, and to fetch one onto an empty machine."""

import hashlib
from collections.abc import Iterable

from events.maintenance.backups import records
from events.maintenance.backups.copies import remote
from events.maintenance.backups.copies.remote import Copy
from events.maintenance.backups.copies.store import Store
from events.maintenance.backups.files import folder, manifests
from events.maintenance.backups.files.folder import BackupFailed, Damaged


def check_newest() -> str:
    """Read the newest copy of this BACKUP_DIR, and compare its SHA-256. Return the outcome in words.

    Raises BackupFailed. A damaged copy gets a `problem` in its manifest, so that it is sent again.
    """
    store = Store()
    folder.make()
    with folder.copying():
        copies = remote.read(store, folder.identity()).copies
        newest = next((copy for copy in copies if not copy.manifest.problem), None)
        if newest is None:
            return f"There is no copy in {store.place} to check."
        try:
            _compare(newest, _digest(store.parts(newest.stored)))
        except Damaged as problem:
            remote.write_manifest(store, newest._replace(manifest=newest.manifest._replace(problem=str(problem))))
            records.note_copies(
                {
                    copy.manifest.name: copy.copied_at_ms
                    for copy in copies
                    if copy is not newest and not copy.manifest.problem
                }
            )
            raise BackupFailed(f"{problem} The next run of the copies sends the backup again.") from None
    return f"{newest.manifest.name} was read back from {store.place}, and its SHA-256 is the one of the backup."


def copies_of(store: Store, folder_id: str | None) -> list[Copy]:
    """Return the copies of one BACKUP_DIR or of all, by folder, newest first."""
    ids = remote.folder_ids(store) if folder_id is None else [folder_id]
    return [copy for each in ids for copy in remote.read(store, each).copies]


def choose(copies: list[Copy], name: str | None) -> Copy:
    """Return the copy with this name, or the newest sound one. Raises BackupFailed if two folders have candidates."""
    found = [copy for copy in copies if (copy.manifest.name == name if name else not copy.manifest.problem)]
    if not found:
        raise BackupFailed(f"There is no copy {name}." if name else "There is no copy.")
    folders = {copy.folder: copy for copy in reversed(found)}
    if len(folders) > 1:
        each = "; ".join(f"{copy.folder} of {copy.host} for {copy.site}" for copy in folders.values())
        raise BackupFailed(f"Several machines have copies here: {each}. Choose one: --folder {found[0].folder}")
    return found[0]


def fetch(store: Store, copy: Copy) -> bool:
    """Download a copy into BACKUP_DIR, with its manifest. Return False if the same backup exists there already.

    Raises BackupFailed. The file gets its name after its SHA-256 was compared.
    """
    manifest = copy.manifest
    target_folder = folder.make()
    target = target_folder / manifest.name
    with folder.working(target_folder):
        if target.exists():
            if folder.digest(target) == manifest.sha256 and manifests.read(target) is not None:
                return False
            raise BackupFailed(f"{target} exists already, and it is another file. Move it away.")
        folder.demand_room({target_folder: manifest.file_bytes}, "The copy")
        partial = target.with_name(f"{folder.PARTIAL}{target.name}")
        try:
            with open(partial, "xb", opener=folder.private) as file:
                writer = folder.SteadyWriter(file)
                _compare(copy, _digest(store.parts(copy.stored), writer))
            # The manifest first: a manifest without a backup is deleted later, a backup without one is a foreign file.
            manifests.write(target, manifest._replace(problem=""))
            folder.put(partial, target)
        except BaseException as error:
            partial.unlink(missing_ok=True)
            if not target.exists():
                manifests.beside(target).unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise BackupFailed(f"{target} cannot be written: {folder.in_words(error)}.") from None
            raise
    return True


def _digest(parts: Iterable[bytes], writer: folder.SteadyWriter | None = None) -> str:
    sha256 = hashlib.sha256()
    for part in parts:
        sha256.update(part)
        if writer is not None:
            writer.write(part)
    return sha256.hexdigest()


def _compare(copy: Copy, sha256: str) -> None:
    if sha256 != copy.manifest.sha256:
        raise Damaged(f"The copy of {copy.manifest.name} is damaged: its SHA-256 is not the one in its manifest.")
