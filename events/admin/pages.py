"""What the admin's own pages have in common."""

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
    """A model whose pages are our own: none of Django's lists, forms and deletions exist for it."""

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
    def is_led_here(request: HttpRequest) -> bool:
        """Tell whether a page of another site opened an export, and say so on the next page.

        An export by GET writes the audit log, so a link elsewhere must not start one in a maintainer's name. Browsers
        send this header over HTTPS and to localhost; without it the entry is bounded and validated all the same.
        """
        is_led = request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site")
        if is_led:
            messages.warning(request, "Another site opened this export, so nothing was exported. Export it here.")
        return is_led

    @staticmethod
    def demand(right: str, request: HttpRequest) -> None:
        """Raise PermissionDenied unless the person has a right of `events`."""
        if not request.user.has_perm(f"events.{right}"):
            raise PermissionDenied


XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def export_response(
    chunks: Iterable[list[tuple[Any, ...]]], form: Format, name: str, *, is_spreadsheet: bool
) -> StreamingHttpResponse:
    """Answer a list as a file: XLSX for people, CSV for programs."""
    ending = "xlsx" if is_spreadsheet else "csv"
    return StreamingHttpResponse(
        spreadsheets.as_xlsx(chunks, form) if is_spreadsheet else export.as_csv(chunks, form),
        content_type=XLSX if is_spreadsheet else "text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.{ending}"', "Cache-Control": "no-store"},
    )
