"""Masks what is personal in a text: addresses, e-mail addresses, names of home directories, secrets, ids.

Unlike the masks of fingerprints (`grouping.reading.texts`), these keep all other values: an issue needs the numbers.
Every pattern has bounded repetitions, so that a long hostile line takes linear time.
"""

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from events.grouping.reading import texts

NAME, KEY, ID, EMAIL, IP = "[name]", "[key]", "[id]", "[e-mail]", "[IP address]"
_LEAST_ID = 4  # A shorter session id is an ordinary word.

_URL = re.compile(
    r"\b(?:blob:)?[a-z][a-z0-9+.-]{1,20}:/{1,3}(?P<rest>[^\s\"'`<>()\[\]{}“”„»«]*)|\b(?P<data>data:)[^\s\"'`<>()]*",
    re.IGNORECASE,
)
# The position behind an address, such as `:88:13`.
_POSITION = re.compile(r"(?::\d{1,9}){0,2}[.,;:!]?$")

# A value behind a name that says that it is secret.
_NAMED_SECRET = re.compile(
    r"(?<![\w-])(?P<name>[\w-]{0,40}?(?:passw(?:or)?d|pwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|credentials?|session(?:[_-]?id)?|auth)[\w-]{0,20}[\"']?\s{0,3}[:=]\s{0,3})(?!\[key\])(?:\"[^\"]*\"|'[^']*'|[^\s,;&\"'<>)\]}]+)",
    re.IGNORECASE,
)
_HEADER = re.compile(r"\b((?:proxy-)?authorization|(?:set-)?cookie)(\s{0,3}[:=]\s{0,3}).*", re.IGNORECASE | re.DOTALL)
_BEARER = re.compile(r"\b(bearer|basic)\s{1,3}[\w.~+/=-]{8,}", re.IGNORECASE)
_PEM = re.compile(r"-----BEGIN [A-Z ]{1,40}-----.*", re.DOTALL)
_KNOWN_KEY = re.compile(
    r"\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?"  # a JSON Web Token
    r"|\b(?:gh[pousr]_|github_pat_|glpat-|xox[abposr]-|sk-|[spr]k_(?:live|test)_|AKIA|ASIA|AIza|ya29\.|npm_|pypi-|SG\.|hf_)"
    r"[\w.-]{10,}"
)
_UUID = re.compile(r"(?<![\w-])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![\w-])", re.IGNORECASE)
_HEX = re.compile(r"(?<!\w)(?:0x)?[0-9a-f]{32,}(?!\w)", re.IGNORECASE)
_WORD = re.compile(r"(?<![\w+=-])[\w+=-]{20,}")
_PIECES = re.compile(r"[_+=-]+")
_LEAST_RANDOM = 16

# A function of Firefox before its file, as in `writeBlock@protocol.ts`, is no e-mail address.
_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}(?!(?:[cm]?jsx?|[cm]?tsx?|vue|svelte|html?|wasm|map)\b)[^\W\d_]{2,24}\b"
)

_PART = r"[^\s\\/\"'<>|:*?,;()\[\]]{1,64}"
_HOMES = (
    # C:\Users\Ann Smith\a.bin, also with doubled backslashes; without a further part, a name is one word
    re.compile(
        rf"((?:\b[a-z]:)?\\{{1,4}}(?:users|documents and settings)\\{{1,4}})"
        rf"(?:{_PART}(?: {_PART}){{0,3}}(?=\\)|{_PART})",
        re.IGNORECASE,
    ),
    re.compile(
        rf"((?:/(?:home|Users|media|run/media|run/user|Documents and Settings)|(?<![\w/])/mnt/\w/Users)/){_PART}"
    ),
    re.compile(rf"((?<![\w/])~)(?!/){_PART}(?=/)"),
    re.compile(rf"((?<![\w\\:])\\\\){_PART}(?=\\)"),  # \\server\share
)

_MAC = re.compile(r"(?<![\w:-])[0-9a-f]{2}(?:([:-])[0-9a-f]{2})(?:\1[0-9a-f]{2}){4}(?![\w:-])", re.IGNORECASE)
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)")
_IPV6 = re.compile(
    r"(?<![\w:.])(?=[0-9a-f:]{0,40}::|(?:[0-9a-f]{1,4}:){7})[0-9a-f:]{2,40}(?:%\w{1,16})?(?![\w:])", re.IGNORECASE
)


def masked(text: str, ids: Iterable[str | None] = ()) -> str:
    """Return a text of an event without what is personal. `ids` are texts to remove too: the ids of its session."""
    for secret in ids:
        if secret and len(secret) >= _LEAST_ID:
            text = text.replace(secret, ID)
    text = _HEADER.sub(rf"\1\2{KEY}", _PEM.sub(KEY, text))
    text = _KNOWN_KEY.sub(KEY, _BEARER.sub(rf"\1 {KEY}", text))
    text = _URL.sub(_shortened_url, text)
    text = _NAMED_SECRET.sub(rf"\g<name>{KEY}", text)
    text = _UUID.sub(ID, text)
    for home in _HOMES:
        text = home.sub(rf"\1{NAME}", text)
    text = _EMAIL.sub(EMAIL, text)
    text = _IPV6.sub(_ip, _IPV4.sub(_ip, _MAC.sub("[address]", text)))
    return _WORD.sub(_random, _HEX.sub(KEY, text))


def masked_name(text: str) -> str:
    """Return the name of a model or a version without e-mail addresses and home directories. It can be a long hash."""
    for home in _HOMES:
        text = home.sub(rf"\1{NAME}", text)
    return _EMAIL.sub(EMAIL, text)


def _shortened_url(match: re.Match[str]) -> str:
    """Return the last part of the path of an address, as `telemetry.js` shortens it: without host, query and user."""
    if match["data"]:
        return "data:…"
    position = _POSITION.search(match["rest"])
    tail = position[0] if position else ""
    place = re.split("[?#]", match["rest"].removesuffix(tail), maxsplit=1)[0].replace("\\", "/")
    _, slash, path = place.partition("/")
    return f"…/{path.rpartition('/')[2]}{tail}" if slash else f"…{tail}"


def _ip(match: re.Match[str]) -> str:
    raw = match[0].partition("%")[0]
    try:
        address = IPv6Address(raw) if ":" in raw else IPv4Address(raw)
    except AddressValueError:
        return match[0]
    return match[0] if address.is_loopback or address.is_unspecified else IP


def _random(match: re.Match[str]) -> str:
    word = match[0]
    pieces = [piece for piece in _PIECES.split(word) if piece]
    if any(len(piece) >= _LEAST_RANDOM and texts.is_random(piece) for piece in pieces):
        return KEY
    kinds = (sum(map(kind, word)) for kind in (str.isdigit, str.isupper, str.islower))
    is_mixed = all(number >= 3 for number in kinds) and any(texts.is_random(piece) for piece in pieces)
    return KEY if is_mixed else word
