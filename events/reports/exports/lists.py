"""The lists that can be exported: the filters, the columns and the rows of each.

Each list has the form of its page, so a filter means the same in both. The rows are read in batches, each with a query
of its own, so no transaction stays open. Rows that arrive during an export are newer than those that it reads.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import chain, islice
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from events import audit, clock, keyset
from events.counting import facets
from events.counting.buckets import DAY_MS, FACET_PREFIX
from events.counting.releases import NO_RELEASES
from events.models import AuditEntry, EventType, Release
from events.querysets import SUCCESS
from events.reports import failures, metrics
from events.reports.exports.columns import Column, Kind, Row, numbers, texts
from events.reports.forms import AuditFilter, DayFilter, EventFilter, GroupFilter, ListFilter
from events.reports.groups import ranking
from events.reports.releases import figures
from events.sourcemaps import resolve

ROWS_A_CHUNK = 1_000
_DAYS_A_CHUNK = 7


@dataclass(frozen=True)
class Read:
    """One read of a list: the valid form, the time to which relative filters refer, and the account that reads.

    `viewer_id` is None for a command and a token. `limit` asks for the first rows only.
    """

    form: Any
    now: datetime
    viewer_id: int | None = None
    limit: int | None = None

    @property
    def now_ms(self) -> int:
        return clock.epoch_ms(self.now)


class ExportList(ABC):
    """A list. `permissions` are those that its page requires. The page is the admin's URL name `page`."""

    key: str
    title: str
    file_name: str
    page: str
    permissions: tuple[str, ...] = ("events.view_event",)
    unfiltered = "everything"  # without filters, in the words of the audit log

    @abstractmethod
    def form(self, parameters: Mapping[str, Any]) -> ListFilter:
        """Return the form that validates the filters of the list's page."""

    @abstractmethod
    def columns(self) -> tuple[Column, ...]:
        """Return every column, in the default order."""

    @abstractmethod
    def rows(self, read: Read, columns: Sequence[str]) -> Iterator[list[Row]]:
        """Yield all rows in chunks, each with the values of these columns."""

    def problem(self, read: Read) -> str:
        """Return why this reader cannot export the list with these filters, "" if they can."""
        return ""

    def range_name(self, read: Read) -> str:
        """Return the range of the export as a part of a file name: letters, digits and hyphens."""
        return "all"


# The first cell of the header contains the version of the format. `void` is the number of the correction that voided a
# success, else empty. `expected` is 1 for a failure of an expected group, else 0. `top_frame` is the innermost frame of
# the page's own code, with its original position if a source map has it.
EVENT_COLUMNS = (
    Column("id", key_heading="telemetry_export_v3_id"),
    Column("received_at", Kind.MOMENT),
    Column("occurred_at", Kind.TIME),
    *texts("event_type", "session_id", "model", "app_version"),
    *numbers("write_mode", "connected"),
    *texts("message", "error_name", "stack"),
    Column("log_lines_json", Kind.JSON),
    Column("metadata_json", Kind.JSON),
    *numbers("void", "expected"),
    Column("top_frame"),
)
FACET = "facet_"
_SOURCES = {
    "received_at": ("received_at_ms",),
    "void": ("correction",),
    "top_frame": ("app_version", "error_name", "stack"),
}


class Events(ExportList):
    key, title, file_name, page = "events", "Events", "events", "events_event_changelist"
    failures_only = False

    def form(self, parameters: Mapping[str, Any]) -> EventFilter:
        return EventFilter(parameters, failures_only=self.failures_only)

    def columns(self) -> tuple[Column, ...]:
        return (*EVENT_COLUMNS, *texts(*(f"{FACET}{name}" for name in settings.FACETS)))

    def rows(self, read: Read, columns: Sequence[str]) -> Iterator[list[Row]]:
        sources = sources_of(columns)
        rows = failures.rows(read.form.criteria(read.now_ms), sources, size=ROWS_A_CHUNK, limit=read.limit)
        return with_columns(rows, sources, columns, now_ms=read.now_ms)

    def range_name(self, read: Read) -> str:
        cleaned = read.form.cleaned_data
        if cleaned["window"]:
            return f"last-{cleaned['window']}"
        return _span_name(cleaned["since"], cleaned["until"])


