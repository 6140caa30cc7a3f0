"""Judges names by their letters: hashes in the names of files, and names that a minifier made up."""

import re
from functools import lru_cache
from itertools import pairwise

MASK = "…"

# A word has vowels, and no long run of consonants. An upper-case letter begins a word of at least two letters.
_CAMEL = re.compile(r"[A-Z]{2,6}(?![a-z])|[A-Z]?[a-z]{2,}|[A-Z](?=[A-Z][a-z])")
_VOWELS = frozenset("aeiouyAEIOUY")
_CONSONANTS = re.compile(r"[b-df-hj-np-tv-xz]{5,}", re.IGNORECASE)
_HASH_CHARACTERS = re.compile(r"[\w-]{6,}", re.ASCII)
_HEX = re.compile(r"(?=[a-fA-F]*\d)[0-9a-fA-F]+")
_DIGITS = re.compile(r"\d+")
_LETTERS = re.compile(r"[a-z]{4,}")
_TAIL = 8  # the length of a hash that Vite, Rollup and esbuild append, which may contain hyphens
_LONG = 20  # a part with digits and at least this many characters is a hash
_SHORT_WORDS = frozenset([
    "add", "all", "any", "api", "app", "cut", "db", "dom", "emit", "end", "fit", "fix", "for", "fs", "get", "go",
    "has", "hex", "hid", "id", "io", "is", "key", "led", "let", "log", "map", "max", "min", "mix", "mod", "msg",
    "new", "nop", "now", "off", "ok", "old", "on", "one", "open", "out", "pad", "pin", "pop", "pos", "put", "ram",
    "raw", "rom", "row", "run", "rx", "rxd", "sec", "see", "set", "sub", "sum", "tab", "tag", "tap", "to", "top",
    "try", "tx", "txd", "ui", "url", "usb", "use", "via", "web", "zip",
])  # fmt: skip
_MADE_UP = re.compile(r"_0x\w*|\$.*|.*\$|[a-zA-Z]{1,2}\d+|[a-zA-Z]{1,2}\$.*")


def is_words(text: str) -> bool:
    """Return whether letters look like words, such as `FlashDialog` or `XMLReader`, and not like a random text."""
    words = _CAMEL.findall(text)
    if "".join(words) != text:
        return False
    pronounced = [word for word in words if not _VOWELS.isdisjoint(word) and not _CONSONANTS.search(word)]
    # An acronym, or a short word such as `Http`, needs a word beside it.
    others = [word for word in words if word not in pronounced]
    return bool(pronounced) and all(word.isupper() or len(word) == 4 for word in others)


@lru_cache(maxsize=2_048)
def is_hash(text: str, *, is_part: bool = True) -> bool:
    """Return whether a file's name, or a part of it, looks like a hash of the file's content."""
    if not _HASH_CHARACTERS.fullmatch(text) or not (is_part or len(text) == _TAIL or "-" not in text):
        return False
    if not _DIGITS.search(text):
        letters = [part for part in re.split("[-_]+", text) if part]
        is_random = any(len(part) > 1 and not is_words(part) for part in letters)
        return len(text) >= _TAIL and (is_random or (is_part and len(text) == _TAIL and text.isupper()))
    if _HEX.fullmatch(text) or len(text) >= _LONG:
        return True
    if is_part:  # behind a hyphen or a dot; `uploader2` and `utf8encoder` are names
        return len(text) == _TAIL or not _LETTERS.search(text)
    # A whole name, such as `stm32dfu`, is more often a word.
    changes = sum(a.isdigit() != b.isdigit() or a.isupper() != b.isupper() for a, b in pairwise(text))
    return len(text) >= _TAIL and changes > 3 and not _LETTERS.search(text)


@lru_cache(maxsize=2_048)
def stable_name(file: str) -> str:
    """Return a file's name with MASK for each hash and number: `index-….js`, `runtime.….bundle.js`."""
    stem, dot, extension = file.rpartition(".")
    if not dot:
        stem, extension = file, ""
    if is_hash(stem, is_part=False):
        return f"{MASK}{dot}{extension}"
    if stem[-_TAIL - 1 : -_TAIL] in ("-", ".", "_") and is_hash(stem[-_TAIL:]):
        return f"{_stable_parts(stem[: -_TAIL - 1])}{stem[-_TAIL - 1]}{MASK}{dot}{extension}"
    return f"{_stable_parts(stem)}{dot}{extension}"


def _stable_parts(stem: str) -> str:
    pieces = re.split(r"([.~+-])", stem)
    if len(pieces) == 1:
        return stem
    return "".join(MASK if is_hash(piece) or piece.isdigit() else piece for piece in pieces)


def is_minified(name: str, *, in_bundle: bool) -> bool:
    """Return whether a minifier made up this name. `in_bundle`: the code is in a file with a hash in its name."""
    name = name.lstrip("#")
    if len(name) <= 2:
        return in_bundle or name not in _SHORT_WORDS
    if _MADE_UP.fullmatch(name):
        return True
    if not in_bundle:
        return False
    letters = _DIGITS.sub("", name.strip("_$"))
    if len(letters) <= 3:
        return letters not in _SHORT_WORDS
    return len(letters) <= 5 and not is_words(letters)
