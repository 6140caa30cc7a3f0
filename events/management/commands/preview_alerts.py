"""`manage.py preview_alerts`: how many messages other thresholds would have caused in the last 30 days."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from events import clock
from events.alerts import preview, timing


class Command(BaseCommand):
    help = "Show how many alerts other thresholds would have caused in the last 30 days."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--new-after", type=int, default=settings.ALERT_NEW_AFTER, help="Instead of ALERT_NEW_AFTER."
        )
        parser.add_argument(
            "--silence-hours", type=int, default=settings.ALERT_SILENCE_HOURS, help="Instead of ALERT_SILENCE_HOURS."
        )

    def handle(self, *args: Any, new_after: int, silence_hours: int, **options: Any) -> None:
        thresholds = preview.Thresholds(max(new_after, 1), max(silence_hours, 1))
        found = preview.preview(thresholds, clock.now())
        self.stdout.write(
            f"ALERT_NEW_AFTER={thresholds.new_after} and ALERT_SILENCE_HOURS={thresholds.silence_hours} {found}."
        )
        for alert in found.alerts:
            self.stdout.write(f"  {timing.moment(alert.hour_ms)}  [{alert.kind}] {alert.heading}")
