"""How large an export will be, without reading all its rows.

The number of rows is exact for short lists. For long ones it comes from the rollups, which also count events that were
deleted since. The number of bytes comes from the size of the newest rows.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import NamedTuple

from events.counting.buckets import HOUR_MS
from events.models import Event, Release
from events.reports import failures, metrics
from events.reports.exports.choices import Choice, Format
from events.reports.exports.columns import Row
from events.reports.exports.lists import AuditLog, Days, Events, Groups, Read, days_of
from events.reports.exports.spreadsheets import ROWS_A_SHEET
from events.reports.failures import Criteria

SAMPLE_ROWS = 200
PREVIEW_ROWS = 10
COUNTED_DAYS = 92


class RowCount(NamedTuple):
    """`is_least`: there are at least so many. Otherwise the number is an estimate unless `is_exact`."""

    rows: int
    is_exact: bool = True
    is_least: bool = False


@dataclass(frozen=True)
class Estimate:
    """The size of an export, and its first rows. `size` is in bytes."""

    count: RowCount
    size: int
    preview: list[Row]

    @property
    def sheets(self) -> int:
        return max(-(-self.count.rows // ROWS_A_SHEET), 1)


def estimate(choice: Choice, read: Read) -> Estimate:
    """Return the estimate of a choice. Reads at most SAMPLE_ROWS rows, and counts at most `failures.SEARCH_ROWS`."""
    count = count_rows(choice, read)
    sample = [row for chunk in choice.rows(replace(read, limit=SAMPLE_ROWS)) for row in chunk][:SAMPLE_ROWS]
    return Estimate(count, _size(choice, sample, count.rows), sample[:PREVIEW_ROWS])


def _size(choice: Choice, sample: list[Row], rows: int) -> int:
    empty = _bytes(choice, [])
    if not sample:
        return empty
    whole = _bytes(choice, sample)
    if choice.format is not Format.XLSX and not choice.format.encoding.is_gzip:
        return empty + (whole - empty) * rows // len(sample)
    # The first rows of a compressed file cost more than the rest, whose texts were seen before.
    half = _bytes(choice, sample[: max(len(sample) // 2, 1)])
    if len(sample) == 1 or rows <= len(sample):
        return empty + (whole - empty) * rows // len(sample)
    return whole + max(whole - half, 1) * (rows - len(sample)) // (len(sample) - len(sample) // 2)


def _bytes(choice: Choice, rows: list[Row]) -> int:
    return sum(map(len, choice.format.encode([rows] if rows else [], choice.columns)))


def count_rows(choice: Choice, read: Read) -> RowCount:
    """Return the number of rows, or an estimate."""
    export_list = choice.export_list
    if isinstance(export_list, Events):
        return _events(read.form.criteria(read.now_ms))
    if isinstance(export_list, Groups):
        return RowCount(read.form.ranking(read.now_ms, read.viewer_id).select().order_by().count())
    if isinstance(export_list, AuditLog):
        return RowCount(export_list.entries(read).count())
    if isinstance(export_list, Days):
        return _days(read)
    return RowCount(Release.objects.filter(is_release=True, first_seen_ms__lte=read.now_ms).count())


def _days(read: Read) -> RowCount:
    first, last = days_of(read)
    days = max((last - first) // timedelta(days=1) + 1, 0)
    if not read.form.cleaned_data["by"] or not days:
        return RowCount(days)
    counted_days = min(days, COUNTED_DAYS)
    start_ms = metrics.day_start_ms(last - timedelta(days=counted_days - 1))
    counts = metrics.by_day_and_name(start_ms, metrics.day_start_ms(last + timedelta(days=1)))
    rows = len({(count.start_ms, count.model) for count in counts})
    return RowCount(rows * days // counted_days, is_exact=days <= COUNTED_DAYS)


def _events(criteria: Criteria) -> RowCount:
    found, is_all = failures.matches(criteria)
    if is_all:
        return RowCount(found)
    criteria = _within_whole_hours(criteria)
    counted = metrics.count(criteria)
    if counted is not None:
        return RowCount(max(counted, found), is_exact=False)
    searched = metrics.count(
        Criteria(
            failures_only=criteria.failures_only,
            event_type=criteria.event_type,
            since_ms=criteria.since_ms,
            until_ms=criteria.until_ms,
        )
    )
    if searched is None or criteria.fingerprint is not None or criteria.is_indexed:
        return RowCount(found, is_exact=False, is_least=True)
    return RowCount(max(found * searched // failures.SEARCH_ROWS, found), is_exact=False)


def _within_whole_hours(criteria: Criteria) -> Criteria:
    """Return criteria that the rollups can count: of whole hours, from the hour of the oldest stored event on."""
    oldest_ms = Event.objects.order_by("received_at_ms").values_list("received_at_ms", flat=True).first() or 0
    since_ms = max(criteria.since_ms or 0, oldest_ms)
    until_ms = criteria.until_ms
    return replace(
        criteria,
        since_ms=since_ms - since_ms % HOUR_MS,
        until_ms=None if until_ms is None else until_ms + -until_ms % HOUR_MS,
    )
