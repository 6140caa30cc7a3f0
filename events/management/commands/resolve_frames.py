"""Resolve the frames that wait for a large source map."""

import contextlib
import logging
import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from events import clock
from events.sourcemaps import resolve

logger = logging.getLogger(__name__)

_CPU_SECONDS = 120


class Command(BaseCommand):
    help = (
        "Resolve the frames that pages left waiting, because their source maps are large. The site starts this command"
        " itself, unless SOURCEMAP_WORKER=0. It may run at any time."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--limited",
            action="store_true",
            help="end after 120 seconds of processor time, and let other processes run first; the site does this",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["limited"]:
            self._resolve()
            return
        limit_this_process()
        try:
            self._resolve()
        except Exception:  # Python's own output would have another form than the log of the site
            logger.exception("Waiting frames were not resolved")
            sys.exit(1)

    def _resolve(self) -> None:
        resolved = resolve.resolve_waiting(now_ms=clock.now_ms())
        self.stdout.write(f"{resolved:,} frames resolved.")


def limit_this_process() -> None:
    """End this process if a map takes too long, and let requests run first. Only on systems that have limits."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
        os.nice(10)
