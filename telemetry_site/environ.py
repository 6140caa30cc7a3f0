"""A request as WSGI tells it: what Granian knows of one, in the names that Django reads."""

import logging
from io import BytesIO
from typing import Any

from django.conf import settings
from granian.rsgi import Scope

logger = logging.getLogger(__name__)


class _Errors:
    def write(self, text: str) -> None:
        logger.error(text.rstrip())

    def flush(self) -> None: ...


_errors = _Errors()


def of(scope: Scope, body: bytes, length: int) -> dict[str, Any]:
    """Return the WSGI environ of a request whose body is read; `length` may say that there was more of it."""
    address, _, port = scope.client.rpartition(":")
    host, _, server_port = scope.server.rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        # WSGI wants the bytes of the address as Latin-1.
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string.encode().decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": server_port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": address.strip("[]"),
        "REMOTE_PORT": port,
        "CONTENT_LENGTH": str(length),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": BytesIO(body),
        "wsgi.errors": _errors,
        "wsgi.multithread": True,
        "wsgi.multiprocess": settings.WORKERS > 1,
        "wsgi.run_once": False,
    }
    readable = scope.headers.items()
    for name, value in readable + _unreadable(scope.headers, readable):
        if "_" in name:  # would become one with the header that has a hyphen there
            continue
        if name == "content-type":
            environ["CONTENT_TYPE"] = value
        elif name != "content-length":
            key = "HTTP_" + name.upper().replace("-", "_")
            known = environ.get(key)
            environ[key] = value if known is None else f"{known}{'; ' if name == 'cookie' else ','}{value}"
    if "HTTP_HOST" not in environ and scope.authority:
        environ["HTTP_HOST"] = scope.authority
    return environ


def _unreadable(headers: Any, readable: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers whose bytes are no text, which Granian names and does not tell: nobody may hide one so."""
    names = headers.keys()
    if len(names) == len(readable):
        return []
    told = {name for name, _ in readable}
    return [(name, "\ufffd") for name in names if name not in told]
