"""The audit log: who did what, when and why. It is append-only; the database refuses updates and deletions.

Entries of commands have the name of the operating system account. Strangers influence two texts: the filters of an
export, through a link, and the title of a failure group. The log records validated filters only, without those that may
contain a session id. Every text has a maximum length.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from urllib.parse import urlencode

from django.db.models import Q

from events.models import AuditEntry, AuditKind, Event, HourlyRollup

# Forms accept at most 2,000 characters, for a note.
MAX_CHARACTERS = 2_500
_HIDDEN_FILTERS = ("session", "q")
_OPEN_FILTERS = ("model", "version", "group")


def note(
    kind: AuditKind, what: str, *, who: str, at: datetime, why: str = "", about: str = "", subject: str = ""
) -> None:
    """Add an entry in the caller's transaction, so that the action and its entry are committed together.

    `about` is the name of the changed object. `subject` is the fingerprint if the object is a failure group.
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
    """Return validated filters as a query string. A value that may be a session id becomes `…`."""
    return "&".join(
        f"{name}=…" if _may_be_session(name, value) else urlencode({name: value}) for name, value in filters.items()
    )


def _may_be_session(name: str, value: str) -> bool:
    if name not in _OPEN_FILTERS:
        return name in _HIDDEN_FILTERS
    # A client may use the name of a model as a session id. Names of models and versions are still recorded.
    return (
        Event.objects.of_sessions(value).exists()
        and not HourlyRollup.objects.filter(Q(model=value) | Q(app_version=value)).exists()
    )


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 1]}…"


class AuditCursor(NamedTuple):
    """Keyset cursor of the log, newest first: the page starts after this entry."""

    at_ms: int
    id: int

    def __str__(self) -> str:
        return f"{self.at_ms}.{self.id}"

    @classmethod
    def parse(cls, raw: str) -> "AuditCursor":
        """Parse the output of `str()`. Raises ValueError."""
        match = re.fullmatch(r"([0-9]{1,15})\.([0-9]{1,15})", raw)
        if match is None:
            raise ValueError("not a cursor")
        return cls(int(match[1]), int(match[2]))


class AuditPage(NamedTuple):
    """`older` is the cursor of the next page, None at the end."""

    entries: list[AuditEntry]
    older: AuditCursor | None


def page(*, kind: str = "", who: str = "", limit: int, after: AuditCursor | None = None) -> AuditPage:
    """Return up to `limit` entries, newest first, after a cursor. "" as `kind` or `who` means any."""
    entries = AuditEntry.objects.order_by("-at_ms", "-id")
    if kind:
        entries = entries.filter(kind=kind)
    if who:
        entries = entries.filter(who=who)
    if after is not None:
        # The plain bound uses the index. The pair orders entries of the same millisecond.
        entries = entries.filter(Q(at_ms__lte=after.at_ms) & (Q(at_ms__lt=after.at_ms) | Q(id__lt=after.id)))
    rows = list(entries[: limit + 1])
    older = AuditCursor(rows[limit - 1].at_ms, rows[limit - 1].id) if len(rows) > limit else None
    return AuditPage(rows[:limit], older)
