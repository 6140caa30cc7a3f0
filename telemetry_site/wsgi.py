"""WSGI application for other servers. Our own server, `server/rsgi.py`, wraps `site` and limits heads itself."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.wsgi import get_wsgi_application
from whitenoise import WhiteNoise

from events.ingest.refusals import RefusalReason
from telemetry_site import request_head

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "telemetry_site.settings")


class StaticFiles(WhiteNoise):  # type: ignore[misc]
    """WhiteNoise that adds the security headers to every response, including 304 and errors."""

    @staticmethod
    def serve(static_file: Any, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]]) -> Any:
            return start_response(status, [*headers, *settings.SECURITY_HEADERS.items()])

        return WhiteNoise.serve(static_file, environ, start)  # type: ignore[no-any-return]


def with_static_files(django: object) -> StaticFiles:
    """Serve each app's static files before Django sees the request, without `collectstatic`."""
    application = StaticFiles(django, mimetypes={".ts": "text/plain"})  # standard lists call .ts a video format
    for finder in get_finders():
        for path, storage in finder.list([]):
            application.add_file_to_dictionary(f"/static/{path}", storage.path(path))
    return application


def with_limited_heads(site: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Refuse request heads over the limits before Django runs, as `rsgi.py` does."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
        headers = [
            (name.removeprefix("HTTP_").replace("_", "-").lower(), value)
            for name, value in environ.items()
            if name.startswith("HTTP_") or (name == "CONTENT_TYPE" and value)
        ]
        refusal = request_head.refusal_of(method, path, environ.get("QUERY_STRING", ""), headers)
        if refusal is None:
            return site(environ, start_response)
        if refusal is request_head.MEDIA_TYPE:
            request_head.note_refusal(method, path, RefusalReason.MEDIA_TYPE)
        cors = request_head.cors_headers(path, environ.get("HTTP_ORIGIN"))
        start_response(f"{refusal.status} {refusal.reason}", [*request_head.JSON_HEADERS, *cors])
        return [] if method == "HEAD" else [refusal.body]

    return application


site = with_static_files(get_wsgi_application())
application = with_limited_heads(site)
