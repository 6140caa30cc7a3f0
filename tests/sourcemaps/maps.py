"""Source maps for tests: a small invented bundle, and maps from a list of mappings."""

import hashlib
import json
import random
import zlib
from collections.abc import Iterable
from typing import Any

from events.models import SourceMap

DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
BUNDLE = "index-BxY3_kQ2.js"
PROTOCOL = """import { Radio } from "./radio";

export class ProtocolError extends Error {}

export class Protocol {
  private async writeBlock(block: number): Promise<void> {
    const ack = await this.port.read(1);
    if (ack[0] !== 0x06) throw new ProtocolError(`No ACK for block ${block}`);
  }

  async write(image: Uint8Array): Promise<void> {
    for (let block = 0; block < image.length; block++) {
      await this.writeBlock(block);
    }
  }
}

export async function flash(radio: Radio) {
  await new Protocol(radio).write(radio.image);
}
"""
LIT = "export const render=(a,b)=>{return a(b)};" + "x();" * 100
# (line and column of the bundle, source, line and column of the source, name); all from 0
MAPPINGS = [
    (0, 0, None, 0, 0, None),
    (0, 10, 0, 17, 22, 3),
    (0, 100, 0, 7, 31, 0),
    (0, 140, 0, 12, 17, 1),
    (0, 200, 0, 18, 8, 2),
    (0, 260, None, 0, 0, None),
    (0, 300, 1, 0, 30, None),
    (0, 400, 2, 0, 5, None),
]
V8 = f"""ProtocolError: No ACK for block 31
    at Ht.writeBlock (https://flash.example.org/assets/{BUNDLE}:1:101)
    at async Ht.write (https://flash.example.org/assets/{BUNDLE}?v=3:1:141)
    at async Zt (https://flash.example.org/assets/{BUNDLE}:1:205)
    at r (https://flash.example.org/assets/{BUNDLE}:1:310)
    at new Promise (<anonymous>)
    at x (https://flash.example.org/assets/other-A1b2C3d4.js:1:9)"""
GECKO = f"""writeBlock@https://flash.example.org/assets/{BUNDLE}:1:101
async*write@https://flash.example.org/assets/{BUNDLE}:1:141
Zt@https://flash.example.org/assets/{BUNDLE}:1:205
"""


def vlq(number: int) -> str:
    number = number << 1 if number >= 0 else (-number << 1) | 1
    text = ""
    while True:
        digit, number = number & 31, number >> 5
        text += DIGITS[digit | (32 if number else 0)]
        if not number:
            return text


def encoded(mappings: Iterable[tuple[Any, ...]]) -> str:
    """Return the text of mappings, which are in the order of the bundle."""
    lines: list[list[str]] = [[]]
    column = source = source_line = source_column = name = 0
    for line, at, new_source, new_line, new_column, new_name in mappings:
        while len(lines) <= line:
            lines.append([])
            column = 0
        text, column = vlq(at - column), at
        if new_source is not None:
            text += vlq(new_source - source) + vlq(new_line - source_line) + vlq(new_column - source_column)
            source, source_line, source_column = new_source, new_line, new_column
            if new_name is not None:
                text, name = text + vlq(new_name - name), new_name
        lines[-1].append(text)
    return ";".join(",".join(line) for line in lines)


def source_map(**changes: Any) -> dict[str, Any]:
    """Return the map of BUNDLE with changes; a change to `...` leaves the key out."""
    whole = {
        "version": 3,
        "file": BUNDLE,
        "sources": ["../../src/protocol.ts", "../../node_modules/lit/render.js", "\0vite/preload-helper.js"],
        "sourcesContent": [PROTOCOL, LIT, None],
        "names": ["ProtocolError", "writeBlock", "Protocol", "flash"],
        "mappings": encoded(MAPPINGS),
    } | changes
    return {key: value for key, value in whole.items() if value is not ...}


def store_map(
    version: str = "19afc18", file: str = BUNDLE, *, at_ms: int = 1_000, content: Any = None, **changes: Any
) -> SourceMap:
    """Store a map as an upload does; `content` replaces its text."""
    text = json.dumps(source_map(**changes)).encode() if content is None else content
    stored, _ = SourceMap.objects.update_or_create(
        app_version=version,
        file=file,
        defaults={
            "digest": hashlib.sha256(text).hexdigest(),
            "bytes": len(text),
            "sources": 3,
            "uploaded_at_ms": at_ms,
            "uploaded_by_name": "ci",
            "content": zlib.compress(text),
        },
    )
    return stored


def large_map(mappings: int, *, seed: int = 1) -> dict[str, Any]:
    """Return a map of one bundled line with random mappings of 40 sources."""
    choose = random.Random(seed)
    column, rows = 0, []
    for _ in range(mappings):
        column += choose.randint(1, 20)
        name = choose.randrange(500) if choose.random() < 0.25 else None
        rows.append((0, column, choose.randrange(40), choose.randrange(300), choose.randrange(90), name))
    return {
        "version": 3,
        "sources": [f"../src/part{number}.ts" for number in range(40)],
        "names": [f"name{number}" for number in range(500)],
        "mappings": encoded(rows),
    }
