"""Masks the values in a text: the parts that differ between two occurrences of one failure.

A text is read as tokens: addresses, paths, quoted texts, lists of bytes, and words. A small function judges each kind
of token. Values become MASK. Everything else stays, because it distinguishes failures.
"""

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise

MASK = "…"

# The characters that end an address or a path inside a text.
_END = r"\s\"'`<>()\[\]{}“”„»«"
_REST = rf"(?:[^{_END}]|\([^{_END}]*\))+"  # brackets only in pairs
# Every repetition is bounded or ends at a character that it cannot match, so reading a text takes linear time.
_TOKEN = re.compile(
    rf"""
    (?P<plain> [^\W\d_]{{3,15}}(?=[\s,;)]|$) )                               # most words: nothing to judge
  | (?P<place>
        (?<!\w)(?:
            [a-zA-Z][\w+.-]{{1,20}}:(?:/{{1,3}}|…/)(?:\[[\da-fA-F:.]+\])?{_REST}   # https://host/a, file:///a, blob:…/a
          | (?:blob|data|about|mailto|javascript|node|webpack):[^{_END}]+
          | …/{_REST}                                                       # an address that a client has shortened
          | [a-zA-Z]:(?:[\\/][^\\/\n"<>|*?]{{1,80}}(?=[\\/]))*[\\/][^\\/{_END},;]*   # C:\Users\Ann Smith\a.bin
          | \d{{4}}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?   # a date and time
          | \\\\[^{_END}]+                                                  # \\server\share
        )
      | (?<![\w.…)/\]<])(?:~|\.{{1,2}})?/(?=[\w.~@-])[^{_END},;:!?]*          # /home/ann/a.bin, ./a.bin
    )
  | (?P<quoted>
        "[^"\n]{{0,300}}" | “[^”\n]{{0,300}}” | „[^“”\n]{{0,300}}[“”] | «[^»\n]{{0,300}}» | »[^«\n]{{0,300}}«
      | ‹[^›\n]{{0,300}}› | ›[^‹\n]{{0,300}}‹ | 「[^」\n]{{0,300}}」 | 『[^』\n]{{0,300}}』 | 《[^》\n]{{0,300}}》
      | `[^`\n]{{0,300}}` | ‘[^’\n]{{0,300}}’ | ‚[^‘’\n]{{0,300}}[‘’]
      | (?<!\w)'(?:[^'\n]|(?<=\w)'(?=\w)){{0,300}}'(?!\w)                    # not the apostrophe of "can't"
    )
  | (?P<bytes> (?<![\w.])[0-9a-fA-F]{{2}}(?:[ ,:-]{{1,2}}[0-9a-fA-F]{{2}})+(?![\w'’]|[.,]\w) )
  | (?P<word> (?:(?<![\w)\]])[-+−](?=\d))?[\w$\#](?:[\w.+$@]|-(?!>)|['’٬٫](?=\w))* )
    """,
    re.VERBOSE,
)
_MASKS = re.compile(rf"{MASK}(?:[ ,:;/|+-]{{0,3}}{MASK})+")
_QUOTES = str.maketrans(dict.fromkeys('"`“”„«»‹›「」『』《》‘’‚', "'"))

# A number after one of these words is a code, which distinguishes failures.
_CODE_WORDS = {"code": "any", "errno": "any", "http": "status", "status": "status", "error": "error"}
_LABEL = ":"  # instead of a word: the token stands before the message, as in `NG0100: …`
_STATUS = re.compile(r"[1-5]\d\d")
_CODE = re.compile(r"-?\d{1,6}|0[xX][0-9a-fA-F]{1,8}")
_NAMED_CODE = re.compile(r"[A-Z]{1,6}-?\d{3,6}")

