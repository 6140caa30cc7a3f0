"""The context of the admin index. All figures come from rollups, and each links to the list that it counts."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection
from django.urls import reverse
from django.utils.http import urlencode

from events.admin import charts
from events.counting import site_days
from events.counting.buckets import DAY_MS, FACET_PREFIX, HOUR_MS, NOT_TOLD, OTHER, UNKNOWN
from events.counting.releases import NO_RELEASES
from events.ingest import refused_hosts
from events.ingest.refusals import RefusalReason
from events.maintenance import disk
from events.maintenance.retention_policy import rules
from events.maintenance.retention_policy.rules import Origin
from events.process_memory import Recent
from events.querysets import SUCCESS
from events.reports import metrics
from events.reports.forms import facet_label
from events.reports.groups import trends
from events.reports.metrics import Cell, Slice, TimeBucket

RANGES = {1: "Today", 7: "7 days", 30: "30 days", 90: "90 days"}
LABEL_EVERY = {1: 1, 7: 1, 30: 7, 90: 14}
GROUPS_SHOWN = 6
WORST = 6
HOST_DAYS = 7
# Figures of the site that no reader waits for are read again after this time.
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


class Span(NamedTuple):
    """The last `days` UTC days, including today. `released` excludes versions that are no releases."""

    now: datetime
    days: int
    released: bool
    has_failure_links: bool

    @property
    def today(self) -> date:
        return self.now.date()

    @property
    def now_ms(self) -> int:
        return int(self.now.timestamp() * 1000)

    @property
    def start_ms(self) -> int:
        return metrics.last_days(self.days, self.today)[0]

    @property
    def end_ms(self) -> int:
        return metrics.last_days(self.days, self.today)[1]

    @property
    def step(self) -> str:
        return "hour" if self.days == 1 else "day"

    @property
    def step_ms(self) -> int:
        return metrics.BUCKETS[self.step]

    def url(self, page: str, **filters: str) -> str:
        """Return the URL of a list of the events of this span."""
        first, last = self.today - timedelta(days=self.days - 1), self.today + timedelta(days=1)
        return _list_url(page, self.released, since=first.isoformat(), until=last.isoformat(), **filters)

    def failures_url(self, **filters: str) -> str:
        """Return the URL of the recent failures of this span, "" for a user who may not see them."""
        return self.url("recentfailure", **filters) if self.has_failure_links else ""


def overview(now: datetime, days: int, *, released: bool, has_failure_links: bool) -> dict[str, Any]:
    """Return the context for the last `days` UTC days, including today. `days` is one of RANGES."""
    span = Span(now, days, released, has_failure_links)
    spans_ms = days * DAY_MS
    counts = metrics.counts(span.start_ms, span.end_ms, span.step)
    shown = [count for count in counts if count.app_version not in NO_RELEASES] if released else counts
    series = metrics.series(shown, span.start_ms, span.end_ms, span.step_ms)
    current = _sum(series)
    # Sparklines exclude the incomplete and future buckets, which would look like a drop.
    complete = [bucket for bucket in series if bucket.start_ms + span.step_ms <= span.now_ms]
    # The span before ends at the same hour of its last day, so that both spans are equally long.
    before_end_ms = span.now_ms // HOUR_MS * HOUR_MS + HOUR_MS - spans_ms
    before = metrics.sums(span.start_ms - spans_ms, before_end_ms, released=released)
    lifetime = metrics.lifetime_figures(span.now_ms)
    cells = metrics.cells_of(counts)
    rate = metrics.failure_rate(current.successes, current.failures)
    return (
        {
            "now": now,
            "days": days,
            "released": released,
            "ranges": RANGES,
            "range_name": RANGES[days] if days == 1 else f"last {RANGES[days]}",
            "before_name": "yesterday by this time" if days == 1 else f"the {RANGES[days]} before",
            "in_before": "yesterday by this time" if days == 1 else f"in the {RANGES[days]} before",
            "count": lifetime.flashes,
            "last_received_at_ms": lifetime.last_received_at_ms,
            "successes": current.successes,
            "successes_url": span.url("event", type=SUCCESS),
            "successes_change": _change(current.successes, before.successes),
            "successes_line": charts.sparkline([bucket.successes for bucket in complete]),
            "failures": current.failures,
            "failures_url": span.failures_url(),
            "expected": sum(current.expected.values()),
            "expected_url": span.url("event", expected="1"),
            "failures_change": _change(current.failures, before.failures),
            "failures_line": charts.sparkline([bucket.failures for bucket in complete]),
            "rate": rate,
            "flash_rate": metrics.flash_failure_rate(current.unexpected),
            "connect_rate": metrics.connect_failure_rate(current.unexpected),
            "rate_interval": metrics.failure_rate_interval(current.successes, current.failures),
            "rate_before": metrics.failure_rate(before.successes, before.failures),
            "rate_line": charts.sparkline(
                [metrics.failure_rate(bucket.successes, bucket.failures) for bucket in complete]
            ),
            "events_url": span.url("event", **_unexpected_only(current)),
            "chart": _chart(span, series),
            "groups": trends.attention(span.start_ms, span.end_ms, span.now_ms, limit=GROUPS_SHOWN),
            "worst": list(_who_fails(span, cells)),
        }
        | _ingest(span, sum(count.events for count in counts))
        | _recent.get("storage", now, lambda: _storage(span.today))
    )


def _unexpected_only(total: TimeBucket) -> dict[str, str]:
    """Return the filter that leaves out expected events, if any are counted."""
    return {"expected": "0"} if any(total.expected.values()) else {}


def _chart(span: Span, series: list[TimeBucket]) -> dict[str, Any]:
    total = _sum(series)
    counts = _shown_counts(total)
    of_type = {name: span.url("event", type=name, **_unexpected_only(total)) for name in total.counts}
    of_type[SUCCESS] = span.url("event", type=SUCCESS)
    urls = of_type | {EXPECTED: span.url("event", expected="1")}
    return {
        "unit": span.step,
        "below": "failures and expected events" if EXPECTED in counts else "failures",
        "bars": charts.stacked_bars([_column(span, bucket) for bucket in series], label_every=LABEL_EVERY[span.days]),
        "current": (span.now_ms - span.start_ms) // span.step_ms,
        "totals": [(name, number, urls[name]) for name, number in counts.items()],
        "rows": [
            (
                f"{_moment(bucket.start_ms):{'%H:%M' if span.step == 'hour' else '%a %-d %b %Y'}}",
                [shown.get(name, 0) for name in counts],
                _bucket_url(span, bucket),
            )
            for bucket, shown in ((bucket, _shown_counts(bucket)) for bucket in reversed(series))
        ],
        "releases": charts.release_ticks(span.start_ms, span.end_ms),
    }


def _shown_counts(bucket: TimeBucket) -> dict[str, int]:
    """Return the counts by type without the expected events, and the number of these, if any, under EXPECTED."""
    expected = sum(bucket.expected.values())
    return bucket.unexpected | ({EXPECTED: expected} if expected else {})


def _ingest(span: Span, accepted: int) -> dict[str, Any]:
    """Return the ingest figures. They include all versions, because refusals have no version."""
    tomorrow = span.today + timedelta(days=1)
    first = span.today - timedelta(days=span.days - 1)
    tallies = dict(_recent.get(("tallies", first), span.now, lambda: metrics.tallies(first, tomorrow)))
    duplicates = tallies.pop(RefusalReason.DUPLICATE.value, 0)
    left_out = tallies.pop(RefusalReason.LEFT_OUT.value, 0)
    all_versions = span._replace(released=False)
    return {
        "accepted": accepted,
        "accepted_url": all_versions.url("event"),
        "duplicates": duplicates,
        "left_out": left_out,
        "refused": sum(tallies.values()),
        "refusals": {reason.replace("_", " "): number for reason, number in tallies.items()},
    }


def _storage(today: date) -> dict[str, Any]:
    """Return the size of the database, the days until the disk is full, and the refused hosts.

    Unknown figures are None. The disk counts as full at the limit where ingest stops. The disk of PostgreSQL is unknown
    to the site.
    """
    size = site_days.database_bytes()
    growth = site_days.growth_per_day(today, size)
    free = disk.free_bytes()
    has_own_disk = connection.vendor == "sqlite"
    usable = free - (settings.MIN_FREE_BYTES or 0) // disk.FULL_PART
    return {
        "refused_hosts": refused_hosts.most_refused(today - timedelta(days=HOST_DAYS - 1), today + timedelta(days=1)),
        "database_bytes": size,
        "growth_per_day": growth,
        "free_bytes": free,
        "days_until_full": max(int(usable // growth), 0) if has_own_disk and growth and growth > 0 else None,
        "room": disk.room(),
        "retention": (rule := rules.in_force()),
        "keeps_all_by_age": rule.origin is Origin.OLDER_SITE,
    }


def _who_fails(span: Span, cells: list[Cell]) -> Iterator[WhoFails]:
    counted = [cell for cell in cells if cell.is_released or not span.released]
    yield WhoFails("Models that fail", "Model", "model", _worst(span, metrics.sliced(counted, "model"), "model"))
    yield WhoFails(
        "Versions that fail", "Version", "version", _worst(span, metrics.sliced(counted, "app_version"), "version")
    )
    for facet, rows in metrics.facet_slices(span.start_ms, span.end_ms, cells).items():
        label = facet_label(facet.removeprefix(FACET_PREFIX))
        # A facet has no versions, so its figures include those that are no releases.
        heading = f"Failures by {label if label.isupper() else label.lower()}"
        yield WhoFails(heading, label, facet, _worst(span._replace(released=False), rows, facet))


def _worst(span: Span, rows: list[Slice], parameter: str) -> list[Worst]:
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
            "" if row.name in (OTHER, NOT_TOLD) else span.failures_url(**{parameter: row.name}),
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


def _column(span: Span, bucket: TimeBucket) -> charts.Column:
    at = _moment(bucket.start_ms)
    counts = _shown_counts(bucket)
    parts = [f"{number:,} {name}" for name, number in counts.items() if number]
    when = f"{at:%H:%M} to {at + timedelta(hours=1):%H:%M} UTC" if span.step == "hour" else f"{at:%A, %-d %B %Y}"
    return charts.Column(
        label=f"{at:%-d %b}" if span.step == "day" else f"{at:%H:%M}" if at.hour % 4 == 0 else "",
        title=f"{when}: {', '.join(parts) or 'no event'}",
        counts=counts,
        url=_bucket_url(span, bucket),
    )


def _bucket_url(span: Span, bucket: TimeBucket) -> str:
    time_format = "%Y-%m-%dT%H:%M" if span.step == "hour" else "%Y-%m-%d"
    first, last = _moment(bucket.start_ms), _moment(bucket.start_ms + span.step_ms)
    return _list_url("event", span.released, since=f"{first:{time_format}}", until=f"{last:{time_format}}")


def _list_url(page: str, released: bool, **filters: str) -> str:
    query = filters | ({"released": "1"} if released else {})
    return f"{_list_path(page)}?{urlencode(query)}"


@cache  # the overview has hundreds of links to two lists
def _list_path(page: str) -> str:
    return reverse(f"admin:events_{page}_changelist")
