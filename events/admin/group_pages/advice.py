"""Admin page of the advice that the users of a failing page get, with a preview before it is saved."""

import hashlib
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import quote, unquote
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern

from events import clock
from events.admin import charts
from events.admin.charts import StackedBars
from events.admin.pages import PagesAdmin
from events.counting.buckets import DAY_MS
from events.grouping import advice, groups
from events.grouping.advice import MAX_TEXT, MAX_URL, CannotAdvise
from events.models import FailureGroup, FormerGroup

SHOWN_DAYS = 30


class OneLineField(forms.CharField):
    """Text in a field of several lines: line breaks and tabs become spaces, and several spaces become one."""

    def to_python(self, value: Any) -> str:
        text = str(super().to_python(value))
        return " ".join(part for part in text.translate(dict.fromkeys(map(ord, "\r\n\t"), " ")).split(" ") if part)


class AdviceForm(forms.Form):
    """The text and the link."""

    text = OneLineField(
        label="Text",
        max_length=MAX_TEXT,
        widget=forms.Textarea({"rows": 4}),
        help_text=f"What the user can do, in up to {MAX_TEXT} characters of plain text. HTML has no effect.",
        error_messages={"required": "Write a text for the users."},
    )
    url = forms.CharField(
        required=False,
        label="Link",
        max_length=MAX_URL,
        widget=forms.URLInput({"placeholder": "https://", "autocomplete": "off"}),
        help_text="Optional. It must begin with https://.",
    )

    def clean_text(self) -> str:
        return self._checked("text", advice.fault_of_text)

    def clean_url(self) -> str:
        return self._checked("url", advice.fault_of_url) and f"https{self.cleaned_data['url'][5:]}"

    def _checked(self, name: str, fault_of: Callable[[str], str | None]) -> str:
        value = str(self.cleaned_data[name])
        if value and (fault := fault_of(value)):
            raise forms.ValidationError(fault)
        return value


class DeliveryDay(NamedTuple):
    at: datetime
    delivered: int


class DeliveryFigures(NamedTuple):
    """How often a group delivered advice: in all, in the shown days, and on each of them, newest first."""

    total: int
    recent: int
    days: list[DeliveryDay]
    bars: StackedBars


def delivery_figures(keys: Collection[str], event_type: str, now_ms: int) -> DeliveryFigures:
    """Return the deliveries of a group and its former groups, whose failures have this type."""
    today_ms = now_ms - now_ms % DAY_MS
    start_ms = today_ms - (SHOWN_DAYS - 1) * DAY_MS
    found = advice.deliveries(keys, start_ms)
    counts = [found.days.get(day_ms, 0) for day_ms in range(start_ms, today_ms + DAY_MS, DAY_MS)]
    moments = [datetime.fromtimestamp((start_ms + number * DAY_MS) / 1000, UTC) for number in range(SHOWN_DAYS)]
    days = [DeliveryDay(at, n) for at, n in zip(moments, counts, strict=True)]
    columns = [
        charts.Column(f"{day.at:%-d %b}", f"{day.at:%A, %-d %B %Y}: {day.delivered:,}", {event_type: day.delivered}, "")
        for day in days
    ]
    return DeliveryFigures(found.total, sum(counts), days[::-1], charts.bars(columns, label_every=7))


class AdvicePages(PagesAdmin):
    """The part of the admin of failure groups that concerns advice to users."""

    def get_urls(self) -> list[URLPattern]:
        return [self.route("<path:object_id>/advice/", self.advice, "advice"), *super().get_urls()]

    def advice(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the advice (GET), preview it, save it or remove it (POST).

        The button that saves sends a digest of the previewed advice. If the advice is another one, the page shows a
        preview again and saves nothing.
        """
        self.demand(self.has_triage_permission(request))
        now = clock.now()
        group = self.get_object(request, unquote(object_id))
        group_url = self.url("change", quote(group.pk))
        if groups.is_overflow(group.pk):
            messages.error(request, "This group contains different failures, so no advice fits them all.")
            return HttpResponseRedirect(group_url)
        step = request.POST.get("step", "preview") if request.method == "POST" else ""
        if step == "remove":
            advice.withdraw(group.pk, user=request.user, at=now)
            messages.success(request, "The advice is removed. Users no longer get it.")
            return HttpResponseRedirect(group_url)
        existing = {"text": group.advice_text, "url": group.advice_url}
        form = AdviceForm(request.POST) if step else AdviceForm(initial=existing)
        preview, has_changed = None, False
        if step and form.is_valid():
            text, url = form.cleaned_data["text"], form.cleaned_data["url"] or None
            preview = {"text": text, "url": url, "digest": _digest(group, text, url)}
            if step == "save" and request.POST.get("previewed") == preview["digest"]:
                return self._save(request, group, text, url, now, group_url)
            has_changed = step == "save"
        keys = [group.pk, *(former.pk for former in FormerGroup.objects.within(group.pk))]
        context = {
            "title": "Advise users",
            "now": now,
            "group": group,
            "group_url": group_url,
            "form": form,
            "preview": preview,
            "has_changed": has_changed,
            "is_removing": not step and "remove" in request.GET and bool(group.advice_text),
            "deliveries": delivery_figures(keys, group.event_type, clock.epoch_ms(now)),
        }
        status = 409 if has_changed else 400 if step and not form.is_valid() else 200
        return self.render(request, "events/group_advice.html", context, status=status)

    def _save(
        self, request: HttpRequest, group: FailureGroup, text: str, url: str | None, now: datetime, group_url: str
    ) -> HttpResponse:
        try:
            advice.give(group.pk, text, url, user=request.user, at=now, replaces=group)
        except CannotAdvise as refusal:
            messages.error(request, f"Nothing was changed. {refusal}")
        else:
            messages.success(request, "The advice is saved. Users get it from their next failure on.")
        return HttpResponseRedirect(group_url)


def _digest(group: FailureGroup, text: str, url: str | None) -> str:
    """Return a digest of advice, and of the advice that it replaces."""
    shown = "\n".join([text, url or "", str(group.advised_at_ms)])
    return hashlib.blake2b(shown.encode(), digest_size=8).hexdigest()
