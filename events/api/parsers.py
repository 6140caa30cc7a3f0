"""Content negotiation and parsers of the API: JSON in strict UTF-8 with a size limit, whatever `Accept` says."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpRequest
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from events.api.answers import CONTENT_TYPE, CutOff, PayloadTooLarge, TooSlow
from events.ingest import contract, media_types

# Python converts at most 4,300 digits to an integer, and no body is that long.
_LENGTH_DIGITS = 18
_CHUNK = 65_536


class JsonOnly(BaseContentNegotiation):
    """Every answer is JSON. A body needs an accepted media type and no content encoding."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        (renderer,) = renderers
        return renderer, CONTENT_TYPE

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        meta = request._request.META
        is_readable = media_types.is_accepted(meta.get("CONTENT_TYPE", "")) and not meta.get("HTTP_CONTENT_ENCODING")
        return next(iter(parsers)) if is_readable else None


class BodyParser(BaseParser):
    """Reads a body and validates its JSON. `setting` names the setting with the largest body in bytes."""

    setting: ClassVar[str]
    parse_bytes: ClassVar[Callable[[bytes], Any]]

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        return type(self).parse_bytes(read_body(stream, getattr(settings, self.setting)))


class ObjectParser(BodyParser):
    media_type = CONTENT_TYPE
    setting = "MAX_BODY_BYTES"
    parse_bytes = contract.read_object


class BatchParser(BodyParser):
    media_type = CONTENT_TYPE
    setting = "MAX_BATCH_BODY_BYTES"
    parse_bytes = contract.read_batch


def read_body(request: HttpRequest, limit: int) -> bytes:
    """Return the body. Reads at most one byte more than `limit`. Raises PayloadTooLarge."""
    declared = request.META.get("CONTENT_LENGTH") or ""
    if declared.isascii() and declared.isdigit():
        if len(declared) > _LENGTH_DIGITS or int(declared) > limit:
            raise PayloadTooLarge
        return bytes(request.read(int(declared)))
    if request.META.get("wsgi.input_terminated"):
        body = bytes(request.META["wsgi.input"].read(limit + 1))
        if len(body) > limit:
            raise PayloadTooLarge
        return body
    return b""


def upload_chunks(request: HttpRequest, limit: int) -> Iterator[bytes]:
    """Yield the body of an upload while it arrives. Raises PayloadTooLarge, TooSlow or CutOff."""
    declared = request.META.get("CONTENT_LENGTH") or ""
    is_declared = declared.isascii() and declared.isdigit()
    if is_declared and (len(declared) > _LENGTH_DIGITS or int(declared) > limit):
        raise PayloadTooLarge(f"The body is larger than {limit:,} bytes")
    if not is_declared and not request.META.get("wsgi.input_terminated"):
        return  # WSGI: without a length there is no body
    size, most = 0, int(declared) if is_declared else limit + 1
    while size < most:
        try:
            chunk = request.META["wsgi.input"].read(min(_CHUNK, most - size))
        except TimeoutError:
            raise TooSlow from None
        except OSError:
            raise CutOff from None
        if not chunk:
            break
        size += len(chunk)
        if size > limit:
            raise PayloadTooLarge(f"The body is larger than {limit:,} bytes")
        yield chunk
    if is_declared and size < most:
        raise CutOff
