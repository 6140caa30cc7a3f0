"""The routes of the API. The public ones skip the middleware of pages (`middleware.PublicRoutes`)."""

from django.urls import re_path
from rest_framework.routers import DynamicRoute, Route, SimpleRouter

from events.api.groups.views import DecisionViewSet, GroupViewSet
from events.api.public import BadgeViewSet, StatsViewSet
from events.api.views import (
    EventViewSet,
    ExportViewSet,
    FailureViewSet,
    HealthViewSet,
    MetricsViewSet,
    PrometheusViewSet,
    PublicMetricsViewSet,
    ReleaseViewSet,
    SourceMapViewSet,
)


class SiteRouter(SimpleRouter):
    """Routes without parameters. Each accepts a trailing slash: a redirect would lose the body of a request."""

    routes = [
        Route(r"^{prefix}{trailing_slash}$", {"get": "retrieve", "post": "create"}, "{basename}", False, {}),
        DynamicRoute(r"^{prefix}/{url_path}{trailing_slash}$", "{basename}-{url_name}", False, {}),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.trailing_slash = "/?"


public = SiteRouter()
public.register("event", EventViewSet, "event")
public.register("metrics", PublicMetricsViewSet, "metrics")
public.register("health", HealthViewSet, "health")

# The names of these routes contain a dot. The page of the statistics is in `telemetry_site`.
everybody = [
    re_path(r"^badge\.svg/?$", BadgeViewSet.as_view({"get": "svg"}), name="badge-svg"),
    re_path(r"^badge\.json/?$", BadgeViewSet.as_view({"get": "json"}), name="badge-json"),
    re_path(r"^stats\.json/?$", StatsViewSet.as_view({"get": "json"}), name="stats-json"),
]

staff = SiteRouter()
staff.register("metrics", MetricsViewSet, "metrics")
staff.register("metrics", PrometheusViewSet, "monitoring")
staff.register("failures", FailureViewSet, "failures")

# Of a version, and of a file of a version. Each name is one segment of the path.
source_maps = [
    re_path(
        r"^sourcemaps/(?P<app_version>[^/]+)/?$",
        SourceMapViewSet.as_view({"get": "retrieve", "delete": "destroy"}),
        name="source-maps",
    ),
    re_path(
        r"^sourcemaps/(?P<app_version>[^/]+)/(?P<file>[^/]+)/?$",
        SourceMapViewSet.as_view({"put": "update"}),
        name="source-map",
    ),
]

# A version can contain a slash.
releases = [
    re_path(r"^releases/?$", ReleaseViewSet.as_view({"get": "newest"}), name="releases"),
    re_path(r"^releases/(?P<version>.+?)/?$", ReleaseViewSet.as_view({"get": "retrieve"}), name="release"),
]

groups = [
    re_path(r"^groups/?$", GroupViewSet.as_view({"get": "ranked"}), name="groups"),
    re_path(r"^groups/(?P<key>[^/]+)/?$", GroupViewSet.as_view({"get": "retrieve"}), name="group"),
    re_path(r"^groups/(?P<key>[^/]+)/decision/?$", DecisionViewSet.as_view({"post": "create"}), name="group-decision"),
]

# A name can contain a slash.
exports = [re_path(r"^exports/(?P<name>.+?)/?$", ExportViewSet.as_view({"get": "retrieve"}), name="export")]

urlpatterns = [*staff.urls, *source_maps, *releases, *groups, *exports]
