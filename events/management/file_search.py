"""Looks for words in files, in a process of its own.

Whoever closes a file loses every POSIX lock that its process has on it. A process that had SQLite's database open and
read the file beside it would leave the database unlocked: the next to close it would take the log away under it.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

_CHUNK_BYTES = 1 << 20


def holding(files: Iterable[Path], words: bytes) -> list[Path]:
    """Return the files that hold the words; one that is gone, or may not be read, holds nothing."""
    asked = json.dumps({"words": words.hex(), "files": [str(file) for file in files]})
    # By standard input, since anyone may see the arguments of a process.
    command = [sys.executable, __file__]
    told = subprocess.run(command, input=asked, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 (our own)
    return [Path(name) for name in json.loads(told.stdout)]


def _holds(name: str, words: bytes) -> bool:
    try:
        with Path(name).open("rb") as content:
            rest = b""
            while chunk := content.read(_CHUNK_BYTES):
                if words in rest + chunk:
                    return True
                rest = (rest + chunk)[-len(words) :]
    except OSError:
        pass
    return False


if __name__ == "__main__":
    request = json.load(sys.stdin)
    sought = bytes.fromhex(request["words"])
    json.dump([name for name in request["files"] if _holds(name, sought)], sys.stdout)
