"""Remove the old tables: archive, verify, drop."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from events import clock
from legacy.cutover import archive, modes
from legacy.models import Mode


class Command(BaseCommand):
    help = "Write the old tables to a compressed file in DATA_DIR/backups, verify it, and drop them."

    def handle(self, *args: Any, **options: Any) -> None:
        in_force = modes.in_force()
        if in_force.tables_dropped:
            raise CommandError("The old tables were dropped already.")
        if in_force.mode != Mode.GONE:
            raise CommandError(f"The old routes are in {in_force.mode}; end them first: manage.py legacy_mode gone.")
        folder = settings.DATA_DIR / "backups"
        path = folder / f"legacy-{clock.now():%Y%m%dT%H%M%S}.jsonl.gz"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            archived = archive.write(path)
            archive.drop(archived)
        except (archive.NotVerified, OSError) as error:
            raise CommandError(f"{error} Nothing was dropped.") from None
        rows = ", ".join(f"{count} rows of {table}" for table, count in archived.rows.items())
        self.stdout.write(f"{path} contains {rows}, and was verified. The tables were dropped.")
