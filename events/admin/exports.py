"""Admin pages of exports: one to choose columns and a format for a list, and the exports that are stored under a name.

The page works without JavaScript: each button sends the form. The script `exports.js` moves columns without a request,
and shows the progress of a download.
"""

import secrets
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, NamedTuple

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, QueryDict
from django.http.response import HttpResponseBase
from django.urls import URLPattern, reverse
from django.utils.text import Truncator

from events import clock
from events.admin.pages import PagesAdmin, export_response
from events.models import AuditEntry, AuditKind, NamedExport
from events.reports.exports import choices, estimates, making, named
from events.reports.exports.choices import COLUMN, FORMAT, GZIP, PLAIN_FORMATS, PREFIX, Choice, InvalidExport
from events.reports.exports.columns import Column, Kind
from events.reports.exports.lists import LISTS, ExportList
from events.reports.exports.named import InvalidName
from events.reports.forms import ListFilter

# Parameters of the page alone: every column in its order, the button, the last move, the name, the id of the progress.
ORDER, ACTION, MOVED, NAME, PROGRESS_ID = (PREFIX + name for name in ("order", "action", "moved", "name", "id"))
_PREVIEW_CHARACTERS = 80


class ColumnRow(NamedTuple):
    """A column of the form. `focus` is the button, up or down, that gets the focus: the one that was pressed."""

    name: str
    is_chosen: bool
    is_first: bool
    is_last: bool
    focus: str


class StoredRow(NamedTuple):
    export: NamedExport
    title: str
    filters: list[tuple[str, str]]
    format: str
    problem: str
    warnings: list[str]
    may_download: bool


