"""The admin pages of the old system: mode, parity, the count's history, the old log."""

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern
from django.utils.html import format_html
from django.utils.text import Truncator

from events import clock
from events.admin.changelist import KeysetChangeList
from events.admin.pages import PagesAdmin, rows_response
from events.ingest.group_commit import StorageUnavailable
from events.reports.exports.columns import Column, Kind, numbers, texts
from events.reports.exports.lists import ROWS_A_CHUNK
from events.templatetags.telemetry import dash, event_type
from legacy import old_tables
from legacy.admin import pages
from legacy.admin.forms import SwitchForm
from legacy.cutover import modes, old_counts, parity, switch
from legacy.models import ClientLog, Cutover, ImportRun, Mode, ParityRun

# The columns of `pages.OLD_LOG_COLUMNS`.
OLD_LOG_FORMAT = (
    Column("id", key_heading="telemetry_old_log_v1_id"),
    Column("received_at", Kind.MOMENT),
    Column("occurred_at", Kind.TIME),
    *texts("event_type", "message", "error_name", "stack", "model", "app_version"),
    *numbers("write_mode", "connected"),
    Column("log_lines_json", Kind.JSON),
    Column("event_id"),
    *numbers("in_stream"),
)


@admin.register(Cutover)
class ModeAdmin(PagesAdmin):
    """The mode of the old routes, its history, and a switch with a confirmation page."""

    title = "Mode of the old routes"

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) or self._may_switch(request)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self.demand(self._may_switch(request) or (request.method != "POST" and self.has_view_permission(request)))
        now = clock.now()
        row = modes.in_force()
        in_force = Mode(row.mode)
        posted = request.POST if request.method == "POST" else None
        form = SwitchForm(posted, in_force=in_force, today=now.date())
        confirming, problem, status = False, "", 200
        try:
            if form.is_bound:
                switch.refuse_without_tables(row)
                confirming = form.is_valid()
            if confirming and "confirmed" in request.POST:
                return self._switch(request, form)
        except switch.CannotSwitch as refused:
            problem, status = str(refused), 409
        except (StorageUnavailable, DatabaseError):
            problem, status = "The database is busy or refuses writes, so the mode did not change.", 503
        context = {
            "title": self.title,
            "now": now,
            "in_force": row,
            "modes": pages.MODES,
            "count": old_counts.public_count(in_force),
            "form": form,
            "chosen": _in_words(form.cleaned_data["mode"]) if confirming else None,
            "confirming": confirming,
            "cut_off": form.cut_off,
            "problem": problem,
            "gone": old_counts.gone_by_route(now.date()),
            "may_switch": self._may_switch(request),
            "window": pages.window(),
            "window_asked": settings.PARITY_DAYS,
            "cutovers": list(Cutover.objects.all()[: pages.HISTORY]),
        }
        return self.render(request, "legacy/mode.html", context, status=status)

    def _switch(self, request: HttpRequest, form: SwitchForm) -> HttpResponse:
        cutover = switch.to_mode(
            form.cleaned_data["mode"],
            reason=form.cleaned_data["reason"],
            user=request.user,
            user_name=request.user.get_username(),
            at=clock.now(),
        )
        pages.forget_panel()
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
class ParityAdmin(PagesAdmin):
    """The newest comparison by entry route, earlier comparisons, and a button for a new one."""

    title = "Parity"
    change_form_template = "legacy/parity.html"

    def get_urls(self) -> list[URLPattern]:
        return [
            *super().get_urls(),
            self.route("check/", self.check_now, "check"),
            self.route("<path:object_id>/", self.change_view, "change"),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self.demand(self.has_view_permission(request))
        return self.render(request, self.change_form_template, self.object_context(request, ParityRun.objects.first()))

    def check_now(self, request: HttpRequest) -> HttpResponse:
        """Compare and store the finding (POST)."""
        self.demand(self.has_view_permission(request))
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
            pages.forget_panel()
        except DatabaseError:
            messages.error(request, "The database is busy or refuses writes, so nothing was stored. Try again.")

    def object_context(self, request: HttpRequest, run: ParityRun | None) -> dict[str, Any]:
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
                "summary": pages.summary_of(run),
                "days": pages.compared_days(run),
                "total": pages.total(run),
                "refused": [
                    (name.replace("_", " "), count) for name, count in pages.largest_first(run.finding["refused"])
                ],
                "missing": pages.examples_missing(run),
                "event_only": pages.examples_event_only(run),
            }
        return context


