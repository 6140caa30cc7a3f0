"""The admin pages of the old system: mode, parity, the count's history, the old log."""

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path

from events import clock
from events.admin.pages import PagesAdmin, export_response
from events.ingest.writer import StorageUnavailable
from events.reports import export
from legacy import old_tables
from legacy.admin import pages
from legacy.admin.forms import SwitchForm
from legacy.cutover import modes, parity
from legacy.models import ClientLog, Cutover, ImportRun, Mode, ParityRun

OLD_LOG_FORMAT = export.Format(
    ("telemetry_old_log_v1_id", "received_at", *pages.OLD_LOG_COLUMNS[2:]), moments=(1,), times=(2,)
)


class OldSystemAdmin(PagesAdmin):
    """A read-only page with the view permission of its model."""

    title: str

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(f"legacy.view_{self.opts.model_name}")

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.main_page), name=self.page("changelist"))]

    def main_page(self, request: HttpRequest) -> HttpResponse:
        raise NotImplementedError

    def demand_view(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied


@admin.register(Cutover)
class ModeAdmin(OldSystemAdmin):
    """The mode of the old routes, its history, and a switch with a confirmation page."""

    title = "Mode of the old routes"

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request) or self._may_switch(request)

    def main_page(self, request: HttpRequest) -> HttpResponse:
        self.demand_view(request)
        if request.method == "POST" and not self._may_switch(request):
            raise PermissionDenied
        now = clock.now()
        row = modes.in_force()
        in_force = Mode(row.mode)
        posted = request.POST if request.method == "POST" else None
        form = SwitchForm(posted, in_force=in_force, today=now.date())
        confirming, problem, status = False, "", 200
        try:
            if form.is_bound:
                modes.refuse_without_tables(row)
                confirming = form.is_valid()
            if confirming and "confirmed" in request.POST:
                return self._switch(request, form)
        except modes.CannotSwitch as refused:
            problem, status = str(refused), 409
        except (StorageUnavailable, DatabaseError):
            problem, status = "The database is busy or refuses writes, so the mode did not change.", 503
        context = {
            "title": self.title,
            "now": now,
            "in_force": row,
            "modes": pages.MODES,
            "count": modes.public_count(in_force),
            "form": form,
            "chosen": _in_words(form.cleaned_data["mode"]) if confirming else None,
            "confirming": confirming,
            "cut_off": form.cut_off,
            "problem": problem,
            "gone": modes.gone_by_route(now.date()),
            "may_switch": self._may_switch(request),
            "window": pages.window(),
            "window_asked": settings.PARITY_DAYS,
            "cutovers": list(Cutover.objects.all()[: pages.HISTORY]),
        }
        return self.render(request, "legacy/mode.html", context, status=status)

    def _switch(self, request: HttpRequest, form: SwitchForm) -> HttpResponse:
        cutover = modes.switch(
            form.cleaned_data["mode"],
            reason=form.cleaned_data["reason"],
            user=request.user,
            user_name=request.user.get_username(),
            at=clock.now(),
        )
        messages.success(
            request,
            f"The old routes are in {cutover.mode}. The public count was {cutover.count_before:,} before and is"
            f" {cutover.count_after:,} after. Copied: {cutover.copied_to_stream:,} to the unified stream,"
            f" {cutover.copied_to_legacy:,} to the old tables.",
        )
        return HttpResponseRedirect(self.url("changelist"))

    def _may_switch(self, request: HttpRequest) -> bool:
        return request.user.has_perm("legacy.add_cutover")


