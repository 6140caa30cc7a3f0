"""Fetch a copy of a backup from BACKUP_URL into BACKUP_DIR, for example onto an empty machine."""

from itertools import groupby
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from events import clock
from events.maintenance.backups.files import folder
from events.maintenance.backups.files.folder import BackupFailed


class Command(BaseCommand):
    help = (
        "Fetch a backup from BACKUP_URL into BACKUP_DIR, and check its SHA-256. Then `manage.py restore` can use it."
        " The site need not run, and no database is needed."
    )
    requires_system_checks = ()  # an empty machine may lack other settings

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", metavar="NAME", help="a backup of --list; the newest one by default")
        parser.add_argument("--folder", metavar="ID", help="of the machine whose backups to use, if there are several")
        parser.add_argument("--list", action="store_true", help="list the copies, and fetch none")

    def handle(self, *args: Any, **options: Any) -> None:
        # Only this command and the jobs import obstore.
        from events.maintenance.backups.copies import reading, remote
        from events.maintenance.backups.copies.store import Store

        name, folder_id = options["name"], options["folder"]
        if name is not None and not folder.is_ours(name):
            raise CommandError(f"{name!r} is no name of a backup, such as telemetry-20261128T031500Z.tar.age.")
        if folder_id is not None and not remote.is_folder_id(folder_id):
            raise CommandError(f"{folder_id!r} is no folder of --list, such as 0123456789abcdef.")
        try:
            store = Store()
            copies = reading.copies_of(store, folder_id)
            if options["list"]:
                self._list(copies, store.place)
                return
            chosen = reading.choose(copies, name)
            self.stdout.write(
                f"{chosen.manifest.name}, {_megabytes(chosen.manifest.file_bytes)}, made at"
                f" {_utc(chosen.manifest.made_at_ms)} on {chosen.host} for {chosen.site}"
            )
            is_new = reading.fetch(store, chosen)
        except BackupFailed as problem:
            raise CommandError(str(problem)) from None
        file = folder.path() / chosen.manifest.name
        self.stdout.write(f"  {'fetched ' if is_new else 'existed '} {file}\n  SHA-256  {chosen.manifest.sha256}")
        self.stdout.write(f"  restore  manage.py restore {file}")

    def _list(self, copies: list[Any], place: str) -> None:
        if not copies:
            self.stdout.write(f"There is no copy in {place}.")
        for folder_id, of_folder in groupby(copies, key=lambda copy: copy.folder):
            rows = list(of_folder)
            own = ", the folder of this BACKUP_DIR" if folder.has_identity(folder_id) else ""
            self.stdout.write(f"{folder_id}  of {rows[0].host} for {rows[0].site}{own}")
            for copy in rows:
                manifest = copy.manifest
                state = "damaged" if manifest.problem else "proven" if manifest.is_proven else "not proven"
                self.stdout.write(
                    f"  {manifest.name}  {_utc(manifest.made_at_ms)}  {manifest.events:>12,} events"
                    f"  {_megabytes(manifest.file_bytes):>12}  {state}"
                )


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:,.1f} MB"


def _utc(at_ms: int) -> str:
    return f"{clock.iso(at_ms)[:16].replace('T', ' ')} UTC"
