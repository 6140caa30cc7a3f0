"""Admin page that stores the address of the issue about a failure group."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import quote, unquote
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern

from events import clock
from events.admin.group_forms import OriginFilter
from events.admin.pages import PagesAdmin
from events.grouping import issues
from events.grouping.issues import CannotLink


class IssueForm(forms.Form):
    """The address of the issue, and the address that the form showed at first. An empty address removes the issue."""

    issue_url = forms.CharField(
        required=False,
        label="Address of the issue",
        widget=forms.URLInput({"placeholder": "https://", "autocomplete": "off", "maxlength": issues.MAX_URL}),
        help_text="It must begin with https://. Leave it empty to remove the link.",
    )
    replaces = forms.CharField(required=False, strip=False, widget=forms.HiddenInput)

    def clean_issue_url(self) -> str | None:
        url = str(self.cleaned_data["issue_url"])
        if not url:
            return None
        if url[:8].lower() == "https://":
            url = f"https{url[5:]}"
        if fault := issues.fault_of_url(url):
            raise forms.ValidationError(fault)
        return url


def form_of(issue_url: str | None) -> IssueForm:
    """Return the form of a group with this issue."""
    return IssueForm(initial={"issue_url": issue_url, "replaces": issue_url})


class IssuePages(PagesAdmin):
    """The part of the admin of failure groups that concerns issues."""

    def get_urls(self) -> list[URLPattern]:
        return [self.route("<path:object_id>/issue/", self.issue, "issue"), *super().get_urls()]

    def issue(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the form (GET), or store, change or remove the address of the issue (POST)."""
        self.demand(self.has_triage_permission(request))
        group = self.get_object(request, unquote(object_id))
        group_url = self.url("change", quote(group.pk)) + OriginFilter.back_of(request.POST.get("back", ""))
        is_sent = request.method == "POST"
        form = IssueForm(request.POST) if is_sent else form_of(group.issue_url)
        if is_sent and form.is_valid():
            return self._link(request, group.pk, form.cleaned_data, group_url)
        context = {
            "title": "Issue about this group",
            "now": clock.now(),
            "group": group,
            "group_url": group_url,
            "form": form,
            "back": request.POST.get("back", ""),
        }
        return self.render(request, "events/group_issue.html", context, status=400 if is_sent else 200)

    def _link(self, request: HttpRequest, key: str, data: dict[str, Any], group_url: str) -> HttpResponse:
        url = data["issue_url"]
        try:
            is_new = issues.link(key, url, replaces=data["replaces"] or None, user=request.user, at=clock.now())
        except CannotLink as refusal:
            messages.error(request, f"Nothing was changed. {refusal}")
        else:
            if is_new:
                messages.success(request, "The issue is linked." if url else "The link to the issue is removed.")
        return HttpResponseRedirect(group_url)
