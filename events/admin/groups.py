"""Admin pages of failure groups: a list with filters and sorting, a detail page, and decisions."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.db.models import Exists, F, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.http.response import HttpResponseBase
from django.urls import URLPattern, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString, mark_safe

from events import clock
from events.admin import charts
from events.admin.changelist import KeysetChangeList, SortHeading, quiet
from events.admin.group_forms import (
    MAX_SUGGESTED,
    AssignForm,
    DecisionForm,
    MuteForm,
    NoteForm,
    OriginFilter,
    ResolveForm,
    VersionQuestion,
)
from events.admin.group_pages.advice import AdvicePages, delivery_figures
from events.admin.group_pages.issues import IssuePages, form_of
from events.admin.group_pages.merges import MergePages
from events.admin.pages import PAGE_ROWS, event_parts, new_issue_parts, whole_since_ms
from events.admin.saved_views.addresses import query_of
from events.alerts.messages import address
from events.counting import releases
from events.counting.buckets import FACET_PREFIX, HOUR_MS
from events.grouping import groups, merges, triage
from events.models import AdviceDay, AuditEntry, Event, Facet, FailureGroup, FormerGroup, Release
from events.reports import event_text, failures, metrics
from events.reports.failures import Criteria, ListPosition
from events.reports.forms import GROUP_STATUSES, GroupFilter, facet_label
from events.reports.groups import breakdowns, ranking
from events.reports.groups.breakdowns import DEFAULT_SPAN, SPANS, Course, Part
from events.reports.groups.ranking import GroupCursor, Ranking
from events.reports.issue_texts import contents, writing
from events.reports.issue_texts.contents import Counts, FailureSource, GroupSource
from events.templatetags.telemetry import dash, event_type, figure, group_status, issue_label, sparkline, time_element

NAMES_OF_DAYS = 30
NEWEST_EVENTS = 10
NEWEST_RELEASES = 30
HISTORY_SHOWN = 50
FORMER_SHOWN = 20
SHOWN_PARTS = 6
# Nobody reviews more groups than this before deciding.
MAX_AT_ONCE = 1_000
# How many bars have one label, by the number of bars; otherwise about seven labels.
LABEL_EVERY = {24: 4, 30: 7, 90: 14}
# The orders that the heading of a column offers.
COLUMN_SORTS = {
    "failure": ("title", "type"),
    "accepted": ("count",),
    "last_day": ("day",),
    "last_seen": ("last",),
    "first_seen": ("first",),
    "versions": ("versions",),
    "models": ("models",),
    "state": ("status",),
}
FACETS = {
    Facet.MODEL.value: "Model",
    Facet.VERSION.value: "Version",
    Facet.MODE.value: "Mode",
    Facet.CONNECTED.value: "Connected",
}
BITS = {Facet.MODE.value: {"1": "write", "0": "no write"}, Facet.CONNECTED.value: {"1": "yes", "0": "no"}}


class Action(NamedTuple):
    """A decision: button text, question and effect on the confirmation page, its form, and the function to call.

    In the question, `{}` is the number of groups. `key` is the keyboard shortcut that opens the form, "" if none.
    """

    label: str
    question: str
    effect: str
    form: type[DecisionForm]
    decide: Callable[..., int]
    key: str = ""


ACTIONS = {
    "resolve": Action(
        "Resolve",
        "Resolve {}?",
        "An event of the version with the fix, or of a later one, reopens a group as a regression."
        " Events of older versions are only counted.",
        ResolveForm,
        triage.resolve,
        "r",
    ),
    "mute": Action(
        "Mute",
        "Mute {}?",
        "Their events are still counted. The groups no longer appear as open, new or growing.",
        MuteForm,
        triage.mute,
        "m",
    ),
    "expect": Action(
        "Mark as expected",
        "Mark {} as expected?",
        "Events of expected groups are no failures: for example, the user closed the port picker. They stay stored, and"
        " are counted as expected, back to the oldest stored one. No failure figure includes them. “Open again” undoes"
        " this.",
        DecisionForm,
        triage.expect,
        "e",
    ),
    "reopen": Action(
        "Open again",
        "Open {} again?",
        "The groups count as open again. The events of expected groups are failures again.",
        DecisionForm,
        triage.reopen,
    ),
    "assign": Action(
        "Assign",
        "Assign {}?",
        "The groups appear in the list “mine” of this person. Their status stays. “nobody” ends an assignment.",
        AssignForm,
        triage.assign,
    ),
}
# The decisions about a resolved group that is still failing, with the text of their links.
UNFIXED_ACTIONS = {"resolve": "Correct the version", "reopen": "Open again"}


_NOT_EXPECTED = f"{triage.NOT_EXPECTED} It was left out."


class FacetTable(NamedTuple):
    """One facet of a group: the shown parts, and the number of omitted ones."""

    facet: str
    label: str
    parts: list[tuple[str, Part]]
    more: int


class CommonValue:
    """A column with the most common value of a facet among the failures of a group."""

    def __init__(self, facet: str) -> None:
        self.__name__ = self.facet = facet
        self.short_description = _facet_label(facet)

    def __call__(self, group: Any) -> SafeString | None:
        names = [BITS.get(self.facet, {}).get(name, name) for name in group.figures.names[self.facet]]
        return format_html('<bdi class="cut" title="{}">{}</bdi>', ", ".join(names), dash(names[0])) if names else None


@admin.register(FailureGroup)
class FailureGroupAdmin(AdvicePages, IssuePages, MergePages):
    """Failure groups: what fails, for whom, since when, and whether it is fixed."""

    title = "Failure groups"
    filter_form = GroupFilter
    keeps_filters = True
    list_display = (
        "failure", "accepted", "last_day", "last_seen", "first_seen", "versions", "models", "state", "line",
    )  # fmt: skip
    list_display_links = ("failure",)
    column_classes = {
        "action_checkbox": "tick", "failure": "message", "accepted": "count", "last_day": "day",
        "last_seen": "last when", "first_seen": "first when", "versions": "versions", "models": "models",
        "state": "state", "issue_link": "issue", "line": "line",
    }  # fmt: skip
    has_saved_views = True
    more_columns = ("marked_type", "error_name", "frame", "assignee", "fixed_in", "issue_link", "note")
    column_names = {
        "accepted": "count", "last_day": "day", "last_seen": "last", "first_seen": "first", "state": "status",
        "line": "chart", "marked_type": "type", "error_name": "error", "assignee": "assigned", "issue_link": "issue",
    }  # fmt: skip
    plain_columns = ("failure", "accepted", "last_day", "last_seen", "state", "line", "marked_type")
    actions = ("resolve", "mute", "expect", "reopen", "assign")
    change_list_template = "events/group_list.html"
    change_form_template = "events/group_detail.html"

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("events.view_event")

    def get_urls(self) -> list[URLPattern]:
        return [
            *super().get_urls(),
            self.route("decide/", self.decide, "decide"),
            self.route("export/", self.export, "export"),
            self.route("export.xlsx/", self.export, "export_xlsx", is_spreadsheet=True),
            self.route("<path:object_id>/note/", self.note, "note"),
            self.route("<path:object_id>/history/", self.history_view, "history"),
            self.route("<path:object_id>/", self.change_view, "change"),
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[FailureGroup]:
        return ranking.seen_until(clock.now_ms()).select_related("assigned_to")

    def get_more_columns(self) -> tuple[Any, ...]:
        facets = (Facet.MODE.value, Facet.CONNECTED.value, *(FACET_PREFIX + key for key in settings.FACETS))
        return (*(CommonValue(facet) for facet in facets), *self.more_columns)

    def get_selection(self, changelist: KeysetChangeList) -> Any:
        return changelist.form.ranking(changelist.now_ms, changelist.request.user.pk)

    def read_page(self, changelist: KeysetChangeList) -> tuple[list[FailureGroup], GroupCursor | None] | None:
        try:
            facets = [column.facet for column in changelist.list_display if isinstance(column, CommonValue)]
            page = ranking.page(changelist.selection, limit=self.list_per_page, after=changelist.after, facets=facets)
        except ValueError:
            changelist.form.add_error("cursor", "Not a cursor of this list. Start again without a cursor.")
            return None
        for row in page.rows:  # for the display methods
            row.group.figures, row.group.points = row, charts.sparkline(row.days)  # type: ignore[attr-defined]
        return [row.group for row in page.rows], page.next

    def sort_headings(self, changelist: KeysetChangeList, name: str, label: str) -> list[SortHeading]:
        labels = {sort: label if number == 0 else sort for number, sort in enumerate(COLUMN_SORTS.get(name, ()))}
        return [_sort_heading(changelist.kept, sort, text) for sort, text in labels.items()]

    @admin.display(description=mark_safe('<span class="visually-hidden">Select for a decision</span>'))
    def action_checkbox(self, group: FailureGroup) -> SafeString:
        return format_html('<input type="checkbox" name="id" value="{}" aria-label="Select this group">', group.pk)

    @admin.display(description="Type")
    def marked_type(self, group: FailureGroup) -> str:
        return event_type(group.event_type)

    @admin.display(description="Assigned to")
    def assignee(self, group: FailureGroup) -> str | None:
        return group.assigned_to.get_username() if group.assigned_to else None

    @admin.display(description="Failure")
    def failure(self, group: Any) -> str:
        return format_html(
            '<a href="{}"><bdi>{}</bdi></a><span class="under">{}{}{}{}{}</span>',
            group.changelist.url_for_result(group),
            dash(group.title),
            event_type(group.event_type),
            format_html(' <bdi class="cut">{}</bdi>', dash(group.error_name)) if group.error_name else "",
            format_html(' <bdi class="cut frame">{}</bdi>', group.frame) if group.frame else "",
            format_html(' <span class="status muted">{}</span>', group.get_noise_display()) if group.noise else "",
            format_html(' <span class="issue">{}</span>', issue_label(group.issue_url)) if group.issue_url else "",
        )

    @admin.display(description="24 h")
    def last_day(self, group: Any) -> int | str:
        return group.figures.last_day or quiet("–")

    @admin.display(description="Last seen")
    def last_seen(self, group: Any) -> str:
        return time_element(group.last_ms, group.changelist.now)

    @admin.display(description="First seen")
    def first_seen(self, group: Any) -> str:
        return time_element(group.first_ms, group.changelist.now)

    @admin.display(description="Versions")
    def versions(self, group: Any) -> str:
        names = group.figures.versions
        more = " …" if group.version_count > len(names) else ""
        return format_html('<span title="{}{}">{}</span>', ", ".join(names), more, figure(group.version_count))

    @admin.display(description="Models")
    def models(self, group: Any) -> str:
        names = group.figures.models
        shown = dash(names[0] if names else "") if group.model_count == 1 else figure(group.model_count)
        return format_html('<bdi class="cut" title="{}">{}</bdi>', ", ".join(names), shown)

    @admin.display(description="Status")
    def state(self, group: Any) -> str:
        return group_status(group.figures.status, group.figures.is_unfixed, group.assigned_to)

    @admin.display(description="Issue")
    def issue_link(self, group: FailureGroup) -> SafeString | None:
        return issue_label(group.issue_url) if group.issue_url else None

    @admin.display(description="30 days")
    def line(self, group: Any) -> str:
        return sparkline(group.points, group.event_type)

    def list_context(self, request: HttpRequest, changelist: KeysetChangeList) -> dict[str, Any]:
        form = changelist.form
        names = metrics.names(*metrics.last_days(NAMES_OF_DAYS, changelist.now.date()))
        return {
            "rows": [(group.figures, group.points) for group in changelist.result_list],
            "columns": [heading for column in changelist.columns for heading in column.sorts],
            "statuses": _statuses(changelist.kept),
            "export_page": self.export_page("groups", changelist.filter_query),
            "people": [ranking.NOBODY, *triage.assignable().values_list("username", flat=True)],
            "is_narrowed": bool(form.narrowed_by or request.GET.get("q")),
            "is_empty_site": not FailureGroup.objects.exists(),
            "models": names.models,
            "versions": names.versions,
            "facets": form.shown_facets(names.facets),
            "may_triage": self.has_triage_permission(request),
            "actions": ACTIONS,
            "event_url": request.build_absolute_uri("/event"),
        }

    def object_context(self, request: HttpRequest, group: FailureGroup) -> dict[str, Any]:
        now = clock.now()
        now_ms = clock.epoch_ms(now)
        kept = OriginFilter.of(request.GET, origin=OriginFilter.GROUPS)
        # The page of a group shows its events, whether or not they are expected.
        criteria = replace(kept.criteria(now_ms), event_type=None, fingerprint=group.pk, expected=None)
        kept_span = request.GET.get("span") if request.GET.get("span") in SPANS else None
        span = kept_span or DEFAULT_SPAN
        events = failures.page(criteria, limit=NEWEST_EVENTS).events
        event = _named_event(request, group.pk) or next(iter(events), None)
        course = breakdowns.course(span, group, now_ms)
        compared = course.compared
        order = GroupFilter(kept.data)
        ranked = order.ranking(now_ms, request.user.pk) if not kept.from_events and order.is_valid() else None
        facts = _facts(
            group, course.last_day, ranked, criteria, event, is_newest=event is not None and event in events[:1]
        )
        counts = Counts(course.last_day, facts.sessions)
        facets = [_facet_table(facet, parts) for facet, parts in compared.parts.items() if parts or facet in FACETS]
        event_query = kept.query(origin=kept.from_events, span=kept_span)
        shown = self._shown_event(request, criteria, group, counts, events, event, event_query, now_ms)
        example = (shown["event"], shown["texts"]) if shown["event"] else None
        whom = [(table.label, table.parts, table.more) for table in facets]
        url = address(self.url("change", quote(group.pk)))
        source = GroupSource(group, counts, compared, whom, example, url, now_ms)
        status = ranking.status_of(group, now_ms)
        is_overflow = groups.is_overflow(group.pk)
        former = FormerGroup.objects.within(group.pk) if facts.has_former else []
        delivering = [group.pk, *(part.pk for part in former)] if facts.has_deliveries or former else []
        listed = [part for part in former if part.is_merged or _has_other_decision(part, group)]
        return self.places_context(group, now_ms) | {
            "title": str(group),
            "now": now,
            "group": group,
            "status": status,
            "is_fix_unseen": status == "resolved" and group.fixed_in and not releases.was_seen(group.fixed_in),
            "unfixed": _unfixed(group, now_ms),
            "is_assignee_inactive": bool(group.assigned_to and not group.assigned_to.is_active),
            "last_day": counts.last_day,
            "before_key": facts.before,
            "after_key": facts.after,
            "group_list_query": kept.group_query(),
            "from_events": kept.from_events,
            "from_events_title": OriginFilter.LISTS.get(kept.from_events),
            "event_query": kept.event_query(group=group.pk),
            "back_query": kept.event_query(),
            "kept_query": kept.query(group=group.pk),
            "page_query": kept.page_query().removeprefix("?"),
            "narrowing": kept.narrowing(),
            "all_query": kept.page_query(is_narrowed=False),
            "spans": SPANS,
            "span": span,
            "timeline": _timeline(group, course, now),
            "compared": compared,
            "facets": facets,
            "events": events,
            "differences": event_text.differences(events),
            "failure_pages": _failure_pages(request),
            **shown,
            "position": facts.position,
            "group_markdown": writing.as_markdown(contents.of_group(source)),
            **new_issue_parts(contents.of_group, source),
            "may_triage": self.has_triage_permission(request),
            "may_export": self.has_export_permission(request),
            "export_page": self.export_page(
                _export_list(request), kept.event_query(columns=None, view=None, group=group.pk).removeprefix("?")
            ),
            "deliveries": delivery_figures(delivering, group.event_type, now_ms),
            "note_form": NoteForm({"note": group.note}),
            "issue_form": form_of(group.issue_url),
            "actions": {
                name: action
                for name, action in ACTIONS.items()
                if _is_offered(name, group, now_ms) and not (is_overflow and name == "expect")
            },
            "is_overflow": is_overflow,
            "words": breakdowns.common_words(group.pk, course.axis.start_ms) if is_overflow else None,
            "former": listed[:FORMER_SHOWN],
            "more_former": max(len(listed) - FORMER_SHOWN, 0),
            "successor": merges.successor_of(group.pk) if not events else None,
            "history": list(_entries([group.pk, *(part.pk for part in former)])[:HISTORY_SHOWN]),
            "history_shown": HISTORY_SHOWN,
            "has_regressing_event": bool(group.regressed_by) and Event.objects.filter(pk=group.regressed_by).exists(),
            "pruned_before_ms": _pruned_before_ms(group.event_type, group.first_ms, now),
        }

    def _shown_event(
        self,
        request: HttpRequest,
        criteria: Criteria,
        group: FailureGroup,
        counts: Counts,
        newest: list[Event],
        event: Event | None,
        query: str,
        now_ms: int,
    ) -> dict[str, Any]:
        """Return the context of the shown event."""
        if event is None:
            return {"event": None, "texts": None}
        if event in newest[:1]:
            newer, older = None, next(iter(newest[1:]), None)
        else:
            newer, older = failures.neighbours(criteria, event)
        url = address(reverse(f"{_failure_pages(request)}_change", args=[quote(event.pk)]))
        parts = event_parts(event, now_ms)
        source = FailureSource(event, parts["texts"], group, counts, url, now_ms)
        return {
            "newer_url": newer and _event_link(query, newer),
            "older_url": older and _event_link(query, older),
            **parts,
            "markdown": writing.as_markdown(contents.of_failure(source)),
        }

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            return super().change_view(request, object_id, form_url, extra_context)
        except Http404:
            return self.successor_response(request, unquote(object_id))

    def history(self, group: FailureGroup) -> QuerySet[AuditEntry]:
        return _entries([group.pk, *(former.pk for former in FormerGroup.objects.within(group.pk))])

    @admin.action(description="Resolve", permissions=["triage"])
    def resolve(self, request: HttpRequest, groups: QuerySet[FailureGroup]) -> HttpResponse:
        return self._decide(request, "resolve", list(groups[: MAX_AT_ONCE + 1]))

    @admin.action(description="Mute", permissions=["triage"])
    def mute(self, request: HttpRequest, groups: QuerySet[FailureGroup]) -> HttpResponse:
        return self._decide(request, "mute", list(groups[: MAX_AT_ONCE + 1]))

    @admin.action(description="Mark as expected", permissions=["triage"])
    def expect(self, request: HttpRequest, groups: QuerySet[FailureGroup]) -> HttpResponse:
        return self._decide(request, "expect", list(groups[: MAX_AT_ONCE + 1]))

    @admin.action(description="Open again", permissions=["triage"])
    def reopen(self, request: HttpRequest, groups: QuerySet[FailureGroup]) -> HttpResponse:
        return self._decide(request, "reopen", list(groups[: MAX_AT_ONCE + 1]))

    @admin.action(description="Assign", permissions=["triage"])
    def assign(self, request: HttpRequest, groups: QuerySet[FailureGroup]) -> HttpResponse:
        return self._decide(request, "assign", list(groups[: MAX_AT_ONCE + 1]))

    def decide(self, request: HttpRequest) -> HttpResponse:
        """Confirm (GET) or carry out (POST) a decision about the selected or all matching groups."""
        self.demand(self.has_triage_permission(request))
        parameters = request.POST if request.method == "POST" else request.GET
        name = parameters.get("action", "")
        if name not in ACTIONS:
            raise Http404
        return self._decide(request, name, self._chosen(parameters, clock.now_ms(), request.user.pk), parameters)

    def _decide(
        self, request: HttpRequest, name: str, chosen: list[FailureGroup], parameters: QueryDict | None = None
    ) -> HttpResponse:
        """Show the confirmation page, or carry out the decision that `parameters` confirm with a POST."""
        if not 1 <= len(chosen) <= MAX_AT_ONCE:
            messages.warning(
                request,
                f"More than {MAX_AT_ONCE:,} groups match. Narrow the filters first. Nothing was changed."
                if chosen
                else "No group is selected, so nothing was changed.",
            )
            return HttpResponseRedirect(self.url("changelist"))
        action, now = ACTIONS[name], clock.now()
        if name == "expect":
            chosen, every = [group for group in chosen if not groups.is_overflow(group.pk)], chosen
            if len(chosen) < len(every):
                messages.warning(request, _NOT_EXPECTED)
            if not chosen:
                return HttpResponseRedirect(self.url("changelist"))
        data = parameters if parameters is request.POST else None
        form = action.form(data, now=now, groups=chosen, user=request.user)
        if fields := form.visible_fields():
            fields[0].field.widget.attrs["autofocus"] = True
        question = None
        digest = _digest(chosen)
        is_all = parameters is not None and "all" in parameters
        has_changed = form.is_bound and is_all and form.data.get("shown") != digest
        if has_changed:
            messages.warning(request, "The list has changed, so nothing was changed. Check it again.")
        elif form.is_bound and form.is_valid() and not (question := form.question()):
            keys = [group.pk for group in chosen]
            number = action.decide(keys, user=request.user, at=now, **form.decision())
            messages.success(request, f"{action.label}: done for {_groups(number)}.")
            single = chosen[0].pk if len(chosen) == 1 and not is_all else None
            if single:
                return HttpResponseRedirect(self.url("change", quote(single)) + _back(parameters))
            return HttpResponseRedirect(self.url("changelist"))
        hidden = _hidden(parameters, digest) if parameters and is_all else [("id", group.pk) for group in chosen]
        context = {
            "title": _title(question) if question else action.question.format(_groups(len(chosen))),
            "now": now,
            "action": action,
            "name": name,
            "form": form,
            "question": question,
            "chosen": chosen[:PAGE_ROWS],
            "more": max(len(chosen) - PAGE_ROWS, 0),
            "hidden": hidden,
            "again_query": urlencode([("action", name), *hidden, ("back", _back(parameters).removeprefix("?"))]),
            "releases": releases.newest(NEWEST_RELEASES),
            "back": _back(parameters).removeprefix("?"),
            "cancel_url": self.url("change", quote(chosen[0].pk)) + _back(parameters)
            if parameters and "back" in parameters
            else self.url("changelist"),
        }
        if question:
            return self.render(request, "events/group_version.html", context)
        status = 409 if has_changed else 400 if form.is_bound else 200
        return self.render(request, "events/group_decide.html", context, status=status)

    def note(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Save the note of a group (POST)."""
        self.demand(self.has_triage_permission(request))
        group = self.get_object(request, unquote(object_id))
        form = NoteForm(request.POST)
        if request.method == "POST" and form.is_valid():
            triage.annotate(group.pk, form.cleaned_data["note"].strip(), user=request.user, at=clock.now())
            messages.success(request, "The note is saved.")
        elif request.method == "POST":
            messages.error(request, f"The note was not saved: {form.errors['note'][0]}")
        return HttpResponseRedirect(self.url("change", quote(group.pk)) + _back(request.POST))

    def export(self, request: HttpRequest, *, is_spreadsheet: bool = False) -> HttpResponseBase:
        """Export the groups that match the filters, in the order of the list."""
        return self.export_list(request, "groups", is_spreadsheet=is_spreadsheet)

    def _chosen(self, parameters: QueryDict, now_ms: int, viewer_id: int | None) -> list[FailureGroup]:
        """Return the selected groups, or all that match the filters: at most one more than MAX_AT_ONCE."""
        if "all" not in parameters:
            keys = [key for key in parameters.getlist("id")[:MAX_AT_ONCE] if "\0" not in key]
            return list(ranking.seen_until(now_ms).filter(pk__in=keys).order_by(F("last_ms").desc(), "pk"))
        form = GroupFilter(parameters)
        return list(form.ranking(now_ms, viewer_id).select()[: MAX_AT_ONCE + 1]) if form.is_valid() else []


