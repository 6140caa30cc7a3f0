"""Who may do what: the authentication and the permissions of the API."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from events import clock
from events.api import attempts
from events.api.answers import TooManyRequests
from events.ingest import guards, tokens, writer
from events.ingest.refusals import RefusalReason

ADMIN_TOKEN = "admin-token"  # noqa: S105 (a name, no secret)
WRONG_TOKENS = attempts.Limit("address", 20, 900)


class OriginAllowed(BasePermission):
    """A browser's page may send events only from an allowed origin."""

    message = "Origin not allowed"
    code = RefusalReason.ORIGIN

    def has_permission(self, request: Request, view: Any) -> bool:
        return view.action == "metadata" or guards.is_origin_allowed(request._request)


class HasIngestToken(BasePermission):
    """With INGEST_TOKEN_REQUIRED, a sender needs a signed token: in the header, or in the query for a beacon."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if not settings.INGEST_TOKEN_REQUIRED or view.action == "metadata":
            return True
        if tokens.admit(guards.bearer(request._request) or request._request.GET.get("token", "")):
            return True
        raise NotAuthenticated("Token required", RefusalReason.TOKEN)


class AdminTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer ADMIN_TOKEN`, with the read permissions of staff."""

    def authenticate(self, request: Request) -> tuple[None, str] | None:
        return (None, ADMIN_TOKEN) if has_admin_token(request._request) else None


class MayRead(BasePermission):
    """Requires ADMIN_TOKEN, or a staff session with permission to view events. Others get 401."""

    def has_permission(self, request: Request, view: Any) -> bool:
        user = request.user
        is_reader = user and user.is_active and user.is_staff and user.has_perm("events.view_event")
        if request.auth == ADMIN_TOKEN or is_reader:
            return True
        raise NotAuthenticated("Unauthorized")


def has_admin_token(request: HttpRequest) -> bool:
    """Return whether a request has ADMIN_TOKEN. Raises TooManyRequests when its address sent too many wrong tokens."""
    if not settings.ADMIN_TOKEN or not guards.bearer(request):
        return False
    counter = attempts.counter("admin-token", WRONG_TOKENS, guards.client_hash(request), clock.now())
    is_right = guards.is_admin_token(request)
    if not is_right:
        writer.note_refusal(RefusalReason.ADMIN_TOKEN)
    # Over the limit the answer is the same for the right token, so it confirms no guess.
    previous = counter.read() if is_right else counter.add() - 1
    if previous >= WRONG_TOKENS.attempts:
        raise TooManyRequests(counter.seconds_left, RefusalReason.ADMIN_TOKEN, "Too many wrong tokens")
    return is_right
