"""Masks the values in a text: the parts that differ between two occurrences of one failure.

A text is read as tokens: addresses, paths, quoted texts, lists of bytes, call signs, and words. A small function judges
each kind of token. Values become MASK. Everything else stays, because it distinguishes failures.
"""

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise

from events.grouping.reading.names import MASK, is_words

# The characters that end an address or a path inside a text. Brackets belong to an address only in pairs.
_END = r"\s\"'`<>()\[\]{}“”„»«"
_REST = rf"(?:[^{_END}]|\([^{_END}]*\)|\[[^{_END}]*\])+"
_EXTENSIONS = (
    r"(?:bin|hex|uf2|dfu|elf|img|rom|fw|s19|srec|dat|data|raw|bak|eep|icf|zip|gz|json|csv|tsv|xml|txt|log|md|ini|cfg|conf"
    r"|toml|ya?ml|m?js|cjs|m?tsx?|jsx|css|wasm|map|html?|png|jpe?g|svg|webp|ico|ttf|woff2?|pdf|sqlite|db|codeplug|k5cfg"
    r"|rdt|chirp)"
)
_CALL_SIGN = r"(?:[A-Z]{1,2}|\d[A-Z]{1,2})\d{1,4}[A-Z]{1,4}"
# Scripts that write words without spaces between them.
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
# Every repetition is bounded or ends at a character that it cannot match, so reading a text takes linear time.
_TOKEN = re.compile(
    rf"""
    (?P<plain> [^\W\d_{_UNSPACED}]{{3,15}}(?=[\s,;)]|$) )                     # most words: nothing to judge
  | (?P<place>
        (?<!\w)(?:
            [a-zA-Z][\w+.-]{{1,20}}:(?:/{{1,3}}|…/){_REST}                   # https://host/a, file:///a, blob:…/a
          | (?:blob|data|about|mailto|javascript|node|webpack):{_REST}
          | …/{_REST}                                                       # an address that a client has shortened
          | [a-zA-Z]:(?:[\\/][^\\/\n"<>|*?]{{1,80}}(?=[\\/]))*[\\/][^\\/{_END},;]*   # C:\Users\Ann Smith\a.bin
          | (?:\\\\|%\w{{1,30}}%[\\/])(?:[^\\/\n"<>|*?]{{1,80}}[\\/]){{0,20}}[^\\/{_END},;]*  # \\nas\a b\c
          | [^\x00-\x7f\s…“”„»«‹›「」『』《》〈〉‘’‚＂][\w.@+-]{{0,80}}\.{_EXTENSIONS}(?!\w)   # 电台.bin
          | (?:[\w.@+-]{{1,60}}/){{1,20}}[\w.@+-]{{1,80}}\.{_EXTENSIONS}(?![\w/])  # firmware/a.bin
          | \d{{4}}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?   # a date and time
        )
      | (?<![\w.…)/\]<])(?:~|\.{{1,2}})?(?:/[\w.@~-]{{1,60}}\ [\w.@~-]{{1,60}}(?=/)|/[\w.@~-]{{1,60}}(?=/)){{0,20}}
        /(?=[\w.~@-])[^{_END},;:!?]*                                        # /home/ann/a.bin, ./a.bin
    )
  | (?P<quoted>
        "[^"\n]{{0,300}}" | ＂[^＂\n]{{0,300}}＂ | “[^”\n]{{0,300}}” | „[^“”\n]{{0,300}}[“”]
      | «[^»\n]{{0,300}}» | »[^«\n]{{0,300}}« | ‹[^›\n]{{0,300}}› | ›[^‹\n]{{0,300}}‹ | 「[^」\n]{{0,300}}」
      | 『[^』\n]{{0,300}}』 | 《[^》\n]{{0,300}}》 | 〈[^〉\n]{{0,300}}〉 | `[^`\n]{{0,300}}` | ‘[^’\n]{{0,300}}’
      | ‚[^‘’\n]{{0,300}}[‘’]
      | (?<!\w)'(?:[^'\n]|(?<=\w)'(?=\w)){{0,300}}'(?!\w)                    # not the apostrophe of "can't"
    )
  | (?P<bytes>
        (?<![\w.])[0-9a-fA-F]{{2}}(?:[ ,:-]{{1,2}}[0-9a-fA-F]{{2}})+(?![\w'’]|[.,]\w)
      | (?:\\x[0-9a-fA-F]{{2}}){{1,200}}
    )
  | (?P<call> \b(?:[A-Z0-9]{{1,3}}/)?{_CALL_SIGN}(?:/[A-Z0-9]{{1,4}})?(?:-\d{{1,2}})?\b )
  | (?P<word> (?:(?<![\w)\]])[-+−](?=\d)|(?<!\w)\.(?=\d))?
        (?![{_UNSPACED}])[\w$\#](?:(?![{_UNSPACED}])[\w.+$@]|-(?!>)|['’٬٫](?=\w))* )
    """,
    re.VERBOSE,
)
_MASKS = re.compile(rf"{MASK}(?:(?:\.|[ ,:;/|+-]{{0,3}}){MASK})+")
# Replaced by one form: `… %` by `…%`, `… AM` and `… PM` by `…`, and a list of quoted texts by one of them.
_SAME = re.compile(rf"{MASK} (%|[AP]M\b)|(([\"'`“„«»‹›「『《〈‘‚＂]){MASK}(.))(?:,? ?\3{MASK}\4)+")
_QUOTES = str.maketrans(dict.fromkeys('"＂`“”„«»‹›「」『』《》〈〉‘’‚', "'"))
# Invisible: soft hyphen, zero-width characters, marks of the writing direction.
_INVISIBLE = dict.fromkeys([0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2065), 0xFEFF])

