from django.urls import re_path

from legacy.routes.views import ClientLogViewSet, CounterViewSet, RecentViewSet

urlpatterns = [
    re_path(r"^client-log/?$", ClientLogViewSet.as_view({"post": "create"}), name="client-log"),
    re_path(r"^count/?$", CounterViewSet.as_view({"get": "count"}), name="count"),
    re_path(r"^increment/?$", CounterViewSet.as_view({"post": "increment"}), name="increment"),
    re_path(r"^recent/?$", RecentViewSet.as_view({"get": "newest"}), name="recent"),
]
