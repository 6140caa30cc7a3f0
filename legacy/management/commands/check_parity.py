"""Compare the old side with the new one, and keep what was found."""

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from events import clock, ingest
from legacy import copying, modes, parity
from legacy.parity import Day, Finding


class Command(BaseCommand):
    help = "Compare old and new by UTC day; exit code 1 when they drift."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=int, default=parity.days_to_compare(), help="UTC days that end with today")
        parser.add_argument(
            "--tolerance", type=float, default=parity.TOLERANCE, help="the share of the old side that may be missing"
        )
        parser.add_argument("--json", action="store_true", help="print the whole finding as JSON")
        parser.add_argument(
            "--repair", action="store_true", help="first copy what only the old side has to the unified stream"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["days"] <= 400 or not 0 <= options["tolerance"] <= 1:
            raise CommandError("--days is 1 to 400, --tolerance 0 to 1.")
        if modes.in_force().tables_dropped:
            raise CommandError("The old tables are dropped; there is nothing to compare with.")
        if options["repair"]:
            copied = copying.to_stream(ingest.record_many, refused_too=False)
            self.stderr.write(f"Copied {copied} events to the unified stream.")
        now = clock.now()
        finding = parity.check(options["days"], now.date(), tolerance=options["tolerance"])
        run = parity.keep(finding, at=now)
        if options["json"]:
            self.stdout.write(json.dumps(finding.as_json() | {"days_held": run.days_held}))
        else:
            self._tell(finding, run.days_held, options["days"])
        if not finding.holds:
            raise SystemExit(1)

    def _tell(self, finding: Finding, days_held: int, asked: int) -> None:
        self.stdout.write(f"{'':10}  {'successes':^31}  {'failures':^31}")
        columns = f"{'old':>7} {'new':>7} {'-old':>7} {'-new':>7}"
        self.stdout.write(f"{'day':10}  {columns}  {columns}   (-old, -new: on that side alone)")
        for day in [*finding.days, finding.total]:
            if day.has_traffic() or day.successes.new or day.failures.new:
                mark = "" if day.holds(finding.tolerance) else "   drifts"
                self.stdout.write(f"{day.day:10}  {_columns(day)}{mark}")
        if len(finding.days) < asked:
            self.stdout.write("Days from which events were pruned are not compared.")
        for title, examples in (
            ("Only in the old tables", finding.examples_only_old),
            ("Only in the unified stream", finding.examples_only_new),
        ):
            for example in examples:
                self.stdout.write(f"{title}: " + " ".join(example.values()))
        reasons = ", ".join(f"{count} {reason}" for reason, count in finding.refused.items()) or "none"
        self.stdout.write(f"Refused at ingest: {finding.refused_share:.1%} ({reasons}).")
        self.stdout.write(
            f"Public count: {finding.old_count} by the old tables, {finding.new_count} by the unified stream."
        )
        verdict = "Parity holds" if finding.holds else "Parity drifts"
        self.stdout.write(
            f"{verdict} (tolerance {finding.tolerance:.1%});"
            f" {days_held} of {settings.PARITY_DAYS} days with traffic in a row have held."
        )


def _columns(day: Day) -> str:
    sides = (day.successes, day.failures)
    return "  ".join(f"{side.old:>7} {side.new:>7} {side.only_old:>7} {side.only_new:>7}" for side in sides)
