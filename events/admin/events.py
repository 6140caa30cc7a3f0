"""Admin pages of events, recent failures, the baseline of the public count and the audit log."""

from dataclasses import replace
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.utils import quote
from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.http.response import HttpResponseBase
from django.urls import URLPattern, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString, mark_safe

from events import audit, clock
from events.admin.changelist import KeysetChangeList, quiet
from events.admin.group_forms import OriginFilter
from events.admin.pages import PagesAdmin, event_parts, new_issue_parts, rows_response, whole_since_ms
from events.alerts.messages import address
from events.counting import corrections, facets, releases, rollups
from events.counting.buckets import FACET_PREFIX
from events.models import (
    AuditEntry,
    Correction,
    CounterBaseline,
    Event,
    EventType,
    FailureGroup,
    RecentFailure,
)
from events.querysets import SUCCESS
from events.reports import badges, failures, metrics
from events.reports.exports import lists
from events.reports.exports.lists import LISTS
from events.reports.failures import Criteria, EventPage
from events.reports.forms import AuditFilter, BadgeQuery, BaselineForm, EventFilter, facet_label
from events.reports.groups import ranking
from events.reports.issue_texts import contents, writing
from events.reports.issue_texts.contents import FailureSource
from events.templatetags.telemetry import dash, event_type, figure, linked, linked_entry

NAMES_OF_DAYS = 30
GROUPS_SHOWN = 5
CORRECTIONS_SHOWN = 20
HISTORY_ROWS = 200


class FacetColumn:
    """A column with the value of one facet of the metadata, such as browser."""

    def __init__(self, key: str) -> None:
        self.__name__ = self.facet = FACET_PREFIX + key
        self.short_description = facet_label(key)

    def __call__(self, event: Event) -> str | None:
        return dict(facets.values_in(event.metadata_json)).get(self.facet)


