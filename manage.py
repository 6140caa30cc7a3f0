#!/usr/bin/env python
"""Run the site's commands: `manage.py serve`, `manage.py demo_data`, …"""

import json
import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "telemetry_site.settings")
    command = sys.argv[1:2]
    try:
        if command == ["version"]:  # Django would print its own
            _print_version()
        elif command == ["doctor"]:
            _diagnose()
        else:
            execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"The configuration does not work:\n{error}")


def _print_version() -> None:
    from telemetry_site import env
    from telemetry_site.management.commands.version import Command

    env.only_reads = True
    Command().run_from_argv(sys.argv)


def _diagnose() -> None:
    """Run `doctor`, which never writes. If the settings cannot be loaded, report that alone."""
    from telemetry_site import configuration, env

    env.only_reads = True
    try:
        execute_from_command_line(sys.argv)
    except Exception as error:
        made = configuration.report_without_settings(error)
        print(json.dumps(made.as_json(), indent=2) if "--json" in sys.argv else made.as_text())  # noqa: T201
        sys.exit(1)


if __name__ == "__main__":
    main()
