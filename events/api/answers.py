"""JSON answers with the key `ok`. Every refusal has the same shape."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from rest_framework.exceptions import APIException, MethodNotAllowed, NotAuthenticated, UnsupportedMediaType
from rest_framework.renderers import BaseRenderer
from rest_framework.response import Response

from events.ingest.contract import InvalidFields, InvalidJson
from events.ingest.group_commit import UNAVAILABLE, StorageUnavailable
from events.ingest.refusals import RefusalReason

logger = logging.getLogger(__name__)

RETRY_STORAGE_SECONDS = 2
# Created once: json.dumps creates an encoder for every call with options.
encode = json.JSONEncoder(separators=(",", ":")).encode
HEADERS = {"Cache-Control": "no-store", **settings.SECURITY_HEADERS}
CONTENT_TYPE = "application/json"


class JsonRenderer(BaseRenderer):
    """The one renderer of the API: compact JSON."""

    media_type = CONTENT_TYPE
    format = "json"
    charset = None  # JSON is always UTF-8, so the Content-Type names none

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        return encode(data).encode()


def rendered(body: Mapping[str, Any], status: int = 200) -> HttpResponse:
    """Return an answer that is rendered already, for the most frequent requests. It skips DRF's rendering."""
    return HttpResponse(encode(body), status=status, content_type=CONTENT_TYPE)


def refusal_body(error: str, fields: Mapping[str, list[str]] | None = None) -> dict[str, Any]:
    body: dict[str, Any] = {"ok": False, "error": error}
    return body if fields is None else body | {"fields": fields}


def refusal(status: int, error: str) -> HttpResponse:
    """Return a refusal from outside the views, with the headers that every view sends."""
    return HttpResponse(encode(refusal_body(error)), status=status, content_type=CONTENT_TYPE, headers=HEADERS)


class TooManyRequests(APIException):
    """429: the client may send again after `wait` seconds. `code` is the reason to count."""

    status_code = 429
    default_detail = "Too many requests"

    def __init__(self, wait: int, code: RefusalReason, detail: str | None = None) -> None:
        super().__init__(detail, code)
        self.headers = {"Retry-After": str(wait)}


class PayloadTooLarge(APIException):
    status_code = 413
    default_detail = "Payload too large"
    default_code = RefusalReason.TOO_LARGE


class TooSlow(APIException):
    status_code = 408
    default_detail = "Request not received in time"


class CutOff(APIException):
    status_code = 400
    default_detail = "Request not received whole"


class Invalid(APIException):
    """400: the words say what is wrong with the request."""

    status_code = 400


class Conflict(APIException):
    status_code = 409


class NotFound(APIException):
    status_code = 404
    default_detail = "Not found"


class Unavailable(APIException):
    """503 for a reason that is not in the request."""

    status_code = 503

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.headers = {"Retry-After": str(RETRY_STORAGE_SECONDS)}


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """Convert an exception of a view to the contract's answer. None lets Django answer 500."""
    if isinstance(error, InvalidFields):
        return Response(refusal_body("Invalid payload fields", error.fields), 400)
    if isinstance(error, InvalidJson):
        return Response(refusal_body("Invalid JSON"), 400)
    if isinstance(error, UNAVAILABLE):  # raised by a read or a token check
        logger.error("Storage is unavailable: %s", error)
    if isinstance(error, (StorageUnavailable, *UNAVAILABLE)):
        retry = {"Retry-After": str(RETRY_STORAGE_SECONDS)}
        return Response(refusal_body("Storage unavailable"), 503, headers=retry)
    if not isinstance(error, APIException):
        return None
    words, headers = str(error.detail), getattr(error, "headers", {})
    if isinstance(error, MethodNotAllowed):
        words, headers = "Method not allowed", {"Allow": ", ".join(context["view"].allowed_methods)}
    elif isinstance(error, UnsupportedMediaType):
        words = "Unsupported media type"
    elif isinstance(error, NotAuthenticated):
        headers = {"WWW-Authenticate": "Bearer"}
    return Response(refusal_body(words), error.status_code, headers=headers)


def reason_of(error: Exception) -> RefusalReason | None:
    """Return the reason to count for a refused ingest request, None for other errors."""
    if isinstance(error, InvalidFields):
        return RefusalReason.INVALID_FIELDS
    if isinstance(error, InvalidJson):
        return RefusalReason.INVALID_JSON
    if isinstance(error, (StorageUnavailable, *UNAVAILABLE)):
        return RefusalReason.STORAGE
    if isinstance(error, UnsupportedMediaType):
        return RefusalReason.MEDIA_TYPE
    code = error.get_codes() if isinstance(error, APIException) else None
    return next((reason for reason in RefusalReason if reason == code), None)
