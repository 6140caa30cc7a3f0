"""Replace the site's data by that of a backup, after checks. The former data stays beside it."""

import getpass
import sqlite3
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection, connections

from events import audit, clock
from events.maintenance.backups import opening, records, replacement
from events.maintenance.backups.databases import contents, postgresql, sqlite
from events.maintenance.backups.databases.contents import Contents
from events.maintenance.backups.files import folder
from events.maintenance.backups.files.folder import BackupFailed
from events.maintenance.backups.opening import Opened
from events.management.account import login
from events.models import AuditKind
from telemetry_site.server import lock

DAY_MS = 86_400_000
TABLES_SHOWN = 8
_AUDIT = "events_auditentry"
_STOP_IT = "Stop it first: what it stores meanwhile would be lost"


class Command(BaseCommand):
    help = (
        "Replace the data of the site by that of a backup. Stop the site first. The file is verified before, the counts"
        " after; the former data is kept."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="a backup, with its .json beside it")
        parser.add_argument("--dry-run", action="store_true", help="check the file, say what would be lost, and stop")

    def handle(self, *args: Any, **options: Any) -> None:
        file: Path = options["file"].absolute()
        if not file.is_file():
            raise CommandError(f"{file}: no such file.")
        try:
            with (
                lock.take(settings.DATA_DIR),
                folder.working(None, self._say_waiting) as scratch,
                contents.using({}),  # without the pool, whose connections would look like those of a server
            ):
                self._restore(file, scratch, is_dry_run=options["dry_run"])
        except lock.AlreadyServed as error:
            raise CommandError(f"{settings.DATA_DIR}: {error}. {_STOP_IT}.") from None
        except BackupFailed as problem:
            raise CommandError(f"{problem}\nNothing was changed.") from None
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used: {error}") from None
        except OSError as error:
            raise CommandError(
                f"{folder.in_words(error)}. If the restore had begun, run it again: it first puts the former data back."
            ) from None

    def _say_waiting(self) -> None:
        self.stderr.write("A backup or a drill runs. Waiting for its end.")

    def _restore(self, file: Path, scratch: Path, *, is_dry_run: bool) -> None:
        if replacement.is_interrupted():
            if is_dry_run:
                raise CommandError("An earlier restore was interrupted. A restore without --dry-run first undoes it.")
            replacement.roll_back()
            self.stdout.write("An earlier restore was interrupted. The former data is back in place.")
        folder.demand_room({scratch: opening.needed_bytes(file)}, "The restore")
        opened = opening.open_backup(file, scratch, _passphrase(file))
        opening.refuse_unusable(opened)
        if connection.vendor == "sqlite":
            _refuse_open_file()
            restored = scratch / "restored.sqlite3"
            sqlite.restore(opened.dump, restored)
            _refuse_differences(sqlite.read_restored(restored, opened.contents.made_at_ms), opened.contents)
            folder.sync(restored)
        else:
            postgresql.refuse_other_schema(opened.contents)
            postgresql.refuse_without_rights(opened.contents)
            _refuse_other_connections()
            postgresql.check(opened.dump, opened.contents)
        self.stdout.write(f"{file.name} is whole.\n{_described(opened.contents)}\n{_loss(opened.contents)}")
        self.stdout.write(_about_key(opened))
        connections.close_all()
        if is_dry_run:
            self.stdout.write("Nothing was changed: --dry-run.")
            return
        now = clock.now()
        replaced = self._replace(opened, scratch, now)
        self._note(file, opened.contents, now)
        kept = str(replaced.aside) if replaced.moved else ""
        if connection.vendor == "postgresql" and postgresql.has_objects(replaced.schema_aside):
            kept = " and ".join(filter(None, (f"the schema {replaced.schema_aside}", kept)))
        self.stdout.write(f"Restored, and every count is that of the backup. {_after(kept)}")

    def _replace(self, opened: Opened, scratch: Path, now: datetime) -> replacement.Replacement:
        """Put the backup in place and compare. Puts the former data back if the counts differ."""
        secret_key = None if opened.contents.key_check == contents.key_check() else opened.secret_key
        replaced = replacement.begin(now, with_key=secret_key is not None)
        try:
            if connection.vendor == "sqlite":
                replacement.put_database(scratch / "restored.sqlite3")
            else:
                postgresql.restore(opened.dump, opened.contents, aside=replaced.schema_aside)
            if secret_key is not None:
                replacement.put_key(secret_key)
            try:
                _refuse_differences(contents.read(opened.contents.made_at_ms), opened.contents)
            except BackupFailed:
                if connection.vendor == "postgresql":
                    has_former = postgresql.has_objects(replaced.schema_aside)
                    postgresql.put_back(
                        opened.contents.schema,
                        replaced.schema_aside if has_former else None,
                        replaced.schema_aside.replace("before", "failed"),
                    )
                raise
        except (BackupFailed, DatabaseError):
            connections.close_all()
            replacement.roll_back()
            raise
        replacement.finish(replaced)
        if connection.vendor == "postgresql":
            postgresql.analyze()
        return replaced

    def _note(self, file: Path, backup: Contents, now: datetime) -> None:
        """Record the restore in the restored database. One of an earlier release may lack the tables."""
        if not backup.figures:
            return
        words = f"Restored {file.name}, made at {clock.iso(backup.made_at_ms)}, with {backup.events:,} events."
        try:
            audit.note(AuditKind.RESTORE, words, who=login(), at=now)
            folder.make()
            records.mirror()
        except (BackupFailed, DatabaseError) as error:
            self.stderr.write(f"The restore or the list of backups could not be recorded: {error}")


