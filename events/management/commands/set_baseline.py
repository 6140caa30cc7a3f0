"""Set the baseline of the public count."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from events import clock
from events.counting import rollups
from events.management.account import login
from events.reports import metrics
from events.reports.forms import BaselineForm


class Command(BaseCommand):
    help = "Set the baseline of the public count: successes from before this site. Every change is recorded."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("value", help="the value of the old counter, such as 412")
        parser.add_argument("--note", required=True, help="why; stored with your name and the time")

    def handle(self, *args: Any, **options: Any) -> None:
        form = BaselineForm({"value": options["value"], "note": options["note"]})
        if not form.is_valid():
            raise CommandError(
                "\n".join(f"{name}: {fault}" for name, faults in form.errors.items() for fault in faults)
            )
        before = metrics.flash_count()
        rollups.set_baseline(
            form.cleaned_data["value"],
            note=form.cleaned_data["note"],
            user=None,
            user_name=login(),
            at=clock.now(),
        )
        self.stdout.write(f"before  {_in_words(before)}\nnow     {_in_words(metrics.flash_count())}")


def _in_words(count: metrics.FlashCount) -> str:
    return f"{count.total:,} = {count.baseline:,} from before + {count.accepted:,} counted here"
