"""Admin pages of tokens: a list, a page to create one, and a page to revoke one.

The page that answers a creation is the only one that shows a token. It is the response to the POST, not a redirect, so
that the token is in no URL, session or message. A reload repeats the POST, whose name is then taken.
"""

from datetime import UTC, datetime, time, timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db import IntegrityError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import mark_safe
from django.views.decorators.debug import sensitive_variables

from events import clock
from events.admin.changelist import KeysetChangeList, quiet
from events.admin.pages import PagesAdmin
from events.ingest import tokens
from events.ingest.tokens import Scope
from events.models import AuditEntry, AuditKind, IngestToken
from events.templatetags.telemetry import time_element

WHAT_SCOPES_ALLOW = {
    Scope.INGEST: "send events, on a site that requires tokens",
    Scope.SOURCE_MAPS: "upload, list and delete source maps",
    Scope.READ: "read figures, failures, groups and releases",
    Scope.TRIAGE: "decide on failure groups",
}
# A token may do what its creator may do. Everybody may send events.
PERMISSIONS = {
    Scope.SOURCE_MAPS: "events.delete_sourcemap",
    Scope.READ: "events.view_event",
    Scope.TRIAGE: "events.triage_event",
}
UNTIL_DATE, NEVER = "date", "never"
LIFETIMES = {
    "7": "7 days",
    "30": "30 days",
    "90": "90 days",
    "365": "1 year",
    UNTIL_DATE: "until a date",
    NEVER: "until it is revoked",
}


