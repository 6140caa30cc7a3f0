"""Move every stored failure to the group of its current fingerprint."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from events import clock
from events.grouping import groups
from events.maintenance import regrouping, retention
from events.management.progress import Progress

_SHOWN = 20
_PARTS_SHOWN = 5


class Command(BaseCommand):
    help = (
        "Move every stored failure to the group of its current fingerprint: for failures from before groups existed,"
        " and after the rules have changed. Decisions about groups are kept. The site may run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        modes = parser.add_mutually_exclusive_group()
        modes.add_argument(
            "--dry-run",
            action="store_true",
            help="change nothing; list the largest groups that would merge or split",
        )
        modes.add_argument(
            "--check",
            action="store_true",
            help="change nothing; verify the counts of the groups, and exit with 1 if something would move or differs",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        pending = regrouping.survey()
        if options["check"]:
            self._check(pending)
        elif options["dry_run"]:
            self._preview(pending)
        else:
            self._regroup(pending)

    def _regroup(self, pending: regrouping.Survey) -> None:
        if pending.moves:
            self._preview(pending)
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

    def _preview(self, pending: regrouping.Survey) -> None:
        self._write_moves(pending)
        self._write_changes("receive the failures of several groups", "from", regrouping.merging(pending))
        self._write_changes("be split", "to", regrouping.splitting(pending))
        leaving = sum(n for (old, _), n in pending.moves.items() if old is not None and groups.is_overflow(old))
        if leaving:
            self.stdout.write(f"{leaving:,} failures would leave the overflow group of a day for groups of their own.")
        for former in pending.translation.dropped.values():
            self.stdout.write(
                f"The merge of “{_printable(str(former))}” ends: its failures have the same fingerprint as those of the"
                " other group, or most failures with their fingerprint come from a third group."
            )

    def _write_moves(self, pending: regrouping.Survey) -> None:
        would_move = sum(pending.moves.values())
        self.stdout.write(f"{would_move:,} of {pending.failures:,} failures would move to another group.")

    def _write_changes(self, what: str, direction: str, changes: list[regrouping.Change]) -> None:
        largest = f". The {_SHOWN} largest:" if len(changes) > _SHOWN else ":" if changes else "."
        self.stdout.write(f"{len(changes):,} group{'' if len(changes) == 1 else 's'} would {what}{largest}")
        for change in changes[:_SHOWN]:
            self.stdout.write(f"  {change.failures:,} failures: {_printable(change.title)}")
            for title, n in change.parts[:_PARTS_SHOWN]:
                self.stdout.write(f"    {n:,} {direction} {_printable(title)}")
            if len(change.parts) > _PARTS_SHOWN:
                self.stdout.write(f"    and {len(change.parts) - _PARTS_SHOWN:,} more groups")

    def _check(self, pending: regrouping.Survey) -> None:
        self._write_moves(pending)
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
        faults = ["Failures must be regrouped."] if sum(pending.moves.values()) or pending.old_groups else []
        faults += [f"{len(differences):,} counts of groups differ."] if differences else []
        if faults:
            raise CommandError(" ".join(faults))


def _printable(text: str) -> str:
    """Return a text of a stranger without characters that control a terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
