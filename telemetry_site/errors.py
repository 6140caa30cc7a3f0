"""Error handlers: an HTML page inside the admin, the JSON of the contract everywhere else."""

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.template.loader import render_to_string
from django.views import defaults

from events import clock
from events.api.answers import refusal
from events.ingest import refused_hosts, writer
from events.ingest.refusals import RefusalReason
from telemetry_site import logs, refused_forms


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return host_refusal(request) if isinstance(exception, DisallowedHost) else refusal(400, "Bad request")


def host_refusal(request: HttpRequest) -> HttpResponse:
    """Refuse a request whose host is not in ALLOWED_HOSTS, and count the refusal per host name."""
    refused_hosts.note(request.META.get("HTTP_HOST", ""), clock.now_ms())
    writer.note_refusal(RefusalReason.HOST)
    return refusal(400, "Host not allowed")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return defaults.permission_denied(request, exception) if _is_page(request) else refusal(403, "Forbidden")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    if not _is_page(request):
        return refusal(403, "Forbidden")
    cause = refused_forms.explain(request, reason)
    return HttpResponseForbidden(render_to_string("403_csrf.html", cause._asdict()))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return defaults.page_not_found(request, exception) if _is_page(request) else refusal(404, "Not found")


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500. The id of the request is in the log line of the error, so a report can name it."""
    response = defaults.server_error(request) if _is_page(request) else refusal(500, "Internal error")
    response.headers["X-Request-ID"] = logs.request_id(request.META)
    return response


def _is_page(request: HttpRequest) -> bool:
    return request.path_info.startswith("/admin/")
