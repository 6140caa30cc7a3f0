"""Converts an RSGI request of Granian to a WSGI environ, which Django reads."""

import logging
from io import BytesIO
from typing import Any

from django.conf import settings
from granian.rsgi import Scope

from telemetry_site.server.request_head import UNREADABLE, Headers
from telemetry_site.server.threads import Upload

logger = logging.getLogger(__name__)


class _Errors:
    def write(self, text: str) -> None:
        # The text that a library writes may quote the request, so log only its length.
        logger.error("A library wrote %d characters to wsgi.errors", len(text))

    def flush(self) -> None: ...


_errors = _Errors()


def of(scope: Scope, headers: Headers, body: bytes | Upload, length: int | None) -> dict[str, Any]:
    """Return the WSGI environ of a request.

    `length` exceeds `len(body)` when the rest of the body was not read. It is None for an upload of unknown length.
    """
    address, _, port = scope.client.rpartition(":")
    host, _, server_port = scope.server.rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        # WSGI requires the bytes of the path decoded as Latin-1.
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string.encode().decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": server_port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": address.strip("[]"),
        "REMOTE_PORT": port,
        "CONTENT_LENGTH": "" if length is None else str(length),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": BytesIO(body) if isinstance(body, bytes) else body,
        "wsgi.input_terminated": length is None,
        "wsgi.errors": _errors,
        "wsgi.multithread": True,
        "wsgi.multiprocess": settings.WORKERS > 1,
        "wsgi.run_once": False,
    }
    for name, value in headers:
        if "_" in name:  # WSGI cannot tell it from the header with a hyphen
            continue
        if name == "content-type":
            environ["CONTENT_TYPE"] = value
        elif name != "content-length":
            key = "HTTP_" + name.upper().replace("-", "_")
            previous = environ.get(key)
            environ[key] = value if previous is None else f"{previous}{'; ' if name == 'cookie' else ','}{value}"
    if "HTTP_HOST" not in environ and scope.authority:
        environ["HTTP_HOST"] = scope.authority
    return environ


def headers_of(scope: Scope) -> Headers:
    """Return the headers, with UNREADABLE for each value that is not ASCII text and that Granian therefore omits.

    Granian does not report such a value after a readable one of the same name. A proxy sends one header line, or
    appends its own line after the client's. So no address that a proxy appended is lost.
    """
    received = scope.headers
    headers: Headers = received.items()
    readable = {name for name, _ in headers}
    names = received.keys()
    if len(readable) < len(names):
        headers += [(name, UNREADABLE) for name in names if name not in readable]
    if settings.TRUSTED_PROXY_COUNT and "x-forwarded-for" in readable and received.get("x-forwarded-for") is None:
        headers.append(("x-forwarded-for", UNREADABLE))  # the first line of several
    return headers
