"""Import the output of `wrangler d1 export`."""

import fcntl
import gc
import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from events import clock
from events.ingest.group_commit import StorageUnavailable
from legacy.cutover import modes
from legacy.imports import d1_staging
from legacy.imports.d1_import import CHUNK, Import, Report
from legacy.models import Mode

SCRATCH = "import.scratch"


class Command(BaseCommand):
    help = "Import the old system's D1 database: the SQL of `wrangler d1 export`, or a SQLite file."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--dry-run", action="store_true", help="only report, write nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        file: Path = options["file"]
        if not file.is_file():
            raise CommandError(f"{file} is not a file.")
        # Do not open the database file: closing it would release the POSIX locks of this process.
        if settings.SQLITE_FILE.exists() and file.samefile(settings.SQLITE_FILE):
            raise CommandError(f"{file} is this site's own database, not an export of the old system.")
        if modes.in_force().tables_dropped:
            raise CommandError("The old tables were dropped, so nothing can be imported.")
        with _without_garbage_collector(), self._scratch() as scratch:
            try:
                staged = d1_staging.stage(file, scratch, _ProgressBar("checked", file.stat().st_size))
            except d1_staging.RefusedFile as error:
                raise CommandError(f"{file} was refused, and nothing was changed. {error}") from None
            except OSError as error:
                raise CommandError(f"{file} could not be staged, and nothing was changed: {error}") from None
            importing = Import(
                staged, dry_run=options["dry_run"], progress=_ProgressBar("merged", sum(staged.rows.values()))
            )
            try:
                report = importing.run(file.name, now=clock.now())
            except (StorageUnavailable, DatabaseError, sqlite3.Error) as error:
                self._print_report(importing.report)
                raise CommandError(
                    f"The database refused a write: {error}. The rows reported above are stored, except the last"
                    f" {CHUNK}. Run the same command again to continue."
                ) from None
            finally:
                staged.connection.close()
        self._print_report(report)
        count, old_count = importing.counts_after()
        if options["dry_run"]:
            self.stdout.write(
                f"Nothing was written: --dry-run. The public count would be {count}, the old counter's {old_count};"
                f" the old routes would be in {importing.mode.value}."
            )
        else:
            self.stdout.write(
                f"The public count is {count}, the old counter's {old_count}; the old routes are in"
                f" {Mode(modes.in_force().mode).value}."
            )

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """Yield the path of the scratch database, which does not exist yet, and delete it afterwards.

        It locks DATA_DIR, so that only one import runs at a time.
        """
        scratch = settings.DATA_DIR / SCRATCH
        folder = os.open(settings.DATA_DIR, os.O_RDONLY)  # A lock on the folder needs no lock file.
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            scratch.unlink(missing_ok=True)  # A killed import may have left it.
            try:
                yield scratch
            finally:
                scratch.unlink(missing_ok=True)
        except BlockingIOError:
            raise CommandError("Another import is running.") from None
        finally:
            os.close(folder)

    def _print_report(self, report: Report) -> None:
        for note in report.notes:
            self.stdout.write(note)
        self._table("Read", report.read)
        self._table("Added to the unified stream", report.added)
        self._table("Added to the old log", Counter({"client_logs": report.log_rows_added}))
        self._table("Already stored", report.already_there)
        self._table("Merged as twins of a stored event", report.twins)
        self._table("Repaired", report.repaired, report.examples)
        self._table("Personal data, not stored", report.not_kept)
        self._table("Refused", report.refused, report.examples)

    def _table(self, title: str, counts: Counter[str], examples: dict[str, list[str]] | None = None) -> None:
        if not any(counts.values()):
            return
        self.stdout.write(f"{title}:")
        for name, count in sorted(counts.items()):
            ids = (examples or {}).get(name)
            self.stdout.write(f"  {count:>9,}  {name}" + (f"  (such as {', '.join(ids)})" if ids else ""))


@contextmanager
def _without_garbage_collector() -> Iterator[None]:
    """Disable the cyclic garbage collector: the rows contain no cycles, and it would take 8 % of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _ProgressBar:
    """A progress bar on a terminal, no output elsewhere."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.to_terminal = what, max(total, 1), sys.stderr.isatty()
        self.done = 0

    def __call__(self, amount: int) -> None:
        # Staging reports a position, merging an increment.
        self.done = amount if self.what == "checked" else self.done + amount
        if self.to_terminal:
            share = min(self.done / self.total, 1.0)
            sys.stderr.write(f"\r{self.what} {'█' * round(share * 30):<30} {share:4.0%}{chr(10) if share == 1 else ''}")
            sys.stderr.flush()
