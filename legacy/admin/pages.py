"""The data for the pages about the old system: the modes, parity, the parts of the public count, the old log."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.admin.utils import quote
from django.db.models import Sum
from django.http import HttpRequest
from django.template.defaultfilters import pluralize
from django.urls import reverse

from events.counting import corrections
from events.models import Correction, CounterBaseline, Event, EventType
from events.process_memory import Recent
from events.reports import metrics
from legacy import old_tables, translate
from legacy.cutover import modes
from legacy.models import ClientLog, Cutover, ImportRun, Mode, ModeInForce, ParityRun, Verdict

PANEL_SECONDS = 10
HISTORY = 50
EXAMPLES = 2
TIMELINE = 200
OLD_LOG_ROWS = 200
# The columns of the old log's list, without log lines, because a row's log lines may be 64 kB.
OLD_LOG_COLUMNS = (
    "id", "received_at_ms", "occurred_at", "event_type", "message", "error_name", "stack", "model", "app_version",
    "write_mode", "connected", "log_lines_json", "event_id", "in_stream",
)  # fmt: skip
_LISTED = ("received_at_ms", "event_type", "message", "error_name", "model", "app_version", "event_id", "in_stream")


class ModeDescription(NamedTuple):
    """Texts of the page about one mode: what the old routes write and read, and the effect of a switch."""

    mode: str
    writes: str
    reads: str
    effect: str


MODES = [
    ModeDescription(
        Mode.SEPARATE.value,
        "the old tables only",
        "the old tables",
        "the old routes write only to the old tables, and read from them. Events that clients send to /event go only"
        " to the unified stream.",
    ),
    ModeDescription(
        Mode.ALIAS.value,
        "the unified stream and the old tables",
        "the unified stream",
        "the old routes write to the unified stream and to the old tables, and read from the unified stream.",
    ),
    ModeDescription(
        Mode.GONE.value,
        "nothing",
        "nothing: each answers 410",
        "every old route answers 410 and stores nothing: events that old clients still send are lost."
        " You can switch back until the old tables are dropped.",
    ),
]


class Window(NamedTuple):
    """The parity window at the newest comparison: `proven` of the required `asked` consecutive days."""

    proven: int
    asked: int
    verdict: str
    mark: str
    checked_at: datetime

    @property
    def is_over(self) -> bool:
        return self.proven >= self.asked


def window() -> Window | None:
    """Return the parity window at the stored newest comparison, or None before the first one by the current rule."""
    run = ParityRun.objects.exclude(verdict="").defer("finding").first()
    if run is None:
        return None
    return Window(run.days_held, settings.PARITY_DAYS, run.verdict, MARKS[Verdict(run.verdict)], run.checked_at)


_panel: Recent[tuple[ModeInForce, Window | None]] = Recent(PANEL_SECONDS)


def forget_panel() -> None:
    """Read the panel of the index again, because this process changed its rows."""
    _panel.clear()


def overview_panel(request: HttpRequest, now: datetime) -> tuple[str, dict[str, Any]] | None:
    """Return the panel of the admin's index about the old system, or None without the permission.

    Its rows can be PANEL_SECONDS old.
    """
    sees_mode, sees_parity = (request.user.has_perm(f"legacy.view_{page}") for page in ("cutover", "parityrun"))
    if not (sees_mode or sees_parity):
        return None
    row, newest = _panel.get("panel", now, lambda: (modes.in_force(), window()))
    return "legacy/_overview.html", {
        "sees_mode": sees_mode,
        "sees_parity": sees_parity and not row.tables_dropped,
        "in_force": row,
        "window": newest if sees_parity else None,
        "window_asked": settings.PARITY_DAYS,
    }


# --- parity ----------------------------------------------------------------------------------------------------------


class Figure(NamedTuple):
    """One count of a day; `is_bad` marks lost events."""

    label: str
    figure: int
    is_bad: bool


class DaySide(NamedTuple):
    """The figures of a day's successes or failures."""

    name: str
    cells: list[Figure]

    @property
    def is_idle(self) -> bool:
        return not any(cell.figure for cell in self.cells)


class ComparedDay(NamedTuple):
    """One day of a comparison with its state; `counts` if it is one of the consecutive proven days."""

    day: date
    sides: list[DaySide]
    state: str
    mark: str
    counts: bool


# The counts of successes or failures of a day, and their labels on the page.
FIGURES = {
    "arrived": "arrived",
    "expected": "expected",
    "missing": "missing",
    "old_clients": "old only",
    "event_only": "new only",
}
OLDER_FIGURES = {"old": "old", "new": "new", "only_old": "only old", "only_new": "only new"}
LOSSES = ("missing", "only_old")
OLDER_PROVEN, OLDER_IDLE = "held", "no traffic"  # states of a day by the rule of earlier releases, besides drift
MARKS = {Verdict.PROVEN: "✓", OLDER_PROVEN: "✓", Verdict.DRIFT: "✕", Verdict.NO_EVIDENCE: "–", OLDER_IDLE: "–"}


