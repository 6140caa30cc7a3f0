"""Print what is well, and what is wrong, with what to do. Never writes."""

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from events import clock
from events.maintenance.doctor import report
from events.maintenance.doctor.findings import Depth, Examination, Level


class Command(BaseCommand):
    help = "Report the state of the site on one page; exit with 1 if something is wrong. Changes nothing."
    requires_system_checks = ()  # the report has them

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON, for scripts")
        parser.add_argument("--full", action="store_true", help="check the whole database, without a time limit")

    def handle(self, *args: Any, **options: Any) -> None:
        depth = Depth.FULL if options["full"] else Depth.COMMAND
        made = report.examine(Examination(clock.now(), depth))
        self.stdout.write(json.dumps(made.as_json(), indent=2) if options["json"] else made.as_text())
        if made.verdict is Level.WRONG:
            sys.exit(1)