@admin.register(NamedExport)
class NamedExportAdmin(PagesAdmin):
    """The stored exports, and the page that exports a list."""

    title = "Exports"

    def get_urls(self) -> list[URLPattern]:
        return [
            *super().get_urls(),
            self.route("of/<str:list_key>/", self.of_view, "of"),
            self.route("progress/<str:progress_id>/", self.progress_view, "progress"),
            self.route("<path:object_id>/download/", self.download_view, "export"),
            self.route("<path:object_id>/change/", self.change_view, "change"),
            self.route("<path:object_id>/delete/", self.delete_view, "delete"),
            self.route("<path:object_id>/history/", self.history_view, "history"),
        ]

    @staticmethod
    def may_export(request: HttpRequest, export_list: ExportList) -> bool:
        return request.user.has_perms(("events.export_event", *export_list.permissions))

    # --- the page of a list ------------------------------------------------------------------------------------------

    def of_view(self, request: HttpRequest, list_key: str) -> HttpResponseBase:
        """Show what an export will contain (GET), or carry out what the button of the form says (POST)."""
        export_list = LISTS.get(list_key)
        if export_list is None:
            raise Http404
        self.demand(self.may_export(request, export_list))
        if request.method == "POST":
            return self._act(request, export_list)
        return self._page(request, export_list, _without(request.GET, MOVED), moved=request.GET.get(MOVED, ""))

    def _act(self, request: HttpRequest, export_list: ExportList) -> HttpResponseBase:
        action, _, moved_name = request.POST.get(ACTION, "").partition(" ")
        posted = _without(request.POST, ORDER, ACTION, NAME, PROGRESS_ID, "csrfmiddlewaretoken")
        for name in [name for name in posted if name in (FORMAT, GZIP) or not name.startswith(PREFIX)]:
            if not posted[name]:
                del posted[name]
        if not posted.getlist(COLUMN):
            return self._page(request, export_list, posted, faults={COLUMN: ["Choose at least one column."]})
        if action in ("up", "down"):
            posted.setlist(COLUMN, _moved(posted.getlist(COLUMN), moved_name, -1 if action == "up" else 1))
            posted[MOVED] = f"{action} {moved_name}"
        if action not in ("download", "store"):
            return HttpResponseRedirect(self.export_page(export_list.key, posted.urlencode()))
        try:
            choice = choices.of_query(export_list, posted)
            if action == "store":
                return self._store(request, choice, posted)
            read = choice.read(clock.now(), request.user.pk)
        except InvalidExport as fault:
            return self._page(request, export_list, posted, faults=fault.fields)
        progress = making.progress_of(request.user.pk or 0, request.POST.get(PROGRESS_ID, ""))
        return export_response(request, choice, read, progress=progress)

    def _store(self, request: HttpRequest, choice: Choice, posted: QueryDict) -> HttpResponse:
        self.demand(self.has_add_permission(request))
        name = request.POST.get(NAME, "")
        try:
            stored = named.create(name, choice, who=request.user.get_username(), at=clock.now())
        except InvalidName as fault:
            return self._page(request, choice.export_list, posted, faults={NAME: [str(fault)]}, name=name)
        messages.success(request, f"The export {stored.name} is stored.")
        return HttpResponseRedirect(self.url("changelist"))

    def _page(
        self,
        request: HttpRequest,
        export_list: ExportList,
        parameters: QueryDict,
        *,
        faults: dict[str, list[str]] | None = None,
        moved: str = "",
        name: str = "",
    ) -> HttpResponse:
        """Render the page. `faults` are those of a form that was sent; the page then keeps its values."""
        now = clock.now()
        faults = dict(faults or {})
        choice, found = None, None
        try:
            choice = choices.of_query(export_list, parameters)
            read = choice.read(now, request.user.pk)
            found = estimates.estimate(choice, read)
        except InvalidExport as fault:
            faults |= fault.fields
        chosen = choice.names if choice else parameters.getlist(COLUMN)
        shown = {fault: words for fault, words in faults.items() if fault != NAME}
        context = {
            "title": f"Export: {export_list.title}",
            "now": now,
            "export_list": export_list,
            "faults": shown,
            "name_fault": " ".join(faults.get(NAME, [])),
            "choice": choice,
            "estimate": found,
            "head": [column.heading for column in choice.columns] if choice else [],
            "preview": [_cells(row, choice.columns) for row in found.preview] if choice and found else [],
            "rows": _column_rows(export_list, chosen, moved),
            "formats": PLAIN_FORMATS,
            "format": choice.format.value.removesuffix(".gz") if choice else parameters.get(FORMAT, "xlsx"),
            "is_gzip": choice.format.encoding.is_gzip if choice else bool(parameters.get(GZIP)),
            "filters": _in_words(choice.form) if choice else [],
            "filter_form": choice.form if choice and export_list.key == "days" else None,
            "kept": [(key, value) for key, value in parameters.items() if not key.startswith(PREFIX)],
            "back_url": _list_url(export_list, choice.filters if choice else ""),
            "may_store": self.has_add_permission(request),
            "stored_url": self.url("changelist") if self.has_view_permission(request) else "",
            "name": name,
            "name_help": named.NAME_HELP,
            "progress_id": secrets.token_urlsafe(16),
            "progress_url": self.url("progress", "ID"),
        }
        return self.render(request, "events/export.html", context, status=400 if faults else 200)

    def progress_view(self, request: HttpRequest, progress_id: str) -> HttpResponse:
        """Return the progress of a download of this account as JSON. 404 until it has begun."""
        self.demand(request.user.has_perm("events.export_event"))
        found = making.shown(request.user.pk or 0, progress_id)
        status = 404 if found is None else 200
        return JsonResponse(found or {}, status=status, headers={"Cache-Control": "no-store"})

    # --- stored exports ----------------------------------------------------------------------------------------------

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self.demand(self.has_view_permission(request) and request.method != "POST")
        context = {
            "title": self.title,
            "now": clock.now(),
            "rows": [self._stored(request, export) for export in named.exports()],
            "lists": [
                (each.title, self.export_page(each.key)) for each in LISTS.values() if self.may_export(request, each)
            ],
            "may_change": self.has_change_permission(request),
            "may_delete": self.has_delete_permission(request),
        }
        return self.render(request, "events/export_list.html", context)

    def _stored(self, request: HttpRequest, export: NamedExport) -> StoredRow:
        try:
            choice = named.choice_of(export)
        except InvalidExport as fault:
            words = " ".join(error for errors in fault.fields.values() for error in errors)
            title = LISTS[export.list_key].title if export.list_key in LISTS else export.list_key
            return StoredRow(export, title, [], export.format, words, [], may_download=False)
        return StoredRow(
            export, choice.export_list.title, _in_words(choice.form), choice.format.encoding.label, "",
            choice.warnings(), may_download=self.may_export(request, choice.export_list),
        )  # fmt: skip

    def download_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Download a stored export."""
        self.demand(request.user.has_perm("events.export_event"))
        export = self.get_object(request, unquote(object_id))
        to_list = HttpResponseRedirect(self.url("changelist"))
        if self.is_cross_site_request(request):
            return to_list
        try:
            choice = named.choice_of(export)
            self.demand(self.may_export(request, choice.export_list))
            read = choice.read(clock.now(), request.user.pk)
        except InvalidExport as fault:
            messages.error(request, f"Nothing was exported. {fault}")
            return to_list
        return export_response(request, choice, read, name=export.name)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the form for another name (GET), or rename the export (POST)."""
        self.demand(self.has_change_permission(request))
        export = self.get_object(request, unquote(object_id))
        context = {"title": f"Rename {export.name}", "export": export, "name": export.name, "help": named.NAME_HELP}
        if request.method == "POST":
            context["name"] = request.POST.get("name", "")
            try:
                named.rename(export, request.POST.get("name", ""), who=request.user.get_username(), at=clock.now())
            except InvalidName as fault:
                return self.render(request, "events/export_rename.html", context | {"fault": str(fault)}, status=400)
            messages.success(request, f"The export is now named {export.name}.")
            return HttpResponseRedirect(self.url("changelist"))
        return self.render(request, "events/export_rename.html", context)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the confirmation page (GET), or delete the export (POST)."""
        self.demand(self.has_delete_permission(request))
        export = self.get_object(request, unquote(object_id))
        if request.method == "POST":
            named.delete(export, who=request.user.get_username(), at=clock.now())
            messages.success(request, f"The export {export.name} is deleted.")
            return HttpResponseRedirect(self.url("changelist"))
        return self.render(request, "events/export_delete.html", {"title": f"Delete {export.name}?", "export": export})

    def history(self, obj: NamedExport) -> QuerySet[AuditEntry]:
        return AuditEntry.objects.filter(kind=AuditKind.EXPORT, about=obj.name).order_by("-at_ms", "-id")


def _without(parameters: QueryDict, *names: str) -> QueryDict:
    rest = parameters.copy()
    for name in names:
        rest.pop(name, None)
    return rest


def _moved(names: Sequence[str], name: str, by: int) -> list[str]:
    """Return the names with one of them moved by one place, if it has a neighbour there."""
    moved = list(names)
    if name in moved and 0 <= (to := moved.index(name) + by) < len(moved):
        moved.remove(name)
        moved.insert(to, name)
    return moved


def _column_rows(export_list: ExportList, chosen: Sequence[str], moved: str) -> list[ColumnRow]:
    action, _, moved_name = moved.partition(" ")
    known = {column.name for column in export_list.columns()}
    names = [name for name in choices.in_order(export_list, chosen) if name in known]
    last = len([name for name in chosen if name in known]) - 1
    return [
        ColumnRow(name, name in chosen, place == 0, place == last, action if name == moved_name else "")
        for place, name in enumerate(names)
    ]


def _in_words(form: ListFilter) -> list[tuple[str, str]]:
    """Return the label and the value of each active filter."""
    return [
        (str(form[name].label), str(dict(getattr(form.fields[name], "choices", ())).get(value) or value))
        for name, value in form.applied().items()
    ]


def _list_url(export_list: ExportList, filters: str) -> str:
    """Return the URL of the list's page with these filters."""
    query = "" if export_list.key in ("days", "releases") or not filters else f"?{filters}"
    return f"{reverse(f'admin:{export_list.page}')}{query}"


def _cells(row: Sequence[Any], columns: Sequence[Column]) -> list[str]:
    return [_text(value, column.kind) for value, column in zip(row, columns, strict=True)]


def _text(value: Any, kind: Kind) -> str:
    if value is None:
        return ""
    as_text: Callable[[Any], str] = clock.iso if kind is Kind.MOMENT else date.isoformat if kind is Kind.DAY else str
    return Truncator(as_text(value)).chars(_PREVIEW_CHARACTERS)
