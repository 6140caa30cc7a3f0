"""Compares arrivals by `/event` with arrivals by the old routes, for each UTC day, with a tolerance.

Only events with the source `event` arrived by `/event`. The stream contains other events too, from the old routes in
`alias`, from a switch of the mode and from a repair. Likewise, only old rows with `arrived` arrived by an old route.
The old tables contain other rows too, from an import and from a switch.

An arrival is expected at `/event` in one of these cases:

- its client said that it sends the same event to `/event` (`sent_to_event`);
- it also arrived by `/event`: the stream has its content, or the one failure that `/event` stores per type and session;
- it is a failure of a version from which `/event` received any event in the compared days.

Every other arrival comes from a client that knows only the old routes, or is a failure that `/event` refuses by
contract. Both are counted separately and are no drift. So are events that arrived only by `/event`.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

from django.conf import settings

from events import clock
from events.alerts import timing
from events.alerts.messages import Part, page
from events.alerts.rules.evaluation import Problem
from events.counting.buckets import DAY_MS
from events.ingest import refusals
from events.keyset import in_batches
from events.maintenance import retention
from events.maintenance.jobs.registry import JobFailed
from events.models import Event, Source
from events.querysets import SUCCESS
from events.reports import failures, metrics
from events.reports.failures import Criteria
from events.rows import EventRow, content_id
from legacy import old_tables, translate
from legacy.models import ClientLog, LegacyCount, ParityRun, Verdict

TOLERANCE = 0.005
MAX_EXAMPLES = 10
CHUNK = 1_000
CUT_OFF_DAYS = 7
# Both copies of a failure may arrive on different sides of midnight, so the search range is this much wider.
SLACK_MS = 3_600_000


@dataclass
class Side:
    """Counts of the successes or of the failures of one day.

    `arrived` counts arrivals by an old route: the sum of `expected`, `old_clients` and `refused`. `missing` is the part
    of `expected` that did not arrive by `/event`. `by_event` counts arrivals by `/event`; `event_only` is the part of
    it that did not arrive by an old route.
    """

    arrived: int = 0
    expected: int = 0
    missing: int = 0
    old_clients: int = 0
    refused: int = 0
    by_event: int = 0
    event_only: int = 0

    def add(self, other: "Side") -> None:
        for name, count in vars(other).items():
            setattr(self, name, getattr(self, name) + count)

    def drifts(self, tolerance: float) -> bool:
        return self.missing > self.expected * tolerance


@dataclass
class Day:
    """One UTC day; `refused_fields` counts the failures that `/event` refuses, by invalid field."""

    day: str
    successes: Side = field(default_factory=Side)
    failures: Side = field(default_factory=Side)
    refused_fields: dict[str, int] = field(default_factory=dict)

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.successes, self.failures

    def is_empty(self) -> bool:
        return not any(side.arrived or side.by_event for side in self.sides)

    def state(self, tolerance: float) -> Verdict:
        # Judge each side separately. If most flashes fail, the loss of every success could be within the tolerance.
        if any(side.drifts(tolerance) for side in self.sides):
            return Verdict.DRIFT
        return Verdict.PROVEN if any(side.expected for side in self.sides) else Verdict.NO_EVIDENCE

    def add(self, other: "Day") -> None:
        self.successes.add(other.successes)
        self.failures.add(other.failures)
        self.refused_fields = dict(Counter(self.refused_fields) + Counter(other.refused_fields))


@dataclass
class CutOff:
    """Arrivals of the last CUT_OFF_DAYS from clients that know only the old routes."""

    sessions: int = 0
    failures: int = 0

    def __str__(self) -> str:
        return (
            f"{self.sessions:,} session{'' if self.sessions == 1 else 's'} in the last {CUT_OFF_DAYS} days would be cut"
            f" off by `gone`, and {self.failures:,} failure{'' if self.failures == 1 else 's'}:"
            " their clients know only the old routes."
        )


@dataclass
class Finding:
    """One comparison. `days` are oldest first. Examples list successes, then failures, each newest first.

    `tolerance` and `refused_share` are shares from 0 to 1.
    """

    days: list[Day]
    tolerance: float
    old_count: int
    new_count: int
    cut_off: CutOff
    examples_missing: list[dict[str, str]]
    examples_event_only: list[dict[str, str]]
    refused: dict[str, int]
    refused_share: float

    @property
    def total(self) -> Day:
        total = Day("in all")
        for day in self.days:
            total.add(day)
        return total

    def count(self, state: Verdict) -> int:
        """Return the number of days in a state."""
        return sum(day.state(self.tolerance) == state for day in self.days)

    @property
    def verdict(self) -> Verdict:
        if self.count(Verdict.DRIFT):
            return Verdict.DRIFT
        return Verdict.PROVEN if self.count(Verdict.PROVEN) else Verdict.NO_EVIDENCE

    def as_json(self) -> dict[str, Any]:
        days = [asdict(day) | {"state": day.state(self.tolerance).value} for day in self.days]
        return asdict(self) | {"days": days, "total": asdict(self.total), "verdict": self.verdict.value}


def days_to_compare() -> int:
    """Return 14, or twice the window if that is more, because today and days without evidence do not count."""
    return max(14, 2 * settings.PARITY_DAYS)


def check(days: int, today: date, *, tolerance: float = TOLERANCE) -> Finding:
    """Compare the `days` UTC days that end with today, without the days that were pruned."""
    comparison = _Comparison(days, today)
    recent = comparison if days >= CUT_OFF_DAYS else _Comparison(CUT_OFF_DAYS, today)
    tallies = metrics.tallies(today - timedelta(days=days - 1), today + timedelta(days=1))
    refused = {outcome: count for outcome, count in tallies.items() if outcome in refusals.OF_EVENTS}
    accepted = sum(metrics.totals_by_type(*metrics.last_days(days, today)).values())
    refused_in_all = sum(refused.values())
    return Finding(
        days=list(comparison.days.values()),
        tolerance=tolerance,
        old_count=old_tables.count(),
        new_count=old_tables.stream_count(),
        cut_off=recent.cut_off(today - timedelta(days=CUT_OFF_DAYS - 1)),
        examples_missing=comparison.examples_missing,
        examples_event_only=comparison.examples_event_only,
        refused=refused,
        refused_share=refused_in_all / (refused_in_all + accepted) if refused_in_all else 0.0,
    )


def keep(finding: Finding, *, at: datetime) -> ParityRun:
    """Store a finding in the history."""
    return ParityRun.objects.create(
        checked_at=at,
        verdict=finding.verdict,
        holds=finding.verdict == Verdict.PROVEN,
        days_held=proven_in_a_row(finding, at.date()),
        finding=finding.as_json(),
    )


def proven_in_a_row(finding: Finding, today: date) -> int:
    """Return the number of consecutive proven days, counted back from yesterday.

    A day of drift ends the count; a day without evidence is skipped.
    """
    proven = 0
    for day in reversed(finding.days):
        state = day.state(finding.tolerance)
        if day.day >= today.isoformat() or state == Verdict.NO_EVIDENCE:
            continue
        if state == Verdict.DRIFT:
            break
        proven += 1
    return proven


def check_nightly() -> str:
    """Compare and store the result, as `check_parity` does. Return it in words; raises JobFailed for drift.

    A comparison of days without any arrival by an old route is not stored: it would only fill the history.
    """
    now = clock.now()
    finding = check(days_to_compare(), now.date())
    total = finding.total
    if not any(side.arrived for side in total.sides):
        return "No event arrived by an old route, so there is nothing to compare."
    run = keep(finding, at=now)
    if finding.verdict == Verdict.DRIFT:
        days = finding.count(Verdict.DRIFT)
        missing = sum(side.missing for side in total.sides)
        raise JobFailed(
            f"Drift on {days} of the last {len(finding.days)} days: /event did not receive {missing:,} of the events"
            " that arrived by an old route. Open “Parity” in the admin for the days and examples."
        )
    verdict = "Parity is proven" if finding.verdict == Verdict.PROVEN else "No arrival is expected at /event"
    return f"{verdict}. Window: {run.days_held} of {settings.PARITY_DAYS} proven days in a row."


def alert_problems(now: datetime) -> Iterator[Problem]:
    """Yield drift of the newest comparison, for the alert `[parity]`. No line quotes an event."""
    run = ParityRun.objects.order_by("-id").first()
    if run is None or run.verdict != Verdict.DRIFT:
        return
    states = Counter(day["state"] for day in run.finding["days"])
    missing = sum(run.finding["total"][side]["missing"] for side in ("successes", "failures"))
    yield Problem(
        "drift",
        Part(
            f"/event did not receive {missing:,} events that arrived by an old route",
            (
                f"Drift on {states[Verdict.DRIFT]:,} of {len(run.finding['days']):,} compared days.",
                f"Compared on {timing.moment(int(run.checked_at.timestamp() * 1000))}.",
                f"Parity was proven on {run.days_held:,} days in a row.",
            ),
            page("legacy_parityrun_change", str(run.pk)),
        ),
    )


def check_window(today: date) -> Finding:
    """Compare four times as many days as the window has, because days without evidence do not count."""
    return check(settings.PARITY_DAYS * 4, today)


def missing_from_window(finding: Finding, today: date) -> str:
    """Return what the parity window still lacks, or "" when it is complete."""
    proven = proven_in_a_row(finding, today)
    if proven >= settings.PARITY_DAYS:
        return ""
    return f"Parity is proven on {proven} of {settings.PARITY_DAYS} days in a row."


class _Comparison:
    """The compared days. It reads rows in chunks, because all of them may not fit into memory."""

    def __init__(self, days: int, today: date) -> None:
        first_ms, self.end_ms = metrics.last_days(days, today)
        self.start_ms = min(max(first_ms, retention.whole_since_ms()), self.end_ms)
        self.days = {_day(ms): Day(_day(ms)) for ms in range(self.start_ms, self.end_ms, DAY_MS)}
        self.examples_missing: list[dict[str, str]] = []
        self.examples_event_only: list[dict[str, str]] = []
        around = Event.objects.between(self.start_ms - SLACK_MS, self.end_ms + SLACK_MS).filter(source=Source.EVENT)
        self._compare_successes()
        # Failures with a session: their id is no content id, so it is computed here.
        contents, session_keys = set(), set()
        of_sessions = around.failures().filter(session_id__isnull=False).order_by("-received_at_ms", "-id")
        for rows in in_batches(of_sessions.values_list(*EventRow._fields, named=True), CHUNK):
            for event in map(EventRow._make, rows):
                contents.add(content_id(event))
                session_keys.add(translate.session_key(event.event_type, event.session_id))
        known_versions = set(around.values_list("app_version", flat=True).distinct())
        self._compare_failures(known_versions, contents, session_keys)

    def cut_off(self, since: date) -> CutOff:
        recent = [day for day in self.days.values() if day.day >= since.isoformat()]
        return CutOff(
            sessions=sum(day.successes.old_clients for day in recent),
            failures=sum(day.failures.old_clients for day in recent),
        )

    def _compare_successes(self) -> None:
        successes = Event.objects.successes().filter(source=Source.EVENT)
        for rows in self._arrivals(LegacyCount, "counted_at_ms"):
            twins = successes.filter(session_id__in=[row.pk for row in rows])
            by_event = set(twins.values_list("session_id", flat=True))
            for row in rows:
                side = self.days[_day(row.counted_at_ms)].successes
                side.arrived += 1
                if row.pk not in by_event and not row.sent_to_event:
                    side.old_clients += 1
                    continue
                side.expected += 1
                if row.pk not in by_event:
                    side.missing += 1
                    _example(self.examples_missing, SUCCESS, row.counted_at_ms, row.pk, "")
        columns = ("session_id", "received_at_ms", "id", "source")
        for events in self._pages(Criteria(failures_only=False, event_type=SUCCESS), columns):
            by_session = {session: (at_ms, key) for session, at_ms, key, source in events if source == Source.EVENT}
            arrived = set(LegacyCount.objects.filter(pk__in=by_session, arrived=True).values_list("pk", flat=True))
            for session, (at_ms, key) in by_session.items():
                side = self.days[_day(at_ms)].successes
                side.by_event += 1
                if session not in arrived:
                    side.event_only += 1
                    _example(self.examples_event_only, SUCCESS, at_ms, key, "")

    def _compare_failures(self, known_versions: set[str], contents: set[str], session_keys: set[str]) -> None:
        # The id of an arrived row is a hash of its content, so equal failures are one row.
        for rows in self._arrivals(ClientLog, "received_at_ms"):
            ids = [row.event_id for row in rows]
            by_event = contents.union(
                Event.objects.filter(pk__in=ids, source=Source.EVENT).values_list("pk", flat=True)
            )
            for row in rows:
                day = self.days[_day(row.received_at_ms)]
                day.failures.arrived += 1
                if row.event_id in by_event or row.session_key in session_keys:
                    day.failures.expected += 1
                elif row.refused_fields:
                    day.failures.refused += 1
                    for name in row.refused_fields.split(","):
                        day.refused_fields[name] = day.refused_fields.get(name, 0) + 1
                elif row.sent_to_event or row.app_version in known_versions:
                    day.failures.expected += 1
                    day.failures.missing += 1
                    _example(self.examples_missing, row.event_type, row.received_at_ms, row.pk, row.message)
                else:
                    day.failures.old_clients += 1
        for rows in self._pages(Criteria(), EventRow._fields):
            events = [event for event in map(EventRow._make, rows) if event.source == Source.EVENT]
            by_content = {content_id(event): event for event in events}
            logged = ClientLog.objects.filter(event_id__in=by_content, arrived=True)
            arrived = set(logged.values_list("event_id", flat=True))
            for content, event in by_content.items():
                side = self.days[_day(event.received_at_ms)].failures
                side.by_event += 1
                if content not in arrived:
                    side.event_only += 1
                    at_ms, message = event.received_at_ms, event.message
                    _example(self.examples_event_only, event.event_type, at_ms, event.id, message)

    def _arrivals(self, table: Any, column: str) -> Iterator[list[Any]]:
        within = {f"{column}__gte": self.start_ms, f"{column}__lt": self.end_ms}
        return in_batches(table.objects.filter(arrived=True, **within).order_by(f"-{column}", "-pk"), CHUNK)

    def _pages(self, criteria: Criteria, columns: tuple[str, ...]) -> Iterator[list[tuple[Any, ...]]]:
        within = replace(criteria, since_ms=self.start_ms, until_ms=self.end_ms)
        return failures.rows(within, columns, size=CHUNK)


def _example(examples: list[dict[str, str]], event_type: str, at_ms: int, row_id: str, message: str) -> None:
    of_kind = [example for example in examples if (example["type"] == SUCCESS) == (event_type == SUCCESS)]
    if len(of_kind) < MAX_EXAMPLES:
        received = clock.iso(at_ms)[:19].replace("T", " ")
        examples.append({"received": received, "type": event_type, "id": row_id, "message": message[:120]})


def _day(epoch_ms: int) -> str:
    return clock.iso(epoch_ms)[:10]