def _passphrase(file: Path) -> str:
    passphrase: str = settings.BACKUP_PASSPHRASE
    if not passphrase and opening.is_encrypted(file) and sys.stdin.isatty():
        passphrase = getpass.getpass(f"Passphrase of {file.name}: ")
    return passphrase


def _refuse_differences(restored: Contents, backup: Contents) -> None:
    if differences := restored.differences_from(backup):
        raise BackupFailed(f"The restored database differs from the backup: {'; '.join(differences)}.")


def _refuse_open_file() -> None:
    """Raise if another process has the SQLite file open, such as jobs, a command or a `sqlite3` shell."""
    connections.close_all()
    file = Path(settings.SQLITE_FILE)
    if not file.exists() or not file.stat().st_size:
        return
    with closing(sqlite3.connect(file, timeout=2, isolation_level=None)) as database:
        try:
            # In WAL mode, each open connection holds a shared lock on the file, so an exclusive lock fails.
            database.execute("PRAGMA locking_mode=EXCLUSIVE")
            database.execute("BEGIN EXCLUSIVE")
        except sqlite3.DatabaseError as error:
            if "locked" in str(error):
                raise BackupFailed(
                    f"Another process has {file} open, such as `run_jobs`, a command or a sqlite3 shell. {_STOP_IT}."
                    f" To see it: fuser -v {file}"
                ) from None
            # A damaged file is a reason to restore.


def _refuse_other_connections() -> None:
    if others := postgresql.other_connections():
        raise BackupFailed(
            f"Other processes are connected to the database: {'; '.join(others)}. Stop every server and `run_jobs` of"
            " the site, also on other machines, and close shells and connection poolers: what they store meanwhile"
            " would be lost."
        )


def _described(backup: Contents) -> str:
    newest = f", the newest of {_utc(backup.newest_event_ms)}" if backup.newest_event_ms is not None else ""
    return f"  backup   made at {_utc(backup.made_at_ms)}; {backup.events:,} events{newest}"


def _loss(backup: Contents) -> str:
    """Return in words what the current database has and the backup has not."""
    try:
        if connection.vendor == "sqlite" and (
            not settings.SQLITE_FILE.exists() or not settings.SQLITE_FILE.stat().st_size
        ):
            return "  lost     nothing: there is no database yet"
        current = contents.read(backup.made_at_ms)
        if not current.tables:
            return "  lost     nothing: the database is empty"
        lost = _newer_rows(current, backup)
    except (DatabaseError, OSError) as error:
        return f"  lost     unknown: the current database cannot be read ({error})"
    more = {name: rows - backup.tables.get(name, 0) for name, rows in current.tables.items()}
    grown = sorted((name for name, rows in more.items() if rows > 0), key=lambda name: -more[name])
    lines = [f"  lost     {lost}"]
    if grown:
        names = ", ".join(f"{name} {more[name]:,}" for name in grown[:TABLES_SHOWN])
        rest = f" and {len(grown) - TABLES_SHOWN} other tables" if len(grown) > TABLES_SHOWN else ""
        lines.append(f"           more rows now than in the backup: {names}{rest}")
    return "\n".join(lines)


def _newer_rows(current: Contents, backup: Contents) -> str:
    since_ms = backup.newest_event_ms if backup.newest_event_ms is not None else backup.made_at_ms
    if since_ms > backup.made_at_ms + DAY_MS:  # an event of a wrong clock
        since_ms = backup.made_at_ms
    events, newest_ms = 0, None
    if contents.EVENTS in current.tables:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT COUNT(*), MAX(received_at_ms) FROM {contents.EVENTS} WHERE received_at_ms > %s",  # noqa: S608
                [since_ms],
            )
            events, newest_ms = cursor.fetchone()
    entries = max(current.tables.get(_AUDIT, 0) - backup.tables.get(_AUDIT, 0), 0)  # the log is append-only
    if not events and not entries:
        return "no event and no decision since the backup"
    newest = f", the newest of {_utc(newest_ms)}" if newest_ms is not None else ""
    return f"{events:,} events received since then{newest}; {entries:,} entries of the audit log"


def _about_key(opened: Opened) -> str:
    same = opened.contents.key_check == contents.key_check()
    if same:
        return "  key      the backup belongs to this site's secret key: sessions and tokens stay valid"
    if opened.secret_key is None:
        return (
            "  key      the backup has no secret key, and this site has another one: users sign in again, and tokens\n"
            "           must be issued again. To avoid that, put the former key into DATA_DIR/secret_key"
        )
    key_file = settings.DATA_DIR / replacement.KEY
    if not key_file.exists() or key_file.read_text(encoding="ascii").strip() != settings.SECRET_KEY:
        return (
            "  key      the backup has the secret key, for DATA_DIR/secret_key. But SECRET_KEY is set and overrides\n"
            "           it: remove the variable, or set it to the content of that file"
        )
    return "  key      the backup has the secret key, for DATA_DIR/secret_key: sessions and tokens stay valid"


def _after(kept: str) -> str:
    former = f"The former data is in {kept}: delete it when you no longer need it. " if kept else ""
    return f"{former}Start the site: make serve. It migrates the database if the backup is of an earlier release."


def _utc(at_ms: int) -> str:
    return f"{clock.iso(at_ms)[:19].replace('T', ' ')} UTC"
