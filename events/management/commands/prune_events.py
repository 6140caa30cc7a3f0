"""Delete events that were received long ago, and rows of other apps that are as old."""

import time
from collections import Counter
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from events import clock
from events.counting import site_days
from events.maintenance import database_file, retention
from events.management.account import login
from events.management.progress import Progress
from events.models import Event
from events.reports import metrics

MAX_DAYS = 36_500


class Command(BaseCommand):
    help = (
        "Delete the events, and rows of other apps, that were received before the last N whole days (UTC)."
        " Every count stays. The site may run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--older-than-days", type=int, required=True, metavar="N", help="such as 90")
        parser.add_argument("--imported-too", action="store_true", help="also delete imported events")
        parser.add_argument("--dry-run", action="store_true", help="only report what would be deleted")
        parser.add_argument(
            "--yes-i-mean-it", action="store_true", help="prune even if nothing confirms that the clock is right"
        )
        parser.add_argument("--reason", default="", help="why; kept in the audit log")

    def handle(self, *args: Any, **options: Any) -> None:
        days: int = options["older_than_days"]
        if not 1 <= days <= MAX_DAYS:
            raise CommandError(f"--older-than-days must be from 1 to {MAX_DAYS}, not {days}.")
        now = clock.now()
        before_ms = max(metrics.day_start_ms(now.date() - timedelta(days=days)), 0)
        imported_too: bool = options["imported_too"]
        try:
            counts = retention.count_old(before_ms, imported_too=imported_too)
            doubt = None if options["yes_i_mean_it"] else site_days.doubt_of(now)
            if doubt and counts.total() and not options["dry_run"]:
                raise CommandError(
                    f"Nothing was deleted: {doubt}. With a clock that is ahead, the prune would delete too much.\n"
                    "If the clock is right, add --yes-i-mean-it."
                )
            self.stdout.write(f"Received before {clock.iso(before_ms)[:10]}, UTC:")
            if options["dry_run"]:
                self.stdout.write(f"  would be deleted: {retention.in_words(counts)}. Nothing was deleted: --dry-run.")
                if doubt and counts.total():
                    self.stdout.write(f"  would be refused without --yes-i-mean-it: {doubt}.")
            else:
                pruning = retention.prune(
                    before_ms, imported_too=imported_too, who=login(), at=now, why=options["reason"].strip()
                )
                deleted = self._prune(pruning, counts.total())
                self.stdout.write(f"  deleted: {retention.in_words(deleted)}. Counts stay.")
                if not doubt:
                    retention.forget_days_of_shares(clock.epoch_ms(now))
            kept = retention.count_kept(before_ms, imported_too=imported_too)
            if kept.total():
                self.stdout.write(f"  kept: {retention.in_words(kept)}.")
            self._print_oldest()
        except DatabaseError as error:
            raise CommandError(
                f"The database refused a write: {error}\nCompleted batches are deleted. Run it again for the rest."
            ) from None

    def _prune(self, pruning: Any, whole: int) -> Counter[str]:
        progress = Progress(self.stderr, whole)
        deleted: Counter[str] = Counter()
        with progress.until_interrupted(
            lambda: f". Deleted: {retention.in_words(deleted)}. Run it again for the rest."
        ):
            began = time.monotonic()
            for kind, count in pruning:
                deleted[kind] += count
                progress.add(count)
                time.sleep(time.monotonic() - began)  # Give half of the time to ingest.
                began = time.monotonic()
            for _ in database_file.free_pages():
                pass
        return deleted

    def _print_oldest(self) -> None:
        oldest_ms = Event.objects.order_by("received_at_ms").values_list("received_at_ms", flat=True).first()
        self.stdout.write(
            "No event is left."
            if oldest_ms is None
            else f"The oldest remaining event was received {clock.iso(oldest_ms)}."
        )
