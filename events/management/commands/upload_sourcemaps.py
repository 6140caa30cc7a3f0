"""Store the source maps of a build folder in the database of this site."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from events import clock
from events.management.account import login
from events.sourcemaps import intake, store
from events.sourcemaps.check import InvalidMap
from events.sourcemaps.store import Outcome

WORDS = {Outcome.STORED: "stored", Outcome.REPLACED: "replaced", Outcome.UNCHANGED: "unchanged"}


class Command(BaseCommand):
    help = (
        "Store the source maps (*.js.map) of a build folder in the database of this site, with the checks of an upload."
        " Prints a line for each. The exit status is 1 if one was refused; the others are stored."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("version", help="the version that the front end sends as app_version, such as 19afc18")
        parser.add_argument("folder", type=Path, help="the build folder, such as dist")
        parser.add_argument("--replace", action="store_true", help="replace maps that have other content")

    def handle(self, *args: Any, **options: Any) -> None:
        folder: Path = options["folder"]
        if not folder.is_dir():
            raise CommandError(f"{folder}: no such folder.")
        files = sorted(path for path in folder.rglob("*.js.map") if path.is_file())
        if not files:
            raise CommandError(f"{folder} contains no *.js.map. With Vite, set `build.sourcemap` to `hidden`.")
        refused = 0
        for path in files:
            try:
                words = _upload(options["version"], path, replace=options["replace"])
            except (store.InvalidName, InvalidMap, intake.CheckFailed, OSError) as error:
                refused += 1
                self.stderr.write(f"{path.relative_to(folder)}: {error}")
            else:
                self.stdout.write(f"{path.relative_to(folder)}: {words}")
        if refused:
            raise CommandError(f"{refused} of {len(files)} source maps were not stored.")


def _upload(version: str, path: Path, *, replace: bool) -> str:
    """Store one map. Return what happened. Raises InvalidName, InvalidMap, CheckFailed or OSError."""
    key = store.key_of(version, path.name)
    if path.stat().st_size > settings.SOURCEMAP_MAX_BYTES:
        raise InvalidMap(f"The file is larger than {settings.SOURCEMAP_MAX_BYTES:,} bytes.")
    with path.open("rb") as body:
        checked = intake.checked(body, is_gzip=False)
    outcome = store.put(key, checked, replace=replace, who=login(), at=clock.now())
    if outcome is Outcome.CONFLICT:
        raise InvalidMap(f"Other content is stored for {key}. Add --replace to replace it.")
    return f"{WORDS[outcome]}, {checked.sources:,} sources, {checked.bytes:,} bytes"