def sources_of(columns: Collection[str]) -> tuple[str, ...]:
    """Return the columns of the table from which these columns of an export are computed."""
    sources: dict[str, None] = {}
    for name in columns:
        sources |= dict.fromkeys(("metadata_json",) if name.startswith(FACET) else _SOURCES.get(name, (name,)))
    return tuple(sources)


def with_columns(
    chunks: Iterator[list[Row]], sources: Sequence[str], columns: Sequence[str], *, now_ms: int
) -> Iterator[list[Row]]:
    """Yield the values of `columns` for rows of `sources`. The column of a facet that an event lacks is empty.

    Top frames use stored results and small source maps. Frames that wait for a large map are raw.
    """
    for chunk in chunks:
        values: dict[str, Sequence[Any]] = dict(zip(sources, zip(*chunk, strict=True), strict=True))
        values["received_at"] = values.get("received_at_ms", ())
        values["void"] = values.get("correction", ())
        if "top_frame" in columns:
            thrown = list(zip(values["app_version"], values["stack"], values["error_name"], strict=True))
            values["top_frame"] = _top_frames(thrown, now_ms=now_ms)
        wanted = [name for name in columns if name.startswith(FACET)]
        if wanted:
            texts = values["metadata_json"]
            found = {text: dict(facets.values_in(text)) for text in set(texts)}
            for name in wanted:
                key = FACET_PREFIX + name.removeprefix(FACET)
                values[name] = [found[text].get(key) for text in texts]
        yield list(zip(*(values[name] for name in columns), strict=True))


def _top_frames(thrown: Sequence[tuple[str, str | None, str | None]], *, now_ms: int) -> list[str | None]:
    """Return the top frame of each (version, stack, error name). Equal ones are resolved once."""
    distinct = list(dict.fromkeys(thrown))
    tops = zip(distinct, resolve.tops_in_app(distinct, now_ms=now_ms), strict=True)
    texts = {each: str(top) if top else None for each, top in tops}
    return [texts[each] for each in thrown]


class Failures(Events):
    key, title, file_name, page = "failures", "Recent failures", "failures", "events_recentfailure_changelist"
    permissions = ("events.view_recentfailure",)
    failures_only = True


class Groups(ExportList):
    key, title, file_name, page = "groups", "Failure groups", "failure-groups", "events_failuregroup_changelist"
    unfiltered = "open groups"
    _COLUMNS = (
        Column("fingerprint", key_heading="telemetry_groups_v2_fingerprint"),
        Column("first_seen", Kind.MOMENT),
        Column("last_seen", Kind.MOMENT),
        *texts("event_type", "error_name", "title", "frame"),
        *numbers("events", "last_24_hours", "models", "versions"),
        *texts("status", "fixed_in"),
        *numbers("still_failing"),
        *texts("assigned_to", "note", "issue_url"),
    )

    def form(self, parameters: Mapping[str, Any]) -> GroupFilter:
        return GroupFilter(parameters)

    def columns(self) -> tuple[Column, ...]:
        return self._COLUMNS

    def problem(self, read: Read) -> str:
        is_own = read.form.cleaned_data["status"] == "mine" and read.viewer_id is None
        return (
            "The status “mine” means the groups of the person who exports, and no person is signed in."
            if is_own
            else ""
        )

    def rows(self, read: Read, columns: Sequence[str]) -> Iterator[list[Row]]:
        order = read.form.ranking(read.now_ms, read.viewer_id)
        places = [ranking.EXPORTED.index(name) for name in columns]
        for chunk in ranking.chunks(order, size=ROWS_A_CHUNK, limit=read.limit):
            yield [tuple([row[place] for place in places]) for row in chunk]

    def range_name(self, read: Read) -> str:
        new = read.form.cleaned_data["new"]
        return f"new-in-last-{new}" if new else str(read.form.cleaned_data["status"] or "open").replace("_", "-")