@admin.register(ImportRun)
class CountHistoryAdmin(PagesAdmin):
    """The parts of the public count, and every change that affected many events at once."""

    title = "The count's history"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self.demand(self.has_view_permission(request))
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
class OldLogAdmin(PagesAdmin):
    """The newest rows of the old log, read-only."""

    title = "Old log"
    list_display = ("received_at_ms", "marked_type", "text", "error_name", "model", "app_version", "is_in_stream")
    list_display_links = ("text",)
    column_labels = {"received_at_ms": "Time"}
    column_classes = {
        "received_at_ms": "when", "marked_type": "what", "text": "message", "error_name": "error", "model": "model",
        "app_version": "version", "is_in_stream": "connected",
    }  # fmt: skip
    change_list_template = "legacy/old_log.html"
    empty_value_display = '<bdi class="cut">–</bdi>'

    def get_urls(self) -> list[URLPattern]:
        return [
            *super().get_urls(),
            self.route("export/", self.export, "export"),
            self.route("export.xlsx/", self.export, "export_xlsx", is_spreadsheet=True),
        ]

    def read_page(self, changelist: KeysetChangeList) -> tuple[list[ClientLog], None, bool]:
        """Return the newest rows, no cursor, and whether the tables were dropped."""
        tables_dropped = modes.in_force().tables_dropped
        entries = [] if tables_dropped else pages.old_log()
        for entry in entries:
            entry.row.entry = entry  # type: ignore[attr-defined]  # for the display methods
        return [entry.row for entry in entries], None, tables_dropped

    @admin.display(description="Type")
    def marked_type(self, row: Any) -> str:
        was: str = ""
        if row.entry.event_type != row.event_type:
            was = format_html(' <span class="quiet wide-only">was <bdi class="cut">{}</bdi></span>', row.event_type)
        return format_html("{}{}", event_type(row.entry.event_type), was)

    @admin.display(description="Message")
    def text(self, row: Any) -> str:
        message = format_html("<bdi>{}</bdi>", dash(Truncator(row.message).chars(500)))
        return format_html('<a href="{}">{}</a>', row.entry.event_url, message) if row.entry.event_url else message

    @admin.display(description="In the stream")
    def is_in_stream(self, row: Any) -> str:
        is_stored = row.in_stream or row.entry.event_url
        return "yes" if is_stored else format_html('<span class="bad">{}</span>', "not yet")

    def list_context(self, request: HttpRequest, changelist: KeysetChangeList) -> dict[str, Any]:
        _, _, tables_dropped = changelist.page or ([], None, False)
        return {"tables_dropped": tables_dropped, "rows": changelist.result_list, "most_rows": pages.OLD_LOG_ROWS}

    def export(self, request: HttpRequest, *, is_spreadsheet: bool = False) -> HttpResponseBase:
        """Export the whole old log as a file, newest first."""
        self.demand(self.has_export_permission(request))
        if modes.in_force().tables_dropped or self.is_cross_site_request(request):
            return HttpResponseRedirect(self.url("changelist"))
        chunks = old_tables.log_chunks(pages.OLD_LOG_COLUMNS, size=ROWS_A_CHUNK)
        return rows_response(
            request, chunks, OLD_LOG_FORMAT, "old-log", what=self.title, now=clock.now(), is_spreadsheet=is_spreadsheet
        )


def _in_words(mode: Mode) -> pages.ModeDescription:
    return next(words for words in pages.MODES if words.mode == mode)