class Facts(NamedTuple):
    """What the page of a group reads in one query.

    `before` and `after` are the keys of its neighbours in the list. `position` is that of the shown event.
    """

    before: str | None
    after: str | None
    sessions: int
    position: ListPosition | None
    has_former: bool
    has_deliveries: bool


def _facts(
    group: FailureGroup,
    last_day: int,
    ranked: Ranking | None,
    criteria: Criteria,
    event: Event | None,
    *,
    is_newest: bool,
) -> Facts:
    numbering = failures.numbering(criteria, event, is_newest=is_newest) if event else None
    neighbours = ranking.neighbours(ranked, group, last_day) if ranked else None
    expressions: dict[str, Any] = {
        "sessions": contents.sessions_of(group.pk),
        "has_former": Exists(FormerGroup.objects.filter(joined=group.pk)),
        "has_deliveries": Exists(AdviceDay.objects.filter(fingerprint=group.pk)),
        **(neighbours._asdict() if neighbours else {}),
        **({"newer": numbering.newer, "older": numbering.older} if numbering else {}),
    }
    row: Any = FailureGroup.objects.filter(pk=group.pk).values(**expressions).first()
    if row is None:  # merged or pruned since it was read
        raise Http404
    return Facts(
        row.get("before"),
        row.get("after"),
        row["sessions"],
        numbering.position(row["newer"], row["older"]) if numbering else None,
        row["has_former"],
        row["has_deliveries"],
    )


