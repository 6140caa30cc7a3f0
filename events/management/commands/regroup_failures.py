"""Move every stored failure to the group of its current fingerprint."""

import sys
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from events import clock
from events.maintenance import regrouping, retention
from events.management.progress import Progress

_SHOWN = 20


class Command(BaseCommand):
    help = (
        "Bring every stored failure to the group of its present fingerprint: for failures from before there were"
        " groups, and after the rules have changed. What was decided about a group is kept. The site may run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check",
            action="store_true",
            help="change nothing; prove what the groups count, and end with 1 when something would move or differs",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        found = regrouping.survey()
        if options["check"]:
            self._check(found)
        else:
            self._regroup(found)

    def _regroup(self, found: regrouping.Survey) -> None:
        progress = Progress(self.stderr, found.failures)
        moved = 0
        try:
            began = time.monotonic()
            for looked_at, some in regrouping.regroup(found):
                moved += some
                progress.add(looked_at)
                if some:
                    time.sleep(time.monotonic() - began)  # Give half of the time to ingest.
                began = time.monotonic()
        except KeyboardInterrupt:
            progress.finish()
            self.stderr.write("Interrupted: what was moved stays, and is counted right. Run it again for the rest.")
            sys.exit(130)
        progress.finish()
        self.stdout.write(f"{moved:,} of {found.failures:,} failures moved to another group.")

    def _check(self, found: regrouping.Survey) -> None:
        would_move = sum(found.moves.values())
        self.stdout.write(f"{would_move:,} of {found.failures:,} failures would move to another group.")
        if found.old_groups:
            self.stdout.write(f"{found.old_groups:,} groups are of an older algorithm.")
        if whole_since_ms := retention.whole_since_ms():
            self.stdout.write(
                f"What was received before {clock.iso(whole_since_ms)[:10]} may be pruned. Its counts are compared with"
                " each other, and no further back with failures."
            )
        differences = regrouping.compare()
        for found_one in differences[:_SHOWN]:
            self.stdout.write(
                f"  {found_one.fingerprint}: {found_one.counted:,} counted, {found_one.found:,} in {found_one.what}"
            )
        faults = ["There is something to regroup."] if would_move or found.old_groups else []
        faults += [f"{len(differences):,} counts of groups differ."] if differences else []
        if faults:
            raise CommandError(" ".join(faults))
