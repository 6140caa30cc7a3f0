"""Move every stored failure to the group of its current fingerprint."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from events import clock
from events.maintenance import regrouping, retention
from events.management.progress import Progress

_SHOWN = 20


class Command(BaseCommand):
    help = (
        "Move every stored failure to the group of its current fingerprint: for failures from before groups existed,"
        " and after the rules have changed. Decisions about groups are kept. The site may run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check",
            action="store_true",
            help="change nothing; verify the counts of the groups, and exit with 1 if something would move or differs",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        pending = regrouping.survey()
        if options["check"]:
            self._check(pending)
        else:
            self._regroup(pending)

    def _regroup(self, pending: regrouping.Survey) -> None:
        progress = Progress(self.stderr, pending.failures)
        moved = 0
        words = ": moved failures stay, and the counts are correct. Run it again for the rest."
        with progress.until_interrupted(lambda: words):
            began = time.monotonic()
            for checked, count in regrouping.regroup(pending):
                moved += count
                progress.add(checked)
                if count:
                    time.sleep(time.monotonic() - began)  # Give half of the time to ingest.
                began = time.monotonic()
        self.stdout.write(f"{moved:,} of {pending.failures:,} failures moved to another group.")

    def _check(self, pending: regrouping.Survey) -> None:
        would_move = sum(pending.moves.values())
        self.stdout.write(f"{would_move:,} of {pending.failures:,} failures would move to another group.")
        if pending.old_groups:
            self.stdout.write(f"{pending.old_groups:,} groups are of an older algorithm.")
        if whole_since_ms := retention.whole_since_ms():
            self.stdout.write(
                f"Events received before {clock.iso(whole_since_ms)[:10]} may be pruned. Earlier counts are compared"
                " only with each other, not with failures."
            )
        differences = regrouping.compare()
        for key, what, counted, actual in differences[:_SHOWN]:
            self.stdout.write(f"  {key}: {counted:,} counted, {actual:,} in {what}")
        faults = ["Failures must be regrouped."] if would_move or pending.old_groups else []
        faults += [f"{len(differences):,} counts of groups differ."] if differences else []
        if faults:
            raise CommandError(" ".join(faults))
