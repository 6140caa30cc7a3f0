"""Admin pages that merge a failure group into another one, and split it off again."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import quote, unquote
from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern

from events import clock
from events.admin.pages import PagesAdmin
from events.grouping import groups, merges, splits, triage
from events.grouping.merges import CannotMerge
from events.grouping.splits import CannotSplit
from events.models import FailureGroup, FormerGroup
from events.reports.forms import ListFilter
from events.reports.groups import places, ranking

CANDIDATES = 20
SUGGESTIONS = 5


class MergeSearch(ListFilter):
    """The search for the group that receives the events."""

    q = forms.CharField(
        required=False,
        max_length=200,
        label="Search",
        widget=forms.SearchInput({"placeholder": "Message, error, function or id", "data-key": "/"}),
    )


class MergePages(PagesAdmin):
    """The part of the admin of failure groups that concerns former groups."""

    def get_urls(self) -> list[URLPattern]:
        return [
            *super().get_urls(),
            self.route("<path:object_id>/merge/", self.merge, "merge"),
            self.route("<path:object_id>/split/", self.split, "split"),
            self.route("<path:object_id>/split-place/", self.split_place, "split_place"),
            self.route("<path:object_id>/dismiss-merge/", self.dismiss_merge, "dismiss_merge"),
        ]

    def merge(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Search for the other group (GET), confirm it (GET with `into`), or merge (POST)."""
        self.demand(self.has_triage_permission(request))
        now = clock.now()
        now_ms = clock.epoch_ms(now)
        group = self.get_object(request, unquote(object_id))
        if request.method == "POST":
            return self._merge(request, group)
        context = {
            "now": now,
            "group": group,
            "group_url": self.url("change", quote(group.pk)),
            "is_overflow": groups.is_overflow(group.pk),
        }
        if "into" not in request.GET:
            form = MergeSearch(request.GET).refuse_unknown()
            candidates = self._candidates(group, form.cleaned_data["q"], now_ms) if form.is_valid() else []
            context |= {
                "title": "Merge into another group",
                "form": form,
                "candidates": candidates[:CANDIDATES],
                "has_more": len(candidates) > CANDIDATES,
                "most": CANDIDATES,
            }
            return self.render(request, "events/group_merge.html", context, status=200 if form.is_valid() else 400)
        target = self._group(request.GET["into"], now_ms)
        context |= {
            "title": "Merge these two groups?",
            "target": target,
            "status": ranking.status_of(group, now_ms),
            "target_status": ranking.status_of(target, now_ms),
            "passes_decision": merges.passes_decision(group, target),
            "passes_advice": merges.passes_advice(group, target),
            "passes_assignment": merges.passes_assignment(group, target),
            "passes_issue": merges.passes_issue(group, target),
        }
        return self.render(request, "events/group_merge_confirm.html", context)

    def _merge(self, request: HttpRequest, group: FailureGroup) -> HttpResponse:
        into = request.POST.get("into", "")
        try:
            target = merges.merge(group.pk, "" if "\0" in into else into, user=request.user, at=clock.now())
        except CannotMerge as refusal:
            messages.error(request, f"Nothing was changed. {refusal}")
            return HttpResponseRedirect(self.url("change", quote(group.pk)))
        messages.success(request, "Merged. Later failures of the merged group join this group too.")
        return HttpResponseRedirect(self.url("change", quote(target.pk)))

    def split(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Confirm (GET) or carry out (POST) the split of a merged group."""
        self.demand(self.has_triage_permission(request))
        former = self._former(unquote(object_id))
        if former is None or not former.is_merged:
            raise Http404
        if request.method == "POST":
            try:
                group = merges.split(former.pk, user=request.user, at=clock.now())
            except CannotMerge as refusal:
                messages.error(request, f"Nothing was changed. {refusal}")
            else:
                messages.success(request, "Split off again. Later failures join this group.")
                return HttpResponseRedirect(self.url("change", quote(group.pk)))
        now = clock.now()
        whole = self._group(FormerGroup.objects.successor(former.pk), clock.epoch_ms(now), is_required=False)
        context = {
            "title": "Split this group off again?",
            "now": now,
            "former": former,
            "whole": whole,
            "back_url": self.url("change", quote(whole.pk)) if whole else self.url("changelist"),
        }
        return self.render(request, "events/group_split.html", context)

    def split_place(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Confirm (GET) or carry out (POST) the split of the failures at one original place from their group."""
        self.demand(self.has_triage_permission(request))
        now = clock.now()
        group = self.get_object(request, unquote(object_id))
        group_url = self.url("change", quote(group.pk))
        found = places.places(group.pk, now_ms=clock.epoch_ms(now))
        key = (request.POST if request.method == "POST" else request.GET).get("place", "")
        place = next((place for place in found.places if place.key == key), None)
        if place is None or not found.can_split:
            messages.error(request, "Nothing was changed. The group's newest failures no longer have this place.")
            return HttpResponseRedirect(group_url)
        if request.method == "POST":
            try:
                new = splits.split_off(
                    group.pk, place.positions, place=place.identity, frame=place.frame, user=request.user, at=now
                )
            except CannotSplit as refusal:
                messages.error(request, f"Nothing was changed. {refusal}")
                return HttpResponseRedirect(group_url)
            messages.success(request, "Split. Later failures at these positions of the bundle join this group.")
            return HttpResponseRedirect(self.url("change", quote(new.pk)))
        context = {"title": "Split off this place?", "now": now, "group": group, "group_url": group_url, "place": place}
        return self.render(request, "events/group_split_place.html", context | {"found": found})

    def dismiss_merge(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Dismiss the suggestion to merge with another group (POST). It does not return."""
        self.demand(self.has_triage_permission(request))
        group = self.get_object(request, unquote(object_id))
        other = request.POST.get("other", "")
        is_valid = request.method == "POST" and "\0" not in other
        if is_valid and triage.dismiss_merge(group.pk, other, user=request.user, at=clock.now()):
            messages.success(request, "Dismissed. This merge is not suggested again.")
        return HttpResponseRedirect(self.url("change", quote(group.pk)))

    def places_context(self, group: FailureGroup, now_ms: int) -> dict[str, Any]:
        """Return what `_places.html` shows: the original places, and the suggested merges.

        Nothing for an overflow group, which contains different failures and can be neither split nor merged.
        """
        if groups.is_overflow(group.pk):
            return {}
        found = places.places(group.pk, now_ms=now_ms)
        suggestions = places.suggested_merges(group, found, now_ms=now_ms)
        return {"found_places": found, "suggested_merges": suggestions[:SUGGESTIONS]}

    def successor_response(self, request: HttpRequest, key: str) -> HttpResponse:
        """Return a redirect to the group that has the events of a former group. Raises Http404."""
        former = self._former(key)
        successor = merges.successor_of(key) if former else None
        if former is None or successor is None:
            raise Http404
        messages.info(
            request,
            f"“{former}” was merged into this group."
            if former.is_merged
            else f"The events of “{former}” are in this group since the failures were regrouped.",
        )
        query = request.GET.urlencode()
        # Temporary, because the group can be split off again.
        return HttpResponseRedirect(f"{self.url('change', quote(successor.pk))}{f'?{query}' if query else ''}")

    @staticmethod
    def _former(key: str) -> FormerGroup | None:
        if "\0" in key or FailureGroup.objects.filter(pk=key).exists():
            return None
        return FormerGroup.objects.filter(pk=key).first()

    @staticmethod
    def _group(key: str, now_ms: int, *, is_required: bool = True) -> Any:
        group = None if "\0" in key else ranking.seen_until(now_ms).filter(pk=key).first()
        if group is None and is_required:
            raise Http404
        return group

    @staticmethod
    def _candidates(group: FailureGroup, text: str, now_ms: int) -> list[FailureGroup]:
        """Return the groups of the same type that match, the last seen first: at most one more than CANDIDATES."""
        found = ranking.seen_until(now_ms)
        if text:
            found = found.filter(pk=text) | found.mentioning(text)
        same_type = found.filter(event_type=group.event_type)
        others = same_type.exclude(pk__in=[group.pk, groups.overflow_of(group.event_type).key])
        return list(others.order_by(F("last_ms").desc(), "pk")[: CANDIDATES + 1])
