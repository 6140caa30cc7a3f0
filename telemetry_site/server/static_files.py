"""WhiteNoise in front of Django: each app's static files, without `collectstatic`."""

from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from whitenoise import WhiteNoise


class StaticFiles(WhiteNoise):  # type: ignore[misc]
    """Serves static files. Every response has the security headers, also 304 and errors."""

    @staticmethod
    def serve(static_file: Any, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]]) -> Any:
            return start_response(status, [*headers, *settings.SECURITY_HEADERS.items()])

        return WhiteNoise.serve(static_file, environ, start)  # type: ignore[no-any-return]


def with_static_files(django: object) -> StaticFiles:
    """Serve static files before Django sees the request."""
    application = StaticFiles(django, mimetypes={".ts": "text/plain"})  # standard lists call .ts a video format
    for finder in get_finders():
        for path, storage in finder.list([]):
            application.add_file_to_dictionary(f"/static/{path}", storage.path(path))
    return application
