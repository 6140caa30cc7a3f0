"""Compare the rollups with the events, and the expected ones, and rebuild the days that differ."""

from argparse import ArgumentTypeError
from datetime import UTC, date, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from events import clock
from events.counting import expected, rollups
from events.grouping import triage
from events.maintenance import integrity, retention
from events.reports import metrics

_SHOWN_A_DAY = 10


class Command(BaseCommand):
    help = "Compare the rollups with the events, day by day (UTC), and rebuild the days that differ."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="only compare; exit with 1 if something differs")
        parser.add_argument("--from", dest="start", type=_day, help="the first day, such as 2026-02-12")
        parser.add_argument("--to", dest="end", type=_day, help="the day after the last one")

    def handle(self, *args: Any, **options: Any) -> None:
        start: date | None = options["start"]
        end: date | None = options["end"]
        if start and end and end <= start:
            raise CommandError("--to must be after --from.")
        whole_since_ms = retention.whole_since_ms()
        if whole_since_ms and not (start and metrics.day_start_ms(start) >= whole_since_ms):
            self.stdout.write(
                f"Events received before {clock.iso(whole_since_ms)[:10]} may be pruned. Their counts stay unchanged,"
                " and are not compared."
            )
        uncounted = self._count_expected(only_check=options["check"])
        days = differing = rewritten = 0
        for day_ms in rollups.days_in_use(
            max(metrics.day_start_ms(start) if start else 0, whole_since_ms),
            metrics.day_start_ms(end) if end else None,
        ):
            days += 1
            with rollups.snapshot():
                differences = [*map(str, rollups.compare(day_ms)), *map(str, expected.compare(day_ms))]
            if not differences:
                continue
            differing += 1
            self._print(day_ms, differences)
            if not options["check"]:
                rewritten += self._rebuild(day_ms)
        totals = integrity.total_differences()
        for words in totals:
            self.stdout.write(words)
        self.stdout.write(
            f"{days} days: {days - differing} agree, {differing} differ"
            + ("." if options["check"] else f", {rewritten} rebuilt.")
        )
        faults = [f"{differing - rewritten} days differ from their events."] if differing > rewritten else []
        faults += [f"{len(totals)} lifetime totals differ from their hours."] if totals else []
        faults += [f"The events of {uncounted:,} expected groups are not all counted as expected."] if uncounted else []
        if faults:
            raise CommandError(" ".join(faults))

    def _rebuild(self, day_ms: int) -> bool:
        is_rebuilt = True
        for rebuild in (rollups.rebuild, expected.rebuild):  # the second one uses the names of the first
            try:
                rebuild(day_ms)
            except rollups.EventsAreGone as error:
                self.stdout.write(f"  unchanged: {error}")
                is_rebuilt = False
        if is_rebuilt:
            self.stdout.write("  rebuilt")
        return is_rebuilt

    def _count_expected(self, *, only_check: bool) -> int:
        """Complete interrupted decisions, unless the command only checks; return the number of uncounted groups."""
        uncounted = triage.uncounted()
        if uncounted and not only_check:
            triage.count_expected()
            self.stdout.write(f"The events of {uncounted:,} expected groups were not all counted as expected. Counted.")
            return 0
        return uncounted

    def _print(self, day_ms: int, differences: list[str]) -> None:
        self.stdout.write(f"{datetime.fromtimestamp(day_ms / 1000, UTC):%Y-%m-%d}: {len(differences)} differences")
        for words in differences[:_SHOWN_A_DAY]:
            self.stdout.write(f"  {words}")


def _day(raw: str) -> date:
    try:
        return date.fromisoformat(raw)
    except ValueError:
        raise ArgumentTypeError(f"{raw!r} is not a date such as 2026-02-12") from None
