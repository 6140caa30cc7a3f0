"""Who may do what: the authentication and the permissions of the API."""

from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import NotAuthenticated, PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from events import clock
from events.api import attempts
from events.api.answers import NotFound, TooManyRequests
from events.ingest import guards, tokens, writer
from events.ingest.refusals import RefusalReason
from events.ingest.tokens import Scope
from events.models import IngestToken

# What a token with the scope `read` may export.
TOKEN_PERMISSIONS = {"events.view_event", "events.view_recentfailure"}
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
        sent = guards.bearer(request._request) or request._request.GET.get("token", "")
        found = tokens.find(sent)
        if found is None:
            raise NotAuthenticated("Token required", RefusalReason.TOKEN)
        # All visitors of a front end send the same token, and each of them has INGEST_RATE.
        count_use(request._request, found, default=None)
        if not tokens.use(found, Scope.INGEST):
            raise NotAuthenticated(_lack_of(Scope.INGEST), RefusalReason.TOKEN)
        return True


class AdminTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer ADMIN_TOKEN`, and no other token."""

    def authenticate(self, request: Request) -> tuple[None, str] | None:
        return (None, ADMIN_TOKEN) if has_admin_token(request._request) else None


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer …`. `request.auth` becomes ADMIN_TOKEN, or the row of a valid signed token.

    Raises TooManyRequests when the signed token is over its rate limit.
    """

    def authenticate(self, request: Request) -> tuple[None, str | IngestToken] | None:
        found = found_token(request._request)
        if isinstance(found, IngestToken):
            count_use(request._request, found, default=settings.READ_RATE)
        return None if found is None else (None, found)


class MayRead(BasePermission):
    """Requires staff: a session with permission to view events, ADMIN_TOKEN, or the scope `read`. Others get 401."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if is_staff(request):
            return True
        raise unauthorized(request, Scope.READ)


class MayUseSourceMaps(BasePermission):
    """Requires ADMIN_TOKEN or the scope `sourcemaps`; for reads also admits staff. Others get 401."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if has_scope(request, Scope.SOURCE_MAPS) or (request.method in SAFE_METHODS and is_staff(request)):
            return True
        raise unauthorized(request, Scope.SOURCE_MAPS)


class RequiresTriage(BasePermission):
    """Requires ADMIN_TOKEN, the scope `triage`, or a session with permission to triage. Others get 401.

    A session is checked for a CSRF token by DRF's SessionAuthentication, as long as the view uses that class.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if has_scope(request, Scope.TRIAGE) or _may(request, "events.view_event", "events.triage_event"):
            return True
        raise unauthorized(request, Scope.TRIAGE)


class MayScrape(BasePermission):
    """Requires METRICS_TOKEN or ADMIN_TOKEN; others get 401. Without either setting the route does not exist."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if not settings.METRICS_TOKEN and not settings.ADMIN_TOKEN:
            raise NotFound
        if view.action == "metadata" or has_metrics_token(request._request):
            return True
        raise NotAuthenticated("Unauthorized")


def is_staff(request: Request) -> bool:
    return _may(request, "events.view_event") or has_scope(request, Scope.READ)


def _may(request: Request, *permissions: str) -> bool:
    """Return whether the request has the session of a member of staff with all these permissions."""
    user = request.user
    return bool(user and user.is_active and user.is_staff and user.has_perms(permissions))


def demand_export(request: Request, permissions: Collection[str]) -> None:
    """Raise PermissionDenied unless the request may export a list with these permissions.

    A token reads events, and so no list with another permission, such as the audit log.
    """
    if request.auth is None:
        is_allowed = request.user.has_perms(("events.export_event", *permissions))
    else:
        is_allowed = set(permissions) <= TOKEN_PERMISSIONS
    if not is_allowed:
        raise PermissionDenied("This export needs a permission that you do not have")


def has_scope(request: Request, scope: Scope) -> bool:
    """Return whether the request has ADMIN_TOKEN or a token of this scope."""
    auth = request.auth
    return auth == ADMIN_TOKEN or (isinstance(auth, IngestToken) and tokens.use(auth, scope))


def unauthorized(request: Request, scope: Scope) -> NotAuthenticated:
    """Return the refusal of a request. It names the missing scope only to the holder of a valid token."""
    return NotAuthenticated(_lack_of(scope) if isinstance(request.auth, IngestToken) else "Unauthorized")


def _lack_of(scope: Scope) -> str:
    return f"This token lacks the scope {scope}"


def name_of(request: Request) -> str:
    """Return the name of the request's token or user for the audit log. A token may have the name of a user."""
    if isinstance(request.auth, IngestToken):
        return f"token {request.auth.name}"
    return "ADMIN_TOKEN" if request.auth == ADMIN_TOKEN else str(request.user.get_username())


def has_admin_token(request: HttpRequest) -> bool:
    """Return whether a request has ADMIN_TOKEN. Raises TooManyRequests when its address sent too many wrong tokens."""
    if not settings.ADMIN_TOKEN or not guards.bearer(request):
        return False
    is_right = guards.is_admin_token(request)
    count_attempt(request, is_right=is_right)
    return is_right


def has_metrics_token(request: HttpRequest) -> bool:
    """Return whether a request may read the metrics. Raises TooManyRequests as `has_admin_token` does."""
    if not guards.bearer(request):
        return False
    is_right = guards.is_metrics_token(request) or guards.is_admin_token(request)
    count_attempt(request, is_right=is_right)
    return is_right


def found_token(request: HttpRequest) -> str | IngestToken | None:
    """Return ADMIN_TOKEN or the row of the signed token in a request, None without a valid one.

    Raises TooManyRequests when the address of the request sent too many wrong tokens.
    """
    sent = guards.bearer(request)
    if not sent:
        return None
    found = ADMIN_TOKEN if guards.is_admin_token(request) else tokens.find(sent)
    count_attempt(request, is_right=found is not None)
    return found


def count_use(request: HttpRequest, token: IngestToken, *, default: str | None) -> None:
    """Count a request of a valid token. Raises TooManyRequests over the rate limit of the token."""
    seconds = guards.seconds_over_token_rate(request, str(token.pk), tokens.rate_of(token, default))
    if seconds is not None:
        raise TooManyRequests(seconds, RefusalReason.RATE_LIMITED)


def count_attempt(request: HttpRequest, *, is_right: bool) -> None:
    """Count a wrong token. Raises TooManyRequests when the address sent too many, also for the right token."""
    counter = attempts.counter("admin-token", WRONG_TOKENS, guards.client_hash(request), clock.now())
    if not is_right:
        writer.note_refusal(RefusalReason.ADMIN_TOKEN)
    # Over the limit the answer is the same for the right token, so it confirms no guess.
    previous = counter.read() if is_right else counter.add() - 1
    if previous >= WRONG_TOKENS.attempts:
        raise TooManyRequests(counter.seconds_left, RefusalReason.ADMIN_TOKEN, "Too many wrong tokens")
