"""The saved views in the navigation of every page, and on the page of their list."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils.http import urlencode

from events.admin.saved_views import addresses, store
from events.admin.saved_views.addresses import COLUMNS, VIEW, Columns
from events.models import SavedView


class Link(NamedTuple):
    """A link to a saved view.

    `current` is the value of `aria-current`: "page" if the page shows the view, "true" if it was opened from the view
    and has other filters now, else "".
    """

    view: SavedView
    list_title: str
    url: str
    is_own: bool
    current: str


class Bar(NamedTuple):
    """What the page of a list shows about its saved views and its columns.

    `query` is the query string that a view of this page would keep. `kept` are the parameters that the form of the
    columns passes on.
    """

    of_list: str
    links: list[Link]
    current: Link | None
    query: str
    is_valid: bool
    may_change: bool
    may_share: bool
    columns: Columns
    kept: list[tuple[str, str]]
    default_columns_query: str


def list_key(page: Any) -> str:
    """Return the name of a list of the admin in SavedView: `events_recentfailure`."""
    return f"{page.opts.app_label}_{page.opts.model_name}"


def lists(admin_site: Any, request: HttpRequest) -> dict[str, Any]:
    """Return the pages of the lists with saved views that this account may see, by the name of the list."""
    pages = (page for page in admin_site._registry.values() if getattr(page, "has_saved_views", False))
    return {list_key(page): page for page in pages if page.has_view_permission(request)}


def url_of(view: SavedView) -> str:
    """Return the address of the list with the filters, the order and the columns of a view."""
    parts = [view.query, urlencode({VIEW: view.pk})]
    return f"{reverse(f'admin:{view.list}_changelist')}?{'&'.join(part for part in parts if part)}"


def links(admin_site: Any, request: HttpRequest) -> list[Link]:
    """Return the views of the account and those for everybody. A request reads them once."""
    kept: list[Link] | None = getattr(request, "saved_view_links", None)
    if kept is None:
        pages = lists(admin_site, request)
        views = store.visible_to(request.user) if pages else ()
        kept = list(_links(views, pages, request))
        request.saved_view_links = kept  # type: ignore[attr-defined]
    return kept


def _links(views: Iterable[SavedView], pages: dict[str, Any], request: HttpRequest) -> Iterable[Link]:
    shown = [view for view in views if view.list in pages]
    here = [view for view in shown if request.path == pages[view.list].url("changelist")] if request.GET else []
    query = addresses.plain_query(request.GET)
    named = request.GET.get(VIEW)
    current = next((view for view in here if view.pk == named), None)
    if current is None:
        current = next((view for view in here if view.query == query), None)
    for view in shown:
        mark = ("page" if view.query == query else "true") if view is current else ""
        yield Link(view, str(pages[view.list].title), url_of(view), view.owner_id is not None, mark)


def bar(page: Any, request: HttpRequest, form: Any, columns: Columns) -> Bar:
    """Return the saved views of a list, and the choice of its columns."""
    of_list = list_key(page)
    own = [link for link in links(page.admin_site, request) if link.view.list == of_list]
    current = next((link for link in own if link.current), None)
    kept = request.GET.copy()
    for name in ("cursor", COLUMNS):
        kept.pop(name, None)
    return Bar(
        of_list,
        own,
        current,
        addresses.plain_query(request.GET),
        form.is_valid(),
        current is not None and store.may_change(current.view, request.user),
        request.user.has_perm(store.SHARE),
        columns,
        [(name, str(value)) for name, value in kept.items()],
        kept.urlencode(),
    )


def is_invalid(link: Link | None, form: Any, parameters: QueryDict) -> bool:
    """Return whether a saved view contains one of the parameters that the form refuses."""
    saved = QueryDict(link.view.query) if link else QueryDict()
    return any(name in saved and saved.get(name) == parameters.get(name) for name in form.errors)


def valid_query(form: Any, parameters: QueryDict) -> str:
    """Return the query string of an address without its invalid parameters."""
    kept = parameters.copy()
    for name in form.errors:
        kept.pop(name, None)
    return kept.urlencode()
