"""Admin pages of events, recent failures, the baseline of the public count, ingest tokens and the audit log."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode

from events import audit, clock
from events.admin.pages import PagesAdmin, export_response
from events.counting import corrections, rollups
from events.ingest import tokens
from events.maintenance import retention
from events.models import AuditEntry, Correction, CounterBaseline, Event, FailureGroup, IngestToken, RecentFailure
from events.querysets import SUCCESS
from events.reports import event_text, export, failures, metrics, ranking
from events.reports.forms import AuditFilter, BaselineForm, EventFilter

PAGE_ROWS = 50
NAMES_OF_DAYS = 30
GROUPS_SHOWN = 5
CORRECTIONS_SHOWN = 20


class EventAdmin(PagesAdmin):
    """Events as a list, a detail page, CSV and XLSX. Read-only, with keyset pagination and without a count."""

    failures_only = False
    title = "Events"

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("events.view_event")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("", view(self.list_page), name=self.page("changelist")),
            path("export/", view(self.export), name=self.page("export")),
            path("export.xlsx/", view(self.export), {"is_spreadsheet": True}, name=self.page("export_xlsx")),
            path("<path:object_id>/", view(self.event_page), name=self.page("change")),
        ]

    def list_page(self, request: HttpRequest) -> HttpResponse:
        self.demand("view_event", request)
        now = clock.now()
        now_ms = int(now.timestamp() * 1000)
        form = EventFilter(request.GET, failures_only=self.failures_only)
        page = total = group = after = None
        groups: list[FailureGroup] = []
        if form.is_valid():
            criteria = form.criteria(now_ms)
            after = form.cleaned_data["cursor"]
            named_url = self._named_url(criteria.text) if criteria.text and after is None else None
            if named_url:
                return HttpResponseRedirect(named_url)
            page = failures.page(criteria, limit=PAGE_ROWS, after=after)
            total = metrics.count(criteria)
            group = FailureGroup.objects.filter(pk=criteria.fingerprint).first() if criteria.fingerprint else None
            if criteria.text and after is None:
                matching = ranking.seen_until(now_ms).mentioning(criteria.text)
                groups = list(matching.order_by(F("last_ms").desc())[:GROUPS_SHOWN])
        period = metrics.last_days(NAMES_OF_DAYS, now.date())
        query = request.GET.copy()
        query.pop("cursor", None)
        query.pop("limit", None)
        context = {
            "title": self.title,
            "now": now,
            "form": form,
            "page": page,
            "total": total,
            "group": group,
            "groups": groups,
            "query": query.urlencode(),
            "is_first_page": "cursor" not in request.GET,
            "older": str(page.older) if page and page.older else None,
            "is_narrowed": bool(form.narrowed_by or request.GET.get("q")),
            "is_empty_site": metrics.lifetime_figures(now_ms).last_received_at_ms is None,
            "pruned_before_ms": retention.whole_since_ms() if page and not page.older else None,
            "has_void": bool(page and any(event.correction for event in page.events)),
            "is_short": bool(page and total and not page.older and not after and len(page.events) < total),
            "searched_to": page.searched_to_ms if page else None,
            "models": metrics.names("model", *period),
            "versions": metrics.names("app_version", *period),
            "may_export": request.user.has_perm("events.export_event"),
            "export_url": self.url("export"),
            "xlsx_url": self.url("export_xlsx"),
            "change_page": f"admin:{self.page('change')}",
            "event_url": request.build_absolute_uri("/event"),
            "failures_only": self.failures_only,
        }
        return self.render(request, "events/event_list.html", context, status=200 if form.is_valid() else 400)

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

    def event_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        self.demand("view_event", request)
        if "\0" in object_id:  # PostgreSQL raises an error for NUL
            raise Http404
        shown = Event.objects.failures() if self.failures_only else Event.objects.all()
        event = get_object_or_404(shown, pk=unquote(object_id))
        newer, older = failures.neighbours(event)
        now = clock.now()
        groups = ranking.seen_until(int(now.timestamp() * 1000))
        context = {
            "title": str(event),
            "now": now,
            "event": event,
            "newer_url": newer and self.url("change", quote(newer.pk)),
            "older_url": older and self.url("change", quote(older.pk)),
            "list_title": self.title,
            "all_events_url": reverse("admin:events_event_changelist"),
            "group": groups.filter(pk=event.fingerprint).first() if event.fingerprint else None,
            "correction": Correction.objects.filter(pk=event.correction).first() if event.correction else None,
            "texts": event_text.of(event),
        }
        return self.render(request, "events/event_detail.html", context)

    def export(self, request: HttpRequest, *, is_spreadsheet: bool = False) -> HttpResponseBase:
        """Export the events that match the filters (GET) or the selected rows (POST)."""
        self.demand("view_event", request)
        self.demand("export_event", request)
        now = clock.now()
        if request.method == "POST":
            ids = [key for key in request.POST.getlist("id")[:PAGE_ROWS] if "\0" not in key]
            if not ids:
                messages.warning(request, "No row is selected, so nothing was exported.")
                return HttpResponseRedirect(self.url("changelist"))
            selected = Event.objects.filter(pk__in=ids).newest_first()
            if self.failures_only:
                selected = selected.failures()
            chunks = iter([list(selected.values_list(*export.COLUMNS))])
            what = f"{len(ids)} selected rows of {self.title}"
        else:
            form = EventFilter(request.GET, failures_only=self.failures_only)
            if not form.is_valid() or self.is_cross_site_request(request):
                return HttpResponseRedirect(f"{self.url('changelist')}?{request.GET.urlencode()}")
            criteria = form.criteria(int(now.timestamp() * 1000))
            chunks = failures.rows(criteria, export.COLUMNS, size=export.ROWS_A_CHUNK)
            what = f"{self.title}: {audit.filters_in_words(form.applied()) or 'everything'}"
        export.note_export(request.user, what, at=now)
        name = f"{'failures' if self.failures_only else 'events'}-{now:%Y-%m-%d}"
        return export_response(chunks, export.EVENTS, name, is_spreadsheet=is_spreadsheet)


@admin.register(Event)
class AllEventsAdmin(EventAdmin):
    pass


@admin.register(RecentFailure)
class RecentFailureAdmin(EventAdmin):
    """The newest failures: the page that a maintainer reads every day."""

    failures_only = True
    title = "Recent failures"


@admin.register(CounterBaseline)
class CounterBaselineAdmin(PagesAdmin):
    """The baseline of the public count: its history, and a form with a confirmation for a new one."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("events.view_counterbaseline")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("events.add_counterbaseline")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("", view(self.history_page), name=self.page("changelist")),
            path("add/", view(self.history_page), name=self.page("add")),
        ]

    def history_page(self, request: HttpRequest) -> HttpResponse:
        may_add = self.has_add_permission(request)
        if not may_add and (request.method == "POST" or not self.has_view_permission(request)):
            raise PermissionDenied
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
            "now": clock.now(),
            "form": form,
            "may_add": may_add,
            "confirming": confirming,
            "count": count,
            "count_then": count._replace(baseline=form.cleaned_data["value"]) if confirming else None,
            "history": metrics.baseline_history(limit=200),
            "corrections": corrections.history(limit=CORRECTIONS_SHOWN),
            "void_now": corrections.void_now(),
        }
        return self.render(request, "events/baseline.html", context)


