"""The routes that anyone may call; `middleware.PublicRoutes` answers them past everything that pages need."""

from importlib import import_module

from events.api.urls import public_urlpatterns

urlpatterns = [
    *public_urlpatterns,
    *import_module("legacy.urls").urlpatterns,  # the old routes: taking them away is taking this line away
]