def compared_days(run: ParityRun) -> list[ComparedDay]:
    """Return the days of a stored comparison, oldest first."""
    compared = []
    in_a_row = run.days_held
    for day in reversed(run.finding["days"]):
        state = day["state"] if run.verdict else _older_state(day, run.finding["tolerance"])
        mark = MARKS[state]
        is_over = day["day"] < run.checked_at.date().isoformat()
        if not is_over:
            state, mark = ("drift so far", mark) if state == Verdict.DRIFT else ("not over", "…")
        counts = state in (Verdict.PROVEN, OLDER_PROVEN) and in_a_row > 0
        in_a_row -= counts
        compared.append(ComparedDay(date.fromisoformat(day["day"]), _sides(run, day), str(state), mark, counts))
    return compared[::-1]


def total(run: ParityRun) -> list[DaySide]:
    return _sides(run, run.finding["total"])


def _sides(run: ParityRun, day: dict[str, Any]) -> list[DaySide]:
    figures = FIGURES if run.verdict else OLDER_FIGURES
    return [
        DaySide(
            side,
            [Figure(label, day[side][name], name in LOSSES and day[side][name] > 0) for name, label in figures.items()],
        )
        for side in ("successes", "failures")
    ]


def _older_state(day: dict[str, Any], tolerance: float) -> str:
    sides = day["successes"], day["failures"]
    if any(side["only_old"] > side["old"] * tolerance for side in sides):
        return Verdict.DRIFT
    return OLDER_PROVEN if any(side["old"] for side in sides) else OLDER_IDLE


class ParitySummary(NamedTuple):
    """The summary of a stored comparison."""

    words: str
    mark: str
    expected: int
    missing: int
    refused: int
    refused_fields: list[tuple[str, int]]


def summary_of(run: ParityRun) -> ParitySummary:
    total = run.finding["total"]
    sides = total["successes"], total["failures"]
    if not run.verdict:
        words, mark = ("Held", "✓") if run.holds else ("Drift", "✕")
        old, only_old = (sum(side[name] for side in sides) for name in ("old", "only_old"))
        return ParitySummary(words, mark, old, only_old, 0, [])
    states = [day["state"] for day in run.finding["days"]]
    days = states.count(run.verdict)
    words = {
        Verdict.PROVEN: f"Proven on {days} day{pluralize(days)}",
        Verdict.DRIFT: f"Drift on {days} of {len(states)} day{pluralize(len(states))}",
        Verdict.NO_EVIDENCE: "No evidence",
    }[Verdict(run.verdict)]
    expected, missing = (sum(side[name] for side in sides) for name in ("expected", "missing"))
    fields = largest_first(total["refused_fields"])
    return ParitySummary(words, MARKS[Verdict(run.verdict)], expected, missing, total["failures"]["refused"], fields)


class Example(NamedTuple):
    """An event or row that only one side has; `name` is its id on that side."""

    received: str
    event_type: str
    name: str
    message: str
    event_url: str | None


def examples_missing(run: ParityRun) -> list[Example]:
    """Return examples that only the old routes received; for older comparisons, that only the old tables contained."""
    return _examples(run, "examples_missing" if run.verdict else "examples_only_old", stored=set())


def examples_event_only(run: ParityRun) -> list[Example]:
    """Return examples that only `/event` received; for older comparisons, that only the stream contained."""
    name = "examples_event_only" if run.verdict else "examples_only_new"
    return _examples(run, name, stored=_stored(example["id"] for example in run.finding[name]))


def _examples(run: ParityRun, name: str, *, stored: set[str]) -> list[Example]:
    examples = [
        Example(
            example["received"],
            translate.current_type(example["type"], EventType.values)[0],
            example["id"],
            example["message"],
            event_url(example["id"]) if example["id"] in stored else None,
        )
        for example in run.finding[name]
    ]
    return sorted(examples, key=lambda example: example.received, reverse=True)


def _stored(ids: Iterable[str]) -> set[str]:
    return set(Event.objects.filter(pk__in=list(ids)).values_list("pk", flat=True))


# --- the count's history -------------------------------------------------------------------------------------------


class CountParts(NamedTuple):
    """The parts of the unified stream's count: `total` is `baseline + imported + live - void`."""

    baseline: int
    imported: int
    live: int
    void: int

    @property
    def total(self) -> int:
        return self.baseline + self.imported + self.live - self.void


