"""The program that checks one uploaded source map, with limits on its memory and time. `intake` starts it.

A hostile map can need a hundred times its size as Python objects, or minutes of time. In a process of its own it can
only exhaust the limits of that process. So this module imports nothing of Django.

It reads the map from its standard input, packed as its argument says. It writes a line of JSON to its standard output:
the verdict. Behind the verdict on a valid map follows the map, compressed for storage.
"""

import gc
import hashlib
import json
import os
import re
import resource
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

from events.sourcemaps import mappings

MAX_UNPACKED_BYTES = 67_108_864
MAX_PARENTS = 12
MEMORY_BYTES = 1_073_741_824
CPU_SECONDS = 30
GZIP = "gzip"
PLAIN = "plain"
_CHUNK = 262_144
_NICE = 10  # events come first
_GZIP_WINDOW = 31  # zlib's number for the gzip format
_GZIP_MAGIC = b"\x1f\x8b"
_BLANK = " \t\r\n"
_JAVASCRIPT = re.compile(
    r"""//|/\*|[!;(]|["']use strict|(?:import|export|var|let|const|function|class|async|if|for|try|return)\b"""
    r"""|[A-Za-z_$][\w$.]*\s*[=(.]"""
)
_TRUNCATED = "The map is cut off: the JSON ends too early."
# What browsers run or show when it is the address of a link. They ignore control characters in it.
_ACTIVE = re.compile(r"(?:javascript|vbscript|data|blob|filesystem):", re.IGNORECASE)
_IGNORED = re.compile(r"^[\x00-\x20]+|[\t\r\n]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,40}://[^/\\]*")


# Folders of an operating system, which contain no source of a page.
_SYSTEM = re.compile(r"(?:etc|proc)(?:/|$)")


class InvalidMap(ValueError):
    """The upload is no valid source map. The message says in words what is wrong."""


def unpack(body: BinaryIO, packing: str) -> bytes:
    """Return the unpacked map. Raises InvalidMap; stops at MAX_UNPACKED_BYTES (a compression bomb)."""
    unpacked = bytearray()
    for chunk in _unzipped(body) if packing == GZIP else iter(lambda: body.read(_CHUNK), b""):
        unpacked += chunk
        if len(unpacked) > MAX_UNPACKED_BYTES:
            raise InvalidMap(f"The unpacked map is larger than {MAX_UNPACKED_BYTES:,} bytes.")
    return bytes(unpacked)


def _unzipped(body: BinaryIO) -> Iterator[bytes]:
    unzip = zlib.decompressobj(_GZIP_WINDOW)
    packed = body.read(_CHUNK)
    try:
        while packed:
            yield unzip.decompress(packed, _CHUNK)
            packed = unzip.unconsumed_tail or body.read(_CHUNK)
            if unzip.eof:
                break
    except zlib.error:
        raise InvalidMap("The body is not gzip, although Content-Encoding says so.") from None
    if not unzip.eof:
        raise InvalidMap("The gzip body is cut off.")
    if unzip.unused_data or packed:
        raise InvalidMap("There are more bytes behind the end of the gzip body.")


def check(content: bytes) -> int:
    """Return the number of sources of an unpacked map. Raises InvalidMap."""
    if not content.strip():
        raise InvalidMap("The body is empty.")
    if content.startswith(_GZIP_MAGIC):
        raise InvalidMap("The body is gzip. Send the header `Content-Encoding: gzip` with it.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidMap("The body is not UTF-8 text.") from None
    try:
        source_map = mappings.check(text)
    except mappings.BadMap as error:
        raise InvalidMap(_what_it_is(text) or str(error)) from None
    for section in source_map.sections:
        for source in section.sources:
            if source is not None:
                check_source(source)
    return source_map.sources


def _what_it_is(text: str) -> str | None:
    """Return in words what was uploaded instead of JSON, None for JSON."""
    start = text[:1_000].lstrip(_BLANK)
    if start.startswith("<"):
        return "This is HTML, not a source map."
    if _JAVASCRIPT.match(start):
        return "This is JavaScript, not a source map. Upload the file whose name ends with .js.map."
    try:
        json.loads(text.lstrip(_BLANK) if start.startswith(("{", "[")) else "{}")
    except json.JSONDecodeError as error:
        is_at_end = error.pos >= len(text.lstrip(_BLANK).rstrip()) or error.msg.startswith("Unterminated string")
        return _TRUNCATED if is_at_end else f"The map is not valid JSON: line {error.lineno}, column {error.colno}."
    except (RecursionError, ValueError):
        return None
    return None


def check_source(source: str) -> None:
    """Raise InvalidMap for the name of a source that no bundler writes: an active address, or a path that escapes.

    Bundlers write paths relative to the map, so a name may begin with `../`, at most MAX_PARENTS times. Behind a
    folder, `..` may only leave folders that the name itself entered. No source is in a folder of the system.
    """
    name = _IGNORED.sub("", source)
    if _ACTIVE.match(name):
        raise InvalidMap(f"A source has an address that browsers would run: {_quoted(source)}.")
    parents = depth = 0
    has_entered = False
    scheme = _SCHEME.match(name)
    path = (name[scheme.end() :] if scheme else name).partition("?")[0]
    for part in re.split(r"[/\\]", path):
        if part == "..":
            if depth:
                depth -= 1
            elif has_entered:
                raise InvalidMap(f"A source leaves the folders that its path enters: {_quoted(source)}.")
            else:
                parents += 1
        elif part not in ("", "."):
            depth += 1
            has_entered = True
    if (parents or path.startswith("/")) and _SYSTEM.match(path.lstrip("./\\")):
        raise InvalidMap(f"A source names a folder of the operating system: {_quoted(source)}.")
    if parents > MAX_PARENTS:
        raise InvalidMap(f"A source is more than {MAX_PARENTS} folders above the map: {_quoted(source)}.")


def _quoted(source: str) -> str:
    """Return the beginning of a name in printable ASCII characters."""
    return ascii(source[:60])


def main(packing: str) -> None:
    _limit()
    try:
        content = unpack(sys.stdin.buffer, packing)
        sources = check(content)
        packed = zlib.compress(content)
    except InvalidMap as error:
        verdict = {"error": str(error)}
    except MemoryError:
        verdict = {"error": f"The map needs more than {MEMORY_BYTES:,} bytes of memory to be checked."}
    else:
        digest = hashlib.sha256(content).hexdigest()
        print(json.dumps({"digest": digest, "bytes": len(content), "sources": sources}), flush=True)  # noqa: T201
        sys.stdout.buffer.write(packed)
        return
    print(json.dumps(verdict))  # noqa: T201


def _limit() -> None:
    gc.disable()  # parsed JSON has no cycles; to look for them in millions of objects takes most of the time
    os.nice(_NICE)
    with suppress(ValueError, OSError):  # a stricter limit is in force, or the system has none
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))


if __name__ == "__main__":
    main(sys.argv[1])
