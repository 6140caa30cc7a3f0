"""Django's change list with keyset pagination: it never counts rows, and it refuses unknown parameters.

The `list_display` of a ModelAdmin names the columns, as in Django: a field, a method, an attribute or a function.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple, cast

from django import forms
from django.contrib.admin.utils import label_for_field
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import FieldDoesNotExist
from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict
from django.utils.functional import cached_property
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import capfirst

from events import clock
from events.admin.saved_views.addresses import OWN, query_of
from events.templatetags.telemetry import dash, figure, time_element, yes_no


def quiet(text: str) -> SafeString:
    return format_html('<span class="quiet">{}</span>', text)


class SortHeading(NamedTuple):
    """A link in a column heading: its text, the query that sorts by it, and the current order, "" if none."""

    name: str
    label: str
    query: str
    order: str


class ListColumn(NamedTuple):
    """One column: its heading with links that sort, and the HTML attributes of its cells."""

    name: str
    label: str
    css: str  # of the heading
    sorts: list[SortHeading]
    is_row_heading: bool
    attributes: SafeString
    attributes_if_filled: SafeString
    value_of: Callable[[Any], Any]


class KeysetChangeList(ChangeList):
    """The rows of one page of a list.

    The ModelAdmin's `filter_form` validates the parameters, and its `read_page` reads the rows. A display method finds
    this object in the attribute `changelist` of its row.
    """

    model_admin: Any
    form: Any
    kept: QueryDict  # the filters, the order, the columns and the saved view, for links
    kept_query: str
    filter_query: str
    selection: Any
    column_choice: Any
    search_form_class = forms.Form  # `filter_form` contains the search

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self.request = request
        self.now = clock.now()
        self.now_ms = clock.epoch_ms(self.now)
        self.leads_to: str | None = None  # set when a search names one object
        super().__init__(request, *args, **kwargs)
        self.is_popup = False

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """Return all rows that match the filters. Actions use it; `read_page` reads a page in bounded windows."""
        self.form, self.column_choice = self.model_admin.read_address(request.GET)
        self.kept = self.form.data.copy()
        for name in ("cursor", "limit"):
            self.kept.pop(name, None)
        self.filter_query = self.kept.urlencode()  # the filters and the order, for exports
        self.kept.update({name: request.GET[name] for name in OWN if request.GET.get(name)})
        self.kept_query = query_of(self.kept)
        self.selection = self.model_admin.get_selection(self) if self.form.is_valid() else None
        if not self.form.is_valid():
            return self.root_queryset.none()
        return self.root_queryset if self.selection is None else self.selection.select()

    def url_for_result(self, result: Any) -> str:
        url = super().url_for_result(result)
        return f"{url}?{self.kept_query}" if self.kept_query and self.model_admin.keeps_filters else url

    def get_results(self, request: HttpRequest) -> None:
        self.after = self.form.cleaned_data.get("cursor") if self.form.is_valid() else None
        self.page = self.model_admin.read_page(self) if self.form.is_valid() else None
        self.result_list, self.next = self.page[:2] if self.page else ([], None)
        self.result_count = len(self.result_list)
        for row in self.result_list:
            row.changelist = self

    @property
    def has_chosen_columns(self) -> bool:
        """Whether the address chooses the columns. Narrow pages then show each of them, with its heading."""
        return self.column_choice is not None and self.column_choice.is_chosen

    @cached_property
    def columns(self) -> list[ListColumn]:
        return [self._column(name) for name in self.list_display]

    @property
    def rows(self) -> Iterator[list[SafeString]]:
        for row in self.result_list:
            yield [self._cell(column, row) for column in self.columns]

    def _column(self, name: Any) -> ListColumn:
        model_admin = self.model_admin
        label: Any = model_admin.column_labels.get(name) or label_for_field(name, self.model, model_admin)
        label = label if isinstance(label, SafeString) else capfirst(label)
        css = model_admin.column_classes.get(name, f"field-{getattr(name, '__name__', name)}")
        sorts = model_admin.sort_headings(self, name, label)
        is_row_heading = name in (self.list_display_links or ())
        heading_css = f"sorted {sorts[0].name}" if sorts else "" if is_row_heading else css
        attributes = filled = format_html(' class="{}"', css) if css else SafeString()
        is_labelled = name in model_admin.labelled_columns
        is_plain = is_row_heading or name in ("action_checkbox", *model_admin.plain_columns)
        if self.has_chosen_columns and not is_plain:
            is_labelled, attributes = True, format_html(' class="{} wide-only"', css)
        if is_labelled:
            filled = format_html('{} data-label="{}"', filled, label)
        return ListColumn(name, label, heading_css, sorts, is_row_heading, attributes, filled, self._reader(name))

    def _reader(self, name: Any) -> Callable[[Any], Any]:
        """Return a function that reads a column of a row, as `lookup_field` of Django does it for each cell."""
        if callable(name):
            return cast(Callable[[Any], Any], name)
        with suppress(FieldDoesNotExist):
            self.opts.get_field(name)
            return attrgetter(name)
        method: Callable[[Any], Any] = getattr(self.model_admin, name, attrgetter(name))
        return method

    def _cell(self, column: ListColumn, row: Any) -> SafeString:
        value = column.value_of(row)
        content = conditional_escape(self._content(column.name, value))
        if column.is_row_heading:
            if not isinstance(value, SafeString):
                content = format_html('<a href="{}"><bdi>{}</bdi></a>', self.url_for_result(row), dash(value))
            return mark_safe(f'<th scope="row"{column.attributes}>{content}</th>')  # noqa: S308 (escaped)
        attributes = column.attributes if value is None else column.attributes_if_filled
        return mark_safe(f"<td{attributes}>{content}</td>")  # noqa: S308 (escaped)

    def _content(self, name: Any, value: Any) -> str:
        """Return a value as HTML. A display method may return HTML itself."""
        if value is None:
            return str(self.model_admin.get_empty_value_display())
        if isinstance(value, SafeString):
            return value
        if isinstance(value, bool):
            return yes_no(value)
        if isinstance(value, datetime) or str(name).endswith("_ms"):
            return time_element(value, self.now)
        return figure(value) if isinstance(value, int) else format_html('<bdi class="cut">{}</bdi>', dash(value))
