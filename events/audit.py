"""The audit log: who did what, when and why. It is append-only, and database triggers enforce that.

An entry of a command has the name of the account that ran it. Strangers can influence two texts: the filters of an
export, by a link, and the title of a failure group. An export's filters are recorded as the form validated them. Values
that may name a session are replaced. Every text is bounded.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from urllib.parse import urlencode

from django.db.models import Q

from events.models import AuditEntry, AuditKind, Event, HourlyRollup

# The longest text that a form accepts is a note of 2,000 characters.
MAX_CHARACTERS = 2_500
_HIDDEN_FILTERS = ("session", "q")
_OPEN_FILTERS = ("model", "version", "group")


def note(
    kind: AuditKind, what: str, *, who: str, at: datetime, why: str = "", about: str = "", subject: str = ""
) -> None:
    """Add an entry in the caller's transaction, so that an action and its entry are committed together.

    `about` names the object of the action. `subject` is its fingerprint if it is a failure group.
    """
    AuditEntry.objects.create(
        at_ms=int(at.timestamp() * 1000),
        kind=kind,
        who=_bounded(who),
        what=_bounded(what),
        why=_bounded(why),
        about=_bounded(about),
        subject=_bounded(subject),
    )


def filters_in_words(filters: Mapping[str, str]) -> str:
    """Return validated filters as a query string. A value that may name a session is shown as `…`."""
    return "&".join(
        f"{name}=…" if _may_name_a_session(name, value) else urlencode({name: value}) for name, value in filters.items()
    )


def _may_name_a_session(name: str, value: str) -> bool:
    if name not in _OPEN_FILTERS:
        return name in _HIDDEN_FILTERS
    # A client can use the name of a model as its session id. Model names are still shown.
    return (
        Event.objects.of_sessions(value).exists()
        and not HourlyRollup.objects.filter(Q(model=value) | Q(app_version=value)).exists()
    )


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 1]}…"


class Place(NamedTuple):
    """A place between two entries, newest first: everything after this one."""

    at_ms: int
    id: int

    def __str__(self) -> str:
        return f"{self.at_ms}.{self.id}"

    @classmethod
    def parse(cls, raw: str) -> "Place":
        """Read what `str()` wrote; raises ValueError."""
        match = re.fullmatch(r"([0-9]{1,15})\.([0-9]{1,15})", raw)
        if match is None:
            raise ValueError("not a place")
        return cls(int(match[1]), int(match[2]))


class Page(NamedTuple):
    """`older` is where the next page begins, None at the end."""

    entries: list[AuditEntry]
    older: Place | None


def page(*, kind: str = "", who: str = "", limit: int, after: Place | None = None) -> Page:
    """Return up to `limit` entries, newest first, after a place; of one kind, by one person, or "" for any."""
    entries = AuditEntry.objects.order_by("-at_ms", "-id")
    if kind:
        entries = entries.filter(kind=kind)
    if who:
        entries = entries.filter(who=who)
    if after is not None:
        # The plain bound is what the index understands; the pair settles equal milliseconds.
        entries = entries.filter(Q(at_ms__lte=after.at_ms) & (Q(at_ms__lt=after.at_ms) | Q(id__lt=after.id)))
    found = list(entries[: limit + 1])
    older = Place(found[limit - 1].at_ms, found[limit - 1].id) if len(found) > limit else None
    return Page(found[:limit], older)
