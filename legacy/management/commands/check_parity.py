"""Compare arrivals by the old routes with arrivals by /event, and store the result."""

import json
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from events import clock
from events.ingest import refused_hosts, writer
from legacy.cutover import copying, modes, old_counts, parity
from legacy.cutover.parity import Day, Finding
from legacy.models import Verdict

HOST_DAYS = 7
EXIT_STATUS = {Verdict.PROVEN: 0, Verdict.DRIFT: 1, Verdict.NO_EVIDENCE: 2}


class Command(BaseCommand):
    help = (
        "Compare arrivals by the old routes with arrivals by /event, by UTC day."
        " Exit code: 0 proven, 1 drift, 2 no evidence."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=int, default=parity.days_to_compare(), help="UTC days that end with today")
        parser.add_argument(
            "--tolerance",
            type=float,
            default=parity.TOLERANCE,
            help="the share of arrivals that may be missing",
        )
        parser.add_argument("--json", action="store_true", help="print the whole result as JSON")
        parser.add_argument(
            "--repair",
            action="store_true",
            help="first copy events that only the old tables have to the unified stream; this proves no day",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["days"] <= 400 or not 0 <= options["tolerance"] <= 1:
            raise CommandError("--days must be from 1 to 400, --tolerance from 0 to 1.")
        if modes.in_force().tables_dropped:
            raise CommandError("The old tables were dropped, so nothing can be compared.")
        if options["repair"]:
            copied = copying.to_stream(writer.record_many, refused_too=False)
            self.stderr.write(f"Copied {copied} events to the unified stream.")
        now = clock.now()
        finding = parity.check(options["days"], now.date(), tolerance=options["tolerance"])
        run = parity.keep(finding, at=now)
        gone = old_counts.gone_by_route(now.date())
        hosts = refused_hosts.most_refused(now.date() - timedelta(days=HOST_DAYS - 1), now.date() + timedelta(days=1))
        if options["json"]:
            more = {"days_held": run.days_held, "gone": gone, "refused_hosts": hosts}
            self.stdout.write(json.dumps(finding.as_json() | more))
        else:
            self._print_days(finding, options["days"])
            self._print_examples(finding)
            self.stdout.write(
                f"Responses with 410 in the last {old_counts.GONE_DAYS} days: {_by_name(gone) or 'none'}."
            )
            self._print_hosts(hosts)
            self.stdout.write(
                f"Public count: {finding.old_count} by the old tables, {finding.new_count} by the unified stream."
            )
            self.stdout.write(f"Window: {run.days_held} of {settings.PARITY_DAYS} proven days in a row.")
            self.stdout.write(f"{_verdict(finding)} (tolerance {finding.tolerance:.1%}).")
        if EXIT_STATUS[finding.verdict]:
            raise SystemExit(EXIT_STATUS[finding.verdict])

    def _print_days(self, finding: Finding, asked: int) -> None:
        columns = "".join(f"{name:>9}" for name in ("arrived", "expected", "missing", "old only", "new only"))
        self.stdout.write(f"{'':25}  {'successes':47}failures")
        self.stdout.write(f"{'day':10}  {'state':11}  {columns}  {columns}")
        for day in finding.days:
            if not day.is_empty():
                self.stdout.write(f"{day.day:10}  {day.state(finding.tolerance).value:11}  {_figures(day)}")
        self.stdout.write(f"{'in all':10}  {'':11}  {_figures(finding.total)}")
        if len(finding.days) < asked:
            self.stdout.write("Days with pruned events are not compared.")

    def _print_examples(self, finding: Finding) -> None:
        for title, examples in (
            ("Missing at /event", finding.examples_missing),
            ("Arrived only by /event", finding.examples_event_only),
        ):
            for example in examples:
                self.stdout.write(f"{title}: " + " ".join(example.values()))
        if fields := finding.total.refused_fields:
            self.stdout.write(
                f"Refused by the contract of /event, so not drift and not repaired:"
                f" {_counted(finding.total.failures.refused, 'failure')} ({_by_name(fields)})."
            )
        self.stdout.write(str(finding.cut_off))
        self.stdout.write(f"Refused at ingest: {finding.refused_share:.1%} ({_by_name(finding.refused) or 'none'}).")

    def _print_hosts(self, hosts: dict[str, int]) -> None:
        """List the refused hosts. Their names are stored without control characters."""
        if hosts:
            named = ", ".join(f"{host} ({count:,})" for host, count in hosts.items())
            self.stdout.write(
                f"Refused because of their host name in the last {HOST_DAYS} days: {named}."
                " Add them to ALLOWED_HOSTS if they are yours."
            )


def _verdict(finding: Finding) -> str:
    if finding.verdict == Verdict.NO_EVIDENCE:
        return "Parity: no evidence: no arrival by an old route is expected at /event"
    days = finding.count(finding.verdict)
    if finding.verdict == Verdict.DRIFT:
        return f"Parity: drift on {days} of {_counted(len(finding.days), 'day')}"
    return f"Parity: proven on {_counted(days, 'day')}"


def _figures(day: Day) -> str:
    return "  ".join(
        "".join(
            f"{count:>9}" for count in (side.arrived, side.expected, side.missing, side.old_clients, side.event_only)
        )
        for side in day.sides
    )


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _by_name(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