class CountChange(NamedTuple):
    """One line of the count's history.

    For a switch, `before` and `after` are public counts; for a baseline, baselines. For the other changes, `before` is
    None, and `after` is the number of added or subtracted successes.
    """

    at: datetime
    what: str
    name: str
    who: str
    why: str
    before: int | None
    after: int


def made_of() -> CountParts:
    """Return the current parts of the count. Source: LifetimeTotal, Correction and the imports' reports."""
    count = metrics.flash_count()
    imported = ImportRun.objects.aggregate(sum=Sum("successes_added"))["sum"] or 0
    void = corrections.void_now()
    return CountParts(count.baseline, imported, count.accepted + void - imported, void)


def old_count(mode: Mode) -> int | None:
    """Return the count of `/count` if it differs from the unified stream's count."""
    return old_tables.count() if mode == Mode.SEPARATE else None


def count_changes() -> list[CountChange]:
    """Return every switch, baseline, import, correction and undo, newest first, at most TIMELINE."""
    baselines = metrics.baseline_history(limit=TIMELINE + 1)
    earlier: list[CounterBaseline | None] = [*baselines, None][1:]
    # An import sets its baseline and mode first and ends later, so at equal times it is listed first.
    changes = [
        *(_import(run) for run in ImportRun.objects.all()[:TIMELINE]),
        *(_baseline(row, before) for row, before in zip(baselines, earlier, strict=True)),
        *(change for correction in corrections.history(TIMELINE) for change in _correction(correction)),
        *(_switch(cutover) for cutover in Cutover.objects.all()[:TIMELINE]),
    ]
    return sorted(changes, key=lambda change: change.at, reverse=True)[:TIMELINE]


def _import(run: ImportRun) -> CountChange:
    return CountChange(run.finished_at, "import", run.file_name, "import_d1", "", None, run.successes_added)


def _baseline(row: CounterBaseline, before: CounterBaseline | None) -> CountChange:
    was = before.value if before else 0
    return CountChange(row.set_at, "baseline", "", row.set_by_name, row.note, was, row.value)


def _correction(row: Correction) -> Iterable[CountChange]:
    if row.undone_at:
        yield CountChange(row.undone_at, "undo", str(row.pk), row.undone_by_name, row.undo_reason, None, row.restored)
    yield CountChange(row.made_at, "correction", str(row.pk), row.made_by_name, row.reason, None, row.voided)


def _switch(cutover: Cutover) -> CountChange:
    why, who = cutover.reason, cutover.switched_by_name
    return CountChange(cutover.switched_at, "switch", cutover.mode, who, why, cutover.count_before, cutover.count_after)


def largest_first(counts: dict[str, int]) -> list[tuple[str, int]]:
    """Return the counts in descending order, because PostgreSQL does not keep the order of JSON keys."""
    return sorted(counts.items(), key=lambda row: (-row[1], row[0]))


class ImportSummary(NamedTuple):
    """One import and the sums of its report, in the order of processing."""

    run: ImportRun
    sums: list[tuple[str, int]]
    reasons: list[tuple[str, list[tuple[str, int, str]]]]


def imports() -> list[ImportSummary]:
    """Return the newest imports, newest first."""
    return [_import_summary(run) for run in ImportRun.objects.all()[:HISTORY]]


def _import_summary(run: ImportRun) -> ImportSummary:
    report = run.report
    sums = [
        (title, sum(report[name].values()))
        for title, name in (
            ("Read", "read"),
            ("Added", "added"),
            ("Already stored", "already_there"),
            ("Twins", "twins"),
            ("Repaired", "repaired"),
            ("Refused", "refused"),
        )
    ]
    reasons = [
        (
            title,
            [
                (reason, count, ", ".join(report["examples"].get(reason, [])[:EXAMPLES]))
                for reason, count in largest_first(report[name])
            ],
        )
        for title, name in (("Refused", "refused"), ("Repaired", "repaired"), ("Not kept", "not_kept"))
    ]
    return ImportSummary(run, sums, [(title, rows) for title, rows in reasons if rows])


# --- the old log -----------------------------------------------------------------------------------------------------


class LogRow(NamedTuple):
    """One row of the old log, its current event type, and the page of its event if that is stored."""

    row: ClientLog
    event_type: str
    event_url: str | None


def old_log() -> list[LogRow]:
    """Return the newest rows, newest first."""
    rows = list(ClientLog.objects.only(*_LISTED).order_by("-received_at_ms", "-id")[:OLD_LOG_ROWS])
    # An event with a session has another id, and retention may have deleted an event.
    stored = _stored(row.event_id for row in rows)
    return [
        LogRow(
            row,
            translate.current_type(row.event_type)[0],
            event_url(row.event_id) if row.event_id in stored else None,
        )
        for row in rows
    ]


def event_url(event_id: str) -> str:
    return reverse("admin:events_event_change", args=[quote(event_id)])