@admin.register(Event)
class EventAdmin(PagesAdmin):
    """Events as a list, a detail page, CSV and XLSX. Read-only, with keyset pagination and without a count."""

    failures_only = False
    keeps_filters = True
    title, file_name, list_key = "Events", "events", "events"
    list_display = (
        "received_at_ms", "marked_type", "message", "error_name", "model", "app_version", "mode", "is_connected",
    )  # fmt: skip
    list_display_links = ("message",)
    column_labels = {"received_at_ms": "Time"}
    column_classes = {
        "action_checkbox": "tick", "received_at_ms": "when", "marked_type": "what", "message": "message",
        "error_name": "error", "model": "model", "app_version": "version", "mode": "mode", "is_connected": "connected",
    }  # fmt: skip
    has_saved_views = True
    more_columns = ("source", "session_id", "occurred_at", "id")
    column_names = {
        "received_at_ms": "time", "marked_type": "type", "error_name": "error", "app_version": "version",
        "is_connected": "connected", "session_id": "session", "occurred_at": "occurred",
    }  # fmt: skip
    plain_columns = ("received_at_ms", "marked_type", "message", "model")
    actions = ("export_xlsx", "export_csv")
    change_list_template = "events/event_list.html"
    change_form_template = "events/event_detail.html"
    empty_value_display = '<bdi class="cut">–</bdi>'

    def get_urls(self) -> list[URLPattern]:
        return [
            *super().get_urls(),
            self.route("export/", self.export, "export"),
            self.route("export.xlsx/", self.export, "export_xlsx", is_spreadsheet=True),
            self.route("<path:object_id>/", self.change_view, "change"),
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        return Event.objects.failures() if self.failures_only else Event.objects.all()

    def get_filter_form(self, parameters: QueryDict) -> EventFilter:
        return EventFilter(parameters, failures_only=self.failures_only)

    def get_more_columns(self) -> tuple[Any, ...]:
        return (*(FacetColumn(key) for key in settings.FACETS), *self.more_columns)

    def get_selection(self, changelist: KeysetChangeList) -> Any:
        return changelist.form.criteria(changelist.now_ms)

    def read_page(self, changelist: KeysetChangeList) -> EventPage:
        criteria: Criteria = changelist.selection
        is_asked = bool(criteria.text and not criteria.phrases and changelist.after is None)
        if is_asked:
            changelist.leads_to = self._named_url(str(criteria.text))
        may_be_named = not is_asked or changelist.leads_to is not None
        return failures.page(criteria, limit=self.list_per_page, after=changelist.after, may_be_named=may_be_named)

    @admin.display(description=mark_safe('<span class="visually-hidden">Select for export</span>'))
    def action_checkbox(self, event: Event) -> SafeString:
        return format_html(
            '<input type="checkbox" name="id" value="{}" aria-label="Select this row for export">', event.pk
        )

    @admin.display(description="Type")
    def marked_type(self, event: Event) -> str:
        void = mark_safe(' <strong class="void">void</strong>') if event.correction else ""
        return format_html("{}{}", event_type(event.event_type), void)

    @admin.display(description="Mode")
    def mode(self, event: Event) -> str:
        return "write" if event.write_mode else quiet("no write")

    @admin.display(description="Connected")
    def is_connected(self, event: Event) -> str:
        return "yes" if event.connected else quiet("no")

    @admin.action(description="Export selected rows as XLSX", permissions=["export"])
    def export_xlsx(self, request: HttpRequest, events: QuerySet[Event]) -> HttpResponseBase:
        return self._export_selected(request, events, is_spreadsheet=True)

    @admin.action(description="Export selected rows as CSV", permissions=["export"])
    def export_csv(self, request: HttpRequest, events: QuerySet[Event]) -> HttpResponseBase:
        return self._export_selected(request, events, is_spreadsheet=False)

    def list_context(self, request: HttpRequest, changelist: KeysetChangeList) -> dict[str, Any]:
        form, page, criteria = changelist.form, changelist.page, changelist.selection
        total = group = None
        groups: list[FailureGroup] = []
        if page:
            total = metrics.count(criteria)
            group = FailureGroup.objects.filter(pk=criteria.fingerprint).first() if criteria.fingerprint else None
            if criteria.text and changelist.after is None:
                matching = ranking.seen_until(changelist.now_ms)
                for text in form.search.texts:
                    matching = matching.mentioning(text)
                groups = list(matching.order_by(F("last_ms").desc())[:GROUPS_SHOWN])
        names = metrics.names(*metrics.last_days(NAMES_OF_DAYS, changelist.now.date()))
        is_narrowed = bool(form.narrowed_by or request.GET.get("q"))
        is_empty = bool(page and not page.events and not is_narrowed)
        return {
            "total": total,
            "group": group,
            "group_query": OriginFilter.of(
                changelist.kept, origin=str(self.opts.model_name), failures_only=self.failures_only
            ).query(group=None),
            "groups": groups,
            "is_narrowed": is_narrowed,
            "is_empty_site": metrics.lifetime_figures(changelist.now_ms).last_received_at_ms is None,
            "pruned_before_ms": whole_since_ms(_types_in(criteria), changelist.now)
            if page and not page.older
            else None,
            "has_expected": is_empty and FailureGroup.objects.expected().exists(),
            "has_void": bool(page and any(event.correction for event in page.events)),
            "is_short": bool(page and total and not page.older and not changelist.after and len(page.events) < total),
            "searched_to": page.searched_to_ms if page else None,
            "models": names.models,
            "versions": names.versions,
            "facets": form.shown_facets(names.facets),
            "export_page": self.export_page(self.list_key, changelist.filter_query),
            "export_url": self.url("export"),
            "xlsx_url": self.url("export_xlsx"),
            "event_url": request.build_absolute_uri("/event"),
            "failures_only": self.failures_only,
        }

    def _named_url(self, text: str) -> str | None:
        """Return the URL of the event or session whose id the text is, None for any other text."""
        events = failures.named(text)
        if not events:
            return None
        if len(events) == 1:
            return self._url_of(events[0])
        return f"{reverse('admin:events_event_changelist')}?{urlencode({'session': text})}"

    def _url_of(self, event: Event) -> str:
        if self.failures_only and event.event_type == SUCCESS:
            return reverse("admin:events_event_change", args=[quote(event.pk)])
        return self.url("change", quote(event.pk))

    def object_context(self, request: HttpRequest, event: Event) -> dict[str, Any]:
        now = clock.now()
        now_ms = clock.epoch_ms(now)
        kept = OriginFilter.of(request.GET, failures_only=self.failures_only)
        criteria = kept.criteria(now_ms)
        if not kept.cleaned_data["expected"] and self.failures_only and failures.is_expected(event):
            criteria = replace(criteria, expected=True)  # step through the events like this one
        newer, older = failures.neighbours(criteria, event)
        group = ranking.seen_until(now_ms).filter(pk=event.fingerprint).first() if event.fingerprint else None
        origin = kept.cleaned_data["origin"] or self.opts.model_name
        parts = event_parts(event, now_ms)
        counts = contents.counts_of(group, now_ms) if group else None
        url = address(self.url("change", quote(event.pk)))
        source = FailureSource(event, parts["texts"], group, counts, url, now_ms)
        return {
            "title": str(event),
            "now": now,
            "event": event,
            "is_release": releases.was_seen(event.app_version),
            "newer_url": newer and self._kept_url(newer, kept.query()),
            "older_url": older and self._kept_url(older, kept.query()),
            "position": failures.position(criteria, event),
            "list_title": self.title,
            "all_events_url": reverse("admin:events_event_changelist"),
            "event_query": kept.event_query(),
            "narrowing": kept.narrowing(),
            "group": group,
            "group_query": kept.query(group=None, origin=origin, event=event.pk),
            "is_within_group": bool(group and criteria.fingerprint == group.pk),
            "correction": Correction.objects.filter(pk=event.correction).first() if event.correction else None,
            "kept_query": kept.query(),
            **parts,
            "markdown": writing.as_markdown(contents.of_failure(source)),
            **(new_issue_parts(contents.of_failure, source) if group else {}),
        }

    def _kept_url(self, event: Event, query: str) -> str:
        return f"{self.url('change', quote(event.pk))}{query}"

    def export(self, request: HttpRequest, *, is_spreadsheet: bool = False) -> HttpResponseBase:
        """Export the events that match the filters (GET) or the selected rows (POST)."""
        self.demand(self.has_export_permission(request))
        if request.method == "POST":
            ids = [key for key in request.POST.getlist("id")[: self.list_per_page] if "\0" not in key]
            selected = self.get_queryset(request).filter(pk__in=ids)
            return self._export_selected(request, selected, is_spreadsheet=is_spreadsheet)
        return self.export_list(request, self.list_key, is_spreadsheet=is_spreadsheet)

    def _export_selected(
        self, request: HttpRequest, events: QuerySet[Event], *, is_spreadsheet: bool
    ) -> HttpResponseBase:
        selected = failures.with_expected(events).order_by("-received_at_ms", "-id")
        columns = LISTS[self.list_key].columns()
        names = [column.name for column in columns]
        sources = lists.sources_of(names)
        rows = list(selected.values_list(*sources)[: self.list_per_page])
        if not rows:
            messages.warning(request, "No row is selected, so nothing was exported.")
            return HttpResponseRedirect(self.url("changelist"))
        now = clock.now()
        chunks = lists.with_columns(iter([rows]), sources, names, now_ms=clock.epoch_ms(now))
        return rows_response(
            request, chunks, columns, f"{self.file_name}-selected", what=f"{len(rows)} selected rows of {self.title}",
            now=now, is_spreadsheet=is_spreadsheet,
        )  # fmt: skip


@admin.register(RecentFailure)
class RecentFailureAdmin(EventAdmin):
    """The newest failures: the page that a maintainer reads every day."""

    failures_only = True
    title, file_name, list_key = "Recent failures", "failures", "failures"


@admin.register(CounterBaseline)
class CounterBaselineAdmin(PagesAdmin):
    """The baseline of the public count: its history, and a form with a confirmation for a new one."""

    list_display = ("set_at", "author", "reason", "baseline")
    list_display_links = ("reason",)
    column_labels = {"set_at": "When"}
    column_classes = {"set_at": "nowrap", "author": "", "reason": "", "baseline": "num"}
    change_list_template = "events/baseline.html"

    def get_urls(self) -> list[URLPattern]:
        return [
            *super().get_urls(),
            self.route("add/", self.changelist_view, "add"),
            self.route("badge/", self.badge_view, "badge"),
        ]

    def read_page(self, changelist: KeysetChangeList) -> tuple[list[CounterBaseline], None]:
        return metrics.baseline_history(limit=HISTORY_ROWS), None

    @admin.display(description="Who")
    def author(self, row: CounterBaseline) -> str:
        return format_html("{}", row.set_by_name)

    @admin.display(description="Why")
    def reason(self, row: CounterBaseline) -> str:
        return format_html("<bdi>{}</bdi>", linked(row.note))

    @admin.display(description="Baseline")
    def baseline(self, row: Any) -> str:
        is_current = row is row.changelist.result_list[0]
        return format_html("{} {}", figure(row.value), quiet("current") if is_current else "")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the form and the history (GET), ask for a confirmation (POST), or set the baseline (POST, confirmed)."""
        may_add = self.has_add_permission(request)
        self.demand(may_add or (request.method != "POST" and self.has_view_permission(request)))
        form = BaselineForm(request.POST if request.method == "POST" else None)
        confirming = form.is_bound and form.is_valid()
        if confirming and "confirmed" in request.POST:
            rollups.set_baseline(
                form.cleaned_data["value"],
                note=form.cleaned_data["note"],
                user=request.user,
                user_name=request.user.get_username(),
                at=clock.now(),
            )
            messages.success(request, "The new baseline is in effect.")
            return HttpResponseRedirect(self.url("changelist"))
        count = metrics.flash_count()
        context = {
            "title": "Baseline of the public count",
            "form": form,
            "may_add": may_add,
            "confirming": confirming,
            "count": count,
            "count_then": count._replace(baseline=form.cleaned_data["value"]) if confirming else None,
            "corrections": corrections.history(limit=CORRECTIONS_SHOWN),
            "void_now": corrections.void_now(),
            "badge_url": self.url("badge"),
        }
        return super().changelist_view(request, context)

    def badge_view(self, request: HttpRequest) -> HttpResponse:
        """Show the badge of the public count, and the lines that embed it. The URL contains its label and colour."""
        self.demand(self.has_view_permission(request))
        parameters = request.GET.copy()
        if "color" in parameters:
            parameters["color"] = str(parameters["color"]).removeprefix("#")  # as the input of a colour sends it
        form = BadgeQuery(parameters)
        chosen = form.cleaned_data if form.is_valid() else {"label": "", "color": ""}
        badge = badges.of_count(metrics.flash_count().total, **chosen)
        stats_url = f"{settings.SITE_URL}{reverse('stats')}" if settings.PUBLIC_STATS else None
        embedding = badges.embedding(badge.label, badge.color, site_url=settings.SITE_URL, links_to=stats_url)
        context = {
            "title": "Badge of the public count",
            "form": form,
            "badge": badge,
            "color": badges.six_digits(badge.color),
            "max_label": badges.MAX_LABEL,
            "preview_url": embedding.url.removeprefix(settings.SITE_URL),
            "lines": [
                ("Markdown", "badge-markdown", embedding.markdown),
                ("HTML", "badge-html", embedding.html),
                ("Markdown, drawn by shields.io", "badge-shields", embedding.shields),
            ],
            "stats_url": stats_url,
        }
        return self.render(request, "events/badge.html", context, status=200 if form.is_valid() else 400)


@admin.register(AuditEntry)
class AuditEntryAdmin(PagesAdmin):
    """The audit log: who did what, when and why. Read-only, and only with its view permission."""

    title = "Audit log"
    filter_form = AuditFilter
    list_display = ("at_ms", "person", "kind_link", "action", "reason")
    list_display_links = ("action",)
    column_classes = {"at_ms": "nowrap", "person": "nowrap", "kind_link": "", "action": "", "reason": ""}
    has_saved_views = True
    column_names = {"at_ms": "when", "person": "who", "kind_link": "kind", "action": "what", "reason": "why"}
    change_list_template = "events/audit_log.html"

    def read_page(self, changelist: KeysetChangeList) -> audit.AuditPage:
        filters = changelist.form.cleaned_data
        return audit.page(kind=filters["kind"], who=filters["who"], after=changelist.after, limit=self.list_per_page)

    @admin.display(description="Who")
    def person(self, entry: Any) -> str:
        url = entry.changelist.get_query_string({"who": entry.who}, remove=["cursor"])
        return format_html('<a href="{}"><bdi class="cut">{}</bdi></a>', url, dash(entry.who))

    @admin.display(description="Kind")
    def kind_link(self, entry: Any) -> str:
        url = entry.changelist.get_query_string({"kind": entry.kind}, remove=["cursor"])
        return format_html('<a href="{}">{}</a>', url, entry.kind)

    @admin.display(description="What")
    def action(self, entry: Any) -> str:
        about: str = ""
        if entry.subject and entry.changelist.request.user.has_perm("events.view_event"):
            url = reverse("admin:events_failuregroup_change", args=[quote(entry.subject)])
            about = format_html(' <a href="{}"><bdi>{}</bdi></a>', url, dash(entry.about))
        elif entry.about:
            about = format_html(' <bdi class="quiet">{}</bdi>', entry.about)
        return format_html("<bdi>{}</bdi>{}", linked_entry(entry), about)

    @admin.display(description="Why")
    def reason(self, entry: AuditEntry) -> str | None:
        return format_html("<bdi>{}</bdi>", linked(entry.why)) if entry.why else None

    def list_context(self, request: HttpRequest, changelist: KeysetChangeList) -> dict[str, Any]:
        return {
            "is_narrowed": any(request.GET.get(name) for name in ("kind", "who")),
            "export_page": self.export_page("audit", changelist.filter_query),
        }


def _types_in(criteria: failures.Criteria) -> list[str]:
    """Return the types of the events that a list can contain."""
    if criteria.event_type:
        return [criteria.event_type]
    return [name for name in EventType.values if not (criteria.failures_only and name == SUCCESS)]
