"""Exports that are stored under a name. The only writer of `events_namedexport`.

Each change has an entry in the audit log, in the same transaction.
"""

from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from events import audit, clock
from events.models import AuditKind, NamedExport
from events.reports.exports import choices
from events.reports.exports.choices import Choice
from events.visible_text import is_visible

MAX_NAME = 64
MAX_EXPORTS = 200
NAME_HELP = "1 to 64 visible characters. Unique. Part of the address GET /exports/NAME."


class InvalidName(ValueError):
    """A name that cannot be given, in words."""


def exports() -> QuerySet[NamedExport]:
    return NamedExport.objects.order_by("name")


def find(name: str) -> NamedExport | None:
    return None if "\0" in name else NamedExport.objects.filter(name=name).first()


def choice_of(named: NamedExport) -> Choice:
    """Return what a stored export chooses now. Raises InvalidExport if it can no longer be made."""
    return choices.of_stored(named.list_key, named.filters, named.columns, named.format)


def create(name: str, choice: Choice, *, who: str, at: datetime) -> NamedExport:
    """Store a choice. Raises InvalidName."""
    _check(name)
    if NamedExport.objects.count() >= MAX_EXPORTS:
        raise InvalidName(f"A site has at most {MAX_EXPORTS} stored exports. Delete one first.")
    try:
        with transaction.atomic():
            named = NamedExport.objects.create(
                name=name,
                list_key=choice.export_list.key,
                filters=choice.filters,
                columns=choice.names,
                format=choice.format.value,
                created_at_ms=clock.epoch_ms(at),
                created_by_name=who,
            )
            filters = audit.filters_in_words(choice.form.applied()) or choice.export_list.unfiltered
            _note(f"Stored the export of {choice.export_list.title}: {filters}", named, who, at)
    except IntegrityError:
        raise InvalidName(_taken(name)) from None
    return named


def rename(named: NamedExport, name: str, *, who: str, at: datetime) -> None:
    """Give a stored export another name. Raises InvalidName."""
    _check(name)
    before = named.name
    if name == before:
        return
    try:
        with transaction.atomic():
            NamedExport.objects.filter(pk=named.pk).update(name=name)
            named.name = name
            _note(f"Renamed the stored export {before}", named, who, at)
    except IntegrityError:
        named.name = before
        raise InvalidName(_taken(name)) from None


def delete(named: NamedExport, *, who: str, at: datetime) -> None:
    with transaction.atomic():
        _note("Deleted the stored export", named, who, at)
        named.delete()


def _check(name: str) -> None:
    if not 1 <= len(name) <= MAX_NAME or not all(is_visible(each) or each == " " for each in name):
        raise InvalidName("A name has 1 to 64 visible characters. Spaces are allowed between them.")
    if name != name.strip() or name.endswith("/") or name in (".", ".."):
        raise InvalidName("A name begins and ends with a visible character, not with a slash, and is not “.” or “..”.")


def _taken(name: str) -> str:
    return f"A stored export named {name} exists already."


def _note(what: str, named: NamedExport, who: str, at: datetime) -> None:
    audit.note(AuditKind.EXPORT, what, who=who, at=at, about=named.name)
