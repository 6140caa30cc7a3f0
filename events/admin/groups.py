"""Admin pages of failure groups: a list with filters and sorting, a detail page, and decisions."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import F, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path

from events import audit, clock
from events.admin import charts
from events.admin.group_forms import STATUSES, DecisionForm, GroupFilter, MuteForm, NoteForm, ResolveForm
from events.admin.pages import PagesAdmin, export_response
from events.counting import releases
from events.counting.buckets import DAY_MS, HOUR_MS
from events.grouping import triage
from events.maintenance import retention
from events.models import AuditEntry, Event, Facet, FailureGroup
from events.reports import breakdowns, event_text, export, failures, metrics, ranking
from events.reports.breakdowns import Part
from events.reports.failures import Criteria

PAGE_ROWS = 50
NAMES_OF_DAYS = 30
NEWEST_EVENTS = 10
NEWEST_RELEASES = 30
HISTORY_ROWS = 50
SHOWN_PARTS = 8
# Nobody reviews more groups than this before deciding.
MAX_AT_ONCE = 1_000
SPANS = {"1": "24 hours", "30": "30 days", "90": "90 days"}
HEADINGS = {
    "title": "Failure",
    "type": "type",
    "count": "Events",
    "day": "24 h",
    "last": "Last seen",
    "first": "First seen",
    "versions": "Versions",
    "models": "Models",
    "status": "Status",
}
FACETS = {
    Facet.MODEL: "Model",
    Facet.VERSION: "Version",
    Facet.MODE: "Mode",
    Facet.CONNECTED: "Connected",
}
BITS = {Facet.MODE: {"1": "write", "0": "no write"}, Facet.CONNECTED: {"1": "yes", "0": "no"}}


class Action(NamedTuple):
    """A decision: button text, question and effect on the confirmation page, its form, and the function to call."""

    label: str
    question: str
    effect: str
    form: type[DecisionForm]
    decide: Callable[..., int]


ACTIONS = {
    "resolve": Action(
        "Resolve",
        "Resolve",
        "An event of the version with the fix, or of a later one, reopens a group as a regression."
        " Events of older versions are only counted.",
        ResolveForm,
        triage.resolve,
    ),
    "mute": Action(
        "Mute",
        "Mute",
        "Their events are still counted. The groups no longer appear as open, new or growing.",
        MuteForm,
        triage.mute,
    ),
    "reopen": Action("Open again", "Open again", "The groups count as open again.", DecisionForm, triage.reopen),
}


class SortHeading(NamedTuple):
    """A column heading of the list: its text, the query that sorts by it, and the current order, "" if none."""

    name: str
    label: str
    query: str
    order: str


class FacetTable(NamedTuple):
    """One facet of a group: the shown parts, and the number of omitted ones."""

    facet: str
    label: str
    parts: list[tuple[str, Part]]
    more: int


@admin.register(FailureGroup)
class FailureGroupAdmin(PagesAdmin):
    """Failure groups: what fails, for whom, since when, and whether it is fixed."""

    title = "Failure groups"

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("events.view_event")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("", view(self.list_page), name=self.page("changelist")),
            path("decide/", view(self.decide), name=self.page("decide")),
            path("export/", view(self.export), name=self.page("export")),
            path("export.xlsx/", view(self.export), {"is_spreadsheet": True}, name=self.page("export_xlsx")),
            path("<path:object_id>/note/", view(self.note), name=self.page("note")),
            path("<path:object_id>/", view(self.group_page), name=self.page("change")),
        ]

    def list_page(self, request: HttpRequest) -> HttpResponse:
        self.demand("view_event", request)
        now = clock.now()
        form = GroupFilter(request.GET)
        page = None
        if form.is_valid():
            try:
                page = ranking.page(form.ranking(_ms(now)), limit=PAGE_ROWS, after=form.cleaned_data["cursor"])
            except ValueError:
                form.add_error("cursor", "Not a cursor of this order. Start again without a cursor.")
        period = metrics.last_days(NAMES_OF_DAYS, now.date())
        query = request.GET.copy()
        query.pop("cursor", None)
        context = {
            "title": self.title,
            "now": now,
            "form": form,
            "page": page,
            "rows": [(row, charts.sparkline(row.days)) for row in page.rows] if page else [],
            "columns": _columns(query),
            "statuses": _statuses(query),
            "query": query.urlencode(),
            "next": str(page.next) if page and page.next else None,
            "is_first_page": "cursor" not in request.GET,
            "is_narrowed": bool(form.narrowed_by or request.GET.get("q")),
            "is_empty_site": not FailureGroup.objects.exists(),
            "models": metrics.names("model", *period),
            "versions": metrics.names("app_version", *period),
            "may_triage": request.user.has_perm("events.triage_event"),
            "may_export": request.user.has_perm("events.export_event"),
            "actions": ACTIONS,
            "event_url": request.build_absolute_uri("/event"),
        }
        return self.render(request, "events/group_list.html", context, status=200 if form.is_valid() else 400)

    def group_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        self.demand("view_event", request)
        now = clock.now()
        now_ms = _ms(now)
        group = self._group(object_id, now_ms)
        list_form = GroupFilter(request.GET)
        order = list_form.ranking(now_ms) if list_form.is_valid() else ranking.Ranking(now_ms, status="open")
        before, after = ranking.neighbours(order, group)
        query = request.GET.copy()
        query.pop("span", None)
        span = request.GET.get("span", "30") if request.GET.get("span") in SPANS else "30"
        events = failures.page(Criteria(fingerprint=group.pk), limit=NEWEST_EVENTS).events
        parts = breakdowns.parts(group, now_ms)
        from_ms = ranking.last_day_from_ms(now_ms)
        status = ranking.status_of(group, now_ms)
        context = {
            "title": str(group),
            "now": now,
            "group": group,
            "status": status,
            "is_fix_unseen": status == "resolved" and group.fixed_in and not releases.was_seen(group.fixed_in),
            "last_day": sum(breakdowns.hours(group.pk, from_ms, from_ms + DAY_MS, HOUR_MS)),
            "before": before,
            "after": after,
            "query": query.urlencode(),
            "spans": SPANS,
            "span": span,
            "timeline": self._timeline(group, int(span), now_ms),
            "facets": [_facet_table(facet, parts[facet]) for facet in FACETS],
            "striking": [
                (_part_label(facet, part), part) for facet in FACETS for part in parts[facet] if part.is_striking
            ],
            "events": events,
            "newest": events[0] if events else None,
            "texts": event_text.of(events[0]) if events else None,
            "may_triage": request.user.has_perm("events.triage_event"),
            "may_export": request.user.has_perm("events.export_event"),
            "note_form": NoteForm({"note": group.note}),
            "actions": {name: action for name, action in ACTIONS.items() if _is_offered(name, group, now_ms)},
            "history": _history(group),
            "has_regressing_event": bool(group.regressed_by) and Event.objects.filter(pk=group.regressed_by).exists(),
            "pruned_before_ms": _pruned_before_ms(group.first_ms),
        }
        return self.render(request, "events/group_detail.html", context)

    def decide(self, request: HttpRequest) -> HttpResponse:
        """Confirm (GET) or carry out (POST) a decision about the selected or all matching groups."""
        self.demand("view_event", request)
        self.demand("triage_event", request)
        parameters = request.POST if request.method == "POST" else request.GET
        action = ACTIONS.get(parameters.get("action", ""))
        if action is None:
            raise Http404
        now = clock.now()
        chosen = self._chosen(parameters, _ms(now))
        if chosen is None or not 1 <= len(chosen) <= MAX_AT_ONCE:
            messages.warning(
                request,
                f"More than {MAX_AT_ONCE:,} groups match. Narrow the filters first. Nothing was changed."
                if chosen
                else "No group is selected, so nothing was changed.",
            )
            return HttpResponseRedirect(self.url("changelist"))
        form = action.form(request.POST if request.method == "POST" else None, now=now)
        digest = _digest(chosen)
        has_changed = form.is_bound and "all" in parameters and parameters.get("shown") != digest
        if has_changed:
            messages.warning(request, "The list has changed, so nothing was changed. Check it again.")
        elif form.is_bound and form.is_valid():
            keys = [group.pk for group in chosen]
            number = action.decide(keys, user=request.user, at=now, **form.decision())
            messages.success(request, f"{action.label}: done for {number:,} group{'' if number == 1 else 's'}.")
            single = chosen[0].pk if len(chosen) == 1 and "all" not in parameters else None
            return HttpResponseRedirect(self.url("change", single) if single else self.url("changelist"))
        context = {
            "title": f"{action.question} {len(chosen):,} group{'' if len(chosen) == 1 else 's'}?",
            "now": now,
            "action": action,
            "name": parameters["action"],
            "form": form,
            "chosen": chosen[:PAGE_ROWS],
            "more": max(len(chosen) - PAGE_ROWS, 0),
            "hidden": _hidden(parameters, digest),
            "releases": releases.newest(NEWEST_RELEASES),
        }
        status = 409 if has_changed else 400 if form.is_bound else 200
        return self.render(request, "events/group_decide.html", context, status=status)

    def note(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Save the note of a group (POST)."""
        self.demand("view_event", request)
        self.demand("triage_event", request)
        group = self._group(object_id, clock.now_ms())
        form = NoteForm(request.POST)
        if request.method == "POST" and form.is_valid():
            triage.annotate(group.pk, form.cleaned_data["note"].strip(), user=request.user, at=clock.now())
            messages.success(request, "The note is saved.")
        elif request.method == "POST":
            messages.error(request, f"The note was not saved: {form.errors['note'][0]}")
        return HttpResponseRedirect(self.url("change", group.pk))

    def export(self, request: HttpRequest, *, is_spreadsheet: bool = False) -> HttpResponseBase:
        """Export the groups that match the filters, in the order of the list."""
        self.demand("view_event", request)
        self.demand("export_event", request)
        now = clock.now()
        form = GroupFilter(request.GET)
        if not form.is_valid() or self.is_cross_site_request(request):
            return HttpResponseRedirect(f"{self.url('changelist')}?{request.GET.urlencode()}")
        what = audit.filters_in_words(form.applied()) or "open groups"
        export.note_export(request.user, f"{self.title}: {what}", at=now)
        chunks = ranking.chunks(form.ranking(_ms(now)), size=export.ROWS_A_CHUNK)
        name = f"failure-groups-{now:%Y-%m-%d}"
        return export_response(chunks, export.GROUPS, name, is_spreadsheet=is_spreadsheet)

    def _group(self, object_id: str, now_ms: int) -> FailureGroup:
        if "\0" in object_id:  # PostgreSQL raises an error for NUL
            raise Http404
        return get_object_or_404(ranking.seen_until(now_ms), pk=unquote(object_id))

    def _chosen(self, parameters: QueryDict, now_ms: int) -> list[FailureGroup] | None:
        """Return the selected groups, or all that match the filters. Return None for invalid filters."""
        if "all" not in parameters:
            keys = [key for key in parameters.getlist("id")[:MAX_AT_ONCE] if "\0" not in key]
            return list(ranking.seen_until(now_ms).filter(pk__in=keys).order_by(F("last_ms").desc(), "pk"))
        form = GroupFilter(parameters)
        groups: QuerySet[FailureGroup] | None = form.ranking(now_ms).select() if form.is_valid() else None
        return None if groups is None else list(groups[: MAX_AT_ONCE + 1])

    def _timeline(self, group: FailureGroup, days: int, now_ms: int) -> dict[str, Any]:
        """Return the chart of the group: by hour for one day, else by day. The last bar is incomplete."""
        step = HOUR_MS if days == 1 else DAY_MS
        end_ms = now_ms - now_ms % step + step
        start_ms = end_ms - days * DAY_MS
        counts = breakdowns.hours(group.pk, start_ms, end_ms, step)
        moments = [datetime.fromtimestamp((start_ms + number * step) / 1000, UTC) for number in range(len(counts))]
        label_format = "%H:%M" if days == 1 else "%-d %b"
        columns = [
            charts.Column(
                label=f"{moment:{label_format}}",
                title=f"{moment:{'%A %H:%M' if days == 1 else '%A, %-d %B %Y'}}: {count:,}",
                counts={group.event_type: count},
                url="",
            )
            for moment, count in zip(moments, counts, strict=True)
        ]
        return {
            "bars": charts.bars(columns, label_every={1: 4, 30: 7}.get(days, 14)),
            "rows": list(zip(moments, counts, strict=True))[::-1],
            "unit": "hour" if days == 1 else "day",
            "current": len(counts) - 1,
            "releases": charts.release_ticks(start_ms, end_ms),
        }


