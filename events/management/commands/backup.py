"""Write a verified backup into BACKUP_DIR, or to a file."""

import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from events import clock
from events.maintenance.backups import making
from events.maintenance.backups.files.folder import BackupFailed

NICENESS = 10  # requests run first


class Command(BaseCommand):
    help = (
        "Write a verified backup into BACKUP_DIR and delete old ones by BACKUP_KEEP; or write it to FILE. The site may"
        " run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a new file outside the rotation")

    def handle(self, *args: Any, **options: Any) -> None:
        os.nice(NICENESS)
        try:
            made = making.make(
                clock.now(),
                file=options["file"] and options["file"].absolute(),
                on_wait=lambda: self.stderr.write("Another backup or drill runs. Waiting for its end."),
            )
        except BackupFailed as problem:
            raise CommandError(str(problem)) from None
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used: {error}") from None
        self.stdout.write(f"{made.in_words()}\n  file     {made.file}\n  SHA-256  {made.manifest.sha256}")
        self.stdout.write(f"  restore  manage.py restore {made.file}")
