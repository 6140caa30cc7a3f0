"""The copies in the bucket, read from their manifests. Objects that the site did not write are left out."""

import re
from typing import NamedTuple, TypeGuard

from events.maintenance.backups.copies.store import Store, StoredObject
from events.maintenance.backups.files import folder, manifests
from events.maintenance.backups.files.folder import BackupFailed
from events.maintenance.backups.files.manifests import Manifest

_FOLDER = re.compile(r"[0-9a-f]{16}")
_MOST_BYTES = 1 << 20  # of a manifest


class Copy(NamedTuple):
    """A copy that counts: its file has the size in its manifest. `host` and `site` say where it was made."""

    folder: str
    manifest: Manifest
    host: str
    site: str
    copied_at_ms: int

    @property
    def stored(self) -> StoredObject:
        return StoredObject(key_of(self.folder, self.manifest.name), self.manifest.file_bytes)


class Folder(NamedTuple):
    """The copies of one BACKUP_DIR, newest first. `lone` are the names of files without a manifest."""

    copies: list[Copy]
    lone: list[str]


def key_of(folder_id: str, name: str) -> str:
    return f"{folder_id}/{name}"


def manifest_key_of(folder_id: str, name: str) -> str:
    return f"{folder_id}/{name}.json"


def is_folder_id(name: str) -> bool:
    return _FOLDER.fullmatch(name) is not None


def folder_ids(store: Store) -> list[str]:
    return [name for name in store.folders() if is_folder_id(name)]


def read(store: Store, folder_id: str) -> Folder:
    """Read the folder of one BACKUP_DIR. A manifest that cannot be read makes its copy not count."""
    sizes = {stored.key.rpartition("/")[2]: stored.size for stored in store.objects(folder_id)}
    names = [name for name in sizes if folder.is_ours(name)]
    copies = []
    for name in names:
        if 0 < sizes.get(f"{name}.json", 0) <= _MOST_BYTES:
            copy = _copy(folder_id, name, store.read(manifest_key_of(folder_id, name)))
            if copy is not None and copy.manifest.file_bytes == sizes[name]:
                copies.append(copy)
    copies.sort(key=lambda copy: (copy.manifest.made_at_ms, copy.manifest.name), reverse=True)
    return Folder(copies, [name for name in names if f"{name}.json" not in sizes])


def write_manifest(store: Store, copy: Copy) -> None:
    content = manifests.as_json(copy.manifest, host=copy.host, site=copy.site, copied_at_ms=copy.copied_at_ms)
    store.write(manifest_key_of(copy.folder, copy.manifest.name), content)


def _is_line(text: object) -> TypeGuard[str]:
    return isinstance(text, str) and text.isprintable()


def _copy(folder_id: str, name: str, content: bytes) -> Copy | None:
    try:
        manifest, values = manifests.parsed(content, name)
    except BackupFailed:
        return None
    host, site, copied_at_ms = (values.get(key) for key in ("host", "site", "copied_at_ms"))
    # A terminal shows these texts: they must not contain its control sequences.
    if not _is_line(host) or not _is_line(site) or type(copied_at_ms) is not int:
        return None
    return Copy(folder_id, manifest, host, site, copied_at_ms)
