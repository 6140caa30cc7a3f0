"""Correct the public count: make successes void, or undo that."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from events import clock
from events.counting import corrections
from events.counting.corrections import Preview, Selection
from events.ingest.group_commit import StorageUnavailable
from events.management.account import login
from events.management.progress import Progress
from events.models import Correction
from events.reports import metrics
from events.reports.forms import CorrectionForm, UndoForm

SHOWN = 5
HISTORY = 20
FILTERS = ("since", "until", "model", "version", "source")


class Command(BaseCommand):
    help = (
        "Make successes void, so that the public count falls by their number. The events stay, marked as void. The"
        " site may run. --undo lets the successes of one correction count again."
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Let our `--version` option replace Django's standard option."""
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--since", help="received from this moment on: ISO 8601, UTC unless it has an offset")
        parser.add_argument("--until", help="received before this moment, in the same form; not in the future")
        parser.add_argument("--model", default="", help="of exactly this model")
        parser.add_argument("--version", dest="app_version", default="", help="of exactly this version")
        parser.add_argument("--source", default="", help="by this route: event, client_log, increment, import or demo")
        parser.add_argument("--reason", default="", help="why, at most 500 characters; stored in the audit log")
        parser.add_argument("--dry-run", action="store_true", help="only show the figures of what would be void")
        parser.add_argument("--undo", type=int, metavar="ID", help="let the successes of this correction count again")
        parser.add_argument("--list", action="store_true", help="show the newest corrections with their ids")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["list"]:
                self._list()
            elif options["undo"] is not None:
                self._undo(options)
            else:
                self._void(options)
        except (DatabaseError, StorageUnavailable) as error:
            raise CommandError(
                f"The database refused a write: {error}\nCompleted batches stay: --list shows the progress. Run it"
                " again for the rest."
            ) from None

    def _list(self) -> None:
        for correction in corrections.history(HISTORY):
            self.stdout.write(
                f"{correction.pk}: {correction.voided:,} of {correction.matched:,} voided, {correction.restored:,}"
                f" restored, {corrections.selection_of(correction)}. {correction.made_by_name}: {correction.reason}"
            )

    def _void(self, options: dict[str, Any]) -> None:
        now = clock.now()
        asked = {name: options[name] or "" for name in FILTERS if name != "version"}
        # A dry run needs no reason.
        reason = options["reason"] or ("dry run" if options["dry_run"] else "")
        form = CorrectionForm(asked | {"version": options["app_version"], "reason": reason}, now=now)
        _expect_valid(form)
        selection = form.selection()
        try:
            if options["dry_run"]:
                self._show(selection)
                return
            why = form.cleaned_data["reason"]
            correction = corrections.begin(selection, who=login(), at=now, why=why)
        except corrections.NothingMatches as error:
            raise CommandError(f"{error} Nothing was changed.") from None
        before = metrics.flash_count().total
        progress = Progress(self.stderr, correction.matched)
        voided = 0
        for count in corrections.carry_out(correction):
            voided += count
            progress.add(count)
        progress.finish()
        self.stdout.write(f"Correction {correction.pk}: {voided:,} successes are void.")
        self._print_count(before)
        self.stdout.write(f'To undo it: manage.py void_flashes --undo {correction.pk} --reason "…"')

    def _show(self, selection: Selection) -> None:
        preview = corrections.preview(selection)
        if not preview.total:
            raise corrections.NothingMatches(corrections.nothing(selection))
        for line in _lines(preview):
            self.stdout.write(line)
        self.stdout.write("Nothing was changed: --dry-run.")

    def _undo(self, options: dict[str, Any]) -> None:
        if any(options[name] for name in ("since", "until", "model", "app_version", "source", "dry_run")):
            raise CommandError("--undo takes --reason alone: it restores exactly what the correction voided.")
        form = UndoForm({"reason": options["reason"]})
        _expect_valid(form)
        correction = Correction.objects.filter(pk=options["undo"]).first()
        if correction is None:
            raise CommandError(f"Correction {options['undo']} does not exist: --list shows the existing ones.")
        before = metrics.flash_count().total
        restored = Counter[str]()
        try:
            for what, count in corrections.undo(
                correction, who=login(), at=clock.now(), why=form.cleaned_data["reason"]
            ):
                restored[what] += count
        except corrections.AlreadyUndone as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"Correction {correction.pk} is undone: {restored.total():,} successes count again.")
        if restored[corrections.GONE]:
            self.stdout.write(
                f"{restored[corrections.GONE]:,} of them are no longer stored. Their counts were restored from the"
                " record of the correction."
            )
        self._print_count(before)

    def _print_count(self, before: int) -> None:
        self.stdout.write(f"The public count was {before:,} and is {metrics.flash_count().total:,}.")


def _expect_valid(form: Any) -> None:
    if not form.is_valid():
        faults = (f"--{name}: {fault}" for name, errors in form.errors.items() for fault in errors)
        raise CommandError("\n".join(faults))


def _lines(preview: Preview) -> Iterator[str]:
    yield f"{preview.total:,} successes would be void."
    if preview.waiting:
        yield f"{preview.waiting:,} of them are not events yet; they are first copied to the events."
    figures = {
        "model": preview.by_model,
        "version": preview.by_version,
        "source": preview.by_source,
        "hour": [(clock.iso(hour_ms), count) for hour_ms, count in preview.by_hour],
    }
    for title, rows in figures.items():
        for name, count in rows[:SHOWN]:
            yield f"  {title} {name}: {count:,}"
        if len(rows) > SHOWN:
            yield f"  and {len(rows) - SHOWN:,} more"
    for event in preview.examples:
        yield f"  for example {event.id}, session {event.session_id}, received {clock.iso(event.received_at_ms)}"
