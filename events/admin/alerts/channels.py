"""Admin pages of the channels of alerts, and of the mail that each person chooses."""

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters

from events import clock
from events.admin.alerts.forms import ChannelForm, KindsForm, MailForm, URLForm
from events.admin.pages import PagesAdmin
from events.alerts.channels import roster, trials
from events.alerts.channels.roster import InvalidChannel, MailChoice
from events.alerts.channels.sending import ChannelFailed
from events.maintenance.jobs import leases, registry
from events.models import AlertChannel, AuditEntry, AuditKind

# Django's debug page of an error shows what a form contained.
hides_url = method_decorator(sensitive_post_parameters("url"))


@admin.register(AlertChannel)
class AlertChannelAdmin(PagesAdmin):
    """The channels: a list, a page to add one, and a page for each with its switches. No page shows a URL."""

    title = "Alert channels"

    def get_urls(self) -> list[URLPattern]:
        return [
            *super().get_urls(),
            self.route("add/", self.add_view, "add"),
            self.route("mine/", self.mine_view, "mine"),
            self.route("<path:object_id>/delete/", self.delete_view, "delete"),
            self.route("<path:object_id>/history/", self.history_view, "history"),
            self.route("<path:object_id>/change/", self.change_view, "change"),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self.demand(self.has_view_permission(request) and request.method != "POST")
        context = {
            "title": self.title,
            "now": clock.now(),
            "channels": [_row(channel) for channel in roster.shared()],
            "persons": [_row(channel) for channel in roster.personal() if channel.is_on],
            "may_add": self.has_add_permission(request),
            "may_change": self.has_change_permission(request),
            "add_url": self.url("add"),
        }
        return self.render(request, "events/channel_list.html", context)

    @hides_url
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the form (GET), or add a channel (POST)."""
        self.demand(self.has_add_permission(request))
        form = ChannelForm(request.POST if request.method == "POST" else None)
        if form.is_bound and form.is_valid():
            values = form.cleaned_data
            try:
                channel = roster.add(
                    values["name"], values["url"], values["kinds"], who=request.user.get_username(), at=clock.now()
                )
            except InvalidChannel as fault:
                form.add_error(fault.field, str(fault))
            except ChannelFailed as failure:
                form.add_error("url", str(failure))
            else:
                messages.success(request, f"The channel {channel.name} is added. Send a test message to try it.")
                return HttpResponseRedirect(self.url("change", str(channel.pk)))
        context = {"title": "Add an alert channel", "form": form, "schemes": settings.ALERT_SCHEMES}
        return self.render(request, "events/channel_add.html", context, status=400 if form.errors else 200)

    @hides_url
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show a channel (GET), or change what the button of a form says (POST)."""
        self.demand(self.has_change_permission(request))
        channel = self.get_object(request, unquote(object_id))
        action = request.POST.get("action", "") if request.method == "POST" else ""
        kinds_form = KindsForm(request.POST if action == "kinds" else None, initial={"kinds": channel.kinds})
        url_form = URLForm(request.POST if action == "url" else None)
        if action and self._is_done(request, action, channel, kinds_form, url_form):
            return HttpResponseRedirect(self.url("change", str(channel.pk)))
        context = {
            "title": channel.name,
            "now": clock.now(),
            "channel": channel,
            "kinds_form": kinds_form,
            "url_form": url_form,
            "may_delete": self.has_delete_permission(request),
            "delete_url": self.url("delete", str(channel.pk)),
            "history_url": self.url("history", str(channel.pk)),
        }
        has_errors = bool(kinds_form.errors or url_form.errors)
        return self.render(request, "events/channel.html", context, status=400 if has_errors else 200)

    def _is_done(
        self, request: HttpRequest, action: str, channel: AlertChannel, kinds_form: KindsForm, url_form: URLForm
    ) -> bool:
        """Carry out an action. Return False if its form has errors. Raises Http404 for an unknown action."""
        who, now = request.user.get_username(), clock.now()
        if action == "kinds":
            if not kinds_form.is_valid():
                return False
            roster.choose(channel, kinds_form.cleaned_data["kinds"], who=who, at=now)
            messages.success(request, f"The channel {channel.name} gets {roster.in_words(channel.kinds)}.")
        elif action == "url":
            return url_form.is_valid() and self._replaces_url(request, channel, url_form)
        elif action in ("on", "off"):
            roster.switch(channel, is_on=action == "on", who=who, at=now)
            messages.success(request, f"The channel {channel.name} is {action}.")
        elif action == "test":
            roster.request_test(channel, who=who, at=now)
            leases.run_now(registry.registered()[trials.JOB], who=who, now=now)
            messages.success(
                request, "The site sends a test message within a few seconds. Reload this page for the result."
            )
        else:
            raise Http404
        return True

    def _replaces_url(self, request: HttpRequest, channel: AlertChannel, form: URLForm) -> bool:
        try:
            roster.replace_url(channel, form.cleaned_data["url"], who=request.user.get_username(), at=clock.now())
        except (InvalidChannel, ChannelFailed) as fault:
            form.add_error("url", str(fault))
            return False
        messages.success(request, f"The channel {channel.name} has a new URL. Send a test message to try it.")
        return True

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the confirmation page (GET), or remove the channel (POST)."""
        self.demand(self.has_delete_permission(request))
        channel = self.get_object(request, unquote(object_id))
        if request.method == "POST":
            roster.remove(channel, who=request.user.get_username(), at=clock.now())
            messages.success(request, f"The channel {channel.name} is removed.")
            return HttpResponseRedirect(self.url("changelist"))
        context = {
            "title": f"Remove {channel.name}?",
            "channel": channel,
            "kinds": roster.in_words(channel.kinds),
            "change_url": self.url("change", str(channel.pk)),
        }
        return self.render(request, "events/channel_remove.html", context)

    def mine_view(self, request: HttpRequest) -> HttpResponse:
        """Show the mail that the reader gets (GET), or change it (POST)."""
        self.demand(request.user.has_perm("events.view_event"))
        chosen = roster.choice_of(request.user)
        form = MailForm(request.POST if request.method == "POST" else None, initial={"choice": chosen})
        if form.is_bound and form.is_valid():
            choice = MailChoice(form.cleaned_data["choice"])
            roster.subscribe(request.user, choice, at=clock.now())
            messages.success(request, f"Your mail: {choice.label.lower()}.")
            return HttpResponseRedirect(self.url("mine"))
        context = {
            "title": "My alerts",
            "now": clock.now(),
            "form": form,
            "channel": AlertChannel.objects.filter(person=request.user.pk, is_on=True).first(),
            "address": getattr(request.user, "email", ""),
            "has_mail": settings.HAS_MAIL,
            "may_see_channels": self.has_view_permission(request),
        }
        return self.render(request, "events/my_alerts.html", context, status=400 if form.errors else 200)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> AlertChannel:
        """Return a shared channel. The mail of a person is that person's own. Raises Http404."""
        channel: AlertChannel = super().get_object(request, object_id, from_field)
        if channel.person_id is not None:
            raise Http404
        return channel

    def history(self, obj: AlertChannel) -> QuerySet[AuditEntry]:
        return AuditEntry.objects.filter(kind=AuditKind.ALERT, about=obj.name).order_by("-at_ms", "-id")


def _row(channel: AlertChannel) -> tuple[AlertChannel, str]:
    return channel, roster.in_words(channel.kinds)
