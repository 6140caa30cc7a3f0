"""The routes of the API. The public ones skip the middleware of pages (`middleware.PublicRoutes`)."""

from rest_framework.routers import DynamicRoute, Route, SimpleRouter

from events.api.views import EventViewSet, FailureViewSet, HealthViewSet, MetricsViewSet, PublicMetricsViewSet


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

staff = SiteRouter()
staff.register("metrics", MetricsViewSet, "metrics")
staff.register("failures", FailureViewSet, "failures")

urlpatterns = staff.urls