# Words of two letters that are bytes as well. In a list of bytes they count only beside a byte that is no word.
_WORDS_LIKE_BYTES = {"be", "ad", "de", "da", "fa", "ed"}
_HEX_PAIR = re.compile("[a-f]{2}|[A-F]{2}")
_BYTE_WORDS = {"got", "reply", "byte", "bytes", "received", "response", "packet", "frame", "answer", "expected"}

_NUMBER = re.compile(r"[-+−]?\d[\d.'’٬٫_-]*")
_WITH_UNIT = re.compile(r"([-+−]?\d[\d.'’٬٫]*)([^\W\d_]{1,5})")
_UNITS = frozenset([
    "ms", "s", "m", "h", "d", "us", "µs", "ns", "sec", "min", "b", "kb", "mb", "gb", "kib", "mib", "gib", "byte",
    "bytes", "bit", "bits", "hz", "khz", "mhz", "ghz", "v", "mv", "a", "ma", "w", "mw", "db", "dbm", "baud", "bps",
    "kbps", "mbps", "px", "x", "k", "st", "nd", "rd", "th",
])  # fmt: skip
_HEX = re.compile(r"0[xX][0-9a-fA-F]+|(?=[a-fA-F]*\d)[0-9a-fA-F]+[hH]?|(?:ff|FF)+[hH]?")
_UUID = re.compile(r"\{?[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\}?")
_EMAIL = re.compile(r"[\w.+$-]+@[\w-]+(?:\.[\w-]+)+")
# 1.2.3, v4.2.8-12-g8d288d5, 10.8.0-RC3, 2.5.5.e182ae7
_VERSION = re.compile(r"[vV]?\d+(?:\.\d+)+(?:[.+-]\w+)*|[vV]\d+")
_CALL_SIGN = re.compile(r"(?:[A-Z]{1,2}|\d[A-Z]{1,2})\d{1,4}[A-Z]{1,4}(?:-\d{1,2})?")
_DEVICE = re.compile(r"(?:COM|LPT|ttyUSB|ttyACM|ttyS|cu\.|tty\.)[\w.-]*\d[\w-]*")
_FILE = re.compile(
    r"[\w.+@$-]+\.(?:bin|hex|uf2|dfu|elf|img|rom|fw|s19|srec|dat|zip|gz|json|csv|tsv|xml|txt|log|ini|cfg|conf|yaml|yml"
    r"|m?js|cjs|m?tsx?|jsx|css|wasm|map|html?|png|jpe?g|svg|webp|ico|ttf|woff2?|pdf|sqlite|db|codeplug|rdt|chirp)",
    re.IGNORECASE,
)
# `name (1).bin`: a copy that a browser saved beside the first one.
_COPY = re.compile(r"[\w.+@$-]+ \(\d+\)(?=\.\w{1,8}\b)")
# The beginning of an address behind a digit or a letter of another script.
_GLUED = re.compile(r"(?<=[^\x00-\x7f]|\d)(?=[a-zA-Z][a-zA-Z+.-]{1,20}://)")
_DIGITS = re.compile(r"\d+")
_LETTERS = re.compile(r"[a-z]{4,}")
_PARTS = re.compile(r"[.+_-]+")
_MIN_ID = 6
_MIN_LONG_ID = 16