class Releases(ExportList):
    key, title, file_name, page = "releases", "Releases", "releases", "events_release_changelist"
    _COLUMNS = (
        Column("version", key_heading="telemetry_releases_v1_version"),
        Column("first_seen", Kind.MOMENT),
        Column("last_seen", Kind.MOMENT),
        *numbers(
            "flashes", "successes", "failures", "failure_rate", "interval_low", "interval_high", "other_failures",
            "expected",
        ),
        *texts("compared_with", "verdict"),
        *numbers("difference", "difference_low", "difference_high"),
    )  # fmt: skip

    def form(self, parameters: Mapping[str, Any]) -> ListFilter:
        return ListFilter(parameters)

    def columns(self) -> tuple[Column, ...]:
        return self._COLUMNS

    def rows(self, read: Read, columns: Sequence[str]) -> Iterator[list[Row]]:
        compared = figures.newest(read.limit or Release.objects.count() or 1, read.now)
        for start in range(0, len(compared), ROWS_A_CHUNK):
            yield [_picked(_of_release(row), columns) for row in compared[start : start + ROWS_A_CHUNK]]


def _of_release(row: figures.Comparison) -> dict[str, Any]:
    release, other, verdict = row
    has_flashes = release.flashes.total > 0
    low, high = release.flashes.interval if has_flashes else (None, None)
    difference_low, difference_high = verdict.interval or (None, None)
    return {
        "version": release.version,
        "first_seen": release.first_seen_ms,
        "last_seen": release.last_seen_ms,
        "flashes": release.flashes.total,
        "successes": release.flashes.successes,
        "failures": release.flashes.failures,
        "failure_rate": _rate(release.flashes.failure_rate),
        "interval_low": _rate(low),
        "interval_high": _rate(high),
        "other_failures": release.other_failures,
        "expected": release.expected,
        "compared_with": None if other is None else other.version,
        "verdict": verdict.name.value,
        "difference": _rate(verdict.difference),
        "difference_low": _rate(difference_low),
        "difference_high": _rate(difference_high),
    }


class Days(ExportList):
    """One row for each UTC day, or for each day and model: figures from the rollups, oldest first.

    A flash is a success or a `flash_error` that is not expected. `failures` are all unexpected failures.
    """

    key, title, file_name, page = "days", "Daily figures", "daily-figures", "index"
    unfiltered = "the last 30 days"
    _COLUMNS = (
        Column("day", Kind.DAY, key_heading="telemetry_days_v1_day"),
        Column("model"),
        *numbers(
            "events", *EventType.values, "flashes", "successes", "failures", "expected", "failure_rate",
            "flash_failure_rate",
        ),
    )  # fmt: skip

    def form(self, parameters: Mapping[str, Any]) -> DayFilter:
        return DayFilter(parameters)

    def columns(self) -> tuple[Column, ...]:
        return self._COLUMNS

    def rows(self, read: Read, columns: Sequence[str]) -> Iterator[list[Row]]:
        chunks = self._rows(read, columns)
        return chunks if read.limit is None else iter([list(islice(chain.from_iterable(chunks), read.limit))])

    def _rows(self, read: Read, columns: Sequence[str]) -> Iterator[list[Row]]:
        first, last = days_of(read)
        step = timedelta(days=_DAYS_A_CHUNK)
        while first <= last:
            chunk = [_picked(row, columns) for row in _of_days(read.form, first, min(last, first + step - _DAY))]
            if chunk:
                yield chunk
            first += step

    def range_name(self, read: Read) -> str:
        cleaned = read.form.cleaned_data
        days = cleaned["days"] or "30"
        if cleaned["first"]:
            return _span_name(cleaned["first"], cleaned["last"])
        named = {"24h": "last-24h", "1": "today", "all": "all"}
        return named.get(days) or (f"last-{days}d" if days.isdigit() else days.replace("_", "-"))


_DAY = timedelta(days=1)


