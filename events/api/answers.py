"""JSON responses with the key `ok`. Every refusal has the same shape."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from rest_framework.exceptions import APIException, MethodNotAllowed, NotAuthenticated

from events.ingest.contract import InvalidFields, InvalidJson
from events.ingest.guards import Refused
from events.ingest.refusals import RefusalReason
from events.ingest.writer import UNAVAILABLE, StorageUnavailable

logger = logging.getLogger(__name__)

RETRY_STORAGE_SECONDS = 2
# Created once: json.dumps creates an encoder for every call with options.
_encode = json.JSONEncoder(separators=(",", ":")).encode
HEADERS = {"Cache-Control": "no-store", **settings.SECURITY_HEADERS}


def answer(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> HttpResponse:
    """Return a JSON response without a renderer or content negotiation. It is never cached."""
    return HttpResponse(
        _encode(body),
        status=status,
        content_type="application/json",
        headers={**HEADERS, **headers} if headers else HEADERS,
    )


def refusal(
    status: int,
    error: str,
    fields: Mapping[str, list[str]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    body: dict[str, Any] = {"ok": False, "error": error}
    if fields is not None:
        body["fields"] = fields
    return answer(status, body, headers)


def exception_handler(error: Exception, context: Mapping[str, Any]) -> HttpResponse | None:
    """Convert an exception of a view to the contract's response. None lets Django answer 500."""
    if isinstance(error, InvalidFields):
        return refusal(400, "Invalid payload fields", error.fields)
    if isinstance(error, InvalidJson):
        return refusal(400, "Invalid JSON")
    if isinstance(error, Refused):
        return refusal(error.status, error.words, headers=error.headers)
    if isinstance(error, UNAVAILABLE):  # raised by a read or a token check
        logger.error("Storage is unavailable: %s", error)
    if isinstance(error, (StorageUnavailable, *UNAVAILABLE)):
        return refusal(503, "Storage unavailable", headers={"Retry-After": str(RETRY_STORAGE_SECONDS)})
    if isinstance(error, MethodNotAllowed):
        return refusal(405, "Method not allowed")
    if isinstance(error, NotAuthenticated):
        return refusal(401, "Unauthorized", headers={"WWW-Authenticate": "Bearer"})
    if isinstance(error, APIException):
        return refusal(error.status_code, str(error.detail))
    return None


def outcome_of(error: Exception) -> RefusalReason | None:
    """Return the outcome to count for a refused ingest request, None for other errors."""
    if isinstance(error, InvalidFields):
        return RefusalReason.INVALID_FIELDS
    if isinstance(error, InvalidJson):
        return RefusalReason.INVALID_JSON
    if isinstance(error, (StorageUnavailable, *UNAVAILABLE)):
        return RefusalReason.STORAGE
    return error.outcome if isinstance(error, Refused) else None
