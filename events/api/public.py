"""Viewsets for everybody: the badge of the public count, and the public statistics."""

import hashlib
from typing import Any

from django.conf import settings
from django.http import HttpResponse, HttpResponseNotModified
from django.utils.http import parse_etags, quote_etag
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from events import clock
from events.api import schema
from events.api.answers import HEADERS, NotFound, rendered
from events.api.throttles import ReadRate
from events.api.views import SiteViewSet, invalid
from events.reports import badges, metrics, public
from events.reports.forms import BadgeQuery

MAX_AGE_SECONDS = 300
# A badge that is opened as a page can run nothing and load nothing.
_BADGE_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"


class StatsArePublic(BasePermission):
    """Without PUBLIC_STATS the route does not exist."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if not settings.PUBLIC_STATS and view.action != "metadata":
            raise NotFound
        return True


class CachedViewSet(SiteViewSet):
    """A read for everybody, which browsers and proxies may keep. Refusals are not kept."""

    throttle_classes = [ReadRate]

    def keep(self, request: Request, response: HttpResponse, policy: str | None = None) -> HttpResponse:
        """Return the response with an ETag, or 304 if the client has this content. `policy` replaces the CSP."""
        etag = quote_etag(hashlib.blake2b(response.content, digest_size=16).hexdigest())
        self.headers = {**HEADERS, "Cache-Control": f"public, max-age={MAX_AGE_SECONDS}", "ETag": etag}
        if policy is not None:
            self.headers["Content-Security-Policy"] = policy
        # A proxy that compresses the content makes the tag a weak one.
        known = {tag.removeprefix("W/") for tag in parse_etags(request._request.META.get("HTTP_IF_NONE_MATCH", ""))}
        return HttpResponseNotModified() if known & {etag, "*"} else response


class BadgeViewSet(CachedViewSet):
    @schema.BADGE_SVG
    def svg(self, request: Request) -> HttpResponse:
        query = BadgeQuery(request.query_params)
        if not query.is_valid():
            return invalid(query)
        drawn = badges.as_svg(_badge(query))
        return self.keep(request, HttpResponse(drawn, content_type="image/svg+xml; charset=utf-8"), _BADGE_POLICY)

    @schema.BADGE_JSON
    def json(self, request: Request) -> HttpResponse:
        query = BadgeQuery(request.query_params)
        if not query.is_valid():
            return invalid(query)
        return self.keep(request, rendered(badges.as_shields(_badge(query))))


def _badge(query: BadgeQuery) -> badges.Badge:
    cleaned = query.cleaned_data
    return badges.of_count(metrics.flash_count().total, label=cleaned["label"], color=cleaned["color"])


class StatsViewSet(CachedViewSet):
    permission_classes = [StatsArePublic]

    @schema.STATS
    def json(self, request: Request) -> HttpResponse:
        return self.keep(request, rendered({"ok": True, **public.as_json(public.statistics(clock.now()))}))
