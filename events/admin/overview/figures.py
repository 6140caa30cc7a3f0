"""The context of the admin index. All figures come from rollups, and each links to the list that it counts."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection
from django.urls import reverse
from django.utils.http import urlencode

from events.admin import charts
from events.admin.overview.ranges import CUSTOM, RANGES, RangeForm, Span, span_of
from events.counting import site_days
from events.counting.buckets import DAY_MS, FACET_PREFIX, NOT_TOLD, OTHER, UNKNOWN
from events.counting.releases import NO_RELEASES
from events.ingest import refused_hosts
from events.ingest.refusals import RefusalReason
from events.maintenance import disk
from events.maintenance.jobs import leases, problems
from events.maintenance.jobs.registry import registered
from events.maintenance.retention_policy import rules
from events.maintenance.retention_policy.rules import Origin
from events.models import Backup, Facet
from events.process_memory import Recent
from events.querysets import SUCCESS
from events.reports import metrics
from events.reports.forms import facet_label
from events.reports.groups import breakdowns
from events.reports.groups.attention import Attention, Entry, Reason, Rest, attention
from events.reports.groups.breakdowns import Side, Spread
from events.reports.metrics import Cell, DayFigures, Slice, TimeBucket
from events.reports.releases import figures as release_figures

LABELS_SHOWN = 7  # on the axis of time
ENTRIES_SHOWN = 8
MOST_ENTRIES = 200
FINDINGS_SHOWN = 3
NAMES_SHOWN = 2
# A facet that says where a flash stopped, and not for whom. Each of its values has only failures, or only successes.
STEP = FACET_PREFIX + "step"
WORST = 6
HOST_DAYS = 7
RELEASES_SHOWN = 5
# Figures that no event of the last seconds changes are read again after this time.
READ_SECONDS = 10
_recent: Recent[Any] = Recent(READ_SECONDS)
# The part of the chart, beside the event types, for the events of expected groups.
EXPECTED = "expected"


class Change(NamedTuple):
    """The change of a figure compared with the span before."""

    is_more: bool
    percent: int


class Worst(NamedTuple):
    """A failing model, version or facet value: its figures, the interval of its rate, and the URL of its failures."""

    row: Slice
    interval: charts.Interval
    url: str
    remark: str  # why the name does not show who fails, else ""


class WhoFails(NamedTuple):
    """The panel of one property of failing events: its headings, the parameter of its filter, and its rows."""

    heading: str
    column: str
    parameter: str
    rows: list[Worst]
    since: str = ""  # the range, if it is not that of the page


class Listed(NamedTuple):
    """A line of "Needs attention": a group, for whom it fails, and whether it is new since the reader's last visit."""

    entry: Entry
    findings: list[breakdowns.Finding]
    names: str
    is_new_to_reader: bool


class Scope(NamedTuple):
    """What the figures of a page count. `released` excludes versions that are no releases."""

    span: Span
    released: bool
    has_failure_links: bool

    def url(self, page: str, **filters: str) -> str:
        """Return the URL of a list of the events of the range."""
        return _url_between(page, self.released, self.span.start_ms, self.span.end_ms, **filters)

    def failures_url(self, **filters: str) -> str:
        """Return the URL of the recent failures of the range, "" for a user who may not see them."""
        return self.url("recentfailure", **filters) if self.has_failure_links else ""


