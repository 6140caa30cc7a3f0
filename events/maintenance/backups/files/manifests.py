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
    folder.write_durably(beside(file), as_json(manifest))


def as_json(manifest: Manifest, **more: Any) -> bytes:
    """Return the content of the manifest's file, with values that only people and other modules read."""
    content = {"format": FORMAT, "made_at": clock.iso(manifest.made_at_ms)} | manifest._asdict() | more
    return json.dumps(content, indent=1).encode()


def read(file: Path) -> Manifest | None:
    """Return the manifest beside a file, None if there is none. Raises BackupFailed if it cannot be read."""
    try:
        content = beside(file).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BackupFailed(f"{beside(file).name} cannot be read: {error}.") from None
    return parsed(content, file.name)[0]


def parsed(content: bytes, name: str) -> tuple[Manifest, dict[str, Any]]:
    """Return the manifest of the backup `name`, and all values of its JSON. Raises BackupFailed."""
    source = f"{name}.json"
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BackupFailed(f"{source} cannot be read: {error}.") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise BackupFailed(f"{source} has a format that this release does not know.")
    try:
        manifest = Manifest(**{field: values[field] for field in Manifest._fields})
    except KeyError as error:
        raise BackupFailed(f"{source} lacks {error}.") from None
    numbers = (manifest.made_at_ms, manifest.file_bytes, manifest.events, manifest.proven_at_ms or 0)
    texts = (manifest.sha256, manifest.problem)
    if (
        not all(type(number) is int for number in numbers)
        or not all(isinstance(text, str) for text in texts)
        or not isinstance(manifest.contents, dict | None)
    ):
        raise BackupFailed(f"{source} has values of the wrong type.")
    return manifest._replace(name=name), values


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
