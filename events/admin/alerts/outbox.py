"""Admin page of the outbox: each alert with its deliveries, and another attempt for those that were given up."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import Exists, OuterRef, Prefetch
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern

from events import clock, keyset
from events.admin.alerts.forms import OutboxFilter, ThresholdsForm
from events.admin.changelist import KeysetChangeList
from events.admin.pages import PagesAdmin
from events.alerts import delivery, preview
from events.alerts.preview import Thresholds
from events.keyset import Cursor
from events.models import Alert, AlertChannel, AlertDelivery, DeliveryState, FailureGroup

PREVIEWED = 100


class OutboxRow(NamedTuple):
    """An alert, its deliveries, and the title of its failure group, "" without one."""

    alert: Alert
    deliveries: list[AlertDelivery]
    title: str


class OutboxPage(NamedTuple):
    """`older` is the cursor of the next page, None at the end."""

    rows: list[Alert]
    older: Cursor | None


@admin.register(Alert)
class OutboxAdmin(PagesAdmin):
    """The alerts, newest first, each with one line for each channel: waiting, sent, or given up with the reason."""

    title = "Outbox of alerts"
    filter_form = OutboxFilter
    change_list_template = "events/outbox.html"
    has_saved_views = True
    drawn_columns = {"alert": "Alert", "when": "When", "planned": "Planned", "messages": "Messages"}
    more_columns = ("planned",)

    def get_urls(self) -> list[URLPattern]:
        return [
            *super().get_urls(),
            self.route("retry/", self.retry_view, "retry"),
            self.route("preview/", self.preview_view, "preview"),
        ]

    def read_page(self, changelist: KeysetChangeList) -> OutboxPage:
        filters = changelist.form.cleaned_data
        rows = Alert.objects.order_by("-happened_at_ms", "-id").prefetch_related(
            Prefetch("deliveries", AlertDelivery.objects.select_related("channel").order_by("channel__name"))
        )
        if filters["kind"]:
            rows = rows.filter(kind=filters["kind"])
        of_alert = AlertDelivery.objects.filter(alert=OuterRef("pk"))
        if filters["state"]:
            of_alert = of_alert.filter(state=filters["state"])
        if filters["channel"]:
            of_alert = of_alert.filter(channel__name=filters["channel"])
        if filters["state"] or filters["channel"]:
            rows = rows.filter(Exists(of_alert))
        return OutboxPage(*keyset.page(rows, self.list_per_page, changelist.after))

    def list_context(self, request: HttpRequest, changelist: KeysetChangeList) -> dict[str, Any]:
        alerts: Iterable[Alert] = changelist.result_list
        titles = dict(
            FailureGroup.objects.filter(
                fingerprint__in=[alert.subject for alert in alerts if alert.subject]
            ).values_list("fingerprint", "title")
        )
        return {
            "rows": [OutboxRow(alert, list(alert.deliveries.all()), titles.get(alert.subject, "")) for alert in alerts],
            "is_narrowed": any(request.GET.get(name) for name in ("state", "kind", "channel")),
            "may_retry": request.user.has_perm("events.change_alertchannel"),
            "may_see_groups": request.user.has_perm("events.view_event"),
            "has_channel": AlertChannel.objects.filter(is_on=True).exists(),
            "retry_url": self.url("retry"),
            "sent": DeliveryState.SENT,
            "given_up": DeliveryState.GIVEN_UP,
        }

    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """Show how many messages given thresholds would have caused in the last 30 days."""
        self.demand(self.has_view_permission(request) and request.user.has_perm("events.view_event"))
        now = clock.now()
        form = ThresholdsForm(request.GET).refuse_unknown()
        found = preview.preview(form.thresholds(), now) if form.is_valid() else None
        context = {
            "title": "Preview of alerts",
            "now": now,
            "form": form,
            "preview": found,
            "thresholds": form.thresholds() if found else None,
            "in_force": Thresholds(settings.ALERT_NEW_AFTER, settings.ALERT_SILENCE_HOURS),
            "newest": found.alerts[: -PREVIEWED - 1 : -1] if found else [],
            "days": preview.DAYS,
        }
        return self.render(request, "events/alert_preview.html", context, status=200 if found else 400)

    def retry_view(self, request: HttpRequest) -> HttpResponse:
        """Request another attempt of one delivery (POST). The next run of the jobs makes it."""
        self.demand(request.user.has_perm("events.change_alertchannel") and self.has_view_permission(request))
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        number = request.POST.get("delivery", "")
        row = (
            AlertDelivery.objects.select_related("alert", "channel").filter(pk=int(number)).first()
            if number.isascii() and number.isdigit() and len(number) < 19
            else None
        )
        if row is None:
            raise Http404
        if delivery.retry(row, who=request.user.get_username(), at=clock.now()):
            messages.success(request, f"The channel {row.channel.name} tries again within a minute.")
        elif not row.channel.is_on:
            messages.warning(request, f"The channel {row.channel.name} is off. Switch it on first.")
        else:
            messages.warning(request, "This message was not given up, so there is nothing to repeat.")
        return HttpResponseRedirect(self.url("changelist"))
