"""Our middleware: the client's address, the public routes, and what a page's request and answer need."""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from ipaddress import ip_address
from itertools import chain
from typing import Any, cast

from corsheaders.middleware import CorsMiddleware
from django.conf import settings
from django.core.exceptions import DisallowedHost, MiddlewareNotUsed
from django.core.handlers.exception import convert_exception_to_response
from django.db import DatabaseError
from django.http import HttpRequest
from django.http.request import HttpHeaders
from django.http.response import HttpResponseBase
from django.urls import Resolver404, ResolverMatch, get_resolver

from events.api.answers import HEADERS, refusal
from telemetry_site.errors import host_refusal

MOST_ACCEPT_CHARACTERS = 1_024
GetResponse = Callable[[HttpRequest], HttpResponseBase]


class ClientAddress:
    """Put the client's address into REMOTE_ADDR where proxies stand before us.

    Each trusted proxy appends the address that it saw, so the last TRUSTED_PROXY_COUNT values are true and
    whatever stands before them is the client's own invention.
    """

    def __init__(self, get_response: GetResponse) -> None:
        if not settings.TRUSTED_PROXY_COUNT:
            raise MiddlewareNotUsed
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        seen = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
        if len(seen) >= settings.TRUSTED_PROXY_COUNT:
            address = _address(seen[-settings.TRUSTED_PROXY_COUNT])
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
    """Answer the public routes here, and let nothing pay for what only pages need.

    No session, cookie, CSRF token, redirect or page policy exists on this side, and CORS exists nowhere
    else but on a path that is nobody's. Whatever goes wrong in a view becomes an answer before
    CorsMiddleware sees it, so that a browser may read a 500 too.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        # No public route has a part that varies, so there are as many matches as routes; a miss is not kept.
        self.resolve = lru_cache(get_resolver(settings.PUBLIC_URLCONF).resolve)
        # Both could be asynchronous too; here nothing is.
        answer = cast(GetResponse, convert_exception_to_response(self._answer))
        self.cors = CorsMiddleware(answer)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            request.resolver_match = self.resolve(request.path_info)
        except Resolver404:
            response = self.get_response(request)
            if request.resolver_match is None and response.status_code == 404:
                self.cors.add_response_headers(request, response)  # nobody's path: a browser may read that too
            return response
        vars(request)["headers"] = _Headers(request.META)
        response = cast(HttpResponseBase, self.cors(request))
        if "Cache-Control" not in response.headers:  # a preflight is answered before any view
            add_missing(response, HEADERS)
        return response

    @staticmethod
    def _answer(request: HttpRequest) -> HttpResponseBase:
        try:
            request.get_host()
        except DisallowedHost:
            return host_refusal(request)
        match = cast(ResolverMatch, request.resolver_match)
        return cast(HttpResponseBase, match.func(request))


class _Headers(Mapping[str, str]):
    """The headers of a request where WSGI put them: Django's own walk over all of them, and CORS wants one."""

    def __init__(self, meta: Mapping[str, Any]) -> None:
        self._meta = meta

    def __getitem__(self, name: str) -> str:
        return str(self._meta[HttpHeaders.to_wsgi_name(name)])

    def __iter__(self) -> Iterator[str]:
        return iter(HttpHeaders(self._meta))

    def __len__(self) -> int:
        return len(HttpHeaders(self._meta))


class PageInput:
    """Let NUL in a page's request cause no 500, and ignore an `Accept` header that is costly to parse.

    PostgreSQL refuses NUL in a text with an error, wherever it comes from: the path, a cookie, a parameter or a form.
    Our forms refuse it in words; a view that does not is answered for here. Cookies are read before any view.
    Django's parser takes quadratic time for a long `Accept`, and decodes its extended parameters (RFC 2231) with any
    codec that they name.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        accept = request.META.get("HTTP_ACCEPT", "")
        if len(accept) > MOST_ACCEPT_CHARACTERS or "*=" in accept:
            del request.META["HTTP_ACCEPT"]
        if any("\0" in text for text in chain.from_iterable(request.COOKIES.items())):
            return refusal(400, "Bad request")
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        """Answer 400 where the database or a parser failed on a request that has NUL in its text."""
        is_fault = isinstance(exception, DatabaseError | ValueError) and any(
            "\0" in text for text in _texts_of(request)
        )
        return refusal(400, "Bad request") if is_fault else None


def _texts_of(request: HttpRequest) -> Iterator[str]:
    yield request.path_info
    for parameters in (request.GET, request.POST):
        for name, values in parameters.lists():
            yield from (name, *map(str, values))


class PageHeaders:
    """Give every page and file, redirect and error the headers that its own view and middleware did not."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        add_missing(response, settings.SECURITY_HEADERS)
        return response


def add_missing(response: HttpResponseBase, headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        response.headers.setdefault(name, value)