class TokenForm(forms.Form):
    """The form of a new token. `may` are the scopes that its creator may give."""

    name = forms.CharField(
        max_length=tokens.MAX_NAME,
        widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false"}),
        help_text="Who uses the token, such as release-check. A name cannot be used again.",
    )
    scopes = forms.MultipleChoiceField(
        label="The token may", widget=forms.CheckboxSelectMultiple, help_text="Choose as few as possible."
    )
    lifetime = forms.ChoiceField(
        label="Lifetime", choices=list(LIFETIMES.items()), initial="90", widget=forms.RadioSelect
    )
    last_day = forms.DateField(
        required=False,
        widget=forms.DateInput({"type": "date"}, format="%Y-%m-%d"),
        input_formats=["%Y-%m-%d"],
        help_text="For “until a date”: the last day on which the token is valid, in UTC.",
    )
    rate = forms.CharField(
        required=False,
        max_length=20,
        label="Rate limit",
        widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, may: list[Scope], now: datetime, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._now = now
        self.fields["scopes"].choices = [(scope.value, f"{scope}: {WHAT_SCOPES_ALLOW[scope]}") for scope in may]  # type: ignore[attr-defined]
        default = settings.READ_RATE or "none"
        self.fields["rate"].help_text = (
            "Requests in a second, minute, hour or day, such as 60/m, or off. Empty: the limit of the site, which is"
            f" {default} for reads, decisions and source maps. For events, each sender has a limit anyway."
        )

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if fault := tokens.name_fault(name):
            raise forms.ValidationError(fault)
        return name

    def clean_rate(self) -> str:
        try:
            return tokens.parse_rate(self.cleaned_data["rate"])
        except ValueError:
            raise forms.ValidationError("Neither a rate such as 60/m (units s, m, h, d) nor off.") from None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        last_day, lifetime = cleaned.get("last_day"), cleaned.get("lifetime")
        if lifetime == UNTIL_DATE and last_day is None and "last_day" not in self.errors:
            self.add_error("last_day", "Choose the date.")
        elif lifetime not in (UNTIL_DATE, None) and last_day is not None:
            self.add_error("last_day", "Choose “until a date” above, or leave the date empty.")
        elif last_day is not None and not self._now.date() <= last_day <= (self._now + tokens.LONGEST).date():
            self.add_error("last_day", f"Choose a day from today on, at most {tokens.LONGEST.days:,} days ahead.")
        return cleaned

    def expires_at(self) -> datetime | None:
        """Return when the token of the valid form expires, None for never."""
        lifetime = self.cleaned_data["lifetime"]
        if lifetime == NEVER:
            return None
        if lifetime == UNTIL_DATE:
            return datetime.combine(self.cleaned_data["last_day"], time(), UTC) + timedelta(days=1)
        return self._now + timedelta(days=int(lifetime))


@admin.register(IngestToken)
class IngestTokenAdmin(PagesAdmin):
    """Tokens of front ends and scripts: a list, a page to create one, and a page to revoke one."""

    title = "Tokens"
    list_display = ("token", "scope_words", "limit", "created_at", "last_used", "expires", "revoked_at")
    list_display_links = ("token",)
    column_labels = {"created_at": "Created", "revoked_at": "Revoked"}
    column_classes = {
        "token": "", "scope_words": "", "limit": "nowrap", "created_at": "nowrap wide-only", "last_used": "nowrap",
        "expires": "nowrap", "revoked_at": "nowrap", "revoke_link": "num",
    }  # fmt: skip
    labelled_columns = ("scope_words", "limit", "last_used", "expires", "revoked_at")
    change_list_template = "events/token_list.html"

    def get_urls(self) -> list[URLPattern]:
        return [
            *super().get_urls(),
            self.route("add/", self.add_view, "add"),
            self.route("<path:object_id>/revoke/", self.change_view, "change"),
            self.route("<path:object_id>/history/", self.history_view, "history"),
        ]

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        return (*self.list_display, "revoke_link") if self.has_change_permission(request) else self.list_display

    def read_page(self, changelist: KeysetChangeList) -> tuple[list[IngestToken], None]:
        return tokens.used_until(changelist.now), None

    def list_context(self, request: HttpRequest, changelist: KeysetChangeList) -> dict[str, Any]:
        return {"may_add": self.has_add_permission(request), "add_url": self.url("add")}

    @admin.display(description="Name")
    def token(self, token: IngestToken) -> str:
        return format_html("<bdi>{}</bdi>", token.name)

    @admin.display(description="Scopes")
    def scope_words(self, token: IngestToken) -> str:
        return ", ".join(token.scopes.split())

    @admin.display(description="Rate limit")
    def limit(self, token: IngestToken) -> str:
        return token.rate or quiet("of the site")

    @admin.display(description="Last used")
    def last_used(self, token: Any) -> str:
        return time_element(token.last_used_at, token.changelist.now) if token.last_used_at else quiet("never")

    @admin.display(description="Expires")
    def expires(self, token: Any) -> str:
        if not token.expires_at:
            return quiet("never")
        is_expired = token.expires_at <= token.changelist.now
        expired = mark_safe(' <span class="bad">expired</span>') if is_expired else ""
        return format_html("{} UTC{}", f"{token.expires_at:%Y-%m-%d %H:%M}", expired)

    @admin.display(description=mark_safe('<span class="visually-hidden">Revoke</span>'))
    def revoke_link(self, token: IngestToken) -> str:
        if token.revoked_at:
            return mark_safe("")
        return format_html('<a href="{}">Revoke…</a>', self.url("change", str(token.pk)))

    @method_decorator(sensitive_variables())
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the form (GET), or create a token and show it (POST)."""
        self.demand(self.has_add_permission(request))
        now = clock.now()
        may = [scope for scope in Scope if scope not in PERMISSIONS or request.user.has_perm(PERMISSIONS[scope])]
        form = TokenForm(request.POST if request.method == "POST" else None, may=may, now=now)
        if form.is_bound and form.is_valid():
            name, expires_at = form.cleaned_data["name"], form.expires_at()
            scopes = [Scope(word) for word in form.cleaned_data["scopes"]]
            try:
                token = tokens.issue(
                    name,
                    who=request.user.get_username(),
                    now=now,
                    expires_at=expires_at,
                    scopes=scopes,
                    rate=form.cleaned_data["rate"],
                )
            except IntegrityError:
                form.add_error(
                    "name",
                    f"{tokens.taken_words(name)} If you reloaded the page that showed the token: no page can show it"
                    " again.",
                )
            else:
                context = {
                    "title": f"The token {name} is created",
                    "name": name,
                    "token": token,
                    "scope_words": ", ".join(scope for scope in Scope if scope in scopes),
                    "until": tokens.until_words(expires_at),
                    "is_for_events": Scope.INGEST in scopes,
                    "is_for_scripts": set(scopes) != {Scope.INGEST},
                }
                return self.render(request, "events/token_created.html", context)
        context = {"title": "Create a token", "form": form}
        return self.render(request, "events/token_add.html", context, status=400 if form.errors else 200)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the confirmation page (GET), or revoke the token (POST)."""
        self.demand(self.has_change_permission(request))
        token = self.get_object(request, unquote(object_id))
        if request.method == "POST":
            tokens.revoke(token, who=request.user.get_username(), now=clock.now())
            messages.success(request, f"{token.name} is revoked.")
            return HttpResponseRedirect(self.url("changelist"))
        return self.render(request, "events/token_revoke.html", {"title": f"Revoke {token.name}?", "token": token})

    def history(self, token: IngestToken) -> QuerySet[AuditEntry]:
        return AuditEntry.objects.filter(kind=AuditKind.TOKEN, about=token.name).order_by("-at_ms", "-id")
