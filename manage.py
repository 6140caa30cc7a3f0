#!/usr/bin/env python
"""Run the site's commands: `manage.py serve`, `manage.py demo_data`, …"""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "telemetry_site.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"The configuration does not work:\n{error}")


if __name__ == "__main__":
    main()