def overview(
    form: RangeForm,
    key: str,
    now: datetime,
    *,
    released: bool,
    has_failure_links: bool,
    last_visit_ms: int | None = None,
    lists_all: bool = False,
) -> dict[str, Any]:
    """Return the context for the range of a form, else the range `key` of RANGES, else the last 24 hours.

    `last_visit_ms` is the end of the reader's last visit. `lists_all` lists every group that needs attention.
    """
    span = span_of(form, key, now)
    scope = Scope(span, released, has_failure_links)
    # Facets and groups are counted by day, so the days of an hourly range are read whole.
    of_days = metrics.by_day(span.first_day_ms, span.last_day_ms)
    counted = metrics.figures_of(metrics.by_hour(span.start_ms, span.end_ms)) if span.is_hourly else of_days
    steps = [step for step in counted.steps if step.app_version not in NO_RELEASES] if released else counted.steps
    series = metrics.series(steps, span.axis_start_ms, span.end_ms, span.step_ms)
    current = _sum(series)
    # Sparklines exclude the incomplete and future buckets, which would look like a drop.
    complete = [bucket for bucket in series if bucket.start_ms + span.step_ms <= span.now_ms]
    before = metrics.sums(*span.before_ms, released=released) if span.compared_with else None
    lifetime = metrics.lifetime_figures(span.now_ms)
    needing = attention(
        span.start_ms,
        span.end_ms,
        span.now_ms,
        limit=MOST_ENTRIES if lists_all else ENTRIES_SHOWN,
        is_compared=bool(span.compared_with),
        newer_than_ms=last_visit_ms,
    )
    site: dict[str, Any] = _recent.get("site", now, lambda: _site(now))
    return (
        {
            "now": now,
            "range_form": form,
            "days": span.key,
            "is_custom": span.key == CUSTOM,
            "released": released,
            "ranges": RANGES,
            "range_name": span.name,
            "within": span.within,
            "before_name": span.compared_with,
            "in_before": span.in_before,
            "count": lifetime.flashes,
            "last_received_at_ms": lifetime.last_received_at_ms,
            "successes": current.successes,
            "successes_url": scope.url("event", type=SUCCESS),
            "successes_change": before and _change(current.successes, before.successes),
            "successes_line": charts.sparkline([bucket.successes for bucket in complete]),
            "failures": current.failures,
            "failures_url": scope.failures_url(),
            "expected": sum(current.expected.values()),
            "expected_url": scope.url("event", expected="1"),
            "failures_change": before and _change(current.failures, before.failures),
            "failures_line": charts.sparkline([bucket.failures for bucket in complete]),
            "rate": metrics.failure_rate(current.successes, current.failures),
            "flash_rate": metrics.flash_failure_rate(current.unexpected),
            "connect_rate": metrics.connect_failure_rate(current.unexpected),
            "rate_interval": metrics.failure_rate_interval(current.successes, current.failures),
            "rate_before": before and metrics.failure_rate(before.successes, before.failures),
            "rate_line": charts.sparkline(
                [metrics.failure_rate(bucket.successes, bucket.failures) for bucket in complete]
            ),
            "events_url": scope.url("event", **_unexpected_only(current)),
            "chart": _chart(scope, series),
            "attention": needing,
            "listed": list(_listed(span, needing, _flashes(of_days), last_visit_ms)),
            "rest": _rest_in_words(needing.rest),
            "lists_all": lists_all,
            "last_visit_ms": last_visit_ms,
            "releases": _recent.get("releases", now, lambda: _newest_releases(now)),
            "worst": list(_who_fails(scope, counted.cells, of_days)),
        }
        | _ingest(scope, sum(cell.events for cell in counted.cells))
        | site
    )


def _newest_releases(now: datetime) -> list[tuple[release_figures.Comparison, int]]:
    """Return the newest releases, each with the time at which it was first seen, which is not after `now`."""
    found = release_figures.newest(RELEASES_SHOWN, now)
    return [(comparison, comparison.release.first_seen_ms) for comparison in found]


def _flashes(of_days: DayFigures) -> Side:
    """Return the flashes of whole days, with which groups are compared. STEP says nothing about whom they hit."""
    side = breakdowns.flashes_of(of_days)
    for facet in (STEP, Facet.MODE.value, Facet.CONNECTED.value):
        side.names.pop(facet, None)
    return side


def _listed(span: Span, needing: Attention, flashes: Side, last_visit_ms: int | None) -> Iterator[Listed]:
    types = {entry.fingerprint: entry.event_type for entry in needing.entries}
    spreads = breakdowns.spreads(types, span.first_day_ms, span.last_day_ms, flashes) if types else {}
    for entry in needing.entries:
        spread = spreads[entry.fingerprint]
        findings = spread.findings[:FINDINGS_SHOWN]
        yield Listed(entry, findings, "" if findings else _names(spread), entry.is_newer_than(last_visit_ms))


def _rest_in_words(rest: list[Rest]) -> str:
    """Return the groups that are not listed as `2 more that are new (one event each), 1 that rises (9 events)`."""
    parts: list[str] = []
    for reason, groups, hits in rest:
        one, several = _VERBS[reason]
        events = f"{hits:,} event{'' if hits == 1 else 's'}"
        size = "one event each" if hits == groups > 1 else events
        parts.append(f"{groups:,}{'' if parts else ' more'} that {one if groups == 1 else several} ({size})")
    return ", ".join(parts)


_VERBS = {
    Reason.REGRESSION: ("came back", "came back"),
    Reason.STILL_FAILING: ("still fails", "still fail"),
    Reason.NEW: ("is new", "are new"),
    Reason.RISING: ("rises", "rise"),
    Reason.WAITING: ("waits for a decision", "wait for a decision"),
}


def _names(spread: Spread) -> str:
    """Return the models and the versions of a group without findings: the names if they are few, else how many.

    `unknown` and the like are named only if there is nothing else.
    """
    parts = []
    for all_names, word in ((spread.models, "models"), (spread.versions, "versions")):
        names = [name for name in all_names if name not in breakdowns.UNNAMED] or all_names
        if names:
            parts.append(", ".join(names) if len(names) <= NAMES_SHOWN else f"{len(names)} {word}")
    return " · ".join(parts)