def _ms(now: datetime) -> int:
    return int(now.timestamp() * 1000)


def _columns(query: QueryDict) -> list[SortHeading]:
    now = query.get("sort") or "-last"
    columns = []
    for name, label in HEADINGS.items():
        first = name if name in ranking.TEXT_COLUMNS else f"-{name}"
        other = name if first.startswith("-") else f"-{name}"
        changed = query.copy()
        changed["sort"] = other if now == first else first
        order = ("descending" if now.startswith("-") else "ascending") if now.lstrip("-") == name else ""
        columns.append(SortHeading(name, label, changed.urlencode(), order))
    return columns


def _statuses(query: QueryDict) -> list[tuple[str, str, bool]]:
    """Return the status tabs: label, query, whether it is the current one."""
    current = query.get("status") or "open"
    tabs = []
    for value, label in STATUSES:
        changed = query.copy()
        changed["status"] = value
        tabs.append((label, changed.urlencode(), value == current))
    return tabs


def _digest(groups: list[FailureGroup]) -> str:
    return hashlib.blake2b(" ".join(sorted(group.pk for group in groups)).encode(), digest_size=8).hexdigest()


def _hidden(parameters: QueryDict, digest: str) -> list[tuple[str, str]]:
    """Return the hidden fields of the confirmation: the selected groups, or the filters and a digest."""
    if "all" not in parameters:
        return [("id", key) for key in parameters.getlist("id")[:MAX_AT_ONCE]]
    names = [name for name in GroupFilter.base_fields if name != "cursor"]
    return [("all", "1"), ("shown", digest), *((name, str(parameters[name])) for name in names if parameters.get(name))]


def _is_offered(name: str, group: FailureGroup, now_ms: int) -> bool:
    status = ranking.status_of(group, now_ms)
    return status in ("open", "regression") if name != "reopen" else status in ("resolved", "muted")


def _facet_table(facet: Facet, parts: list[Part]) -> FacetTable:
    shown = [(_part_label(facet, part), part) for part in parts[:SHOWN_PARTS]]
    return FacetTable(facet.value, FACETS[facet], shown, max(len(parts) - SHOWN_PARTS, 0))


def _part_label(facet: Facet, part: Part) -> str:
    return BITS.get(facet, {}).get(part.name, part.name)


def _history(group: FailureGroup) -> list[AuditEntry]:
    """Return the audit entries of this group, newest first."""
    return list(AuditEntry.objects.filter(subject=group.pk).order_by("-at_ms", "-id")[:HISTORY_ROWS])


def _pruned_before_ms(first_ms: int) -> int | None:
    """Return the time before which events may be pruned, None if the group is younger."""
    whole_since_ms = retention.whole_since_ms()
    return whole_since_ms if first_ms < whole_since_ms else None
