"""Middleware: the client's address, the public routes, input checks and headers of pages."""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from ipaddress import ip_address
from itertools import chain
from typing import Any, cast

from corsheaders.middleware import CorsMiddleware
from django.conf import settings
from django.contrib.admin.options import TO_FIELD_VAR
from django.core.exceptions import DisallowedHost, FieldDoesNotExist, MiddlewareNotUsed
from django.core.handlers.exception import convert_exception_to_response
from django.db import DatabaseError
from django.http import HttpRequest, StreamingHttpResponse
from django.http.request import HttpHeaders
from django.http.response import HttpResponseBase
from django.template.response import SimpleTemplateResponse
from django.urls import Resolver404, ResolverMatch, get_resolver
from rest_framework.response import Response

from events import replica
from events.api.answers import HEADERS, refusal
from telemetry_site.errors import host_refusal

MAX_ACCEPT_CHARACTERS = 1_024
GetResponse = Callable[[HttpRequest], HttpResponseBase]


class ClientAddress:
    """Set REMOTE_ADDR to the client's address behind reverse proxies.

    Each trusted proxy appends the address of its peer to X-Forwarded-For. So the last TRUSTED_PROXY_COUNT values can be
    trusted. The client may have forged all values before them.
    """

    def __init__(self, get_response: GetResponse) -> None:
        if not settings.TRUSTED_PROXY_COUNT:
            raise MiddlewareNotUsed
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        addresses = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
        if len(addresses) >= settings.TRUSTED_PROXY_COUNT:
            address = _address(addresses[-settings.TRUSTED_PROXY_COUNT])
            if address:
                request.META["REMOTE_ADDR"] = address
        return self.get_response(request)


def _address(raw: str) -> str | None:
    raw = raw.strip()
    host = raw[1:].partition("]")[0] if raw.startswith("[") else raw
    for candidate in (host, host.partition(":")[0]):  # some proxies append a port
        try:
            return str(ip_address(candidate))
        except ValueError:
            continue
    return None


class PublicRoutes:
    """Answer the public routes and skip the middleware that only pages need.

    Public routes have no session, cookie, CSRF token, redirect or page policy. CORS headers exist only on them and on
    unknown paths. Exceptions become responses before CorsMiddleware runs, so that browsers can read a 500 too.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        # Public paths have no parameters, so the cache has one entry per route. lru_cache does not store a Resolver404.
        self.resolve = lru_cache(get_resolver(settings.PUBLIC_URLCONF).resolve)
        # The type also covers asynchronous views, which this site does not have.
        answer = cast(GetResponse, convert_exception_to_response(self._answer))
        self.cors = CorsMiddleware(answer)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            request.resolver_match = self.resolve(request.path_info)
        except Resolver404:
            response = self.get_response(request)
            if request.resolver_match is None and response.status_code == 404:
                self.cors.add_response_headers(request, response)  # an unknown path: browsers may read the 404
            return response
        vars(request)["headers"] = _Headers(request.META)
        response = cast(HttpResponseBase, self.cors(request))
        if "Cache-Control" not in response.headers:  # CorsMiddleware answered a preflight
            add_missing(response, HEADERS)
        return response

    @staticmethod
    def _answer(request: HttpRequest) -> HttpResponseBase:
        try:
            request.get_host()
        except DisallowedHost:
            return host_refusal(request)
        match = cast(ResolverMatch, request.resolver_match)
        response = match.func(request)
        # Django renders a DRF `Response` after the middleware, which this class skips.
        return response.render() if isinstance(response, Response) else cast(HttpResponseBase, response)


class _Headers(Mapping[str, str]):
    """Request headers read from the WSGI environ on demand. Django parses all of them; CORS reads one."""

    def __init__(self, meta: Mapping[str, Any]) -> None:
        self._meta = meta

    def __getitem__(self, name: str) -> str:
        return str(self._meta[HttpHeaders.to_wsgi_name(name)])

    def __iter__(self) -> Iterator[str]:
        return iter(HttpHeaders(self._meta))

    def __len__(self) -> int:
        return len(HttpHeaders(self._meta))


class PageInput:
    """Answer 400 instead of 500 to NUL characters in a page request, and drop an `Accept` header that is slow to parse.

    PostgreSQL raises an error for NUL in a path, cookie, parameter or form. Our forms refuse it with a message. This
    middleware covers the other views, and cookies, which Django reads before any view.
    Django parses a long `Accept` in quadratic time. It also decodes extended parameters (RFC 2231) with any codec that
    the client names.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        accept = request.META.get("HTTP_ACCEPT", "")
        if len(accept) > MAX_ACCEPT_CHARACTERS or "*=" in accept:
            del request.META["HTTP_ACCEPT"]
        if any("\0" in text for text in chain.from_iterable(request.COOKIES.items())):
            return refusal(400, "Bad request")
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        """Answer 400 when the database or a parser failed on NUL, or the admin on an empty `_to_field`."""
        if isinstance(exception, FieldDoesNotExist):
            # The admin checks a name in `_to_field`, but looks up an empty one unchecked.
            is_fault = "" in (request.GET.get(TO_FIELD_VAR), request.POST.get(TO_FIELD_VAR))
        else:
            is_fault = isinstance(exception, DatabaseError | ValueError) and any(
                "\0" in text for text in _request_texts(request)
            )
        return refusal(400, "Bad request") if is_fault else None


