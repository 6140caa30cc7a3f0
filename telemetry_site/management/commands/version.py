"""Print the version of the site."""

from typing import Any

from django.core.management.base import BaseCommand

from telemetry_site import __version__


class Command(BaseCommand):
    help = "Print the version of the site; --version prints Django's."
    requires_system_checks = ()  # for a site whose configuration does not work

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(__version__)
