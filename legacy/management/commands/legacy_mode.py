"""Show the mode of the old routes, or switch it."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from events import clock
from events.ingest.group_commit import StorageUnavailable
from events.management.account import login
from legacy.cutover import modes, old_counts, parity, switch
from legacy.models import Cutover, Mode


class Command(BaseCommand):
    help = "Show the mode of the old routes, or switch it: separate, alias or gone."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("mode", nargs="?", choices=Mode.values)
        parser.add_argument("--reason", default="", help="the reason, stored with the switch")
        parser.add_argument("--force", action="store_true", help="end the old routes before parity is proven")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["mode"] is None:
            self._show()
            return
        mode = Mode(options["mode"])
        if options["force"] and not options["reason"].strip():
            raise CommandError("--force requires a --reason for the next maintainer.")
        try:
            switch.refuse_without_tables(modes.in_force())
            if mode == Mode.GONE:
                self._check_parity(is_forced=options["force"])
            cutover = switch.to_mode(
                mode,
                reason=options["reason"].strip() or "by command",
                user=None,
                user_name=login(),
                at=clock.now(),
            )
        except switch.CannotSwitch as error:
            raise CommandError(str(error)) from None
        except (StorageUnavailable, DatabaseError) as error:
            raise CommandError(f"Not switched. Try again: {error}") from None
        self.stdout.write(
            f"The old routes are in {cutover.mode}.\n"
            f"  public count   {cutover.count_before} before, {cutover.count_after} after\n"
            f"  copied         {cutover.copied_to_stream} to the unified stream,"
            f" {cutover.copied_to_legacy} to the old tables"
        )

    def _check_parity(self, *, is_forced: bool) -> None:
        """Print how many clients `gone` would cut off; raise CommandError unless the parity window is complete."""
        today = clock.today()
        finding = parity.check_window(today)
        self.stdout.write(str(finding.cut_off))
        missing = parity.missing_from_window(finding, today)
        if missing and not is_forced:
            raise CommandError(f"{missing} To end the old routes anyway: --force --reason '…'.")

    def _show(self) -> None:
        mode = Mode(modes.in_force().mode)
        self.stdout.write(f"The old routes are in {mode.value}; the public count is {old_counts.public_count(mode)}.")
        for cutover in Cutover.objects.all()[:10]:
            when = f"{cutover.switched_at:%Y-%m-%d %H:%M} UTC"
            self.stdout.write(f"  {when}  {cutover.mode:<8}  {cutover.switched_by_name}: {cutover.reason}")