def normalised(text: str) -> str:
    """Return the text in Unicode NFC, with one kind of line ending, and without invisible characters."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text).replace("\u200b", "").replace("\u2028", "\n").replace("\ufeff", "")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def masked(text: str) -> str:
    """Return a normalised text on one line, with MASK for each value. The quotation marks of a value stay."""
    before = ""  # the last word, which decides whether a number is a code

    def judge(match: re.Match[str]) -> str:
        nonlocal before
        token = match.group()
        kind = match.lastgroup
        if kind == "plain":
            before = token
            return token
        if kind == "word":
            if token.isalpha():
                context, before = before, token
                return MASK if _is_byte(token, context) or _is_long_id(token) else token
            is_labelled = text[match.end() : match.end() + 1] in (":", "]", ")") or token.endswith(":")
            word = _word(token, _LABEL if is_labelled and not match.start() else before)
            if word == token:
                before = token
            return word
        if kind == "quoted":
            return f"{token[0]}{MASK}{token[-1]}"
        if kind == "bytes":
            return MASK if _are_bytes(token) else " ".join(_word(word, "") for word in token.split(" "))
        tail = token[len(token.rstrip(".,:;!?")) :]  # the sentence's own punctuation
        return MASK + tail

    if "://" in text:
        text = _GLUED.sub(" ", text)
    if " (" in text:
        text = _COPY.sub("a", text)
    return _MASKS.sub(MASK, " ".join(_TOKEN.sub(judge, text).split())) or MASK


def without_quotes(text: str) -> str:
    """Return the text with one kind of quotation mark, whatever its language uses."""
    return text.translate(_QUOTES)


@lru_cache(maxsize=4_096)
def _word(token: str, before: str) -> str:
    """Return a token that is not only letters, masked. `before` is the word in front of it."""
    core = token.rstrip(".+-@")
    tail = token[len(core) :].replace("@", "")
    if not _DIGITS.search(core):
        is_value = _EMAIL.fullmatch(core) or _FILE.fullmatch(core) or any(map(_is_long_id, _PARTS.split(core)))
        return MASK + tail if is_value else token
    return (core if _is_code(core, before) else _value(core)) + tail


def _is_code(core: str, before: str) -> bool:
    if before == _LABEL:
        return _NAMED_CODE.fullmatch(core) is not None
    kind = _CODE_WORDS.get(before.lower())
    if kind == "any":
        return _CODE.fullmatch(core) is not None or _NAMED_CODE.fullmatch(core) is not None
    if kind == "status":
        return _STATUS.fullmatch(core) is not None
    return kind == "error" and (_NAMED_CODE.fullmatch(core) is not None or core[0] == "#")


def _value(core: str) -> str:
    """Return a token with digits, masked: as a whole if it is a value, else its digits."""
    if _NUMBER.fullmatch(core):
        return MASK
    with_unit = _WITH_UNIT.fullmatch(core)
    if with_unit and with_unit[2].lower() in _UNITS:
        return MASK + with_unit[2]
    if any(pattern.fullmatch(core) for pattern in (_HEX, _VERSION, _FILE, _CALL_SIGN, _UUID, _EMAIL, _DEVICE)):
        return MASK
    pieces = re.split(r"([.+_-]+)", core)
    if len(pieces) == 1:
        return MASK if core.isalnum() and _is_id(core) else _DIGITS.sub(MASK, core)
    # Odd pieces are the separators.
    return "".join(_value(piece) if _DIGITS.search(piece) else piece for piece in pieces)


def _is_id(core: str) -> bool:
    """Return whether letters and digits are mixed as in an id or a serial number, and not as in `utf8Text`."""
    if not core.isascii() or len(core) < _MIN_ID:
        return False
    if len(core) >= _MIN_LONG_ID:
        return True
    changes = sum(a.isdigit() != b.isdigit() for a, b in pairwise(core))
    has_word = any(len(part) > 2 and not part.isupper() and is_words(part) for part in _DIGITS.split(core))
    return changes > 1 and not has_word


def _is_long_id(word: str) -> bool:
    return len(word) >= _MIN_LONG_ID and word.isascii() and not is_words(word)


def _is_byte(word: str, before: str) -> bool:
    if len(word) != 2 or not _HEX_PAIR.fullmatch(word):
        return False
    return word in ("ff", "FF") or (before.lower() in _BYTE_WORDS and word not in _WORDS_LIKE_BYTES)


def _are_bytes(token: str) -> bool:
    found = re.findall(r"[0-9a-fA-F]{2}", token)
    if any(len(set(map(str.isdigit, byte))) > 1 for byte in found):
        return True
    letters = [byte for byte in found if not byte.isdigit()]
    return not letters or len(letters) > 2 or any(byte not in _WORDS_LIKE_BYTES for byte in letters)


# --- names and hashes --------------------------------------------------------------------------------------------

# A word has vowels, and no long run of consonants. An upper-case letter begins a word of at least two letters.
_CAMEL = re.compile(r"[A-Z]{2,5}(?![a-z])|[A-Z]?[a-z]{2,}|[A-Z](?=[A-Z][a-z])")
_VOWELS = frozenset("aeiouyAEIOUY")
_CONSONANTS = re.compile(r"[b-df-hj-np-tv-xz]{5,}", re.IGNORECASE)
_HASH_CHARACTERS = re.compile(r"[\w-]{6,}", re.ASCII)
_TAIL = 8  # the length of a hash that Vite and Rollup append, which may contain hyphens
_SHORT_WORDS = frozenset([
    "add", "all", "any", "api", "app", "cut", "db", "dom", "emit", "end", "fit", "fix", "for", "fs", "get", "go",
    "has", "hex", "hid", "id", "io", "is", "key", "led", "let", "log", "map", "max", "min", "mix", "mod", "msg",
    "new", "nop", "now", "off", "ok", "old", "on", "one", "open", "out", "pad", "pin", "pop", "pos", "put", "ram",
    "raw", "rom", "row", "run", "rx", "rxd", "sec", "see", "set", "sub", "sum", "tab", "tag", "tap", "to", "top",
    "try", "tx", "txd", "ui", "url", "usb", "use", "via", "web", "zip",
])  # fmt: skip


def is_words(text: str) -> bool:
    """Return whether letters look like words, such as `FlashDialog`, and not like a random text."""
    words = _CAMEL.findall(text)
    return (
        "".join(words) == text
        and not _CONSONANTS.search(text)
        and all(not _VOWELS.isdisjoint(word) or (word.isupper() and len(text) > len(word)) for word in words)
    )


@lru_cache(maxsize=2_048)
def is_hash(text: str) -> bool:
    """Return whether a part of a file name looks like a hash of the file's content."""
    if not _HASH_CHARACTERS.fullmatch(text):
        return False
    if _DIGITS.search(text):
        # `uploader2` and `utf8encoder` are names.
        return _HEX.fullmatch(text) is not None or len(text) == _TAIL or not _LETTERS.search(text) or len(text) >= 20
    letters = [part for part in re.split("[-_]+", text) if part]
    return len(text) >= _TAIL and any(len(part) > 1 and not is_words(part) for part in letters)


