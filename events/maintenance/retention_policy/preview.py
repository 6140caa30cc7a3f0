"""What the next run of the retention would delete. It reads only indexes and counts, so a page can show it."""

from datetime import datetime
from typing import NamedTuple

from events.counting import site_days
from events.counting.buckets import DAY_MS
from events.maintenance import database_file, retention
from events.maintenance.retention import IMPORTED, Estimate
from events.maintenance.retention_policy import rules, size
from events.maintenance.retention_policy.rules import Rule

COUNTED = 100_000  # Beyond this number of events of a type, the preview takes it from the counts by day.


class Line(NamedTuple):
    """One type of events, or imported events: the period, and what the next run would delete."""

    kind: str
    days: int | None
    before_ms: int
    old: Estimate

    @property
    def is_imported(self) -> bool:
        return self.kind == IMPORTED


class Preview(NamedTuple):
    """What a run at this time would delete.

    `copies` are the rows of other apps by kind. `excess` is the next step for RETENTION_BYTES, before anything is
    deleted by age. `doubt` says why a run would delete nothing, or is None.
    """

    rule: Rule
    lines: list[Line]
    copies: dict[str, int]
    held_bytes: int
    bytes_per_event: float
    excess: size.Excess | None
    doubt: str | None

    @property
    def total(self) -> Estimate:
        return Estimate(sum(line.old.rows for line in self.lines), all(line.old.is_exact for line in self.lines))

    @property
    def old_bytes(self) -> int:
        """Return about how much the events to delete by age take."""
        return int(self.total.rows * self.bytes_per_event)


def of(rule: Rule, now: datetime) -> Preview:
    cutoffs = rule.cutoffs(now)
    before = {**cutoffs.of_types, IMPORTED: cutoffs.of_imported}
    estimates = retention.estimate_by_type(cutoffs, at_most=COUNTED)
    today_ms = int(now.timestamp()) * 1000 // DAY_MS * DAY_MS
    return Preview(
        rule,
        [Line(kind, days, before[kind], estimates.get(kind, Estimate(0, True))) for kind, days in rule.periods],
        dict(+retention.count_copies(cutoffs, at_most=COUNTED)),
        database_file.held_bytes(),
        database_file.bytes_per_event(),
        None if rule.limit_bytes is None else size.excess(rule.limit_bytes, today_ms),
        site_days.close_doubt_of(now),
    )


def in_force(now: datetime) -> Preview:
    """Return the preview of the rule in force."""
    return of(rules.in_force(), now)
