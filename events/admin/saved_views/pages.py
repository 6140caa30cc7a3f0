"""The pages of saved views: all of them, the link to one, and the forms to save, change, rename and delete one."""

from collections.abc import Callable
from typing import Any, NamedTuple

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from events import clock
from events.admin.saved_views import addresses, navigation, store
from events.admin.saved_views.addresses import Refused
from events.admin.saved_views.forms import RenameForm, SaveForm
from events.admin.saved_views.navigation import Link
from events.models import SavedView

ALL = "admin:saved_views"


class Row(NamedTuple):
    """A line of the list of all views: the view, its parameters in words, and whether the account may change it."""

    link: Link
    words: list[tuple[str, str, str]]
    may_change: bool


class SavedViewPages:
    """The views of one admin site."""

    def __init__(self, admin_site: Any) -> None:
        self.admin_site = admin_site

    def urls(self) -> list[URLPattern]:
        return [
            self._route("views/", self.list_all, "saved_views"),
            self._route("views/save/", self.save, "saved_view_save"),
            self._route("views/<str:key>/", self.open, "saved_view"),
            self._route("views/<str:key>/update/", self.update, "saved_view_update"),
            self._route("views/<str:key>/rename/", self.rename, "saved_view_rename"),
            self._route("views/<str:key>/delete/", self.delete, "saved_view_delete"),
        ]

    def list_all(self, request: HttpRequest) -> HttpResponse:
        pages = navigation.lists(self.admin_site, request)
        rows = [
            Row(link, addresses.in_words(pages[link.view.list], link.view.query), _may_change(link.view, request))
            for link in navigation.links(self.admin_site, request)
        ]
        context = {
            "title": "Saved views",
            "sections": [
                ("own", "Yours", [row for row in rows if row.link.is_own]),
                ("everybody", "For everybody", [row for row in rows if not row.link.is_own]),
            ],
            "has_rows": bool(rows),
            "may_share": request.user.has_perm(store.SHARE),
            "lists": [(page.title, page.url("changelist")) for page in pages.values()],
            "most": store.MOST_OWN,
        }
        return self._render(request, "events/saved_views.html", context)

    def open(self, request: HttpRequest, key: str) -> HttpResponse:
        """Redirect to the list with the current parameters of a view, also for other accounts that may see the list."""
        view = self._find(key)
        if view is None:
            return self._gone(request)
        self._page(request, view.list)
        return HttpResponseRedirect(navigation.url_of(view))

    def save(self, request: HttpRequest) -> HttpResponse:
        """Show the form (GET), or save a new view of the list and the query string that it names (POST)."""
        parameters = request.POST if request.method == "POST" else request.GET
        page = self._page(request, parameters.get("list", ""))
        data = request.POST if request.method == "POST" else None
        form = SaveForm(data, may_share=request.user.has_perm(store.SHARE))
        query = parameters.get("query", "")
        if form.is_bound and form.is_valid():
            try:
                view = store.save(
                    of_list=navigation.list_key(page),
                    title=page.title,
                    name=form.cleaned_data["name"],
                    query=addresses.normalised(page, addresses.parse(query)),
                    is_shared=form.cleaned_data.get("everybody", False),
                    user=request.user,
                    at=clock.now(),
                )
            except Refused as refused:
                form.add_error("name", str(refused))
            else:
                messages.success(request, f"The view “{view.name}” is saved.")
                return HttpResponseRedirect(navigation.url_of(view))
        context = {
            "title": f"Save a view of {page.title}",
            "form": form,
            "hidden": [("list", navigation.list_key(page)), ("query", query)],
            "words": _words(page, query),
            "button": "Save view",
            "action_url": reverse("admin:saved_view_save"),
            "cancel_url": page.url("changelist"),
        }
        return self._render(request, "events/saved_view_form.html", context, status=400 if form.is_bound else 200)

    def update(self, request: HttpRequest, key: str) -> HttpResponse:
        """Replace the filters, the order and the columns of a view (POST)."""

        def change(view: SavedView, page: Any) -> HttpResponse:
            if request.method != "POST":
                return HttpResponseNotAllowed(["POST"])
            query = addresses.normalised(page, addresses.parse(request.POST.get("query", "")))
            store.change_query(view, query, title=page.title, user=request.user, at=clock.now())
            messages.success(request, f"The view “{view.name}” has the filters and columns of this page now.")
            return HttpResponseRedirect(navigation.url_of(view))

        return self._change(request, key, change)

    def rename(self, request: HttpRequest, key: str) -> HttpResponse:
        """Show the form (GET), or rename a view (POST)."""

        def change(view: SavedView, page: Any) -> HttpResponse:
            form = RenameForm(request.POST if request.method == "POST" else None, initial={"name": view.name})
            if form.is_bound and form.is_valid():
                try:
                    name = form.cleaned_data["name"]
                    store.rename(view, name, title=page.title, user=request.user, at=clock.now())
                except Refused as refused:
                    form.add_error("name", str(refused))
                else:
                    messages.success(request, f"The view is called “{view.name}” now. Links to it still work.")
                    return HttpResponseRedirect(reverse(ALL))
            context = {
                "title": f"Rename {view.name}",
                "form": form,
                "words": _words(page, view.query),
                "button": "Rename",
                "action_url": request.path,
                "cancel_url": reverse(ALL),
            }
            return self._render(request, "events/saved_view_form.html", context, status=400 if form.is_bound else 200)

        return self._change(request, key, change)

    def delete(self, request: HttpRequest, key: str) -> HttpResponse:
        """Ask for a confirmation (GET), or delete a view (POST)."""

        def change(view: SavedView, page: Any) -> HttpResponse:
            if request.method == "POST":
                store.delete(view, title=page.title, user=request.user, at=clock.now())
                messages.success(request, f"The view “{view.name}” is deleted.")
                return HttpResponseRedirect(reverse(ALL))
            context = {"title": f"Delete {view.name}?", "view": view, "words": _words(page, view.query)}
            context |= {"list_title": page.title, "all_url": reverse(ALL)}
            return self._render(request, "events/saved_view_delete.html", context)

        return self._change(request, key, change)

    def _change(self, request: HttpRequest, key: str, change: Callable[[SavedView, Any], HttpResponse]) -> HttpResponse:
        view = self._find(key)
        if view is None:
            return self._gone(request)
        page = self._page(request, view.list)
        if not _may_change(view, request):
            raise PermissionDenied
        try:
            return change(view, page)
        except Refused as refused:
            messages.error(request, str(refused))
            return HttpResponseRedirect(navigation.url_of(view))

    @staticmethod
    def _find(key: str) -> SavedView | None:
        return SavedView.objects.filter(pk=key).first()

    def _page(self, request: HttpRequest, of_list: str) -> Any:
        """Return the page of a list. Raises Http404 for an unknown one, PermissionDenied without its permission."""
        pages = navigation.lists(self.admin_site, request)
        if of_list in pages:
            return pages[of_list]
        known = {navigation.list_key(page) for page in self.admin_site._registry.values()}
        raise PermissionDenied if of_list in known else Http404

    def _gone(self, request: HttpRequest) -> HttpResponse:
        context = {"title": "This saved view does not exist", "all_url": reverse(ALL)}
        return self._render(request, "events/saved_view_gone.html", context, status=404)

    def _render(self, request: HttpRequest, template: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
        shared = self.admin_site.each_context(request) | {"now": clock.now()}
        return TemplateResponse(request, template, shared | context, status=status)

    def _route(self, address: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
        protected: Callable[..., HttpResponse] = self.admin_site.admin_view(view)
        return path(address, protected, name=name)


def _may_change(view: SavedView, request: HttpRequest) -> bool:
    return store.may_change(view, request.user)


def _words(page: Any, query: str) -> list[tuple[str, str, str]]:
    try:
        return addresses.in_words(page, addresses.plain_query(addresses.parse(query)))
    except Refused as refused:
        return [("Filters", "", str(refused))]
