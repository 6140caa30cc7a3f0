"""The site itself as an app, and the admin that greets its maintainers."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class TelemetrySite(AppConfig):
    """Templates, commands and checks that belong to the site and to none of its apps."""

    name = "telemetry_site"

    def ready(self) -> None:
        from telemetry_site import checks  # noqa: F401  (registers them)


class TelemetryAdmin(AdminConfig):
    default_site = "telemetry_site.admin.TelemetryAdminSite"
