#!/usr/bin/env python
"""Run the site's commands: `manage.py serve`, `manage.py demo_data`, …"""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "telemetry_site.settings")
    try:
        if sys.argv[1:2] == ["version"]:  # Django would print its own
            _print_version()
        else:
            execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"The configuration does not work:\n{error}")


def _print_version() -> None:
    from telemetry_site import env
    from telemetry_site.management.commands.version import Command

    env.only_reads = True
    Command().run_from_argv(sys.argv)


if __name__ == "__main__":
    main()
