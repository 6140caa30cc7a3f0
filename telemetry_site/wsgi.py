"""WSGI application for other servers. Our own server is `server/rsgi.py`."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

from events.ingest.refusals import RefusalReason
from telemetry_site import logs
from telemetry_site.server import request_head
from telemetry_site.server.static_files import with_static_files

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "telemetry_site.settings")


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
            with logs.during(environ):
                return site(environ, start_response)
        if refusal is request_head.MEDIA_TYPE:
            request_head.note_refusal(method, path, RefusalReason.MEDIA_TYPE)
        cors = request_head.cors_headers(path, environ.get("HTTP_ORIGIN"))
        start_response(f"{refusal.status} {refusal.reason}", [*request_head.JSON_HEADERS, *cors])
        return [] if method == "HEAD" else [refusal.body]

    return application


application = with_limited_heads(with_static_files(get_wsgi_application()))