# A number after one of these words is an error code. It stays, because another code is another failure.
_STATUS = re.compile(r"[1-5]\d\d")
_NAMED_CODE = re.compile(r"[A-Z]{1,6}-?\d{3,6}")
_CODE = re.compile(rf"-?\d{{1,4}}|0[xX][0-9a-fA-F]{{1,8}}|{_NAMED_CODE.pattern}")
_CODE_WORDS = {"code": _CODE, "errno": _CODE, "nr": _CODE} | dict.fromkeys(["status", "with", "response"], _STATUS)
_CODE_OF_ERROR = re.compile(rf"#\d{{1,6}}|{_NAMED_CODE.pattern}|-?\d{{1,5}}")
_LABEL = ":"  # instead of a word: the token is the whole message or stands in front of it, as in `NG0100: …`
_ALGORITHMS = re.compile(r"(?:SHA|MD|CRC|UTF|AES|RSA|base|HTTP)-?\d{1,3}", re.IGNORECASE)

# Words of two letters that are bytes as well. In a list of bytes they count only beside a byte that is no word.
_WORDS_LIKE_BYTES = {"be", "ad", "de", "da", "fa", "ed"}
_HEX_PAIR = re.compile("[a-f]{2}|[A-F]{2}")
_BYTE_WORDS = {"got", "reply", "byte", "bytes", "received", "response", "packet", "frame", "answer", "expected"}

_NUMBER = re.compile(r"[-+−.]?\d[\d.'’٬٫_-]*")
_WITH_UNIT = re.compile(r"([-+−.]?(?!0\d)\d[\d.'’٬٫]*)([^\W\d_]{1,5})")
_UNITS = frozenset([
    "ms", "s", "m", "h", "d", "us", "µs", "ns", "sec", "min", "b", "kb", "mb", "gb", "kib", "mib", "gib", "byte",
    "bytes", "bit", "bits", "hz", "khz", "mhz", "ghz", "v", "mv", "a", "ma", "w", "mw", "db", "dbm", "baud", "bps",
    "kbps", "mbps", "px", "x", "k", "st", "nd", "rd", "th",
])  # fmt: skip
_HEX = re.compile(r"0[xX][0-9a-fA-F]+|(?=[a-fA-F]*\d)[0-9a-fA-F]+[hH]?|(?:ff|FF)+[hH]?")
_HEX_LETTERS = re.compile(r"[A-F]{4}|(?:[a-f]{8}|[A-F]{8}){1,8}")
_UUID = re.compile(r"\{?[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\}?")
_EMAIL = re.compile(r"[\w.+$-]+@[\w-]+(?:\.[\w-]+)+")
# 1.2.3, v4.2.8-12-g8d288d5, 10.8.0-RC3, 2.5.5.e182ae7, 1.0rc1
_VERSION = re.compile(r"[vV]?\d+(?:\.\d+)+(?:[a-z]{1,5}\d*)?(?:[.+-]\w+)*|[vV]\d+")
_DEVICE = re.compile(r"(?:COM|LPT|ttyUSB|ttyACM|ttyS|cu\.|tty\.)[\w.-]*\d[\w-]*")
_FILE = re.compile(rf"[\w.+@$-]+\.{_EXTENSIONS}", re.IGNORECASE)
# `name (1).bin`: a copy that a browser saved beside the first one.
_COPY = re.compile(r"[\w.+@$-]+ ?\(\d+\)(?=\.\w{1,8}\b)")
# Tue, 04 Jun 2024 01:11:12 GMT
_MOMENT = re.compile(
    r"\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? )?(?:\d{1,2} )?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
    r"[a-z]{0,6}\.? (?:\d{1,2},? )?\d{4}(?: \d\d:\d\d:\d\d)?(?: (?:GMT|UTC)(?:[+-]\d{4})?)?\b"
)
# The beginning of an address behind a digit or a letter of another script.
_GLUED = re.compile(r"(?<=[^\x00-\x7f]|\d)(?=[a-zA-Z][a-zA-Z+.-]{1,20}://)")
_DIGITS = re.compile(r"\d+")
_PARTS = re.compile(r"[.+_-]+")
_MIN_ID = 6
_MIN_LONG_ID = 16


