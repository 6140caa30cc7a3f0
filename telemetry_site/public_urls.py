"""Public routes. `middleware.PublicRoutes` answers them without the middleware of pages."""

from importlib import import_module

from django.urls import re_path

from events.api import urls
from telemetry_site.stats_page import StatsPage

urlpatterns = [
    *urls.public.urls,
    *urls.everybody,
    re_path(r"^stats/?$", StatsPage.as_view({"get": "page"}), name="stats"),
    *import_module("legacy.urls").urlpatterns,  # the old routes; remove this line with the app `legacy`
]