def _unexpected_only(total: TimeBucket) -> dict[str, str]:
    """Return the filter that leaves out expected events, if any are counted."""
    return {"expected": "0"} if any(total.expected.values()) else {}


def _chart(scope: Scope, series: list[TimeBucket]) -> dict[str, Any]:
    span, total = scope.span, _sum(series)
    shown = [_shown_counts(bucket) for bucket in series]
    names = list(_shown_counts(total))
    of_type = {name: scope.url("event", type=name, **_unexpected_only(total)) for name in total.counts}
    of_type[SUCCESS] = scope.url("event", type=SUCCESS)
    urls = of_type | {EXPECTED: scope.url("event", expected="1")}
    bar_urls = [_bar_url(scope, bucket) for bucket in series]
    columns = [_column(span, bucket, counts, url) for bucket, counts, url in zip(series, shown, bar_urls, strict=True)]
    first_seen = charts.first_seen_between(span.start_ms, span.end_ms, _moment(span.now_ms))
    of_bar: dict[int, list[str]] = {}
    for release in first_seen:
        of_bar.setdefault((release.first_seen_ms - span.axis_start_ms) // span.step_ms, []).append(release.app_version)
    rows = [
        (column.name, [counts.get(name, 0) for name in names], url, of_bar.get(at, []))
        for at, (column, counts, url) in enumerate(zip(columns, shown, bar_urls, strict=True))
    ]
    return {
        "unit": span.unit,
        "below": "failures and expected events" if EXPECTED in names else "failures",
        "bars": charts.stacked_bars(columns, label_every=_label_every(span, len(series))),
        "current": (span.now_ms - span.axis_start_ms) // span.step_ms,
        "totals": [(name, number, urls[name]) for name, number in _shown_counts(total).items()],
        "rows": rows[::-1],
        "releases": charts.ticks(first_seen, span.axis_start_ms, span.end_ms),
    }


def _label_every(span: Span, bars: int) -> int:
    """Return how many bars there are for each label. `_column` labels every fourth hour."""
    if span.is_hourly:
        return 1
    return next((every for every in (1, 2, 3, 7, 14) if bars <= LABELS_SHOWN * every), 14)


def _shown_counts(bucket: TimeBucket) -> dict[str, int]:
    """Return the counts by type without the expected events, and the number of these, if any, under EXPECTED."""
    expected = sum(bucket.expected.values())
    return bucket.unexpected | ({EXPECTED: expected} if expected else {})


def _ingest(scope: Scope, accepted: int) -> dict[str, Any]:
    """Return the ingest figures. They include all versions, because refusals have no version.

    Refusals are counted by UTC day.
    """
    first, end = _moment(scope.span.first_day_ms).date(), _moment(scope.span.last_day_ms).date()
    read = _recent.get(("tallies", first, end), _moment(scope.span.now_ms), lambda: metrics.tallies(first, end))
    tallies = dict(read)
    duplicates = tallies.pop(RefusalReason.DUPLICATE.value, 0)
    left_out = tallies.pop(RefusalReason.LEFT_OUT.value, 0)
    return {
        "accepted": accepted,
        "accepted_url": scope._replace(released=False).url("event"),
        "duplicates": duplicates,
        "left_out": left_out,
        "refused": sum(tallies.values()),
        "refusals": {reason.replace("_", " "): number for reason, number in tallies.items()},
    }


def _site(now: datetime) -> dict[str, Any]:
    """Return the figures of storage, jobs and backups, and the refused hosts. Unknown figures are None.

    The disk counts as full at the limit where ingest stops. The disk of PostgreSQL is unknown to the site.
    """
    today = now.date()
    size = site_days.database_bytes()
    growth = site_days.growth_per_day(today, size)
    free = disk.free_bytes()
    has_own_disk = connection.vendor == "sqlite"
    usable = free - (settings.MIN_FREE_BYTES or 0) // disk.FULL_PART
    jobs = registered()
    states = leases.states(jobs)
    ended = [state.ended_ms for state in states.values() if state.ended_ms is not None]
    return {
        "refused_hosts": refused_hosts.most_refused(today - timedelta(days=HOST_DAYS - 1), today + timedelta(days=1)),
        "database_bytes": size,
        "growth_per_day": growth,
        "free_bytes": free,
        "days_until_full": max(int(usable // growth), 0) if has_own_disk and growth and growth > 0 else None,
        "room": disk.room(),
        "retention": (rule := rules.in_force()),
        "keeps_all_by_age": rule.origin is Origin.OLDER_SITE,
        "jobs": len(jobs),
        "jobs_failed": [
            job.title for name, job in jobs.items() if name in states and problems.has_failed(states[name], now)
        ],
        "jobs_overdue": [jobs[name].title for name in problems.overdue(jobs, states, now)],
        "job_ended_ms": max(ended, default=None),
        "backup": Backup.objects.filter(problem="").order_by("-made_ms").first(),
    }


def _who_fails(scope: Scope, cells: list[Cell], of_days: DayFigures) -> Iterator[WhoFails]:
    """Yield the panels. `of_days` are the figures of whole days, by which facets are counted."""
    counted = [cell for cell in cells if cell.is_released or not scope.released]
    yield WhoFails("Models that fail", "Model", "model", _worst(scope, metrics.sliced(counted, "model"), "model"))
    yield WhoFails(
        "Versions that fail", "Version", "version", _worst(scope, metrics.sliced(counted, "app_version"), "version")
    )
    span = scope.span
    whole_days = Scope(
        replace(span, start_ms=span.first_day_ms, end_ms=span.last_day_ms), False, scope.has_failure_links
    )
    for facet, rows in metrics.facet_slices(of_days.facets, of_days.cells).items():
        label = facet_label(facet.removeprefix(FACET_PREFIX))
        # A facet has no versions, so its figures include those that are no releases.
        heading = f"Failures by {label if label.isupper() else label.lower()}"
        since = "since yesterday, 00:00 UTC" if span.start_ms != span.first_day_ms else ""
        yield WhoFails(heading, label, facet, _worst(whole_days, rows, facet), since)


def _worst(scope: Scope, rows: list[Slice], parameter: str) -> list[Worst]:
    """Return the worst names, ranked by the lower bound of the failure rate, so that chance ranks last.

    Names with a remark are at the end.
    """
    failing = sorted((row for row in rows if row.failures), key=lambda row: (-row.interval[0], row.name))
    remarks = _REMARKS | ({"dev": "builds that are no release"} if parameter == "version" else {})
    shown = [row for row in failing if row.name not in remarks][:WORST] + [
        row for row in failing if row.name in remarks
    ]
    boxes = charts.intervals([(row.failure_rate or 0, row.interval) for row in shown])
    return [
        Worst(
            row,
            box,
            "" if row.name in (OTHER, NOT_TOLD) else scope.failures_url(**{parameter: row.name}),
            remarks.get(row.name, ""),
        )
        for row, box in zip(shown, boxes, strict=True)
    ]


# The names that do not show who fails, and why.
_REMARKS = {
    UNKNOWN: "the page did not know it",
    OTHER: "names beyond the limit of a day",
    NOT_TOLD: "the page did not send it",
}


def _sum(series: list[TimeBucket]) -> TimeBucket:
    counts, expected = (
        {name: sum(part[name] for part in parts) for name in parts[0]}
        for parts in ([bucket.counts for bucket in series], [bucket.expected for bucket in series])
    )
    return TimeBucket(series[0].start_ms, counts, expected)


def _change(current: int, before: int) -> Change | None:
    return Change(current > before, round(100 * abs(current - before) / before)) if before else None


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _column(span: Span, bucket: TimeBucket, counts: dict[str, int], url: str) -> charts.Column:
    at = _moment(bucket.start_ms)
    parts = [f"{number:,} {name}" for name, number in counts.items() if number]
    if span.is_hourly:
        name, label = f"{at:%H:%M}", f"{at:%H:%M}" if at.hour % 4 == 0 else ""
        when = f"{name} to {at + timedelta(hours=1):%H:%M} UTC"
    else:
        name, label, when = f"{at:%a %-d %b %Y}", f"{at:%-d %b}", f"{at:%A, %-d %B %Y}"
    if span.step_ms > DAY_MS:
        when = f"{span.step_ms // DAY_MS} days from {when}"
    return charts.Column(label, f"{when}: {', '.join(parts) or 'no event'}", counts, url, name)


def _bar_url(scope: Scope, bucket: TimeBucket) -> str:
    start_ms = max(bucket.start_ms, scope.span.start_ms)
    return _url_between("event", scope.released, start_ms, bucket.start_ms + scope.span.step_ms)


def _url_between(page: str, released: bool, start_ms: int, end_ms: int, **filters: str) -> str:
    since, until = (
        f"{_moment(at_ms):{'%Y-%m-%dT%H:%M' if at_ms % DAY_MS else '%Y-%m-%d'}}" for at_ms in (start_ms, end_ms)
    )
    query = {"since": since, "until": until} | filters | ({"released": "1"} if released else {})
    return f"{_list_path(page)}?{urlencode(query)}"


@cache  # the overview has hundreds of links to two lists
def _list_path(page: str) -> str:
    return reverse(f"admin:events_{page}_changelist")