def normalised(text: str) -> str:
    """Return the text in Unicode NFC, with one kind of line ending, and without invisible characters."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text).translate(_INVISIBLE).replace("\u2028", "\n")
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
            return MASK if len(token) in (4, 8) and _HEX_LETTERS.fullmatch(token) else token
        if kind == "word":
            if token.isalpha():
                context, before = before, token
                return MASK if _is_byte(token, context) or _is_long_id(token) else token
            start, end = match.span()
            is_label = not text[:start].strip(" [(") and text[end : end + 1] in ("", ":", "]", ")")
            is_behind_colon = text[max(start - 2, 0) : start].startswith(":")
            word = _word(token, _LABEL if is_label else f"{before}:" if is_behind_colon else before)
            if word == token:
                before = token
            return word
        if kind == "quoted":
            return f"{token[0]}{MASK}{token[-1]}"
        if kind == "bytes":
            return MASK if _are_bytes(token) else " ".join(_word(word, "") for word in token.split(" "))
        tail = token[len(token.rstrip(".,:;!?")) :]  # the sentence's own punctuation
        return MASK + tail

    if " 20" in text:
        text = _MOMENT.sub("1", text)
    if "://" in text:
        text = _GLUED.sub(" ", text)
    if "(" in text:
        text = _COPY.sub("a", text)
    line = " ".join(_TOKEN.sub(judge, text).split())
    line = _MASKS.sub(MASK, line.replace("[]", f"[{MASK}]"))
    return _SAME.sub(_shorter, line) or MASK


def _shorter(match: re.Match[str]) -> str:
    return match[2] or (f"{MASK}%" if match[1] == "%" else MASK)


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
    if _ALGORITHMS.fullmatch(core):
        return True
    if before == _LABEL:
        return _NAMED_CODE.fullmatch(core) is not None
    word = before.lower()
    pattern = _CODE_WORDS.get(word.rstrip(":"))
    if word.endswith("error:"):
        pattern = _NAMED_CODE
    elif pattern is None:
        pattern = _CODE_OF_ERROR if word.endswith("error") else _STATUS if "http" in word else None
    return pattern is not None and pattern.fullmatch(core) is not None


def _value(core: str) -> str:
    """Return a token with digits, masked: as a whole if it is a value, else its digits."""
    if _NUMBER.fullmatch(core):
        return MASK
    with_unit = _WITH_UNIT.fullmatch(core)
    if with_unit and with_unit[2].lower() in _UNITS:
        return f"{MASK} {with_unit[2]}"
    if any(pattern.fullmatch(core) for pattern in (_HEX, _VERSION, _FILE, _UUID, _EMAIL, _DEVICE)):
        return MASK
    pieces = re.split(r"([.+_-]+)", core)
    if len(pieces) == 1:
        return MASK if core.isalnum() and _is_id(core) else _DIGITS.sub(MASK, core)
    # The pieces at odd indexes are the separators.
    return "".join(_value(piece) if _DIGITS.search(piece) else piece for piece in pieces)


def _is_id(core: str) -> bool:
    """Return whether letters and digits are mixed as in an id or a serial number, and not as in `utf8Text`."""
    if not core.isascii() or len(core) < _MIN_ID:
        return False
    parts = [part for part in _DIGITS.split(core) if part]
    if len(core) >= _MIN_LONG_ID:
        return not all(map(is_words, parts))
    changes = sum(a.isdigit() != b.isdigit() for a, b in pairwise(core))
    has_word = any(len(part) > 2 and not part.isupper() and is_words(part) for part in parts)
    return changes > 1 and not has_word


def is_random(word: str) -> bool:
    """Return whether a word of letters and digits looks like an id or a key, and not like a name with a number."""
    return not word.isalpha() and _is_id(word)


def _is_long_id(word: str) -> bool:
    if _HEX_LETTERS.fullmatch(word):
        return True
    return len(word) >= _MIN_LONG_ID and word.isascii() and not is_words(word)


def _is_byte(word: str, before: str) -> bool:
    if len(word) != 2 or not _HEX_PAIR.fullmatch(word):
        return False
    return word in ("ff", "FF") or (before.lower() in _BYTE_WORDS and word not in _WORDS_LIKE_BYTES)


def _are_bytes(token: str) -> bool:
    found = re.findall(r"[0-9a-fA-F]{2}", token)
    if token[0] == "\\" or any(len(set(map(str.isdigit, byte))) > 1 for byte in found):
        return True
    letters = [byte for byte in found if not byte.isdigit()]
    return not letters or len(letters) > 2 or any(byte not in _WORDS_LIKE_BYTES for byte in letters)