@admin.register(ParityRun)
class ParityAdmin(OldSystemAdmin):
    """The newest comparison by entry route, earlier comparisons, and a button for a new one."""

    title = "Parity"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            *super().get_urls(),
            path("check/", view(self.check_now), name=self.page("check")),
            path("<int:key>/", view(self.run_page), name=self.page("change")),
        ]

    def main_page(self, request: HttpRequest) -> HttpResponse:
        self.demand_view(request)
        return self._show(request, ParityRun.objects.first())

    def run_page(self, request: HttpRequest, key: int) -> HttpResponse:
        self.demand_view(request)
        return self._show(request, get_object_or_404(ParityRun, pk=key))

    def check_now(self, request: HttpRequest) -> HttpResponse:
        """Compare and store the finding (POST)."""
        self.demand_view(request)
        if request.method == "POST":
            self._compare(request)
        return HttpResponseRedirect(self.url("changelist"))

    def _compare(self, request: HttpRequest) -> None:
        if modes.in_force().tables_dropped:
            messages.error(request, "The old tables were dropped, so nothing can be compared.")
            return
        now = clock.now()
        days = parity.days_to_compare()
        try:
            parity.keep(parity.check(days, now.date()), at=now)
        except DatabaseError:
            messages.error(request, "The database is busy or refuses writes, so nothing was stored. Try again.")

    def _show(self, request: HttpRequest, run: ParityRun | None) -> HttpResponse:
        context: dict[str, Any] = {
            "title": self.title,
            "now": clock.now(),
            "run": run,
            "runs": ParityRun.objects.defer("finding")[: pages.HISTORY],
            "window_asked": settings.PARITY_DAYS,
            "tables_dropped": modes.in_force().tables_dropped,
            "check_url": self.url("check"),
            "change_page": f"admin:{self.page('change')}",
        }
        if run:
            context |= {
                "finding": run.finding,
                "told": pages.summary_of(run),
                "days": pages.compared_days(run),
                "total": pages.total(run),
                "refused": [
                    (name.replace("_", " "), count) for name, count in pages.largest_first(run.finding["refused"])
                ],
                "missing": pages.examples_missing(run),
                "event_only": pages.examples_event_only(run),
            }
        return self.render(request, "legacy/parity.html", context)


@admin.register(ImportRun)
class CountHistoryAdmin(OldSystemAdmin):
    """The parts of the public count, and every change that affected many events at once."""

    title = "The count's history"

    def main_page(self, request: HttpRequest) -> HttpResponse:
        self.demand_view(request)
        row = modes.in_force()
        context = {
            "title": self.title,
            "now": clock.now(),
            "made_of": pages.made_of(),
            "old_count": pages.old_count(Mode(row.mode)),
            "imports": pages.imports(),
            "changes": pages.count_changes(),
        }
        return self.render(request, "legacy/count_history.html", context)


@admin.register(ClientLog)
class OldLogAdmin(OldSystemAdmin):
    """The newest rows of the old log, read-only."""

    title = "Old log"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            *super().get_urls(),
            path("export/", view(self.export), name=self.page("export")),
            path("export.xlsx/", view(self.export), {"is_spreadsheet": True}, name=self.page("export_xlsx")),
        ]

    def main_page(self, request: HttpRequest) -> HttpResponse:
        self.demand_view(request)
        tables_dropped = modes.in_force().tables_dropped
        context = {
            "title": self.title,
            "now": clock.now(),
            "tables_dropped": tables_dropped,
            "rows": [] if tables_dropped else pages.old_log(),
            "most_rows": pages.OLD_LOG_ROWS,
            "may_export": request.user.has_perm("events.export_event"),
        }
        return self.render(request, "legacy/old_log.html", context)

    def export(self, request: HttpRequest, *, is_spreadsheet: bool = False) -> HttpResponseBase:
        """Export the whole old log as a file, newest first."""
        self.demand_view(request)
        self.demand("export_event", request)
        if modes.in_force().tables_dropped or self.is_cross_site_request(request):
            return HttpResponseRedirect(self.url("changelist"))
        now = clock.now()
        export.note_export(request.user, self.title, at=now)
        chunks = old_tables.log_chunks(pages.OLD_LOG_COLUMNS, size=export.ROWS_A_CHUNK)
        return export_response(chunks, OLD_LOG_FORMAT, f"old-log-{now:%Y-%m-%d}", is_spreadsheet=is_spreadsheet)


def _in_words(mode: Mode) -> pages.ModeDescription:
    return next(words for words in pages.MODES if words.mode == mode)
