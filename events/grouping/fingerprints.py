"""Fingerprints: failures are the same if type, error name, message and place in the code are equal after masking.

Masking replaces the parts that differ between occurrences: numbers, hex, ids, quoted values, addresses, the line and
column of a frame, the hash in a bundle's name. A change of these rules needs a new ALGORITHM number. Afterwards
`manage.py regroup_failures` moves the stored failures to their new groups.
"""

import hashlib
import re
from functools import lru_cache
from typing import Any, NamedTuple

ALGORITHM = 1
MASK = "…"
MAX_TITLE = 200

# Every repetition is bounded, or ends at a character that it cannot match, so matching takes linear time.
# Each alternative begins with a selective character, because most positions in a text match none.
_VARIES = re.compile(
    r"""
    [hH]ttps?://[^\s"'<>)\]]+                                       # an address, its port and path too
    | "[^"\n]{0,200}" | “[^”\n]{0,200}” | `[^`\n]{0,200}` | ‘[^’\n]{0,200}’
    | '(?<!\w')[^'\n]{0,200}'(?!\w)                                 # not the apostrophes of "can't" and "won't"
    | \b(?:
        0[xX][0-9a-fA-F]+
        | [0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b
        | [0-9a-fA-F]{2}(?:[ :-][0-9a-fA-F]{2}){2,}\b               # bytes as a log shows them, hardware addresses
        | (?=[a-zA-Z_]*\d)(?=[\d_]*[a-zA-Z])\w{16,}\b              # an id: long, digits and letters together
        | (?=[a-fA-F]*\d)(?=\d*[a-fA-F])[0-9a-fA-F]+[hH]?\b        # hex without 0x: 1f, 3fa81c22
        | (?:ff|FF)+[hH]?\b
      )
    | [-+](?<![\w)].)\d+(?:[.,:]\d+)*
    | \d+(?:[.,:]\d+)*
    """,
    re.VERBOSE,
)
_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’"}

# V8 writes `at name (place)` or `at place`. Firefox and Safari write `name@place`. Safari may write the place only.
_FRAME = re.compile(
    r"^[ \t]*at (?P<v8>[^\n]{1,500})$|^(?P<gecko>[^\n@:]{0,200}@[^\n]{1,400}:\d+)$|^(?P<address>https?://\S{1,400}:\d+)$",
    re.MULTILINE,
)
# The line and column at the end of a place. A stack that the client cut off may lack the closing bracket.
_LINE_AND_COLUMN = re.compile(r"(?::\d+){1,2}\)?$")
# Matches index-BxY3_kQ2.js and index.3fa81c22.min.js, but not codeplug-renderer.js.
_BUNDLE_HASH = re.compile(r"(?<=[-.])(?=[\w-]*[\dA-Z])(?:[\w-]{8}|\w{6,24})(?=(?:\.min)?\.\w+$)", re.ASCII)
# A minifier renames functions in every build.
_MINIFIED = re.compile(r"(?<![\w$])[\w$]{1,2}(?![\w$])")
_DIGITS = re.compile(r"\d+")


class Fingerprint(NamedTuple):
    """The fingerprint of a failure: `key` identifies its group; `title` and `frame` describe it."""

    key: str
    title: str
    frame: str


def fingerprint(event_type: str, error_name: str | None, message: str, stack: str | None) -> Fingerprint:
    """Return the group key (16 hex digits), the masked message, and the masked top frame or ""."""
    return _fingerprint(event_type, error_name, message, _top(stack) if stack else "")


def fingerprint_of(event: Any) -> Fingerprint:
    """Return the fingerprint of a failure with the columns of `Event`."""
    return fingerprint(event.event_type, event.error_name, event.message, event.stack)


# Most failures repeat an earlier one, or differ from it only in a number of the message.
@lru_cache(maxsize=4_096)
def _fingerprint(event_type: str, error_name: str | None, message: str, raw_frame: str) -> Fingerprint:
    title = masked(message)[:MAX_TITLE]
    frame = _frame(raw_frame) if raw_frame else ""
    content = "\x1f".join((event_type, _name(error_name or ""), title, frame))
    return Fingerprint(hashlib.blake2b(content.encode(), digest_size=8).hexdigest(), title, frame)


@lru_cache(maxsize=512)
def _name(error_name: str) -> str:
    return masked(error_name)


def masked(text: str) -> str:
    """Return the text on one line, with variable parts replaced. Quotation marks around them stay."""
    return " ".join(_VARIES.sub(_mask, text).split()) or MASK


def _mask(match: re.Match[str]) -> str:
    first = match.group()[0]
    return f"{first}{MASK}{_QUOTES[first]}" if first in _QUOTES else MASK


def _top(stack: str) -> str:
    """Return the first frame with a place in a file, or else the first frame with a name, such as a built-in."""
    named = ""
    for match in _FRAME.finditer(stack):
        raw = match["v8"] or match["gecko"] or match["address"]
        if _LINE_AND_COLUMN.search(raw):
            return raw
        if not named and raw.endswith(")"):
            named = raw
    return named


@lru_cache(maxsize=2_048)
def _frame(raw: str) -> str:
    raw = raw.strip()
    if raw.endswith(")") or " (" in raw:
        name, _, place = raw.removeprefix("async ").removeprefix("new ").partition(" (")
        place = place.partition("), ")[0].rstrip(")")  # Code from eval: use the place that called eval.
    elif "@" in raw and not raw.startswith(("http://", "https://")):
        name, _, place = raw.partition("@")
        name = name.rpartition("*")[2]  # async*flash, promise callback*flash
    else:
        name, place = "", raw.removeprefix("async ")
    file = _LINE_AND_COLUMN.sub("", place).partition("?")[0].rpartition("/")[2]
    file = _BUNDLE_HASH.sub(MASK, file[-200:])[:80]
    name = _DIGITS.sub(MASK, _MINIFIED.sub(MASK, name.partition(" [as ")[0].strip()))[:80]
    return f"{name} ({file})" if name and file else name or file