def _request_texts(request: HttpRequest) -> Iterator[str]:
    yield request.path_info
    for parameters in (request.GET, request.POST):
        for name, values in parameters.lists():
            yield from (name, *map(str, values))


class PageHeaders:
    """Add the default security headers to every page, file, redirect and error that lacks them."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        add_missing(response, settings.SECURITY_HEADERS)
        return response


class StaffReads:
    """Let pages and reads of staff use the replica of REPLICA_URL, and repeat a failed one on the primary.

    The header `X-Reads-From` names the database. A page that fell back to the primary says so: `request.replica_fault`.
    A browser that changed something reads from the primary for a while, because the replica can be behind.
    """

    def __init__(self, get_response: GetResponse) -> None:
        if not settings.HAS_REPLICA:
            raise MiddlewareNotUsed
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.method not in ("GET", "HEAD"):
            response = self.get_response(request)
            if settings.SESSION_COOKIE_NAME in request.COOKIES and response.status_code < 400:
                _read_own_writes(response)
            return response
        if settings.READS_PRIMARY_COOKIE_NAME in request.COOKIES:
            return self.get_response(request)
        with replica.reading() as fault:
            vars(request)["replica_fault"] = fault
            response = self.get_response(request)
        fault = vars(request)["replica_fault"]
        response.headers["X-Reads-From"] = "primary" if fault else "replica"
        if isinstance(response, StreamingHttpResponse) and not fault:
            response.streaming_content = _reading_each(iter(response))
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        """Repeat a view that failed while it read from the replica. Django calls this for a failed template too."""
        match = request.resolver_match
        if match is None or not replica.can_have_failed(exception):
            return None
        with replica.given_up(exception) as fault:
            vars(request)["replica_fault"] = fault
            response = cast(HttpResponseBase, match.func(request, *match.args, **match.kwargs))
            return (
                cast(HttpResponseBase, response.render()) if isinstance(response, SimpleTemplateResponse) else response
            )


def _reading_each(chunks: Iterator[Any]) -> Iterator[Any]:
    """Yield the chunks of a streamed export. Each is made after the view returned, often in another thread."""
    while True:
        with replica.reading():
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk


def _read_own_writes(response: HttpResponseBase) -> None:
    response.set_cookie(
        settings.READS_PRIMARY_COOKIE_NAME,
        "1",
        max_age=int(replica.MAX_LAG_SECONDS) + 5,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def add_missing(response: HttpResponseBase, headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        response.headers.setdefault(name, value)
