"""Findings about DATA_DIR: its files, their owner and mode, the file system, the free disk, and the running server."""

import os
import pwd
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from django.conf import settings

from events.maintenance import container, disk
from events.maintenance.doctor.findings import Examination, Finding, size

OTHERS = 0o077
# SQLite needs locks that these file systems do not have reliably, or lacks shared memory on them.
REMOTE = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "fuse.glusterfs", "ceph", "fuse.s3fs"}
VOLATILE = {"tmpfs", "ramfs", "overlay", "aufs"}


class File(NamedTuple):
    """A file of the site, or the folder itself, with its owner."""

    path: Path
    mode: int
    uid: int
    size: int


def data_dir(examination: Examination) -> Iterator[Finding]:
    folder = file_at(settings.DATA_DIR)
    if folder is None:
        yield Finding.wrong(
            "files.data_dir",
            "DATA_DIR",
            f"{settings.DATA_DIR} does not exist, or {me()} may not look into it",
            "Set DATA_DIR to the folder of the site. The first start of `manage.py serve` creates it.",
        )
        return
    yield _folder(folder)
    if not os.access(folder.path, os.R_OK | os.X_OK):
        return
    files = [file for file in map(file_at, site_files()) if file]
    yield _modes(files)  # a system check reports the folder
    yield _owners(folder, files)
    yield _file_system(settings.DATA_DIR)
    if examination.headers is None:  # not asked by a request, which a server answers
        yield _server(settings.DATA_DIR / "server.lock")


def free_space(examination: Examination) -> Iterator[Finding]:
    title, least = "Free disk", settings.MIN_FREE_BYTES
    if file_at(settings.DATA_DIR) is None:
        return
    free = disk.free_bytes()
    text = f"{size(free)} under DATA_DIR"
    if least is None:
        yield Finding.look(
            "files.free_disk",
            title,
            f"{text}; MIN_FREE_BYTES is off, so ingest goes on until the disk is full",
            "Remove MIN_FREE_BYTES=off.",
        )
    elif disk.FULL_PART * free < least:
        yield Finding.wrong(
            "files.free_disk",
            title,
            f"{text}, less than a quarter of MIN_FREE_BYTES ({size(least)}): nothing is stored",
            "Free disk space, or delete old events. The site recovers within a second.",
        )
    elif free < least:
        yield Finding.wrong(
            "files.free_disk",
            title,
            f"{text}, less than MIN_FREE_BYTES ({size(least)}): failures are stored without stack and log lines",
            "Free disk space, or delete old events.",
        )
    else:
        yield Finding.fine("files.free_disk", title, f"{text}; MIN_FREE_BYTES is {size(least)}")


def site_files() -> list[Path]:
    names = [settings.SQLITE_FILE.name, *(f"{settings.SQLITE_FILE.name}{end}" for end in ("-wal", "-shm"))]
    return [settings.DATA_DIR / name for name in (*names, "secret_key", "server.lock", "backups")]


def file_at(path: Path) -> File | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return File(path, stat.S_IMODE(status.st_mode), status.st_uid, status.st_size)


def user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def me() -> str:
    return user(os.geteuid())


def _folder(folder: File) -> Finding:
    text = f"{folder.path}, mode {folder.mode:04o}, owner {user(folder.uid)}"
    if os.access(folder.path, os.W_OK | os.X_OK):
        return Finding.fine("files.data_dir", "DATA_DIR", text)
    return Finding.wrong(
        "files.data_dir",
        "DATA_DIR",
        f"{text}; the user {me()} cannot write it",
        f"Run the site and its commands as {user(folder.uid)}. Check that the file system is mounted for writing.",
    )


def _modes(files: list[File]) -> Finding:
    open_to_others = [file for file in files if file.mode & OTHERS]
    if not open_to_others:
        return Finding.fine("files.permissions", "Permissions", "only the owner may open the files of the site")
    paths = " ".join(shlex.quote(str(file.path)) for file in open_to_others)
    return Finding.look(
        "files.permissions",
        "Permissions",
        "other users of this machine may open "
        + ", ".join(f"{file.path.name} ({file.mode:04o})" for file in open_to_others),
        f"Run: chmod go-rwx {paths}",
    )


def _owners(folder: File, files: list[File]) -> Finding:
    title = "Owner"
    foreign = [file for file in files if file.uid != folder.uid]
    if foreign:
        names = ", ".join(f"{file.path.name} ({user(file.uid)})" for file in foreign)
        paths = " ".join(shlex.quote(str(file.path)) for file in foreign)
        return Finding.wrong(
            "files.owner",
            title,
            f"the folder belongs to {user(folder.uid)}, but not {names}: a command ran as another user",
            f"Run: chown {user(folder.uid)} {paths}",
        )
    who = "" if os.geteuid() == folder.uid else f"; this report runs as {me()}"
    return Finding.fine("files.owner", title, f"{user(folder.uid)}{who}")


def _file_system(folder: Path) -> Finding:
    kind = container.file_system(folder)
    title = "File system"
    if kind in REMOTE and "sqlite" in settings.DATABASES["default"]["ENGINE"]:
        return Finding.wrong(
            "files.file_system",
            title,
            f"{kind}: SQLite's locks do not work reliably on a network file system",
            "Move DATA_DIR to a local disk, or use PostgreSQL.",
        )
    if kind in VOLATILE:
        return Finding.look(
            "files.file_system",
            title,
            f"{kind}: the data are lost when the machine or the container ends",
            "Put DATA_DIR on a disk or a volume.",
        )
    return Finding.fine("files.file_system", title, kind or "unknown")


def _server(lock: Path) -> Finding:
    """Find who locks the file, without a lock of our own, which a server that starts now would meet."""
    title = "Server"
    try:
        locks = Path("/proc/locks").read_text(encoding="utf-8", errors="replace").splitlines()
        inode = lock.stat().st_ino
    except OSError:
        return Finding.fine("files.server", title, "no server used DATA_DIR yet" if not lock.exists() else "unknown")
    if any(line.split()[-3].endswith(f":{inode}") for line in locks if "FLOCK" in line):
        return Finding.fine("files.server", title, "running")
    return Finding.look(
        "files.server", title, "no server of this machine uses DATA_DIR", "Start it: `manage.py serve`, or its unit."
    )
