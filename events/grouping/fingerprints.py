"""Fingerprints: two failures are the same if their type, their error and the place in the code are equal.

A failure is read in three stages. `errors` recognises the error by the wording of a browser's engine. `texts` masks
the values in every other message. `frames` finds the place in the stack. A fingerprint depends on the failure alone,
never on what is stored. A change of these rules needs a new ALGORITHM number. Afterwards `manage.py regroup_failures`
moves the stored failures to their new groups.
"""

import hashlib
import re
from functools import lru_cache
from typing import Any, NamedTuple

from events.grouping.reading.errors import canonical, split_prefix
from events.grouping.reading.frames import Place, place_of
from events.grouping.reading.names import MASK, is_minified
from events.grouping.reading.texts import masked, normalised, without_quotes

ALGORITHM = 2
MAX_TITLE = 200
_MAX_ERROR_NAME = 80

# The values of `models.Noise`. This module needs no settings of Django.
_EXTENSION = "extension"
_BROWSER = "browser"

# A client cuts off a long message, and marks the cut. Clients cut at 300 or 500 characters, and the length of the
# values moves the cut. So only the beginning counts: this share of the length, in steps that both marks have in common.
_CUTS = ("…", "...")
_MIN_CUT = 100
_CUT_STEP = 16
_STABLE_PART = 0.64
_MAX_STABLE = 184
# A message that is only the address of a page about an error. Svelte and Vue throw these in production.
_ERROR_PAGE = re.compile(r"https?://\S{1,300}[/#]([a-z][a-z_-]{2,60}\d{0,3})")


class Fingerprint(NamedTuple):
    """The fingerprint of a failure: `key` identifies its group; the other fields describe it.

    `title` is the masked message. `frame` is the place in the code, or "". `error_name` is the name of the error, or
    None if it has none or a minifier chose it. `canonical` is the error without the wording of its browser, or "".
    `noise` is a value of `models.Noise`.
    """

    key: str
    title: str
    frame: str
    error_name: str | None = None
    canonical: str = ""
    noise: str = ""


def fingerprint(event_type: str, error_name: str | None, message: str, stack: str | None) -> Fingerprint:
    """Return the fingerprint of a failure. Its key has 16 hex digits."""
    place = place_of(stack, error_name or "") if stack else _NOWHERE
    return _fingerprint(event_type, error_name, message, place)


def fingerprint_of(event: Any) -> Fingerprint:
    """Return the fingerprint of a failure with the columns of `Event`."""
    return fingerprint(event.event_type, event.error_name, event.message, event.stack)


_NOWHERE = Place()


# Most failures repeat an earlier one, or differ from it only in a number of the message.
@lru_cache(maxsize=4_096)
def _fingerprint(event_type: str, error_name: str | None, message: str, place: Place) -> Fingerprint:
    prefix, text = split_prefix(normalised(message).strip())
    name = _name(error_name or prefix, place.in_bundle)
    known = canonical(text, in_bundle=place.in_bundle)
    if known is None:
        title = _title(text)
        words = _without_cut(text, title)
        if error_name and prefix not in ("", error_name):
            words = f"{prefix}: {words}"
        error = (name or "", without_quotes(words))
    else:
        title, error = known.title, ("", known.name)
    noise = ""
    if place.is_extension:
        noise = _EXTENSION
    elif known is not None and known.is_noise and not place.has_frames:
        noise = _BROWSER
    content = "\x1f".join((event_type, *error, place.frame, noise))
    key = hashlib.blake2b(content.encode(), digest_size=8).hexdigest()
    is_shown = known is not None and known.name != known.title
    return Fingerprint(
        key, (title or MASK)[:MAX_TITLE], place.frame, name, known.name if known and is_shown else "", noise
    )


def _title(text: str) -> str:
    page = _ERROR_PAGE.fullmatch(text)
    return f"{MASK}/{page[1]}" if page else masked(text)


def _without_cut(text: str, title: str) -> str:
    """Return the masked text: its stable beginning if a client cut off the message, else the whole text.

    `...` becomes `…`, so that both marks of an omission are equal.
    """
    mark = next((mark for mark in _CUTS if text.endswith(mark)), None)
    if mark is None or len(text) < _MIN_CUT:
        return re.sub(rf"(?:{MASK}|\.\.\.)+", MASK, title)
    length = len(text) - len(mark)
    stable = min(int((length - length % _CUT_STEP) * _STABLE_PART), _MAX_STABLE)
    words = title[:stable].rstrip(f".{MASK}")
    return words.rpartition(" ")[0] or words


@lru_cache(maxsize=512)
def _name(error_name: str, in_bundle: bool) -> str | None:
    """Return the masked name of an error, or None if it has none or a minifier chose it."""
    name = error_name.strip()
    if not name:
        return None
    is_made_up = re.fullmatch(r"[\w$]+", name) and not name.endswith("Error") and is_minified(name, in_bundle=in_bundle)
    return None if is_made_up else re.sub(r"\d+", MASK, masked(normalised(name)))[:_MAX_ERROR_NAME]
