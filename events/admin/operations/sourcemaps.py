"""Admin pages of the source maps: the list by version, and the deletion of the maps of a version."""

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern

from events import clock
from events.admin.pages import PagesAdmin
from events.models import SourceMap
from events.sourcemaps import store

VERSIONS = 100
FILES = 200


@admin.register(SourceMap)
class SourceMapAdmin(PagesAdmin):
    """Source maps by version, newest first. The page loads no map."""

    title = "Source maps"

    def get_urls(self) -> list[URLPattern]:
        return [*super().get_urls(), self.route("delete/", self.delete_version_view, "delete")]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self.demand(self.has_view_permission(request) and request.method != "POST")
        context = {
            "title": self.title,
            "now": clock.now(),
            "versions": (versions := store.versions(limit=VERSIONS, files=FILES)),
            "has_more": len(versions) == VERSIONS,
            "may_delete": self.has_delete_permission(request),
            "delete_url": self.url("delete"),
            "site_url": settings.SITE_URL,
        }
        return self.render(request, "events/sourcemaps.html", context)

    def delete_version_view(self, request: HttpRequest) -> HttpResponse:
        """GET shows the confirmation page; POST deletes all maps of the version."""
        self.demand(self.has_delete_permission(request))
        is_confirmed = request.method == "POST"
        version = (request.POST if is_confirmed else request.GET).get("version", "")
        maps = [] if "\0" in version else list(store.of_version(version))
        if not maps:
            raise Http404
        if is_confirmed:
            deleted = store.delete(version, who=request.user.get_username(), at=clock.now())
            messages.success(request, f"Deleted {store.in_words(deleted)} of {version}.")
            return HttpResponseRedirect(self.url("changelist"))
        context = {"title": f"Delete the source maps of {version}?", "version": version, "maps": maps}
        return self.render(request, "events/sourcemaps_delete.html", context)
