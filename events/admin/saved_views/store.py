"""The only writer of SavedView, and its rules: names, limits, and who may change a view.

A change of a view for everybody is in the audit log. Every function that writes raises Refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils.crypto import get_random_string

from events import audit, clock
from events.admin.saved_views.addresses import Refused, parse
from events.models import AuditKind, SavedView

SHARE = "events.share_savedview"
MOST_OWN = 50
MOST_SHARED = 50
_ID_LENGTH = 12
_ID_CHARACTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # without those that look alike
_GONE = "This view was deleted meanwhile, so nothing was changed."


def visible_to(user: Any) -> QuerySet[SavedView]:
    """Return the views of an account and those for everybody, by name."""
    return SavedView.objects.filter(Q(owner=user.pk) | Q(owner=None)).order_by("name", "id")


def may_change(view: SavedView, user: Any) -> bool:
    return bool(view.owner_id == user.pk if view.owner_id else user.has_perm(SHARE))


def save(*, of_list: str, title: str, name: str, query: str, is_shared: bool, user: Any, at: datetime) -> SavedView:
    """Save a view of a list. `title` is the list in words."""
    view = SavedView(
        id=get_random_string(_ID_LENGTH, _ID_CHARACTERS),
        list=of_list,
        name=name,
        query=query,
        owner=None if is_shared else user,
        created_by_name=user.get_username(),
        created_at_ms=clock.epoch_ms(at),
    )
    with _unique_name(name), transaction.atomic():
        # The lock makes simultaneous requests count one after the other. Near the limit there are rows to lock.
        others = SavedView.objects.filter(owner=view.owner)
        most = MOST_SHARED if is_shared else MOST_OWN
        if len(others.select_for_update().values_list("pk")) and others.count() >= most:
            raise Refused(_too_many(is_shared))
        view.save(force_insert=True)
        _note(view, f"Saved a view of {title} for everybody: {_filters(query)}.", user=user, at=at)
    return view


def change_query(view: SavedView, query: str, *, title: str, user: Any, at: datetime) -> None:
    """Replace the filters, the order and the columns of a view."""
    with transaction.atomic():
        _update(view, query=query)
        _note(view, f"Changed a view of {title} for everybody: {_filters(query)}.", user=user, at=at)


def rename(view: SavedView, name: str, *, title: str, user: Any, at: datetime) -> None:
    before = view.name
    with _unique_name(name), transaction.atomic():
        _update(view, name=name)
        _note(view, f"Renamed a view of {title} for everybody from “{before}”.", user=user, at=at)


def delete(view: SavedView, *, title: str, user: Any, at: datetime) -> None:
    with transaction.atomic():
        deleted, _ = SavedView.objects.filter(pk=view.pk).delete()
        if not deleted:
            raise Refused(_GONE)
        _note(view, f"Deleted a view of {title} for everybody.", user=user, at=at)


def _update(view: SavedView, **changes: str) -> None:
    if not SavedView.objects.filter(pk=view.pk).update(**changes):
        raise Refused(_GONE)
    for column, value in changes.items():
        setattr(view, column, value)


@contextmanager
def _unique_name(name: str) -> Iterator[None]:
    """Turn the error about a name that is taken into words."""
    try:
        yield
    except IntegrityError as error:
        if "unique" not in str(error).lower():
            raise
        raise Refused(f"There is a view “{name}” of this list already. Choose another name.") from error


def _note(view: SavedView, what: str, *, user: Any, at: datetime) -> None:
    if view.owner_id is None:
        audit.note(AuditKind.VIEW, what, who=user.get_username(), at=at, about=view.name)


def _filters(query: str) -> str:
    return audit.filters_in_words({name: str(value) for name, value in parse(query).items()}) or "no filter"


def _too_many(is_shared: bool) -> str:
    if is_shared:
        return f"There are {MOST_SHARED} views for everybody, the most that a site can have. Delete one first."
    return f"You have {MOST_OWN} saved views, the most that one account can have. Delete one first."
