"""Admin pages that correct the public count: preview, confirm and undo."""

from collections import Counter
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern

from events import clock
from events.admin.pages import PagesAdmin
from events.counting import corrections
from events.counting.corrections import AlreadyUndone, NothingMatches
from events.ingest.group_commit import StorageUnavailable
from events.models import Correction
from events.reports import metrics
from events.reports.forms import CorrectionForm, UndoForm

HISTORY = 200
NAMES_OF_DAYS = 30
FIGURES_SHOWN = 10
# Limits how long a request occupies its thread. The command `void_flashes` has no limit.
MAX_BY_PAGE = 20_000
_STOPPED = (
    "The database is busy or cannot be written. All earlier batches are complete; the list below shows the progress."
    " Void the rest with the same values, or undo this correction."
)


@admin.register(Correction)
class CorrectionAdmin(PagesAdmin):
    """Corrections of the public count: a form with a preview, the history, and an undo for each one."""

    title = "Corrections of the count"

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) or self._may_correct(request)

    def get_urls(self) -> list[URLPattern]:
        return [*super().get_urls(), self.route("<path:object_id>/undo/", self.undo_view, "undo")]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the form and the history (GET), preview (POST), or void the previewed successes (POST, confirmed)."""
        self.demand(self._may_correct(request) or (request.method != "POST" and self.has_view_permission(request)))
        now = clock.now()
        form = CorrectionForm(request.POST if request.method == "POST" else None, now=now)
        selection = preview = None
        if form.is_bound and form.is_valid() and "change" not in request.POST:
            selection = form.selection()
            preview = corrections.preview(selection)
            if "confirmed" in request.POST and 0 < preview.total <= MAX_BY_PAGE:
                if request.POST.get("previewed") == str(preview.total):
                    return self._void(request, form)
                messages.warning(
                    request, "The figures have changed since the preview, so nothing was voided. Check them again."
                )
        count = metrics.flash_count()
        names = metrics.names(*metrics.last_days(NAMES_OF_DAYS, now.date()))
        context = {
            "title": self.title,
            "now": now,
            "form": form,
            "selection": selection,
            "since": clock.iso(selection.since_ms) if selection else "",
            "until": clock.iso(selection.until_ms) if selection else "",
            "preview": preview,
            "figures": _figures(preview) if preview else [],
            "is_too_large": bool(preview and preview.total > MAX_BY_PAGE),
            "most_by_page": MAX_BY_PAGE,
            "count": count.total,
            "count_then": count.total - preview.events if preview else None,
            "may_correct": self._may_correct(request),
            "models": names.models,
            "versions": names.versions,
            "corrections": corrections.history(HISTORY),
        }
        return self.render(request, "events/corrections.html", context)

    def undo_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the confirmation page (GET), or undo the correction (POST)."""
        self.demand(self._may_correct(request))
        correction = self.get_object(request, unquote(object_id))
        is_too_large = correction.in_force > MAX_BY_PAGE
        form = UndoForm(request.POST if request.method == "POST" else None)
        if form.is_bound and form.is_valid() and not is_too_large:
            return self._undo(request, correction, form.cleaned_data["reason"])
        count = metrics.flash_count().total
        context = {
            "title": f"Undo correction {correction.pk}?",
            "now": clock.now(),
            "form": form,
            "correction": correction,
            "selection": corrections.selection_of(correction),
            "count": count,
            "count_then": count + correction.in_force,
            "is_too_large": is_too_large,
            "most_by_page": MAX_BY_PAGE,
        }
        return self.render(request, "events/correction_undo.html", context)

    def _void(self, request: HttpRequest, form: CorrectionForm) -> HttpResponse:
        before = metrics.flash_count().total
        try:
            correction = corrections.begin(
                form.selection(),
                who=request.user.get_username(),
                at=clock.now(),
                why=form.cleaned_data["reason"],
            )
            voided = sum(corrections.carry_out(correction))
        except NothingMatches as error:
            messages.warning(request, str(error))
        except (DatabaseError, StorageUnavailable):
            messages.error(request, _STOPPED)
        else:
            messages.success(
                request, f"Correction {correction.pk}: {voided:,} successes are void. {_count_change(before)}"
            )
        return HttpResponseRedirect(self.url("changelist"))

    def _undo(self, request: HttpRequest, correction: Correction, reason: str) -> HttpResponse:
        before = metrics.flash_count().total
        restored = Counter[str]()
        try:
            for kind, count in corrections.undo(
                correction, who=request.user.get_username(), at=clock.now(), why=reason
            ):
                restored[kind] += count
        except AlreadyUndone as error:
            messages.warning(request, str(error))
        except DatabaseError:
            messages.error(
                request, "The database is busy or cannot be written. Undo the correction again for the rest."
            )
        else:
            deleted = restored[corrections.GONE]
            from_record = (
                f" {deleted:,} of these are no longer stored. The record restored their counts." if deleted else ""
            )
            messages.success(
                request,
                f"Correction {correction.pk} is undone: {restored.total():,} successes count again.{from_record}"
                f" {_count_change(before)}",
            )
        return HttpResponseRedirect(self.url("changelist"))

    def _may_correct(self, request: HttpRequest) -> bool:
        return request.user.has_perm("events.add_correction")


def _count_change(before: int) -> str:
    return f"The public count was {before:,} and is {metrics.flash_count().total:,}."


def _figures(preview: corrections.Preview) -> list[tuple[str, list[tuple[str, int]], int]]:
    """Return the tables of a preview: title, first rows, number of omitted rows."""
    hours = [(clock.iso(hour_ms)[:16].replace("T", " "), count) for hour_ms, count in preview.by_hour]
    tables = (
        ("Model", preview.by_model),
        ("Version", preview.by_version),
        ("Source", preview.by_source),
        ("Hour, UTC", hours),
    )
    return [(title, rows[:FIGURES_SHOWN], max(0, len(rows) - FIGURES_SHOWN)) for title, rows in tables]
