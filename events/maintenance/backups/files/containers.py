"""The encrypted container: a tar with the database, its description and the secret key, encrypted as a whole.

`age --decrypt FILE | tar x` unpacks it without this site.
"""

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

from events.maintenance.backups.files import encryption, folder
from events.maintenance.backups.files.folder import BackupFailed

_DESCRIPTION = "backup.json"
_KEY = "secret_key"
_CHUNK = 1 << 20
_LONGEST_TEXT = 1 << 22


class Unpacked(NamedTuple):
    """The members of a container. `database` is a file in the scratch folder."""

    description: dict[str, Any]
    secret_key: str
    database: Path


def pack(target: Path, database: Path, description: dict[str, Any], secret_key: str, passphrase: str) -> None:
    """Write a container to a new file, and read it back. Raises BackupFailed."""
    with open(target, "wb", opener=folder.private) as file:
        encrypting = encryption.Writer(folder.SteadyWriter(file), passphrase)
        with tarfile.open(fileobj=encrypting, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
            for name, text in ((_DESCRIPTION, json.dumps(description, indent=1)), (_KEY, secret_key)):
                content = text.encode()
                tar.addfile(_member(name, len(content)), io.BytesIO(content))
            with database.open("rb") as dumped:
                tar.addfile(_member(database.name, database.stat().st_size), dumped)
        encrypting.close()
    folder.sync(target)
    if _digest_of_member(target, database.name, passphrase) != folder.digest(database):
        raise BackupFailed(f"{target.name} does not contain the database that was written to it.")


def unpack(file: Path, scratch: Path, passphrase: str) -> Unpacked:
    """Decrypt a container into the scratch folder. Raises BackupFailed."""
    texts: dict[str, str] = {}
    database = None
    try:
        with file.open("rb") as encrypted:
            decrypting = encryption.Reader(encrypted, passphrase)
            with tarfile.open(fileobj=decrypting, mode="r|") as tar:  # type: ignore[call-overload]
                for member in tar:
                    content = tar.extractfile(member)
                    if content is None:
                        continue
                    if member.name in (_DESCRIPTION, _KEY):
                        texts[member.name] = content.read(_LONGEST_TEXT).decode()
                    elif member.name in _names_of_databases():
                        database = scratch / member.name
                        with open(database, "xb", opener=folder.private) as copy:
                            shutil.copyfileobj(content, folder.SteadyWriter(copy), _CHUNK)
            while decrypting.read(_CHUNK):
                pass  # the end of the file proves that it is complete
        description = json.loads(texts[_DESCRIPTION])
    except encryption.NotDecrypted as error:
        raise BackupFailed(f"{file.name} cannot be decrypted: {error}.") from None
    except (tarfile.TarError, ValueError, KeyError):
        raise BackupFailed(f"{file.name} was decrypted, but it is no backup of this site.") from None
    except OSError as error:
        raise BackupFailed(f"{file.name} cannot be unpacked: {folder.in_words(error)}.") from None
    if database is None or _KEY not in texts:
        raise BackupFailed(f"{file.name} was decrypted, but it has no database or no secret key.")
    return Unpacked(description, texts[_KEY], database)


def name_of_database(suffix: str) -> str:
    return f"database{suffix}"


def _names_of_databases() -> set[str]:
    return {name_of_database(suffix) for suffix in folder.SUFFIXES.values()}


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member


def _digest_of_member(file: Path, name: str, passphrase: str) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as encrypted:
        decrypting = encryption.Reader(encrypted, passphrase)
        with tarfile.open(fileobj=decrypting, mode="r|") as tar:  # type: ignore[call-overload]
            for member in tar:
                content = tar.extractfile(member)
                while content is not None and member.name == name and (chunk := content.read(_CHUNK)):
                    digest.update(chunk)
        while decrypting.read(_CHUNK):
            pass
    return digest.hexdigest()
