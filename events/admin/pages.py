"""Base class of our own admin pages, and their exports."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from events.reports import export, spreadsheets
from events.reports.export import Format


class PagesAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A ModelAdmin with our own pages instead of Django's lists, forms and deletions."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def page(self, name: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{name}"

    def url(self, name: str, *args: str) -> str:
        return reverse(f"admin:{self.page(name)}", args=args)

    def render(self, request: HttpRequest, template: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
        shared = self.admin_site.each_context(request) | {"opts": self.opts, "list_url": self.url("changelist")}
        return TemplateResponse(request, template, shared | context, status=status)

    @staticmethod
    def is_cross_site_request(request: HttpRequest) -> bool:
        """Return whether another site opened this export. If so, add a warning for the next page.

        An export by GET writes the audit log, so a link on another site must not trigger one. Browsers send
        Sec-Fetch-Site over HTTPS and to localhost. Without the header the audit entry is still validated and bounded.
        """
        is_cross_site = request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site")
        if is_cross_site:
            messages.warning(
                request, "Another site opened this export, so nothing was exported. Start the export here."
            )
        return is_cross_site

    @staticmethod
    def demand(permission: str, request: HttpRequest) -> None:
        """Raise PermissionDenied unless the user has a permission of `events`."""
        if not request.user.has_perm(f"events.{permission}"):
            raise PermissionDenied


XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def export_response(
    chunks: Iterable[list[tuple[Any, ...]]], form: Format, name: str, *, is_spreadsheet: bool
) -> StreamingHttpResponse:
    """Return a list as a streamed file: XLSX or CSV."""
    extension = "xlsx" if is_spreadsheet else "csv"
    return StreamingHttpResponse(
        spreadsheets.as_xlsx(chunks, form) if is_spreadsheet else export.as_csv(chunks, form),
        content_type=XLSX if is_spreadsheet else "text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.{extension}"', "Cache-Control": "no-store"},
    )
