"""The manifest of a backup: a JSON file beside it, with its size, its SHA-256 and the contents of the database.

The manifest of an encrypted backup has no contents, because they are in the encrypted file.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from events import clock
from events.maintenance.backups.files import folder
from events.maintenance.backups.files.folder import BackupFailed, Damaged

FORMAT = 1


class Manifest(NamedTuple):
    """What is known about a file without reading it."""

    name: str
    made_at_ms: int
    file_bytes: int
    sha256: str
    is_encrypted: bool
    events: int
    proven_at_ms: int | None = None
    problem: str = ""
    contents: dict[str, Any] | None = None

    @property
    def is_proven(self) -> bool:
        return self.proven_at_ms is not None and not self.problem


def beside(file: Path) -> Path:
    return file.with_name(f"{file.name}.json")


def write(file: Path, manifest: Manifest) -> None:
    """Write the manifest beside a backup, durably."""
    content = {"format": FORMAT, "made_at": clock.iso(manifest.made_at_ms)} | manifest._asdict()
    folder.write_durably(beside(file), json.dumps(content, indent=1).encode())


def read(file: Path) -> Manifest | None:
    """Return the manifest beside a file, None if there is none. Raises BackupFailed if it cannot be read."""
    try:
        content = json.loads(beside(file).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BackupFailed(f"{beside(file).name} cannot be read: {error}.") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise BackupFailed(f"{beside(file).name} has a format that this release does not know.")
    try:
        manifest = Manifest(**{name: content[name] for name in Manifest._fields})
    except KeyError as error:
        raise BackupFailed(f"{beside(file).name} lacks {error}.") from None
    numbers = (manifest.made_at_ms, manifest.file_bytes, manifest.events, manifest.proven_at_ms or 0)
    if not all(type(number) is int for number in numbers) or not isinstance(manifest.contents, dict | None):
        raise BackupFailed(f"{beside(file).name} has values of the wrong type.")
    return manifest._replace(name=file.name)


def stored() -> list[Manifest]:
    """Return the manifests of the backups in BACKUP_DIR, newest first. Other files are left out."""
    found = []
    for file in folder.path().glob("telemetry-*") if folder.path().is_dir() else ():
        if folder.is_ours(file.name) and file.is_file():
            try:
                manifest = read(file)
            except BackupFailed:
                continue
            if manifest is not None:
                found.append(manifest)
    return sorted(found, key=lambda manifest: (manifest.made_at_ms, manifest.name), reverse=True)


def check(file: Path, manifest: Manifest) -> None:
    """Raise Damaged unless the file has the size and the SHA-256 of its manifest."""
    try:
        size = file.stat().st_size
        if size != manifest.file_bytes:
            raise Damaged(f"{file.name} is damaged: it has {size:,} bytes instead of {manifest.file_bytes:,}.")
        if folder.digest(file) != manifest.sha256:
            raise Damaged(f"{file.name} is damaged: its SHA-256 is not the one in {beside(file).name}.")
    except OSError as error:
        raise BackupFailed(f"{file.name} cannot be read: {folder.in_words(error)}.") from None
