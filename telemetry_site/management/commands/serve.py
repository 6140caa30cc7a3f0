"""Run system checks, migrate, create the first maintainer, then exec the server."""

import ctypes
import os
import resource
import secrets
import signal
import socket
import stat
import sys
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection, connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

from events import clock
from events.counting import site_days
from events.grouping import triage
from events.maintenance import regrouping
from events.maintenance.backups import making, records, replacement
from events.maintenance.backups.files.folder import BackupFailed
from events.models import Event
from telemetry_site import env
from telemetry_site.server import lock

STOP_SECONDS = 9  # Granian then kills a stalled worker, so that a stop takes at most 10 s
HEADER_MS = 10_000
# Per connection. Heads over 16 KiB get our own 431. For a head over this size Granian answers without a body.
BUFFER_BYTES = 65_536
# Per worker. Further connections wait until one closes, so slow clients must not occupy all of them.
CONNECTIONS = 4_096
FILES = 2 * CONNECTIONS
_PR_SET_PDEATHSIG = 1
# On SIGHUP Granian starts new workers beside the old ones. These hold the lock of DATA_DIR, so the new ones fail and
# Granian ends the site. The default action of SIGUSR1 and SIGUSR2 ends the process.
IGNORED_SIGNALS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Command(BaseCommand):
    help = "Serve the site on HOST:PORT; this is what `make serve` and a systemd unit run."
    requires_system_checks = "__all__"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--stop-with-parent", action="store_true", help="stop when the process that started this one ends"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["stop_with_parent"]:
            stop_with_parent()
        self._refuse_second_server()
        self._refuse_interrupted_restore()
        self._keep_private()
        address = _resolve(settings.HOST, settings.PORT)
        try:
            backup = self._migrate()
            maintainer = self._first_maintainer()
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used: {error}") from None
        try:
            site_days.note_start(clock.now())
            triage.count_expected()  # an earlier process may have been killed in between
        except DatabaseError as error:  # pages still work, and ingest answers 503 until the database recovers
            self.stderr.write(f"The database cannot be written: {error}")
        self._greet(maintainer, backup)
        connections.close_all()  # an open SQLite connection must not be inherited by another process
        sys.stdout.flush()
        prepare_process()
        command = granian_command(address, settings.PORT, settings.WORKERS)
        os.chdir(settings.BASE_DIR)  # Granian's main process imports our formatter of log lines
        os.execv(sys.executable, command)  # noqa: S606 (fixed arguments, no shell)

    def _refuse_second_server(self) -> None:
        try:
            lock.take(settings.DATA_DIR).close()
        except lock.AlreadyServed as error:
            raise CommandError(f"{settings.DATA_DIR}: {error}. Stop it, or set DATA_DIR to another folder.") from None

    def _refuse_interrupted_restore(self) -> None:
        if replacement.is_interrupted():
            raise CommandError(
                "A restore was interrupted, so the data is incomplete. Run `manage.py restore FILE` again: it first"
                " puts the former data back."
            )

    def _keep_private(self) -> None:
        """Restrict the mode of files from earlier releases, which followed the user's umask."""
        names = (
            "secret_key",
            lock.SERVER,
            lock.JOBS,
            *(f"{settings.SQLITE_FILE.name}{end}" for end in ("", "-wal", "-shm")),
        )
        for file in (settings.DATA_DIR / name for name in names):
            try:
                mode = stat.S_IMODE(file.stat().st_mode)
                if mode & 0o077:
                    file.chmod(mode & 0o700)
                    self.stderr.write(
                        f"{file} had the mode {mode:04o}, so other users could open it. It has {mode & 0o700:04o} now."
                    )
            except FileNotFoundError:
                continue
            except OSError as error:
                self.stderr.write(f"Other users can open {file}, and its mode cannot be changed: {error}")

    def _migrate(self) -> str | None:
        """Run the migrations. If the database has data, make a backup before; return its outcome in words."""
        executor = MigrationExecutor(connection)
        if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return None
        made = self._back_up() if _has_data() else None
        call_command("migrate", interactive=False, verbosity=0)
        if made is None:
            return None
        records.mirror()
        return made.in_words()

    def _back_up(self) -> making.Made:
        try:
            return making.make(clock.now(), is_recorded=False)  # the table of backups may not exist yet
        except BackupFailed as problem:
            raise CommandError(
                f"The database needs a migration, and the backup before it failed: {problem}\n"
                "Nothing was changed. To migrate without a backup, run `manage.py migrate`, then start the site again."
            ) from None

    def _first_maintainer(self) -> str | None:
        """Create the user `admin` when no user exists. Return how to sign in, with the password if it was generated."""
        if User.objects.exists():
            return None
        password = settings.ADMIN_PASSWORD or secrets.token_urlsafe(12)
        try:
            validate_password(password, User(username="admin"))
        except ValidationError as error:
            raise CommandError(
                f"ADMIN_PASSWORD cannot be used: {' '.join(error.messages)}"
                " Choose another one, or leave it empty: the site generates a random password and shows it once."
            ) from None
        admin = User.objects.create_superuser("admin", password=password)
        admin.groups.add(*Group.objects.filter(name="Maintainers"))
        if settings.ADMIN_PASSWORD:
            return "admin, with the password in ADMIN_PASSWORD"
        return f"admin / {password}    (shown only once; keep it)"

    def _greet(self, maintainer: str | None, backup: str | None) -> None:
        lines = [
            "",
            f"  Telemetry site    {settings.SITE_URL}/admin/",
            f"  Data              {settings.DATA_DIR}",
        ]
        if maintainer:
            lines += [f"  First maintainer  {maintainer}"]
        if backup:
            lines += [f"  Backup            made before the migration: {backup}"]
        if settings.DEMO:
            lines += [f"  Demo              a simulated flasher: {settings.SITE_URL}/demo/"]
        lines += [f"  Next              sign in, or try the API at {settings.SITE_URL}/api/"]
        if not Event.objects.exists():  # demo_data refuses to run beside real events
            lines += ["                    demo data to look at: manage.py demo_data"]
        if regrouping.is_due():
            lines += ["  Failures          some are not grouped yet: manage.py regroup_failures"]
        lines += [
            "                    reset a lost password: manage.py changepassword admin",
            "",
        ]
        self.stdout.write("\n".join(lines))


