"""The folder of the backups: names, locks, temporary files, free space, and renames that survive a power cut.

The site lists and deletes only backups whose names match its pattern. Temporary files begin with `.partial-`, and plain
copies of encrypted backups are in `DATA_DIR/backup-scratch`. The holder of the locks deletes the temporary files of a
killed process.
"""

import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

from django.conf import settings
from django.template.defaultfilters import filesizeformat

from events.maintenance import disk

PARTIAL = ".partial-"
ENCRYPTED = ".tar.age"
SUFFIXES = {"sqlite": ".sqlite3", "postgresql": ".dump"}
_NAME = re.compile(r"telemetry-\d{8}T\d{6}Z(-\d+)?(\.sqlite3|\.dump|\.tar\.age)")
FLUSHED_AT_ONCE = 8 << 20
_CHUNK = 1 << 20


class BackupFailed(Exception):
    """A backup cannot be made, proved or restored. The message says in words why, and what to do."""


class Damaged(BackupFailed):
    """The content of a backup is wrong, so it cannot be used on any machine."""


def path() -> Path:
    return Path(settings.BACKUP_DIR)


def make() -> Path:
    """Create the folder if it is missing, for its owner alone. Raises BackupFailed."""
    folder = path()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise BackupFailed(f"BACKUP_DIR={str(folder)!r} cannot be used: {error.strerror}.") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BackupFailed(f"BACKUP_DIR={str(folder)!r} cannot be written. It must belong to the site's user.")
    return folder


def identity() -> str:
    """Return the random name of the folder, which the first backup writes into it.

    Several machines with one PostgreSQL database may have separate folders, and their host names may change.
    """
    file = path() / ".folder-id"
    try:
        return file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        write_durably(file, secrets.token_hex(8).encode())
        return file.read_text(encoding="ascii").strip()


def has_identity(identity: str) -> bool:
    """Return whether the folder has this name, without giving it one."""
    file = path() / ".folder-id"
    return file.exists() and file.read_text(encoding="ascii").strip() == identity


def is_ours(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def new_name(made_at: datetime, suffix: str) -> str:
    """Return a name that no file of the folder has."""
    stem = f"telemetry-{made_at:%Y%m%dT%H%M%SZ}"
    names = [f"{stem}{suffix}", *(f"{stem}-{number}{suffix}" for number in range(2, 1_000))]
    return next(name for name in names if not (path() / name).exists())


def scratch() -> Path:
    return Path(settings.DATA_DIR) / "backup-scratch"


@contextmanager
def working(folder: Path | None, on_wait: Callable[[], object] = lambda: None) -> Iterator[Path]:
    """Lock the scratch folder, and `folder` if it is given, against other backups. Yields the empty scratch folder.

    Calls `on_wait` before it waits for another process. First deletes what a killed process left.
    """
    with ExitStack() as locks:
        # Not twice the same folder: a second lock would wait for the first one.
        for locked in dict.fromkeys(each.resolve() for each in (Path(settings.DATA_DIR), folder) if each):
            locks.enter_context(_locked(locked / ".backup.lock", on_wait))
        for leftover in folder.glob(f"{PARTIAL}*") if folder else ():
            leftover.unlink(missing_ok=True)
        shutil.rmtree(scratch(), ignore_errors=True)
        scratch().mkdir(mode=0o700)
        try:
            yield scratch()
        finally:
            shutil.rmtree(scratch(), ignore_errors=True)


@contextmanager
def copying() -> Iterator[None]:
    """Lock the folder against other processes that copy its backups elsewhere. Backups are made meanwhile."""
    with _locked(path() / ".copies.lock", lambda: None):
        yield


@contextmanager
def _locked(file: Path, on_wait: Callable[[], object]) -> Iterator[None]:
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def demand_room(needs: dict[Path, int], purpose: str) -> None:
    """Raise BackupFailed unless every disk has room for the bytes in the folders that are on it.

    The disk of DATA_DIR must also keep MIN_FREE_BYTES, or the site would store events without their long texts.
    """
    needed: dict[int, int] = {}
    folders: dict[int, Path] = {}
    for folder, needed_bytes in needs.items():
        device = folder.stat().st_dev
        needed[device] = needed.get(device, 0) + needed_bytes
        folders.setdefault(device, folder)
    of_data = Path(settings.DATA_DIR).stat().st_dev
    for device, folder in folders.items():
        free, kept = shutil.disk_usage(folder).free, (settings.MIN_FREE_BYTES or 0) if device == of_data else 0
        if free - needed[device] < kept:
            stays = f", and {filesizeformat(kept)} must stay free (MIN_FREE_BYTES)" if kept else ""
            raise BackupFailed(
                f"The disk of {folder} has {filesizeformat(free)} free. {purpose} needs up to"
                f" {filesizeformat(needed[device])}{stays}. Free disk space, or set BACKUP_DIR to a folder on a larger"
                " disk."
            )


def write_durably(file: Path, content: bytes) -> None:
    """Write a file so that it has either its former content or all of the new one, also after a power cut."""
    partial = file.with_name(f"{PARTIAL}{file.name}")
    with open(partial, "wb", opener=private) as writing:
        writing.write(content)
    put(partial, file)


def put(partial: Path, file: Path) -> None:
    """Write a complete file to the disk, then give it its name."""
    sync(partial)
    partial.replace(file)
    sync(file.parent)


def sync(file: Path) -> None:
    """Wait until a file or the names in a folder are on the disk."""
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class SteadyWriter:
    """Writes to a file, and to the disk every few megabytes.

    Otherwise the commit of an event, which waits for the disk, would wait for hundreds of megabytes.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._waiting = file, 0

    def write(self, data: bytes) -> int:
        self._file.write(data)
        self._waiting += len(data)
        if self._waiting >= FLUSHED_AT_ONCE:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._waiting = 0
        return len(data)


def private(name: str, flags: int) -> int:
    """Open a file for its owner alone; an `opener` of `open`."""
    return os.open(name, flags, 0o600)


def digest(file: Path) -> str:
    sha256 = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK):
            sha256.update(chunk)
    return sha256.hexdigest()


def in_words(error: OSError) -> str:
    """Return an error of the file system for people."""
    return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"


def free_bytes() -> int:
    """Return the free bytes of the disk with the backups, or of DATA_DIR while there is none."""
    return shutil.disk_usage(path()).free if path().is_dir() else disk.free_bytes()
