"""What the pages about the old system show: the modes in words, parity, what the count is made of, the old log."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.admin.utils import quote
from django.db.models import Sum
from django.http import HttpRequest
from django.urls import reverse

from events import metrics
from events.models import CounterBaseline, Event, EventType
from legacy import modes, old_tables, translate
from legacy.models import ClientLog, Cutover, ImportRun, Mode, ParityRun
from legacy.parity import Day, Side

HISTORY = 50
EXAMPLES = 2
TIMELINE = 200
OLD_LOG_ROWS = 200
# What the old log's list shows; a row's log lines may be 64 kB.
OLD_LOG_COLUMNS = (
    "id", "received_at_ms", "occurred_at", "event_type", "message", "error_name", "stack", "model", "app_version",
    "write_mode", "connected", "log_lines_json", "event_id", "in_stream",
)  # fmt: skip
_LISTED = ("received_at_ms", "event_type", "message", "error_name", "model", "app_version", "event_id", "in_stream")


class InWords(NamedTuple):
    """A mode: what the old routes write and read in it, and what a switch to it means."""

    mode: str
    writes: str
    reads: str
    effect: str


MODES = [
    InWords(
        Mode.SEPARATE.value,
        "the old tables alone",
        "the old tables",
        "the old routes write to the old tables alone, and read from them. What clients send to /event goes to the"
        " unified stream alone.",
    ),
    InWords(
        Mode.ALIAS.value,
        "the unified stream and the old tables",
        "the unified stream",
        "the old routes write to the unified stream and to the old tables, and read from the unified stream.",
    ),
    InWords(
        Mode.GONE.value,
        "nothing",
        "nothing: each answers 410",
        "every old route answers 410 and stores nothing: what clients of the old revisions still send is lost."
        " There is a way back until the old tables are dropped.",
    ),
]


class Window(NamedTuple):
    """How far the parity window is, by the newest comparison; `held` and `asked` are days with traffic in a row."""

    held: int
    asked: int
    holds: bool
    checked_at: datetime

    @property
    def is_over(self) -> bool:
        return self.held >= self.asked


def window() -> Window | None:
    """Return the parity window, None before the first comparison. Looks at the newest run and compares nothing."""
    run = ParityRun.objects.values_list("days_held", "holds", "checked_at").first()
    return Window(run[0], settings.PARITY_DAYS, *run[1:]) if run else None


def overview_panel(request: HttpRequest) -> tuple[str, dict[str, Any]] | None:
    """Return what the admin's index shows of the old system, to those who may look at its pages."""
    sees_mode, sees_parity = (request.user.has_perm(f"legacy.view_{page}") for page in ("cutover", "parityrun"))
    if not (sees_mode or sees_parity):
        return None
    row = modes.in_force()
    return "legacy/_overview.html", {
        "sees_mode": sees_mode,
        "sees_parity": sees_parity and not row.tables_dropped,
        "in_force": row,
        "window": window() if sees_parity else None,
        "window_asked": settings.PARITY_DAYS,
    }


# --- parity ----------------------------------------------------------------------------------------------------------


class ComparedDay(NamedTuple):
    """One day of a comparison with its verdict; `counts` where it is one of the days held in a row."""

    day: date
    successes: Side
    failures: Side
    verdict: str
    mark: str
    counts: bool

    @property
    def sides(self) -> list[tuple[str, Side]]:
        return [("successes", self.successes), ("failures", self.failures)]


def compared_days(run: ParityRun) -> list[ComparedDay]:
    """Return the days of a kept comparison, oldest first."""
    compared = []
    in_a_row = run.days_held
    for day in reversed(_days(run.finding["days"])):
        is_over = day.day < run.checked_at.date().isoformat()
        verdict, mark = _verdict(day, run.finding["tolerance"], is_over=is_over)
        counts = verdict == "held" and in_a_row > 0
        in_a_row -= counts
        compared.append(ComparedDay(date.fromisoformat(day.day), day.successes, day.failures, verdict, mark, counts))
    return compared[::-1]


def total(run: ParityRun) -> list[tuple[str, Side]]:
    (day,) = _days([run.finding["total"]])
    return [("successes", day.successes), ("failures", day.failures)]


class Example(NamedTuple):
    """Something that one side alone has; `name` is what that side calls it."""

    received: str
    event_type: str
    name: str
    message: str
    event_url: str | None


def examples_only_old(run: ParityRun) -> list[Example]:
    return _newest_first(_example(told, None) for told in run.finding["examples_only_old"])


def examples_only_new(run: ParityRun) -> list[Example]:
    found = run.finding["examples_only_new"]
    there = set(Event.objects.filter(pk__in=[told["id"] for told in found]).values_list("pk", flat=True))
    return _newest_first(_example(told, event_url(told["id"]) if told["id"] in there else None) for told in found)


def _newest_first(examples: Iterable[Example]) -> list[Example]:
    return sorted(examples, key=lambda example: example.received, reverse=True)


def _example(told: dict[str, str], url: str | None) -> Example:
    event_type, _ = translate.todays_type(told["type"], EventType.values)
    return Example(told["received"], event_type, told["id"], told["message"], url)