@lru_cache(maxsize=2_048)
def stable_name(file: str) -> str:
    """Return a file's name with MASK for each hash and number: `index-….js`, `runtime.….bundle.js`."""
    stem, dot, extension = file.rpartition(".")
    if not dot:
        return MASK if is_hash(file) else file
    if stem[-_TAIL - 1 : -_TAIL] in ("-", ".", "_") and is_hash(stem[-_TAIL:]):
        return f"{_stable_parts(stem[: -_TAIL - 1])}{stem[-_TAIL - 1]}{MASK}.{extension}"
    return f"{_stable_parts(stem)}.{extension}"


def _stable_parts(stem: str) -> str:
    pieces = re.split(r"([/.~+-])", stem)
    return "".join(MASK if is_hash(piece) or piece.isdigit() else piece for piece in pieces)


def is_minified(name: str, *, in_bundle: bool) -> bool:
    """Return whether a minifier made up this name. `in_bundle`: the code is in a file with a hash in its name."""
    name = name.lstrip("#")
    if len(name) <= 2:
        return in_bundle or name not in _SHORT_WORDS
    if re.search(r"^_0x|^\$|\$$|^[a-zA-Z]{1,2}\d+$|^[a-zA-Z]{1,2}\$", name):
        return True
    if not in_bundle:
        return False
    letters = _DIGITS.sub("", name.strip("_$"))
    if len(letters) <= 3:
        return letters not in _SHORT_WORDS
    return len(letters) <= 5 and not is_words(letters)
