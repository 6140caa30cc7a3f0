"""Erase all stored data of one session."""

import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection

from events import clock
from events.maintenance import database_file, retention
from events.management.account import login
from events.management.file_search import holding

# A shorter name would match by chance.
LEAST_TO_LOOK_FOR = 8
PATIENCE_SECONDS = 5
PACKED = {".gz", ".age", ".dump"}


class Command(BaseCommand):
    help = (
        "Erase all data of one session: its events, its rows in tables of other apps, and their remains in SQLite's"
        " file. Every count stays. The site may run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("session_id", help="as the page of an event shows it")
        parser.add_argument("--dry-run", action="store_true", help="only report what is stored")
        parser.add_argument("--reason", default="", help="why; stored in the audit log without the session id")
        parser.add_argument(
            "--vacuum", action="store_true", help="rebuild SQLite's file; meanwhile clients get 503, and retry"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        session_id: str = options["session_id"]
        reason: str = options["reason"].strip()
        if not session_id or "\0" in session_id:
            raise CommandError("A session id has at least one character.")
        if session_id in reason:
            raise CommandError("The reason is stored in the audit log, so it must not name the session.")
        try:
            if options["dry_run"]:
                counts = retention.trace(session_id)
                self.stdout.write(f"Stored data: {retention.in_words(counts)}. Nothing was erased: --dry-run.")
                return
            is_imported = retention.was_imported(session_id)
            counts = retention.erase(session_id, who=login(), at=clock.now(), why=reason)
            self.stdout.write(f"Erased: {retention.in_words(counts)}. Every count stays.")
            if is_imported:
                self.stdout.write(
                    "Some of it was imported. Another import refuses it, and counts nothing twice. The export file"
                    " still contains it: delete that file."
                )
            if connection.vendor == "sqlite":
                self._clean_file(vacuum=options["vacuum"])
        except DatabaseError as error:
            raise CommandError(f"The database refused a write: {error}\nRun the command again.") from None
        is_mentioned = self._print_mentions(session_id)
        if connection.vendor == "sqlite":
            self._look_for(session_id, is_mentioned=is_mentioned)
        else:
            self.stdout.write(
                "PostgreSQL keeps deleted rows until the next `VACUUM`. Its write-ahead log and your backups keep them"
                " until they are recycled."
            )

    def _clean_file(self, *, vacuum: bool) -> None:
        for _ in database_file.free_pages():
            pass
        if vacuum:
            database_file.vacuum()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not database_file.empty_log():
            if time.monotonic() > deadline:
                raise CommandError("A reader blocks SQLite's log. Run the command again when it has ended.")
            time.sleep(0.1)

    def _print_mentions(self, session_id: str) -> bool:
        """List the rows of other sessions that mention this session. They stay, and are no failure of the erasure."""
        if len(session_id) < LEAST_TO_LOOK_FOR:
            return False
        mentions = list(retention.mentions(session_id))
        for table, rows, keys in mentions:
            self.stdout.write(f"{table}: {rows:,} of the remaining rows contain its id: {', '.join(keys)}.")
        if mentions:
            self.stdout.write("These rows do not belong to this session. See docs/privacy.md: what it cannot erase.")
        return bool(mentions)

    def _look_for(self, session_id: str, *, is_mentioned: bool) -> None:
        """List the files that still contain the session id. Raises CommandError if only free pages can explain it."""
        database = Path(connection.settings_dict["NAME"])
        folders = {settings.DATA_DIR, settings.BACKUP_DIR}
        files = sorted({file for folder in folders for file in folder.rglob("*") if file.is_file()})
        if len(session_id) < LEAST_TO_LOOK_FOR:
            self.stdout.write("Its id is too short to search files for it. --vacuum clears it from the database file.")
            for file in files:
                if file.suffix in PACKED or file.parent.name == "backups" or settings.BACKUP_DIR in file.parents:
                    self.stdout.write(f"{file} is a copy, and was not searched.")
            return
        matches = holding(files, session_id.encode())
        for file in matches:
            if not _is_of(database, file):
                self.stdout.write(f"{file} still contains its id. It is a copy: delete it, or wait for its rotation.")
        for file in files:
            if file.suffix in PACKED:
                self.stdout.write(f"{file} is compressed or encrypted, and was not searched.")
        if is_mentioned:
            self.stdout.write("The rows above contain its id. Free space may contain it too: --vacuum clears that.")
        elif any(_is_of(database, file) for file in matches):
            raise CommandError("The database file still contains its id in free space, which --vacuum clears.")
        else:
            self.stdout.write("The database file no longer contains its id.")


def _is_of(database: Path, file: Path) -> bool:
    """Return whether a file is the database or its log, and not a copy in another folder."""
    return file.parent == database.parent and file.name.startswith(database.name)
