"""Public routes. `middleware.PublicRoutes` answers them without the middleware of pages."""

from importlib import import_module

from events.api import urls

urlpatterns = [
    *urls.public.urls,
    *import_module("legacy.urls").urlpatterns,  # the old routes; remove this line with the app `legacy`
]