def days_of(read: Read) -> tuple[date, date]:
    """Return the first and the last day of the daily figures."""
    first_hour_ms = metrics.first_hour_ms()
    today = read.now.date()
    span: tuple[date, date] = read.form.range(today, today if first_hour_ms is None else clock.day_of(first_hour_ms))
    return span


def _of_days(form: DayFilter, first: date, last: date) -> Iterator[dict[str, Any]]:
    """Yield the figures of each day from `first` to `last`, and of each model if the form says so."""
    start_ms, end_ms = metrics.day_start_ms(first), metrics.day_start_ms(last + _DAY)
    counts = metrics.by_day_and_name(start_ms, end_ms)
    if form.cleaned_data["released"]:
        counts = [count for count in counts if count.app_version not in NO_RELEASES]
    if not form.cleaned_data["by"]:
        for bucket in metrics.series(metrics.figures_of(counts).steps, start_ms, end_ms, DAY_MS):
            yield _figures(bucket, None)
        return
    by_model: dict[tuple[int, str], list[metrics.Count]] = {}
    for count in counts:
        by_model.setdefault((count.start_ms, count.model), []).append(count)
    for day_ms, model in sorted(by_model):
        steps = metrics.figures_of(by_model[day_ms, model]).steps
        (bucket,) = metrics.series(steps, day_ms, day_ms + DAY_MS, DAY_MS)
        yield _figures(bucket, model)


def _figures(bucket: metrics.TimeBucket, model: str | None) -> dict[str, Any]:
    unexpected = bucket.unexpected
    return {
        "day": clock.day_of(bucket.start_ms),
        "model": model,
        "events": sum(bucket.counts.values()),
        **bucket.counts,
        "flashes": unexpected[SUCCESS] + unexpected[EventType.FLASH_ERROR],
        "successes": bucket.successes,
        "failures": bucket.failures,
        "expected": sum(bucket.expected.values()),
        "failure_rate": _rate(metrics.failure_rate(bucket.successes, bucket.failures)),
        "flash_failure_rate": _rate(metrics.flash_failure_rate(unexpected)),
    }


class AuditLog(ExportList):
    key, title, file_name, page = "audit", "Audit log", "audit-log", "events_auditentry_changelist"
    permissions = ("events.view_auditentry",)
    _COLUMNS = (
        Column("id", Kind.NUMBER, key_heading="telemetry_audit_v1_id"),
        Column("at", Kind.MOMENT),
        *texts("who", "kind", "what", "why", "about", "subject"),
    )

    def form(self, parameters: Mapping[str, Any]) -> AuditFilter:
        return AuditFilter(parameters)

    def columns(self) -> tuple[Column, ...]:
        return self._COLUMNS

    def rows(self, read: Read, columns: Sequence[str]) -> Iterator[list[Row]]:
        rows = self.entries(read).values_list("at_ms", "id", *("at_ms" if name == "at" else name for name in columns))
        batches = keyset.in_batches(rows, min(ROWS_A_CHUNK, read.limit or ROWS_A_CHUNK))
        for batch in islice(batches, None if read.limit is None else 1):
            yield [row[2:] for row in batch]

    def entries(self, read: Read) -> QuerySet[AuditEntry]:
        return audit.entries(kind=read.form.cleaned_data["kind"], who=read.form.cleaned_data["who"])


def _picked(row: Mapping[str, Any], columns: Sequence[str]) -> Row:
    return tuple([row[name] for name in columns])


def _rate(share: float | None) -> float | None:
    return None if share is None else round(share, 4)


def _span_name(first: date | str | None, last: date | None) -> str:
    """Return `2026-01-01-to-2026-02-01`, `from-2026-01-01`, `until-2026-02-01`, `last-7d` or `all`."""
    if isinstance(first, str):
        return f"last-{first}"
    if first and last:
        return f"{first:%Y-%m-%d}-to-{last:%Y-%m-%d}"
    return f"from-{first:%Y-%m-%d}" if first else f"until-{last:%Y-%m-%d}" if last else "all"


LISTS: dict[str, ExportList] = {
    export_list.key: export_list for export_list in (Failures(), Events(), Groups(), Releases(), Days(), AuditLog())
}
