"""The work of two jobs: delete old events, and return free space to the disk. Both also run on a nearly full disk."""

import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from django.db import DatabaseError

from events import clock
from events.counting import site_days
from events.counting.buckets import DAY_MS
from events.maintenance import database_file, disk, retention
from events.maintenance.database_file import Reclaimed, gently
from events.maintenance.jobs.registry import JobFailed
from events.maintenance.retention import EVENTS, Cutoffs
from events.maintenance.retention_policy import rules, size
from events.maintenance.retention_policy.rules import Origin, Rule

# A run ends by itself before the limit of its job. The next one goes on.
RUN_MINUTES = 240
WHO = "scheduled retention"


def delete_old_events() -> str:
    """Delete what the rule in force says, return the space to the disk, and say what happened. Raises JobFailed."""
    now = clock.now()
    try:
        return _Run(rules.in_force(), now).outcome()
    except DatabaseError as error:
        raise JobFailed(
            f"The database refused a write: {error}. Everything deleted so far stays deleted. The next run goes on."
        ) from None


def reclaim_space() -> str:
    """Return the free space inside the database to the disk, and say how much it was. Raises JobFailed."""
    try:
        return f"{database_file.reclaim()}."
    except DatabaseError as error:
        raise JobFailed(f"The database refused it: {error}. The next run goes on.") from None


class _Run:
    """One run: `deleted` counts the rows by kind, `descriptions` say which."""

    def __init__(self, rule: Rule, now: datetime) -> None:
        self.rule = rule
        self.now = now
        self.today_ms = int(now.timestamp()) * 1000 // DAY_MS * DAY_MS
        self.until = time.monotonic() + 60 * RUN_MINUTES
        self.deleted = Counter[str]()
        self.descriptions: list[str] = []
        self.reclaimed = Reclaimed(0, 0)

    def outcome(self) -> str:
        doubt = site_days.confirm_clock(self.now)
        cutoffs = self.rule.cutoffs(self.now)
        if doubt and (_has_old(cutoffs) or self._excess()):
            raise JobFailed(
                f"Nothing was deleted: {doubt}. With a clock that is ahead, this would delete too much. The next event"
                " confirms a clock that is right. Without events, run `manage.py prune_events` yourself."
            )
        self._delete(cutoffs, f"Pruned by RETENTION_DAYS={self.rule.as_set}, events {rules.in_words(cutoffs)}")
        self._reclaim()
        problem = self._delete_by_size()
        if not doubt:
            retention.forget_days_of_shares(clock.epoch_ms(self.now))
        words = " ".join(self._words(cutoffs))
        if problem:
            raise JobFailed(f"{problem} {words}")
        return words

    def _words(self, cutoffs: Cutoffs) -> Iterator[str]:
        if self.deleted.total():
            events = self.deleted.pop(EVENTS, 0)
            copies = f", and {retention.in_words(self.deleted)}" if self.deleted else ""
            which = " and ".join(self.descriptions)
            yield (
                f"Deleted {events:,} event{'' if events == 1 else 's'}{' ' if which.startswith('received') else ': '}"
                f"{which}{copies}; {self.reclaimed}."
            )
        elif self.rule.has_period:
            yield f"Nothing to delete: no event {rules.in_words(cutoffs)}."
        elif self.rule.origin is Origin.OLDER_SITE:
            yield "Every event is kept: this site is older than RETENTION_DAYS, which is not set."
        else:
            yield "Every event is kept: RETENTION_DAYS is off."
        if self._is_late():
            yield "The time was over. The next run deletes the rest."

    def _delete(self, cutoffs: Cutoffs, words: str) -> int:
        """Delete the events before the cutoffs gently, and return the number of deleted rows."""
        before = self.deleted.total()
        for kind, count in gently(
            retention.prune_by_type(cutoffs, words, who=WHO, at=self.now, why="the settings of the site")
        ):
            self.deleted[kind] += count
            if self._is_late():
                break
        if count := self.deleted.total() - before:
            self.descriptions.append(rules.in_words(cutoffs))
        return count

    def _delete_by_size(self) -> str:
        """Delete the oldest days while the database holds too much. Return what is wrong, "" if nothing is."""
        while (excess := self._excess()) and not self._is_late():
            cutoffs = Cutoffs.at(excess.before_ms, imported_too=True)
            limit = disk.in_words(self.rule.limit_bytes or 0)
            if not excess.is_reachable:
                return (
                    f"The database holds {disk.in_words(excess.bytes)} more than RETENTION_BYTES ({limit}). Counts,"
                    " groups and the events of today need more than that, so no further events were deleted."
                    " Set RETENTION_BYTES higher."
                )
            if not self._delete(
                cutoffs, f"Pruned by RETENTION_BYTES={self.rule.limit_bytes}, events {rules.in_words(cutoffs)}"
            ):
                return f"The database holds more than RETENTION_BYTES ({limit}), and no event before today is left."
            self._reclaim()  # PostgreSQL counts its rows again, which the estimate of its size needs
        return ""

    def _excess(self) -> size.Excess | None:
        limit_bytes = self.rule.limit_bytes
        return None if limit_bytes is None else size.excess(limit_bytes, self.today_ms)

    def _reclaim(self) -> None:
        if self.deleted:
            now = database_file.reclaim()
            self.reclaimed = now._replace(freed=self.reclaimed.freed + now.freed)

    def _is_late(self) -> bool:
        return time.monotonic() > self.until


def _has_old(cutoffs: Cutoffs) -> bool:
    return bool(retention.count_by_type(cutoffs).total() or retention.count_copies(cutoffs, at_most=1).total())
