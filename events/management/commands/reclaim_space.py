"""Return the space of deleted rows to the disk, as the nightly job does, or with a complete VACUUM of SQLite's file."""

import shutil
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection

from events.counting import site_days
from events.maintenance import database_file, disk


class Command(BaseCommand):
    help = "Return the free space inside the database to the disk, in short steps. The site may run."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--vacuum",
            action="store_true",
            help="rewrite SQLite's file; needs as much free disk space as its content, and clients get 503 meanwhile",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["vacuum"]:
                self._vacuum()
            self.stdout.write(f"{database_file.reclaim()}.")
        except DatabaseError as error:
            raise CommandError(f"The database refused it: {error}\nRun the command again.") from None
        self.stdout.write(f"The database has {disk.in_words(site_days.database_bytes())}.")

    def _vacuum(self) -> None:
        if connection.vendor != "sqlite":
            raise CommandError("--vacuum is for SQLite. On PostgreSQL, VACUUM FULL does the same; stop the site first.")
        needed, free = database_file.held_bytes(), shutil.disk_usage(settings.DATA_DIR).free
        if free < 2 * needed:  # the new file, and the log through which it replaces the old one
            raise CommandError(
                f"Nothing was changed: this needs about {disk.in_words(2 * needed)} of free disk space, and"
                f" {disk.in_words(free)} are free."
            )
        before = site_days.database_bytes()
        database_file.vacuum()
        self.stdout.write(f"Rewrote the file: {disk.in_words(before - site_days.database_bytes())} less.")
