"""Opens a backup for a restore or a drill: checks the file, decrypts it, and loads it into another place."""

from pathlib import Path
from typing import Any, NamedTuple

from django.db import connection

from events.maintenance.backups.databases import contents, postgresql, sqlite
from events.maintenance.backups.databases.contents import Contents
from events.maintenance.backups.files import containers, folder, manifests
from events.maintenance.backups.files.folder import BackupFailed
from events.maintenance.backups.files.manifests import Manifest

_SQLITE_MAGIC = b"SQLite format 3\0"
_DUMP_MAGIC = b"PGDMP"
_AGE_MAGIC = b"age-encryption.org/"
_ENGINES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


class Opened(NamedTuple):
    """A backup whose file was checked. `dump` may be the file itself; `manifest` is None without one."""

    dump: Path
    contents: Contents
    manifest: Manifest | None
    secret_key: str | None


def is_encrypted(file: Path) -> bool:
    return _magic(file).startswith(_AGE_MAGIC)


def needed_bytes(file: Path) -> int:
    """Return what opening and loading a backup may write to DATA_DIR."""
    size = file.stat().st_size
    return (2 if is_encrypted(file) else 1) * size if connection.vendor == "sqlite" else 0


def open_backup(file: Path, scratch: Path, passphrase: str) -> Opened:
    """Check a backup file, and decrypt it into the scratch folder. Raises BackupFailed."""
    try:
        manifest = manifests.read(file)
        if manifest is not None:
            manifests.check(file, manifest)
        magic = _magic(file)
    except OSError as error:
        raise BackupFailed(f"{file} cannot be read: {folder.in_words(error)}.") from None
    if magic.startswith(_AGE_MAGIC):
        if not passphrase:
            raise BackupFailed(
                f"{file.name} is encrypted. Set BACKUP_PASSPHRASE to the passphrase that it was made with."
            )
        unpacked = containers.unpack(file, scratch, passphrase)
        return Opened(unpacked.database, _contents(unpacked.description, file), manifest, unpacked.secret_key)
    if manifest is not None and manifest.contents is not None:
        return Opened(file, _contents(manifest.contents, file), manifest, None)
    if magic.startswith(_SQLITE_MAGIC):  # an operator's own copy
        sqlite.check(file)
        return Opened(file, sqlite.read(file, int(file.stat().st_mtime * 1000)), None, None)
    if magic.startswith(_DUMP_MAGIC):
        raise BackupFailed(
            f"{file.name} has no {manifests.beside(file).name} beside it, which has its counts. Copy both."
        )
    raise BackupFailed(f"{file.name} is no backup of this site.")


def refuse_unusable(opened: Opened) -> None:
    """Raise BackupFailed if this site cannot use the backup: of the other engine, or of a later release."""
    backup = opened.contents
    if backup.engine != connection.vendor:
        other, own = _ENGINES.get(backup.engine, backup.engine), _ENGINES[connection.vendor]
        hint = " Restore it without DATABASE_URL, then run copy_sqlite." if backup.engine == "sqlite" else ""
        raise BackupFailed(f"The backup is one of {other}, and this site uses {own}.{hint}")
    if contents.MIGRATIONS not in backup.tables or contents.EVENTS not in backup.tables:
        raise BackupFailed("The backup is a database, but not one of this site.")
    if later := sorted(set(backup.migrations) - contents.known_migrations() - _of_removed_apps(backup)):
        raise BackupFailed(
            f"The backup was made by a later release: this one does not know the migration {later[-1]}. Install that"
            " release, and restore with it."
        )
    if backup.engine == "postgresql":
        postgresql.refuse_older_server(backup)


def _of_removed_apps(backup: Contents) -> set[str]:
    """Return the migrations of apps that this site does not have, because an app was removed."""
    apps = {name.split(".")[0] for name in contents.known_migrations()}
    return {name for name in backup.migrations if name.split(".")[0] not in apps}


def _contents(description: dict[str, Any], file: Path) -> Contents:
    try:
        return Contents(**{name: description[name] for name in Contents._fields})
    except KeyError as error:
        raise BackupFailed(f"The description of {file.name} lacks {error}.") from None


def _magic(file: Path) -> bytes:
    with file.open("rb") as content:
        return content.read(32)
