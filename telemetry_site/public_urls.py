"""Public routes. `middleware.PublicRoutes` answers them without the middleware of pages."""

from importlib import import_module

from events.api.urls import public_urlpatterns

urlpatterns = [
    *public_urlpatterns,
    *import_module("legacy.urls").urlpatterns,  # the old routes; remove this line with the app `legacy`
]
