"""Fill a database with demo data, or delete the demo data."""

import random
from bisect import bisect_right
from collections.abc import Iterator
from itertools import groupby, islice
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from events import clock
from events.counting import rollups
from events.ingest import writer
from events.ingest.group_commit import StorageUnavailable
from events.maintenance import database_file, demo, retention
from events.maintenance.demo import decisions
from events.management.progress import Progress
from events.models import Event, Source
from events.rows import EventRow

MAX_DAYS = 730
MAX_EVENTS = 10_000_000
_CHUNK_EVENTS = 5_000


class Command(BaseCommand):
    help = "Fill a database without real events with plausible demo data; --clear deletes it again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=int, default=30, help="how many UTC days, ending with today (default: 30)")
        parser.add_argument("--events", type=int, default=20_000, help="how many events (default: 20000)")
        parser.add_argument("--seed", type=int, help="the same seed generates the same data (default: random)")
        parser.add_argument("--clear", action="store_true", help="delete all demo data")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["clear"]:
                self._clear()
            else:
                self._fill(options["days"], options["events"], options["seed"])
        except (DatabaseError, StorageUnavailable) as error:
            raise CommandError(
                f"The database cannot be used: {error}\nIs it migrated? `manage.py migrate` does that."
            ) from None

    def _fill(self, days: int, count: int, seed: int | None) -> None:
        if not 1 <= days <= MAX_DAYS:
            raise CommandError(f"--days must be from 1 to {MAX_DAYS}, not {days}.")
        if not 1 <= count <= MAX_EVENTS:
            raise CommandError(f"--events must be from 1 to {MAX_EVENTS:,}, not {count}.")
        if Event.objects.exclude(source=Source.DEMO).exists():
            raise CommandError(
                "This database contains real events, and demo data would distort their figures."
                " Set DATA_DIR (or DATABASE_URL) to another place and try again."
            )
        if seed is None:
            seed = random.SystemRandom().randrange(1_000_000)
        world = demo.World(days=days, now_ms=clock.now_ms(), seed=seed)
        progress = Progress(self.stderr, count)
        stored = 0
        words = ": the stored events stay, and the counts are correct. --clear deletes them."
        with progress.until_interrupted(lambda: words):
            for chunk in _chunks(world, count):
                stored += sum(outcome.stored for outcome in writer.record_many(chunk))
                progress.add(len(chunk))
        rollups.sum_past_days(clock.now_ms())
        self.stdout.write(f"{stored:,} demo events of {days} days were stored (--seed {seed}).")
        if stored < count:
            self.stdout.write(f"{count - stored:,} existed already.")

    def _clear(self) -> None:
        progress = Progress(self.stderr, Event.objects.demo().count())
        deleted = 0
        words = ": the other events stay, and the counts are correct. --clear continues."
        with progress.until_interrupted(lambda: words):
            for count in retention.delete_demo():
                deleted += count
                progress.add(count)
            decisions.withdraw(at=clock.now())
            for _ in database_file.free_pages():
                pass
        self.stdout.write(f"{deleted:,} demo events were deleted, with their counts, maps, decisions and advice.")


def _chunks(world: demo.World, count: int) -> Iterator[list[EventRow]]:
    """Yield the events of a world in chunks, and make each decision between the events before and after it."""
    waiting = decisions.of(world)
    moments = [decision.at_ms for decision in waiting]
    made = 0

    def decided(event: EventRow) -> int:
        return bisect_right(moments, event.received_at_ms)

    for number, events in groupby(demo.events(world, count), decided):
        for decision in waiting[made:number]:
            decision.make()
        made = number
        while chunk := list(islice(events, _CHUNK_EVENTS)):
            yield chunk
    for decision in waiting[made:]:
        decision.make()
