"""The audit log: who did what, when and why. Entries are only ever added, and the table itself refuses the rest.

What a command does bears the name of the account that ran it. No entry names a session, so that erasing one leaves
nothing of it here.
"""

import re
from datetime import datetime
from typing import NamedTuple

from django.db.models import Q

from events.models import AuditEntry, AuditKind

_NAMES_SOMEONE = re.compile(r"(?<![^?&\s])(session|q)=[^&\s]+")


def note(
    kind: AuditKind, what: str, *, who: str, at: datetime, why: str = "", about: str = "", subject: str = ""
) -> None:
    """Add an entry in the caller's transaction, so that a deed and its entry stand or fall together.

    `about` is the name of what it was done to, `subject` the fingerprint where that is a failure group.
    """
    AuditEntry.objects.create(
        at_ms=int(at.timestamp() * 1000), kind=kind, who=who, what=what, why=why, about=about, subject=subject
    )


def without_names(query: str) -> str:
    """Return the query of a list without what may name one session: its filter, and any text looked for."""
    return _NAMES_SOMEONE.sub(r"\1=…", query)


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
