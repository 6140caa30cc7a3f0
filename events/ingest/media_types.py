"""The accepted media types of request bodies. A client must not choose a character encoding."""

import re
from functools import lru_cache

_OF_EVENTS = ("application/json", "text/plain")
# curl names a form by default with `--data-binary`, and nothing with `-T`.
_OF_SOURCE_MAPS = (
    "",
    "application/json",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
    "text/plain",
)
_MOST_CHARACTERS = 256  # Django's own parser raises an error above 10,000.
# The quotation marks must match: behind an open one, Django reads the rest as part of the value.
_UTF8 = re.compile(r""";\s*charset\s*=\s*(["']?)utf[-_]?8\1\s*(?=;|$)""", re.ASCII)


@lru_cache(maxsize=256)
def is_utf8(content_type: str) -> bool:
    """Return whether this `Content-Type` leaves the character encoding at UTF-8.

    Django decodes the query and forms with the `charset`. It decodes an extended parameter (RFC 2231, `name*=hex''…`)
    with the encoding in its value. The parts of a multipart body name encodings too, and no form here is multipart.
    """
    lowered = content_type.lower()
    if (
        len(lowered) > _MOST_CHARACTERS
        or "*" in lowered
        or "\0" in lowered
        or lowered.lstrip().startswith("multipart/")
    ):
        return False
    return "charset" not in _UTF8.sub("", lowered)


@lru_cache(maxsize=256)
def is_accepted(content_type: str) -> bool:
    """Return whether an event may have this `Content-Type`."""
    return content_type.partition(";")[0].strip().lower() in _OF_EVENTS and is_utf8(content_type)


@lru_cache(maxsize=256)
def is_source_map(content_type: str) -> bool:
    """Return whether an uploaded source map may have this `Content-Type`."""
    return content_type.partition(";")[0].strip().lower() in _OF_SOURCE_MAPS and is_utf8(content_type)
