"""The media types of request bodies, and the rule that a client chooses nothing about decoding."""

import re
from functools import lru_cache

_OF_EVENTS = ("application/json", "text/plain")
_MOST_CHARACTERS = 256  # Django's own parser raises an error past 10,000
_UTF8 = re.compile(r""";\s*charset\s*=\s*["']?utf[-_]?8["']?\s*(?=;|$)""", re.ASCII)


@lru_cache(maxsize=256)
def is_utf8(content_type: str) -> bool:
    """Tell whether a `Content-Type` leaves every decoding at UTF-8.

    Django decodes the query and forms with the `charset`, and an extended parameter (RFC 2231, `name*=hex''…`) with the
    encoding that it names. The parts of a multipart body name encodings too, and no form here is multipart.
    """
    lowered = content_type.lower()
    if len(lowered) > _MOST_CHARACTERS or "*" in lowered or lowered.lstrip().startswith("multipart/"):
        return False
    return "charset" not in _UTF8.sub("", lowered)


@lru_cache(maxsize=256)
def is_accepted(content_type: str) -> bool:
    """Tell whether an event may be sent under this `Content-Type`."""
    return content_type.partition(";")[0].strip().lower() in _OF_EVENTS and is_utf8(content_type)
