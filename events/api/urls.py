from django.urls import re_path

from events.api.views import EventViewSet, FailureViewSet, FlashCountViewSet, HealthViewSet, MetricsViewSet

# Public routes. Each accepts a trailing slash: a redirect would lose the body of a request.
public_urlpatterns = [
    re_path(r"^event/?$", EventViewSet.as_view({"post": "create"}), name="event"),
    re_path(r"^event/batch/?$", EventViewSet.as_view({"post": "batch"}), name="event-batch"),
    re_path(r"^metrics/flash-count/?$", FlashCountViewSet.as_view({"get": "retrieve"}), name="flash-count"),
    re_path(r"^health/?$", HealthViewSet.as_view({"get": "live"}), name="health"),
    re_path(r"^health/ready/?$", HealthViewSet.as_view({"get": "ready"}), name="health-ready"),
]

urlpatterns = [
    re_path(r"^metrics/summary/?$", MetricsViewSet.as_view({"get": "summary"}), name="metrics-summary"),
    re_path(r"^metrics/timeseries/?$", MetricsViewSet.as_view({"get": "timeseries"}), name="metrics-timeseries"),
    re_path(r"^failures/?$", FailureViewSet.as_view({"get": "newest"}), name="failures"),
]
