"""`manage.py export`: writes a stored export to stdout or to a file."""

import os
import signal
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO, Any, NoReturn

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from events import clock
from events.management.account import login
from events.management.progress import Progress as ProgressBar
from events.reports.exports import estimates, making, named
from events.reports.exports.choices import Choice, Format, InvalidExport
from events.reports.exports.lists import LISTS, Read

BROKEN_PIPE = 128 + signal.SIGPIPE
TERMINATED = 128 + signal.SIGTERM
_TEXTS = (Format.CSV, Format.NDJSON)


class Command(BaseCommand):
    help = (
        "Write a stored export to stdout, or to a file with --output. Exports are stored on the admin's page Exports."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", nargs="?", help="the name of a stored export")
        parser.add_argument("--list", action="store_true", dest="lists", help="list the stored exports")
        parser.add_argument(
            "--output", metavar="FILE", type=Path, help="replace this file when the export is complete; default: stdout"
        )
        parser.add_argument("--quiet", action="store_true", help="show no progress")

    def handle(
        self, *args: Any, name: str | None, lists: bool, output: Path | None, quiet: bool, **options: Any
    ) -> None:
        if lists:
            self._list()
            return
        if name is None:
            raise CommandError("Name a stored export. --list shows them.")
        choice, read = self._choice(name)
        if output is None and choice.format not in _TEXTS and sys.stdout.isatty():
            raise CommandError(f"{choice.format.encoding.label} is not for a terminal. Add > FILE or --output FILE.")
        for warning in choice.warnings():
            self.stderr.write(warning)
        making.note(choice, who=login(), at=read.now, name=name, logs=False)
        try:
            with _terminations(), _standard_output() if output is None else _new_file(output) as file:
                self._write(choice, read, file, quiet=quiet)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends
            sys.exit(BROKEN_PIPE)
        except (DatabaseError, OSError) as error:
            raise CommandError(f"The export ended early: {error}") from error

    def _list(self) -> None:
        for export in named.exports():
            title = LISTS[export.list_key].title if export.list_key in LISTS else export.list_key
            filters = f"  {export.filters}" if export.filters else ""
            self.stdout.write(f"{export.name}  {title}  {export.format}{filters}")

    def _choice(self, name: str) -> tuple[Choice, Read]:
        export = named.find(name)
        if export is None:
            raise CommandError(f"There is no stored export {name}. --list shows them.")
        try:
            choice = named.choice_of(export)
            return choice, choice.read(clock.now(), None)
        except InvalidExport as fault:
            raise CommandError(f"The export {name} can no longer be made. {fault}") from None

    def _write(self, choice: Choice, read: Read, file: IO[bytes], *, quiet: bool) -> None:
        progress = making.Progress()
        bar = None if quiet else ProgressBar(self.stderr, estimates.count_rows(choice, read).rows)
        shown = 0
        for piece in making.pieces(choice, read, progress):
            file.write(piece)
            if bar is not None:
                bar.add(progress.rows - shown)
                shown = progress.rows
        file.flush()
        if bar is not None:
            bar.finish()
            self.stderr.write(f"{progress.rows:,} rows, {progress.sent:,} bytes", style_func=str)


@contextmanager
def _terminations() -> Iterator[None]:
    """Raise SystemExit on SIGTERM, and end with 130 on Ctrl-C, so that the unfinished file is deleted."""

    def end(signum: int, frame: FrameType | None) -> NoReturn:
        sys.exit(TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _standard_output() -> Iterator[IO[bytes]]:
    yield sys.stdout.buffer


@contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file beside `path` that replaces it at the end. After an error, `path` is as before."""
    if path.is_dir():
        raise CommandError(f"{path} is a folder. Name a file in it.")
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:64]}.", suffix=".part", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name survives a power failure
        finally:
            os.close(folder)
    finally:
        with suppress(FileNotFoundError):  # renamed
            os.unlink(name)