def _named_event(request: HttpRequest, fingerprint: str) -> Event | None:
    """Return the event that the parameter `event` names, None if it is not one of this group."""
    key = request.GET.get("event", "")
    return Event.objects.filter(pk=key, fingerprint=fingerprint).first() if key and "\0" not in key else None


def _timeline(group: FailureGroup, course: Course, now: datetime) -> dict[str, Any]:
    """Return the chart and its table. The last bar is incomplete."""
    axis, counts = course.axis, course.steps
    is_hourly = axis.step_ms == HOUR_MS
    moments = [
        datetime.fromtimestamp((axis.start_ms + number * axis.step_ms) / 1000, UTC) for number in range(len(counts))
    ]
    label_format = "%H:%M" if is_hourly else "%-d %b"
    columns = [
        charts.Column(
            label=f"{moment:{label_format}}",
            title=f"{moment:{'%A %H:%M' if is_hourly else '%A, %-d %B %Y'}}: {count:,}",
            counts={group.event_type: count},
            url="",
        )
        for moment, count in zip(moments, counts, strict=True)
    ]
    return {
        "bars": charts.bars(columns, label_every=LABEL_EVERY.get(len(counts), max(len(counts) // 7, 1))),
        "rows": list(zip(moments, counts, strict=True))[::-1],
        "unit": axis.unit,
        "current": len(counts) - 1,
        "releases": charts.release_ticks(axis.start_ms, axis.end_ms, now, charts.COLUMN_WIDTH),
    }


def _has_other_decision(former: FormerGroup, group: FailureGroup) -> bool:
    """Return whether a former group had a decision, a note, advice or an issue that this group did not take over."""
    columns = ("decided_at_ms", "note", "advice_text", "issue_url")
    return any(former.row.get(column) not in (None, "", getattr(group, column)) for column in columns)


def _entries(subjects: list[str]) -> QuerySet[AuditEntry]:
    return AuditEntry.objects.filter(subject__in=subjects).order_by("-at_ms", "-id")


def _event_link(query: str, event: Event) -> str:
    return f"{query}{'&' if query else '?'}event={quote(event.pk)}#failure"


def _back(parameters: QueryDict | None) -> str:
    return OriginFilter.back_of(parameters.get("back", "") if parameters else "")


def _failure_pages(request: HttpRequest) -> str:
    """Return the name of the pages for the events of a group: recent failures, or events without that permission."""
    return f"admin:events_{'recentfailure' if request.user.has_perm('events.view_recentfailure') else 'event'}"


def _export_list(request: HttpRequest) -> str:
    """Return the list that exports the events of a group, as `_failure_pages`."""
    return "failures" if request.user.has_perm("events.view_recentfailure") else "events"


def _groups(number: int) -> str:
    return f"{number:,} group{'' if number == 1 else 's'}"


def _sort_heading(query: QueryDict, name: str, label: str) -> SortHeading:
    now = query.get("sort") or "-last"
    first = name if name in ranking.TEXT_COLUMNS else f"-{name}"
    other = name if first.startswith("-") else f"-{name}"
    changed = query.copy()
    changed["sort"] = other if now == first else first
    order = ("descending" if now.startswith("-") else "ascending") if now.lstrip("-") == name else ""
    return SortHeading(name, label, query_of(changed), order)


class StatusTab(NamedTuple):
    """A link to the list of one status. `is_marked`: it contains groups that need attention, and no other tab does."""

    label: str
    query: str
    is_current: bool
    is_marked: bool


def _statuses(query: QueryDict) -> list[StatusTab]:
    current = query.get("status") or "open"
    tabs = []
    for value, label in GROUP_STATUSES:
        changed = query.copy()
        changed["status"] = value
        is_marked = value == "still_failing" and ranking.has_unfixed()
        tabs.append(StatusTab(label, query_of(changed), value == current, is_marked))
    return tabs


def _title(question: VersionQuestion) -> str:
    seen = ", ".join(release.app_version for release in question.similar)
    return f"{question.typed}? {f'Seen: {seen}' if seen else 'No event has reported it.'}"


def _digest(groups: list[FailureGroup]) -> str:
    return hashlib.blake2b(" ".join(sorted(group.pk for group in groups)).encode(), digest_size=8).hexdigest()


def _hidden(parameters: QueryDict, digest: str) -> list[tuple[str, str]]:
    """Return the hidden fields of a confirmation for all matching groups: the filters and a digest of the groups."""
    form = GroupFilter(parameters)
    names = [name for name in form.fields if name not in ("cursor", "limit")]
    return [("all", "1"), ("shown", digest), *((name, str(form.data[name])) for name in names if form.data.get(name))]


def _is_offered(name: str, group: FailureGroup, now_ms: int) -> bool:
    status = ranking.status_of(group, now_ms)
    if name == "assign":
        return True
    return status in ("open", "regression") if name != "reopen" else status in ("resolved", "muted", "expected")


class Unfixed(NamedTuple):
    """A resolved group that is still failing: since when it is known, and the releases that may have been meant."""

    since_ms: int
    similar: list[Release]
    actions: dict[str, str]


def _unfixed(group: FailureGroup, now_ms: int) -> Unfixed | None:
    if group.unfixed_at_ms is None or group.fixed_in is None or not ranking.is_unfixed(group):
        return None
    similar = releases.similar(group.fixed_in, MAX_SUGGESTED)
    return Unfixed(min(group.unfixed_at_ms, now_ms), similar, UNFIXED_ACTIONS)


def _facet_table(facet: str, parts: list[Part]) -> FacetTable:
    shown = [(_part_label(facet, part), part) for part in parts[:SHOWN_PARTS]]
    return FacetTable(facet, _facet_label(facet), shown, max(len(parts) - SHOWN_PARTS, 0))


def _facet_label(facet: str) -> str:
    return FACETS.get(facet) or facet_label(facet.removeprefix(FACET_PREFIX))


def _part_label(facet: str, part: Part) -> str:
    return BITS.get(facet, {}).get(part.name, part.name)


def _pruned_before_ms(event_type: str, first_ms: int, now: datetime) -> int | None:
    """Return the time before which events of this type may be pruned, None if the group is younger."""
    since_ms = whole_since_ms([event_type], now)
    return since_ms if first_ms < since_ms else None
