"""Advice to users: a text and a link that a maintainer gives a group. The responses to its failures carry them.

`give` and `withdraw` write the advice. Ingest reads it from the row of the group in the transaction of the event, so it
is never cached, and `count` counts each response that carries it.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import QuerySet, Sum

from events import audit
from events.counting.buckets import DAY_MS
from events.counting.upserts import Upsert, added, select_in, upsert
from events.grouping import groups
from events.grouping.groups import Advice
from events.grouping.triage import ABOUT_CHARACTERS
from events.models import AdviceDay, AuditKind, Event, FailureGroup
from events.rows import EventRow
from events.visible_text import is_visible

MAX_TEXT = 280
MAX_URL = 2_000

# Control and format characters, surrogates, private characters, separators of lines. The format characters include the
# overrides of the text direction, which can make a text look like another one.
_REFUSED = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
_JOINERS = {"\u200c", "\u200d"}  # Several scripts and many emoji need these two format characters.
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# A host of ASCII letters, so that no letter of another script imitates it; no user name; the characters of RFC 3986.
_URL = re.compile(
    rf"https://(?=[^/?#]{{1,255}}(?:[/?#]|$))(?:{_LABEL}\.)*{_LABEL}\.?(?::(?P<port>[0-9]{{1,5}}))?"
    r"(?:[/?#][\w.~:/?#\[\]@!$&'()*+,;=%-]*)?",
    re.ASCII | re.IGNORECASE,
)

_DAYS = Upsert(
    AdviceDay._meta.db_table, ("fingerprint", "day_ms", "delivered"), "fingerprint, day_ms", added("delivered")
)
_GIVEN = (
    f" g.fingerprint, g.advice_text, g.advice_url FROM {Event._meta.db_table} AS e"
    f" JOIN {FailureGroup._meta.db_table} AS g ON g.fingerprint = e.fingerprint WHERE g.advice_text <> ''"
)


class CannotAdvise(Exception):
    """The group cannot have this advice; the message says why. Nothing was changed."""


def fault_of_text(text: str) -> str | None:
    """Return why a text cannot be advice, None if it can."""
    if not is_visible(text):
        return "Write a text for the users."
    if len(text) > MAX_TEXT:
        return f"Use at most {MAX_TEXT} characters (now {len(text):,})."
    for character in text:
        if unicodedata.category(character) in _REFUSED and character not in _JOINERS:
            return f"Remove the invisible character U+{ord(character):04X}."
    return None


def fault_of_url(url: str) -> str | None:
    """Return why an address cannot be the link of advice, None if it can."""
    if len(url) > MAX_URL:
        return f"Use at most {MAX_URL:,} characters (now {len(url):,})."
    if url[:8].lower() != "https://":
        return "The link must begin with https://."
    if not is_complete_url(url):
        return (
            "This is not a complete link with a host, without a user name and spaces."
            " Copy it from the address bar of a browser."
        )
    return None


def is_complete_url(url: str) -> bool:
    """Return whether a text is an https URL with an ASCII host, without a user name and without other characters."""
    match = _URL.fullmatch(url)
    return match is not None and int(match["port"] or 1) in range(1, 65_536)


def give(
    fingerprint: str, text: str, url: str | None, *, user: Any, at: datetime, replaces: FailureGroup | None = None
) -> None:
    """Give a group advice in place of its earlier advice. Raises CannotAdvise.

    With `replaces`, the advice that this row of the group has must still be the current one.
    """
    if fault := fault_of_text(text) or (fault_of_url(url) if url else None):
        raise CannotAdvise(fault)
    if groups.is_overflow(fingerprint):
        raise CannotAdvise("The overflow group of a type contains different failures, so no advice fits them all.")
    words = f"Advised users: “{text}”{f' {url}' if url else ''}"
    _write(fingerprint, text, url or None, words, user, at, replaces)


def withdraw(fingerprint: str, *, user: Any, at: datetime) -> None:
    """Remove the advice of a group."""
    _write(fingerprint, "", None, "Removed the advice to users.", user, at)


def _write(
    fingerprint: str,
    text: str,
    url: str | None,
    words: str,
    user: Any,
    at: datetime,
    replaces: FailureGroup | None = None,
) -> None:
    """Store advice, or none, with its entry in the audit log. Nothing happens if the group has exactly this advice."""
    with transaction.atomic():
        for group in groups.lock([fingerprint]):
            if (group.advice_text, group.advice_url) == (text, url):
                continue
            if replaces is not None and (group.advice_text, group.advice_url) != (
                replaces.advice_text,
                replaces.advice_url,
            ):
                raise CannotAdvise("Somebody else has changed the advice meanwhile. Look at it first.")
            FailureGroup.objects.filter(pk=group.pk).update(
                advice_text=text,
                advice_url=url,
                advised_at_ms=int(at.timestamp() * 1000) if text else None,
                advised_by_name=user.get_username() if text else None,
            )
            about = str(group)[:ABOUT_CHARACTERS]
            audit.note(AuditKind.TRIAGE, words, who=user.get_username(), at=at, about=about, subject=group.pk)


# --- deliveries ------------------------------------------------------------------------------------------------------


def of_stored(failures: Iterable[EventRow]) -> dict[int, Advice]:
    """Return the advice of the groups of stored failures, by the `id()` of the row that was received again.

    The rows may have other ids than the stored events: the session identifies them.
    """
    without_session: list[EventRow] = []
    with_session: defaultdict[str, list[EventRow]] = defaultdict(list)
    for event in failures:
        (without_session if event.session_id is None else with_session[event.event_type]).append(event)
    given = _given(f"SELECT e.id,{_GIVEN} AND e.id", [event.id for event in without_session])
    found = {id(event): given[event.id] for event in without_session if event.id in given}
    for event_type, events in with_session.items():
        query = f"SELECT e.session_id,{_GIVEN} AND e.event_type = %s AND e.session_id"
        given = _given(query, [event.session_id for event in events], event_type)
        found |= {id(event): given[event.session_id] for event in events if event.session_id in given}
    return found


def _given(query: str, values: Sequence[Any], *before: Any) -> dict[Any, Advice]:
    return {value: Advice(*columns) for value, *columns in select_in(query, values, *before)}


def count(deliveries: Mapping[tuple[str, int], int]) -> None:
    """Count responses with advice, by group and UTC day (epoch days), in the transaction of their events."""
    upsert(_DAYS, [(key, day * DAY_MS, n) for (key, day), n in deliveries.items()])


class Deliveries(NamedTuple):
    """Responses that carried the advice of a group: all, and by day (epoch ms), oldest first, without quiet days."""

    total: int
    days: dict[int, int]


def deliveries(keys: Collection[str], start_ms: int) -> Deliveries:
    """Return how often these groups delivered advice. `days` begin at `start_ms`, the start of a UTC day."""
    rows = AdviceDay.objects.filter(fingerprint__in=keys).order_by("day_ms")
    days = dict(rows.values_list("day_ms").annotate(n=Sum("delivered")))
    return Deliveries(sum(days.values()), {day_ms: n for day_ms, n in days.items() if day_ms >= start_ms})


def forget_deleted(former: QuerySet[Any, Any]) -> None:
    """Delete the deliveries of deleted groups. Those of merged groups stay: their keys are in `former`."""
    existing = FailureGroup.objects.values("pk")
    AdviceDay.objects.exclude(fingerprint__in=existing).exclude(fingerprint__in=former).delete()