@admin.register(IngestToken)
class IngestTokenAdmin(PagesAdmin):
    """Ingest tokens: a list, and a page to revoke one."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("events.view_ingesttoken") or self._may_revoke(request)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("", view(self.list_page), name=self.page("changelist")),
            path("<int:key>/revoke/", view(self.revoke), name=self.page("change")),
        ]

    def list_page(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        now = clock.now()
        context = {
            "title": "Ingest tokens",
            "now": now,
            "tokens": tokens.used_until(now),
            "may_revoke": self._may_revoke(request),
        }
        return self.render(request, "events/token_list.html", context)

    def revoke(self, request: HttpRequest, key: int) -> HttpResponse:
        """Show the confirmation page (GET), or revoke the token (POST)."""
        if not self._may_revoke(request):
            raise PermissionDenied
        token = get_object_or_404(IngestToken, pk=key)
        if request.method == "POST":
            tokens.revoke(token, who=request.user.get_username(), now=clock.now())
            messages.success(request, f"{token.name} is revoked.")
            return HttpResponseRedirect(self.url("changelist"))
        return self.render(request, "events/token_revoke.html", {"title": f"Revoke {token.name}?", "token": token})

    def _may_revoke(self, request: HttpRequest) -> bool:
        return request.user.has_perm("events.change_ingesttoken")


@admin.register(AuditEntry)
class AuditEntryAdmin(PagesAdmin):
    """The audit log: who did what, when and why. Read-only, and only with its view permission."""

    title = "Audit log"

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("events.view_auditentry")

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.list_page), name=self.page("changelist"))]

    def list_page(self, request: HttpRequest) -> HttpResponse:
        self.demand("view_auditentry", request)
        form = AuditFilter(request.GET)
        page = None
        if form.is_valid():
            cleaned = form.cleaned_data
            page = audit.page(kind=cleaned["kind"], who=cleaned["who"], after=cleaned["cursor"], limit=PAGE_ROWS)
        context = {
            "title": self.title,
            "now": clock.now(),
            "form": form,
            "page": page,
            "is_first_page": "cursor" not in request.GET,
            "is_narrowed": any(request.GET.get(name) for name in ("kind", "who")),
            "may_see_groups": request.user.has_perm("events.view_event"),
        }
        return self.render(request, "events/audit_log.html", context, status=200 if form.is_valid() else 400)