def _has_data() -> bool:
    """Return whether an earlier start has migrated the database. Its users and settings are data, too."""
    return MigrationRecorder(connection).has_table() and MigrationRecorder.Migration.objects.exists()


def _resolve(host: str, port: int) -> str:
    """Return the IP address to listen on, IPv4 if the host has one. Raises CommandError if it cannot be used."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        # The text of a UnicodeError (a label that is too long or empty) differs between Python versions.
        why = error.strerror or error if isinstance(error, OSError) else "it is not a host name"
        raise CommandError(
            f"HOST={host!r} cannot be resolved: {why}."
            " Set HOST to an IP address of this machine, or to a name that resolves to one."
        ) from None
    family, kind, _, _, endpoint = min(addresses, key=lambda address: address[0] != socket.AF_INET)
    if len(endpoint) == 4 and endpoint[3]:
        raise CommandError(f"HOST={host!r} has a zone, which the server cannot use. Set HOST to another address.")
    try:
        with socket.socket(family, kind) as probe:
            # As a server binds: a port with connections in TIME_WAIT is free, a port with a listener is not.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(endpoint)
    except OSError as error:
        needs_right = isinstance(error, PermissionError) and port < 1_024
        raise CommandError(
            f"{env.host_in_url(host)}:{port} cannot be used: {error.strerror}"
            f"{' (a port under 1024 needs root or CAP_NET_BIND_SERVICE)' if needs_right else ''}."
            " Set PORT or HOST to another value."
        ) from None
    return str(endpoint[0])


def granian_command(address: str, port: int, workers: int) -> list[str]:
    return [
        sys.executable,
        "-m",
        "granian",
        "telemetry_site.server.rsgi:app",
        "--interface=rsgi",
        f"--host={address}",
        f"--port={port}",
        f"--workers={workers}",
        "--no-ws",
        "--http=1",
        "--loop=uvloop",
        # Socket I/O runs in its own Rust threads, without the GIL.
        "--runtime-mode=mt",
        f"--http1-header-read-timeout={HEADER_MS}",
        f"--http1-buffer-size={BUFFER_BYTES}",
        f"--workers-kill-timeout={STOP_SECONDS}",
        "--respawn-failed-workers",
        f"--working-dir={settings.BASE_DIR}",
        f"--backlog={CONNECTIONS}",
        f"--backpressure={CONNECTIONS}",
        "--log-level=warning",
        f"--log-config={settings.BASE_DIR / 'telemetry_site' / 'server' / f'granian_{settings.LOG_FORMAT}.json'}",
    ]


def prepare_process() -> None:
    """Set what the server inherits through exec: its limit of open files, and the blocked signals."""
    _allow_files()
    # Block the signals instead of ignoring them: Granian installs its own handlers. Its workers inherit the mask.
    signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED_SIGNALS)


def _allow_files() -> None:
    """Raise the limit of open files: each connection needs one, and the usual limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FILES:
        wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def stop_with_parent() -> None:
    # A killed `make` cannot stop its children. PR_SET_PDEATHSIG survives exec.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
