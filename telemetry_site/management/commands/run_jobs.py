"""Run the scheduled jobs: for ever, or once."""

import logging
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from events.maintenance.jobs import registry
from events.maintenance.jobs.loop import DatabaseUnusable, Ended, JobLoop
from events.models import JobOutcome

logger = logging.getLogger("events.maintenance.jobs")


class Command(BaseCommand):
    help = (
        "Run the scheduled jobs, without the server. `manage.py serve` runs them itself; a second process does no harm."
        " Prints one line for each run. With --once, the exit code is 1 if a job failed."
    )
    requires_system_checks = ()  # they import every page; `serve` has run them

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="run the jobs that are due now, then end; for cron")
        parser.add_argument(
            "--stop-with-parent",
            action="store_true",
            help="end when standard input is closed; the server starts the command this way",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        for connection in connections.all():
            if connection.vendor == "sqlite":
                type(connection).may_create = False  # type: ignore[attr-defined]  # of telemetry_site.sqlite
            # One connection is enough. A pool has threads, and a process with threads must not fork.
            connection.settings_dict.get("OPTIONS", {}).pop("pool", None)
        is_failed = False

        def report(ended: Ended) -> None:
            nonlocal is_failed
            is_failed |= ended.outcome != JobOutcome.SUCCEEDED
            if options["stop_with_parent"]:
                logger.log(
                    logging.DEBUG if ended.outcome == JobOutcome.SUCCEEDED else logging.ERROR, "%s", ended.log_line
                )
            else:
                self.stdout.write(str(ended))
                self.stdout.flush()

        loop = JobLoop(registry.registered, report)
        if not options["once"]:
            loop.run(sys.stdin.fileno() if options["stop_with_parent"] else None)
            return
        try:
            loop.run_once()
        except DatabaseUnusable:
            raise CommandError("The database cannot be used, so the jobs did not run.") from None
        if is_failed:
            raise CommandError("A job failed.")
