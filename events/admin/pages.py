"""Base class of the admin pages: lists, permissions and exports."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.utils import label_for_field, unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode
from django.utils.text import Truncator, capfirst

from events import clock
from events.admin.changelist import KeysetChangeList, SortHeading
from events.admin.saved_views import addresses, navigation
from events.admin.saved_views.addresses import COLUMNS, Columns
from events.maintenance import retention
from events.models import AuditEntry, Event
from events.process_memory import Recent
from events.reports import event_text, failures
from events.reports.exports import choices, making
from events.reports.exports.choices import Choice, Format, InvalidExport
from events.reports.exports.columns import Column, Row
from events.reports.exports.lists import LISTS, Read
from events.reports.exports.making import Progress
from events.reports.forms import ListFilter
from events.reports.issue_texts import writing
from events.reports.issue_texts.contents import IssueText

PAGE_ROWS = 50
HISTORY_ROWS = 200
MAX_QUERY = 8_000
MESSAGE_CHARACTERS = 500
READ_SECONDS = 10


class PagesAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A ModelAdmin without Django's forms and deletions. Its list is a KeysetChangeList.

    `column_labels` and `column_classes` contain the headings of fields and the CSS classes of columns, where they are
    not the default ones. `labelled_columns` repeat their heading in narrow pages. With `keeps_filters`, the links of
    the rows pass the filters on.

    With `has_saved_views`, the page shows the saved views of the list, and the address can choose columns: those of
    `list_display` and `more_columns`. `column_names` contains their names in addresses, where they are not those of
    the attributes. `plain_columns` need no heading in narrow pages. If the template of the list draws the columns
    itself, `drawn_columns` contains their headings by name, the one that is always shown first.
    """

    title: str
    filter_form: type[ListFilter] = ListFilter
    column_labels: Mapping[str, str] = {}
    column_classes: Mapping[str, str] = {}
    labelled_columns: tuple[str, ...] = ()
    has_saved_views = False
    more_columns: tuple[Any, ...] = ()
    column_names: Mapping[str, str] = {}
    plain_columns: tuple[str, ...] = ()
    drawn_columns: Mapping[str, str] = {}
    keeps_filters = False
    list_per_page = PAGE_ROWS
    show_facets = admin.ShowFacets.NEVER
    empty_value_display = '<span class="quiet wide-only">–</span>'

    # A superuser also has permissions that the model does not define.

    def has_add_permission(self, request: HttpRequest) -> bool:
        return "add" in self.opts.default_permissions and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return "change" in self.opts.default_permissions and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return "delete" in self.opts.default_permissions and super().has_delete_permission(request, obj)

    def has_triage_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request) and request.user.has_perm("events.triage_event")

    def has_export_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request) and request.user.has_perm("events.export_event")

    def get_urls(self) -> list[URLPattern]:
        return [self.route("", self.changelist_view, "changelist")]

    def route(self, address: str, view: Callable[..., HttpResponseBase], name: str, **options: Any) -> URLPattern:
        return path(address, self.admin_site.admin_view(view), options, name=self.page(name))

    def page(self, name: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{name}"

    def url(self, name: str, *args: str) -> str:
        return reverse(f"admin:{self.page(name)}", args=args)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        return KeysetChangeList

    def get_filter_form(self, parameters: QueryDict) -> Any:
        return self.filter_form(parameters)

    def get_more_columns(self) -> tuple[Any, ...]:
        """Return the columns that the list can show besides those of `list_display`."""
        return self.more_columns

    def read_columns(self, parameters: QueryDict) -> Columns:
        """Return the columns that the list offers, and those that its address chooses."""
        if self.drawn_columns:
            shown = [name for name in self.drawn_columns if name not in self.more_columns]
            names = dict(zip(self.drawn_columns, self.drawn_columns, strict=True))
            return Columns.of(parameters, names, self.drawn_columns, default=shown, required=next(iter(names)))
        offered = {
            self.column_names.get(column) or getattr(column, "__name__", column): column
            for column in (*self.list_display, *self.get_more_columns())
        }
        labels = {name: capfirst(str(self._label(column))) for name, column in offered.items()}
        default = list(offered)[: len(self.list_display)]
        required = next(name for name, column in offered.items() if column in (self.list_display_links or ()))
        return Columns.of(parameters, offered, labels, default=default, required=required)

    def _label(self, column: Any) -> Any:
        return self.column_labels.get(column) or label_for_field(column, self.model, self)

    def read_address(self, parameters: QueryDict) -> tuple[Any, Columns | None]:
        """Return the form of the filters, with an error for each invalid parameter, and the chosen columns."""
        if not self.has_saved_views:
            return self.get_filter_form(parameters).refuse_unknown(), None
        form = self.get_filter_form(addresses.filters(parameters)).refuse_unknown()
        columns = self.read_columns(parameters)
        if columns.fault:
            form.errors[COLUMNS] = form.error_class([columns.fault])
        return form, columns

    def get_list_display(self, request: HttpRequest) -> Any:
        if not self.has_saved_views or self.drawn_columns:
            return super().get_list_display(request)
        return self.read_columns(request.GET).shown

    def views_context(self, request: HttpRequest, form: Any, columns: Columns | None) -> dict[str, Any]:
        """Return what the template of a list needs for its saved views and its columns."""
        if columns is None:
            return {}
        bar = navigation.bar(self, request, form, columns)
        return {
            "bar": bar,
            "is_view_invalid": navigation.is_invalid(bar.current, form, request.GET),
            "valid_query": navigation.valid_query(form, request.GET) if form.errors else "",
            "clear_url": self.url("changelist") + (f"?{urlencode({COLUMNS: columns.text})}" if columns.text else ""),
            "rows_css": "rows chosen" if columns.is_chosen else "rows",
        }

    def short_address(self, request: HttpRequest) -> HttpResponse | None:
        """Return a redirect to the shorter address, if a form has sent one parameter for each column."""
        if not self.has_saved_views or request.method != "GET" or len(request.GET.getlist(COLUMNS)) < 2:
            return None
        columns = self.read_columns(request.GET)
        if columns.fault:
            return None
        parameters = request.GET.copy()
        parameters[COLUMNS] = columns.text
        if not columns.text:
            del parameters[COLUMNS]
        query = addresses.query_of(parameters)
        return HttpResponseRedirect(f"{request.path}?{query}" if query else request.path)

    def get_selection(self, changelist: KeysetChangeList) -> Any:
        """Return an object whose `select()` returns all matching rows. None means that every row matches."""
        return None

    def read_page(self, changelist: KeysetChangeList) -> Any:
        """Return a tuple that starts with the rows of the page and the cursor of the next page, None at the end."""
        raise NotImplementedError

    def sort_headings(self, changelist: KeysetChangeList, name: str, label: str) -> list[SortHeading]:
        """Return the links of a column heading that sort the list."""
        return []

    def list_context(self, request: HttpRequest, changelist: KeysetChangeList) -> dict[str, Any]:
        """Return what the template of the list needs besides the rows."""
        return {}

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if shorter := self.short_address(request):
            return shorter
        response = super().changelist_view(request, extra_context)
        changelist = (getattr(response, "context_data", None) or {}).get("cl")
        if not isinstance(response, TemplateResponse) or changelist is None:
            return response  # an action's response
        if changelist.leads_to:
            return HttpResponseRedirect(changelist.leads_to)
        shared = {
            "title": getattr(self, "title", changelist.title),
            "now": changelist.now,
            "form": changelist.form,
            "page": changelist.page,
            "next": str(changelist.next) if changelist.next else None,
            "query": changelist.kept_query,
            "is_first_page": "cursor" not in request.GET,
            "list_url": self.url("changelist"),
            "may_export": self.has_export_permission(request),
        }
        response.context_data = {
            **(response.context_data or {}),
            **shared,
            **self.views_context(request, changelist.form, changelist.column_choice),
            **self.list_context(request, changelist),
            **(extra_context or {}),
        }
        response.status_code = 200 if changelist.form.is_valid() else 400
        return response

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Return the object. Raises Http404."""
        # PostgreSQL raises an error for NUL.
        obj = None if "\0" in object_id else super().get_object(request, object_id, from_field)
        if obj is None:
            raise Http404
        return obj

    def object_context(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        """Return the context of the page of an object."""
        raise NotImplementedError

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.demand(self.has_view_permission(request))
        context = self.object_context(request, self.get_object(request, unquote(object_id)))
        return self.render(request, self.change_form_template, context)

    @staticmethod
    def demand(is_allowed: bool) -> None:
        if not is_allowed:
            raise PermissionDenied

    def history(self, obj: Any) -> QuerySet[AuditEntry]:
        """Return the entries of the audit log about an object, newest first; for `history_view`."""
        raise NotImplementedError

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the audit log of one object. Django's own history has no entries of commands."""
        self.demand(self.has_view_permission(request))
        obj = self.get_object(request, unquote(object_id))
        entries = self.history(obj)[:HISTORY_ROWS]
        context = {"title": f"History of {obj}", "now": clock.now(), "entries": entries, "own_subject": obj.pk}
        return self.render(request, "events/history.html", context)

    def render(self, request: HttpRequest, template: Any, context: dict[str, Any], status: int = 200) -> HttpResponse:
        shared = self.admin_site.each_context(request) | {"opts": self.opts, "list_url": self.url("changelist")}
        return TemplateResponse(request, template, shared | context, status=status)

    def export_page(self, list_key: str, query: str = "") -> str:
        """Return the URL of the page that exports a list with these filters."""
        return with_query(reverse("admin:events_namedexport_of", args=[list_key]), query)

    def export_list(self, request: HttpRequest, list_key: str, *, is_spreadsheet: bool = False) -> HttpResponseBase:
        """Export every column of the rows that match the filters of the URL. With invalid filters, show the list."""
        self.demand(self.has_export_permission(request))
        list_url = with_query(self.url("changelist"), request.GET.urlencode())
        if self.is_cross_site_request(request):
            return HttpResponseRedirect(list_url)
        try:
            choice = choices.of_query(LISTS[list_key], request.GET)
            choice = choice.with_format(Format.XLSX if is_spreadsheet else Format.CSV)
            return export_response(request, choice, choice.read(clock.now(), request.user.pk))
        except InvalidExport as fault:
            messages.warning(request, Truncator(f"Nothing was exported. {fault}").chars(MESSAGE_CHARACTERS))
            return HttpResponseRedirect(list_url)

    @staticmethod
    def is_cross_site_request(request: HttpRequest) -> bool:
        """Return whether another site opened this export. If so, add a warning for the next page.

        An export by GET writes the audit log, so a link on another site must not trigger one. Browsers send
        Sec-Fetch-Site over HTTPS and to localhost. Without the header the audit entry is still validated and bounded.
        """
        is_cross_site = request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site")
        if is_cross_site:
            messages.warning(
                request, "Another site opened this export, so nothing was exported. Start the export here."
            )
        return is_cross_site


def whole_since_ms(event_types: Sequence[str], now: datetime) -> int:
    """Return `retention.whole_since_ms`. It can be READ_SECONDS old, because only a prune changes it."""
    key = tuple(event_types)
    return _whole_since_ms.get(key, now, lambda: retention.whole_since_ms(key))


_whole_since_ms: Recent[int] = Recent(READ_SECONDS)


def with_query(url: str, query: str) -> str:
    """Return a URL for a redirect. Django and browsers refuse a very long one, so it loses its query."""
    return f"{url}?{query}" if query and len(query) <= MAX_QUERY else url


def event_parts(event: Event, now_ms: int) -> dict[str, Any]:
    """Return the context of the parts that the page of an event and the page of its group share."""
    return {
        "event": event,
        "texts": event_text.of(event, now_ms=now_ms),
        "session_events": failures.of_session(event),
    }


def new_issue_parts(of: Callable[..., IssueText], source: Any) -> dict[str, Any]:
    """Return the context of the link to a new issue. `of` returns the text about `source`."""
    template = settings.ISSUE_URL
    return {
        "new_issue_url": template and writing.new_issue(template, of(source, is_public=True)),
        "tracker": template and urlsplit(template).hostname,
    }


def export_response(
    request: HttpRequest, choice: Choice, read: Read, *, progress: Progress | None = None, name: str = ""
) -> StreamingHttpResponse:
    """Record an export and return it as a streamed file. `name` is that of a stored export."""
    making.note(choice, who=request.user.get_username(), at=read.now, name=name)
    return _file_response(making.pieces(choice, read, progress), choice.file_name(read), choice.format)


def rows_response(
    request: HttpRequest,
    chunks: Iterable[list[Row]],
    columns: Sequence[Column],
    name: str,
    *,
    what: str,
    now: datetime,
    is_spreadsheet: bool,
) -> StreamingHttpResponse:
    """Record an export of rows that are no list, and return it as a streamed file. `what` describes it."""
    making.note_export(what, who=request.user.get_username(), at=now)
    file_format = Format.XLSX if is_spreadsheet else Format.CSV
    return _file_response(
        file_format.encode(chunks, columns), f"{name}-{now:%Y-%m-%d}.{file_format.value}", file_format
    )


def _file_response(pieces: Iterator[bytes], file_name: str, file_format: Format) -> StreamingHttpResponse:
    media_type = file_format.encoding.media_type
    return StreamingHttpResponse(pieces, content_type=media_type, headers=making.headers_of(file_name))