def _days(kept: Iterable[dict[str, Any]]) -> list[Day]:
    return [Day(day["day"], Side(**day["successes"]), Side(**day["failures"])) for day in kept]


def _verdict(day: Day, tolerance: float, *, is_over: bool) -> tuple[str, str]:
    if not day.holds(tolerance):
        return ("drifts", "✕") if is_over else ("drifts so far", "✕")
    if not is_over:
        return "not over", "…"
    return ("held", "✓") if day.has_traffic() else ("quiet", "–")


# --- the count's history -------------------------------------------------------------------------------------------


class Made(NamedTuple):
    """What the count of the unified stream is made of."""

    baseline: int
    imported: int
    live: int

    @property
    def total(self) -> int:
        return self.baseline + self.imported + self.live


class Change(NamedTuple):
    """One line of the count's history; `before` and `after` are baselines or counts, None where none was told."""

    at: datetime
    what: str
    name: str
    who: str
    why: str
    before: int | None
    after: int


def made_of() -> Made:
    """Return the parts of the count as it is now. Source: LifetimeTotal and the imports' reports."""
    count = metrics.flash_count()
    imported = ImportRun.objects.aggregate(sum=Sum("successes_added"))["sum"] or 0
    return Made(count.baseline, imported, count.accepted - imported)


def old_count(mode: Mode) -> int | None:
    """Return what `/count` says where it isn't the unified stream's count."""
    return old_tables.count() if mode == Mode.SEPARATE else None


def count_changes() -> list[Change]:
    """Return every switch, baseline and import, newest first, at most TIMELINE."""
    baselines = metrics.baseline_history(limit=TIMELINE + 1)
    earlier: list[CounterBaseline | None] = [*baselines, None][1:]
    # What one import did, it did at one moment, and ended after that.
    changes = [
        *(_import(run) for run in ImportRun.objects.all()[:TIMELINE]),
        *(_baseline(row, before) for row, before in zip(baselines, earlier, strict=True)),
        *(_switch(cutover) for cutover in Cutover.objects.all()[:TIMELINE]),
    ]
    return sorted(changes, key=lambda change: change.at, reverse=True)[:TIMELINE]


def _import(run: ImportRun) -> Change:
    return Change(run.finished_at, "import", run.file_name, "import_d1", "", None, run.successes_added)


def _baseline(row: CounterBaseline, before: CounterBaseline | None) -> Change:
    was = before.value if before else 0
    return Change(row.set_at, "baseline", "", row.set_by_name, row.note, was, row.value)


def _switch(cutover: Cutover) -> Change:
    why, who = cutover.reason, cutover.switched_by_name
    return Change(cutover.switched_at, "switch", cutover.mode, who, why, cutover.count_before, cutover.count_after)


def most_first(counts: dict[str, int]) -> list[tuple[str, int]]:
    """Return the counts in an order of our own: PostgreSQL keeps none of a kept report's."""
    return sorted(counts.items(), key=lambda row: (-row[1], row[0]))


class Imported(NamedTuple):
    """One import and the sums of its report, in the order in which a row meets them."""

    run: ImportRun
    sums: list[tuple[str, int]]
    reasons: list[tuple[str, list[tuple[str, int, str]]]]


def imports() -> list[Imported]:
    """Return the newest imports, newest first."""
    return [_imported(run) for run in ImportRun.objects.all()[:HISTORY]]


def _imported(run: ImportRun) -> Imported:
    told = run.report
    sums = [
        (title, sum(told[name].values()))
        for title, name in (
            ("Read", "read"),
            ("Added", "added"),
            ("Already there", "already_there"),
            ("Twins", "twins"),
            ("Repaired", "repaired"),
            ("Refused", "refused"),
        )
    ]
    reasons = [
        (
            title,
            [
                (reason, count, ", ".join(told["examples"].get(reason, [])[:EXAMPLES]))
                for reason, count in most_first(told[name])
            ],
        )
        for title, name in (("Refused", "refused"), ("Repaired", "repaired"), ("Not kept", "not_kept"))
    ]
    return Imported(run, sums, [(title, rows) for title, rows in reasons if rows])


# --- the old log -----------------------------------------------------------------------------------------------------


class LogRow(NamedTuple):
    """One row of the old log, its type by today's name, and the page of its event where there is one."""

    row: ClientLog
    event_type: str
    event_url: str | None


def old_log() -> list[LogRow]:
    """Return the newest rows, newest first."""
    rows = list(ClientLog.objects.only(*_LISTED).order_by("-received_at_ms", "-id")[:OLD_LOG_ROWS])
    # An event that is known by its session has another id, and one may have been deleted by retention.
    stored = set(Event.objects.filter(pk__in=[row.event_id for row in rows]).values_list("pk", flat=True))
    return [
        LogRow(
            row,
            translate.todays_type(row.event_type)[0],
            event_url(row.event_id) if row.event_id in stored else None,
        )
        for row in rows
    ]


def event_url(event_id: str) -> str:
    return reverse("admin:events_event_change", args=[quote(event_id)])
