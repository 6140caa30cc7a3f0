"""The AdminSite: an index with figures, a throttled sign-in, and a list of pages with the most used ones first."""

from contextlib import suppress
from datetime import datetime
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path
from django.utils.http import urlencode

from events import clock
from events.counting import site_days
from events.maintenance import banners
from events.maintenance.doctor import report, traffic
from events.maintenance.doctor.findings import Depth, Examination, ProxyHeaders
from telemetry_site import sign_in

FIRST_PAGES = [
    "FailureGroup", "Release", "RecentFailure", "Event", "CounterBaseline", "Correction", "NamedExport", "SourceMap",
    "JobState", "Backup", "RetentionMark", "AlertChannel", "Alert", "IngestToken", "AuditEntry",
]  # fmt: skip


class TelemetryAdminSite(admin.AdminSite):
    site_header = site_title = "Telemetry"
    index_title = "Overview"
    site_url = None
    enable_nav_sidebar = False
    login_form = sign_in.SignInForm

    def get_urls(self) -> list[URLPattern | URLResolver]:
        # The pages of `events.admin` register with this site, so it must exist before they are imported.
        from events.admin.saved_views.pages import SavedViewPages

        about = path("about/", self.admin_view(self.about), name="about")
        return [about, *SavedViewPages(self).urls(), *super().get_urls()]

    def about(self, request: HttpRequest) -> TemplateResponse:
        """Show the report of `manage.py doctor`, without the checks that read many rows."""
        if not request.user.has_perm("events.view_event"):
            raise PermissionDenied
        now = clock.now()
        headers = _note_proxy_headers(request, now)
        made = report.examine(Examination(now, Depth.PAGE, headers))
        context = self.each_context(request) | {"title": "About this site", "now": now, "report": made}
        return TemplateResponse(request, "admin/about.html", context)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response = super().login(request, extra_context)
        form = getattr(response, "context_data", {}).get("form")
        if form is not None and form.retry_after is not None:
            response.status_code = 429
            response.headers["Retry-After"] = str(form.retry_after)
        elif request.method == "POST" and response.status_code == 302:
            sign_in.remember(request, response)
        return response

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        # A function, so that only pages that show the banners query them.
        from events.admin.saved_views import navigation

        added = {
            "site_version": settings.VERSION,
            "banners": lambda: banners.current(clock.now()),
            "saved_views": lambda: navigation.links(self, request),
        }
        return super().each_context(request) | added

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        from events.admin.overview import visits
        from events.admin.overview.figures import overview
        from events.admin.overview.ranges import RangeForm

        now = clock.now()
        _note_proxy_headers(request, now)
        context: dict[str, Any] = {
            "now": now,
            "event_url": request.build_absolute_uri("/event"),
            "panels": _panels(request, now),
            **(extra_context or {}),
        }
        if request.user.has_perm("events.view_event"):
            kept = {name: request.GET[name] for name in ("days", "first", "last", "released") if request.GET.get(name)}
            context["days_query"] = f"?{urlencode(kept)}" if kept else ""
            context |= overview(
                RangeForm(request.GET, today=now.date()),
                request.GET.get("days", ""),
                now,
                released=request.GET.get("released") == "1",
                has_failure_links=request.user.has_perm("events.view_recentfailure"),
                last_visit_ms=visits.last_before(request, now),
                lists_all=request.GET.get("attention") == "all",
            )
        return super().index(request, context)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        app_list = super().get_app_list(request, app_label)
        for app in app_list:
            for model in app["models"]:
                # Our own pages have a title; the list shows it instead of the model's name.
                model["name"] = getattr(self._registry[model["model"]], "title", model["name"])
            app["models"].sort(key=lambda model: (_rank(model["object_name"]), str(model["name"])))
        return sorted(app_list, key=lambda app: app["app_label"] != "events")


def _note_proxy_headers(request: HttpRequest, now: datetime) -> ProxyHeaders:
    """Record the proxy headers of a page for commands, which have no request, and return them."""
    headers = traffic.proxy_headers(request.META)
    with suppress(DatabaseError):  # the page needs no write
        site_days.note_proxy_headers(now.date(), traffic.as_json(headers))
    return headers


def _panels(request: HttpRequest, now: datetime) -> list[tuple[str, dict[str, Any]]]:
    """Return the panels that other apps add to the index, each as a template and its context.

    An AppConfig adds one with a method `overview_panel(request, now)`. So the site does not depend on these apps.
    """
    methods = (getattr(config, "overview_panel", None) for config in apps.get_app_configs())
    panels = (overview_panel(request, now) for overview_panel in methods if overview_panel)
    return [panel for panel in panels if panel]


def _rank(name: str) -> int:
    return FIRST_PAGES.index(name) if name in FIRST_PAGES else len(FIRST_PAGES)
