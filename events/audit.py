"""The audit log: who did what, when and why. It is append-only; the database refuses updates and deletions.

Entries of commands have the name of the operating system account. Strangers influence two texts: the filters of an
export, through a link, and the title of a failure group. The log records validated filters only, without those that may
contain a session id. Every text has a maximum length.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from urllib.parse import urlencode

from django.db.models import Q, QuerySet

from events import keyset
from events.keyset import Cursor
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


class AuditPage(NamedTuple):
    """`older` is the cursor of the next page, None at the end."""

    entries: list[AuditEntry]
    older: Cursor | None


def page(*, kind: str = "", who: str = "", limit: int, after: Cursor | None = None) -> AuditPage:
    """Return up to `limit` entries, newest first, after a cursor. "" as `kind` or `who` means any."""
    return AuditPage(*keyset.page(entries(kind=kind, who=who), limit, after))


def entries(*, kind: str = "", who: str = "") -> QuerySet[AuditEntry]:
    """Return the entries, newest first. "" as `kind` or `who` means any."""
    selected = AuditEntry.objects.order_by("-at_ms", "-id")
    if kind:
        selected = selected.filter(kind=kind)
    return selected.filter(who=who) if who else selected


def parse_cursor(raw: str) -> Cursor:
    return Cursor.parse(raw, r"([0-9]{1,15})\.([0-9]{1,15})")
