from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from telemetry_site.api_page import ApiPage, ApiSchema
from telemetry_site.demo_page import DemoPage

urlpatterns = [
    path("", include("telemetry_site.public_urls")),
    path("", include("events.api.urls")),
    path("", RedirectView.as_view(pattern_name="admin:index"), name="home"),
    path("admin/", admin.site.urls),
    path("api/schema/", ApiSchema.as_view(), name="api-schema"),
    path("api/", ApiPage.as_view(), name="api"),
    path("demo/", DemoPage.as_view(), name="demo"),
]

handler400 = "telemetry_site.errors.bad_request"
handler403 = "telemetry_site.errors.permission_denied"
handler404 = "telemetry_site.errors.not_found"
handler500 = "telemetry_site.errors.server_error"
