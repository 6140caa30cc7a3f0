"""The application for any WSGI server. Ours is `rsgi.py`, which wraps this one."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.wsgi import get_wsgi_application
from whitenoise import WhiteNoise

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "telemetry_site.settings")


class StaticFiles(WhiteNoise):  # type: ignore[misc]
    """Static files with the site's headers on every answer, on a refusal and on "not modified" too."""

    @staticmethod
    def serve(static_file: Any, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]]) -> Any:
            return start_response(status, [*headers, *settings.SECURITY_HEADERS.items()])

        return WhiteNoise.serve(static_file, environ, start)  # type: ignore[no-any-return]


def with_static_files(django: object) -> StaticFiles:
    """Serve each app's static files before Django sees the request; there is nothing to collect."""
    application = StaticFiles(django, mimetypes={".ts": "text/plain"})  # which are films to the world's lists
    for finder in get_finders():
        for path, storage in finder.list([]):
            application.add_file_to_dictionary(f"/static/{path}", storage.path(path))
    return application


application = with_static_files(get_wsgi_application())
