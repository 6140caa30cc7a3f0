"""App configurations of the site and of its admin."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class TelemetrySite(AppConfig):
    """Templates, commands and checks of the site as a whole."""

    name = "telemetry_site"

    def ready(self) -> None:
        from telemetry_site import checks  # noqa: F401  (registers them)


class TelemetryAdmin(AdminConfig):
    default_site = "telemetry_site.admin.TelemetryAdminSite"
