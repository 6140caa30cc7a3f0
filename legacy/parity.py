"""Whether old and new agree: by UTC day, matched by content, against a tolerance.

What only the old side has is a loss and makes drift. What only the new side has is expected: clients of the
newer revisions send their successes to `/event` alone. A day counts once it is over and the old side had traffic.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.conf import settings

from events import failures, metrics, retention
from events.buckets import DAY_MS
from events.failures import Criteria
from events.models import Event
from events.querysets import SUCCESS, in_pages
from events.rows import EventRow
from legacy import old_tables, translate
from legacy.models import ClientLog, ImportRun, LegacyCount, ParityRun

TOLERANCE = 0.005
MAX_EXAMPLES = 10
CHUNK = 1_000
# A twin may come in on the other side of midnight; its partner is looked for so far around the days compared.
SLACK_MS = 3_600_000


@dataclass
class Side:
    """Successes or failures of one day: on each side, and on one side alone."""

    old: int = 0
    new: int = 0
    only_old: int = 0
    only_new: int = 0

    def add(self, other: "Side") -> None:
        self.old += other.old
        self.new += other.new
        self.only_old += other.only_old
        self.only_new += other.only_new


@dataclass
class Day:
    day: str
    successes: Side = field(default_factory=Side)
    failures: Side = field(default_factory=Side)

    def has_traffic(self) -> bool:
        return bool(self.successes.old or self.failures.old)

    def holds(self, tolerance: float) -> bool:
        # Each by itself: on a site where most attempts fail, every success could be lost within a share of both.
        return all(side.only_old <= side.old * tolerance for side in (self.successes, self.failures))


@dataclass
class Finding:
    """One comparison; `days` oldest first, `examples` successes, then failures, each newest first; shares 0 to 1."""

    days: list[Day]
    tolerance: float
    old_count: int
    new_count: int
    examples_only_old: list[dict[str, str]]
    examples_only_new: list[dict[str, str]]
    refused: dict[str, int]
    refused_share: float

    @property
    def total(self) -> Day:
        total = Day("in all")
        for day in self.days:
            total.successes.add(day.successes)
            total.failures.add(day.failures)
        return total

    @property
    def holds(self) -> bool:
        return all(day.holds(self.tolerance) for day in self.days)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"holds": self.holds, "total": asdict(self.total)}


def days_to_compare() -> int:
    """Return two weeks, or twice the window: today never counts, and quiet days may lie between."""
    return max(14, 2 * settings.PARITY_DAYS)


def check(days: int, today: date, *, tolerance: float = TOLERANCE) -> Finding:
    """Compare the `days` UTC days that end with today; those from which events were pruned are left out."""
    first_ms, end_ms = metrics.last_days(days, today)
    start_ms = min(max(first_ms, retention.whole_since_ms()), end_ms)
    found = {_day(ms): Day(_day(ms)) for ms in range(start_ms, end_ms, DAY_MS)}
    only_old: list[dict[str, str]] = []
    only_new: list[dict[str, str]] = []
    _compare_successes(found, start_ms, end_ms, only_old, only_new)
    _compare_failures(found, start_ms, end_ms, only_old, only_new)
    refused = metrics.tallies(today - timedelta(days=days - 1), today + timedelta(days=1))
    refused.pop("duplicate", None)
    accepted = sum(metrics.totals_by_type(first_ms, end_ms).values())
    refusals = sum(refused.values())
    return Finding(
        days=list(found.values()),
        tolerance=tolerance,
        old_count=old_tables.count(),
        new_count=old_tables.stream_count(),
        examples_only_old=only_old,
        examples_only_new=only_new,
        refused=refused,
        refused_share=refusals / (refusals + accepted) if refusals else 0.0,
    )


def keep(finding: Finding, *, at: datetime) -> ParityRun:
    """Keep a finding as a row of the history."""
    held = days_held(finding.days, at.date(), finding.tolerance)
    return ParityRun.objects.create(checked_at=at, holds=finding.holds, days_held=held, finding=finding.as_json())


def days_held(days: Iterable[Day], today: date, tolerance: float) -> int:
    """Return how many days with traffic have held in a row, counted back from yesterday; quiet ones don't break it.

    Days up to the last import that added anything are none: one file filled both sides of them.
    """
    held, filled_until = 0, _last_imported_day()
    for day in sorted(days, key=lambda day: day.day, reverse=True):
        if day.day >= today.isoformat() or not day.has_traffic():
            continue
        if day.day <= filled_until:
            break
        if not day.holds(tolerance):
            break
        held += 1
    return held


def missing_from_window(today: date) -> str:
    """Return what the parity window still lacks, in words; empty when it is over."""
    finding = check(settings.PARITY_DAYS * 4, today)
    held = days_held(finding.days, today, finding.tolerance)
    if held >= settings.PARITY_DAYS:
        return ""
    return f"Parity has held for {held} of {settings.PARITY_DAYS} days with traffic in a row."


def _last_imported_day() -> str:
    run = ImportRun.objects.exclude(report__added={}, report__log_rows_added=0).first()
    return run.finished_at.astimezone(UTC).date().isoformat() if run else ""


def _compare_successes(
    found: dict[str, Day], start_ms: int, end_ms: int, only_old: list[dict[str, str]], only_new: list[dict[str, str]]
) -> None:
    for old_rows in _old_pages(LegacyCount, "counted_at_ms", start_ms, end_ms):
        sessions = [row.session_id for row in old_rows]
        known = set(Event.objects.successes().filter(session_id__in=sessions).values_list("session_id", flat=True))
        for row in old_rows:
            if row.session_id.startswith(old_tables.NOBODY) and row.session_id not in known:
                continue  # its event is gone, and that is no loss
            side = found[_day(row.counted_at_ms)].successes
            side.old += 1
            if row.session_id not in known:
                side.only_old += 1
                _example(only_old, SUCCESS, row.counted_at_ms, row.session_id, "")
    criteria = Criteria(failures_only=False, event_type=SUCCESS, since_ms=start_ms, until_ms=end_ms)
    for chunk in failures.rows(criteria, ("session_id", "received_at_ms", "id"), size=CHUNK):
        sessions = [session_id for session_id, _, _ in chunk]
        known = set(LegacyCount.objects.filter(pk__in=sessions).values_list("pk", flat=True))
        for session_id, received_at_ms, event_id in chunk:
            side = found[_day(received_at_ms)].successes
            side.new += 1
            if session_id not in known:
                side.only_new += 1
                _example(only_new, SUCCESS, received_at_ms, event_id, "")


def _compare_failures(
    found: dict[str, Day], start_ms: int, end_ms: int, only_old: list[dict[str, str]], only_new: list[dict[str, str]]
) -> None:
    # Rows of one content are one failure, and two days that share a twin count it on each.
    stream_contents = _stream_contents(start_ms - SLACK_MS, end_ms + SLACK_MS)
    seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for rows in _old_pages(ClientLog, "received_at_ms", start_ms, end_ms):
        with_session = {row.event_id for row in rows} & stream_contents
        known = set(Event.objects.filter(pk__in=[row.event_id for row in rows]).values_list("pk", flat=True))
        for row in rows:
            day = _day(row.received_at_ms)
            seen[day][row.event_id] += 1
            if seen[day][row.event_id] > 1:
                continue
            found[day].failures.old += 1
            if row.event_id not in known and row.event_id not in with_session:
                found[day].failures.only_old += 1
                _example(only_old, row.event_type, row.received_at_ms, row.id, row.message)
    for chunk in failures.rows(Criteria(since_ms=start_ms, until_ms=end_ms), EventRow._fields, size=CHUNK):
        contents = {translate.content_id(event): event for event in map(EventRow._make, chunk)}
        logged = set(ClientLog.objects.filter(event_id__in=contents).values_list("event_id", flat=True))
        for content, event in contents.items():
            side = found[_day(event.received_at_ms)].failures
            side.new += 1
            if content not in logged:
                side.only_new += 1
                _example(only_new, event.event_type, event.received_at_ms, event.id, event.message)


def _stream_contents(start_ms: int, end_ms: int) -> set[str]:
    """Return the contents of failures that are known by a session and not by their content."""
    with_session = Event.objects.failures().between(start_ms, end_ms).filter(session_id__isnull=False)
    rows = with_session.values_list(*EventRow._fields).iterator(CHUNK)
    return {translate.content_id(EventRow(*row)) for row in rows}


def _old_pages(table: Any, column: str, start_ms: int, end_ms: int) -> Iterator[list[Any]]:
    rows = table.objects.filter(**{f"{column}__gte": start_ms, f"{column}__lt": end_ms}).order_by(f"-{column}", "-pk")
    return in_pages(rows, CHUNK)


def _example(examples: list[dict[str, str]], event_type: str, at_ms: int, row_id: str, message: str) -> None:
    alike = [one for one in examples if (one["type"] == SUCCESS) == (event_type == SUCCESS)]
    if len(alike) < MAX_EXAMPLES:
        examples.append({"received": _iso(at_ms), "type": event_type, "id": row_id, "message": message[:120]})


def _day(epoch_ms: int) -> str:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).date().isoformat()


def _iso(epoch_ms: int) -> str:
    return f"{datetime.fromtimestamp(epoch_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
