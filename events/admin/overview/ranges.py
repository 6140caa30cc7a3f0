"""The range of the overview: its form, its span of time, and its words."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django import forms

from events.counting.buckets import DAY_MS, HOUR_MS
from events.reports import metrics

CUSTOM, ALL = "custom", "all"
RANGES = {"24h": "24 hours", "1": "Today", "7": "7 days", "30": "30 days", "90": "90 days", ALL: "All time"}
# Longer ranges have a bar for each day, or for some weeks.
MOST_HOURLY_DAYS = 2
MOST_BARS = 92
MOST_DAYS = 3_660


class RangeForm(forms.Form):
    """The range in the URL: `days`, one of RANGES, or the first and the last day of a range, which win."""

    first = forms.DateField(required=False, label="From", widget=forms.DateInput({"type": "date"}, "%Y-%m-%d"))
    last = forms.DateField(required=False, label="To", widget=forms.DateInput({"type": "date"}, "%Y-%m-%d"))

    def __init__(self, *args: Any, today: date, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.today = today
        for field in self.fields.values():
            field.error_messages["invalid"] = "Enter a day as YYYY-MM-DD."
            field.widget.attrs["max"] = today.isoformat()

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        first, last = cleaned.get("first"), cleaned.get("last")
        if self.errors or not (first or last):
            return cleaned
        if first is None:
            self.add_error("first", "Enter the first day too.")
        elif first > self.today:
            self.add_error("first", "This day is in the future.")
        elif last is not None and last < first:
            self.add_error("last", f"This day is before {first.isoformat()}.")
        elif ((last or self.today) - first).days >= MOST_DAYS:
            self.add_error("first", f"A range has at most {MOST_DAYS:,} days.")
        return cleaned

    @property
    def has_days(self) -> bool:
        """Return whether the URL has a range of days. It can be invalid."""
        return bool(self.data.get("first") or self.data.get("last"))


@dataclass(frozen=True)
class Span:
    """A range of the overview, [start_ms, end_ms), and its words. `key` is one of RANGES, or CUSTOM.

    `step_ms` is the width of a bar of the chart. `compared_with` names the span before, "" if there is no comparison.
    """

    now_ms: int
    key: str
    start_ms: int
    end_ms: int
    step_ms: int
    name: str
    within: str
    compared_with: str

    @property
    def in_before(self) -> str:
        """Return the words after a figure of the span before: `none in the 7 days before`."""
        is_moment = self.compared_with in ("", "the day before", "yesterday by this time")
        return self.compared_with if is_moment else f"in {self.compared_with}"

    @property
    def is_hourly(self) -> bool:
        return self.step_ms == HOUR_MS

    @property
    def unit(self) -> str:
        weeks = self.step_ms // (7 * DAY_MS)
        return {0: "hour" if self.is_hourly else "day", 1: "week"}.get(weeks, f"{weeks} weeks")

    @property
    def axis_start_ms(self) -> int:
        """Return the start of the first bar. It can be before the range, because all bars have the same width."""
        return self.end_ms - -(-(self.end_ms - self.start_ms) // self.step_ms) * self.step_ms

    @property
    def first_day_ms(self) -> int:
        """Return the start of the UTC day in which the range begins."""
        return self.start_ms - self.start_ms % DAY_MS

    @property
    def last_day_ms(self) -> int:
        """Return the end of the UTC day in which the range ends."""
        return self.end_ms + -self.end_ms % DAY_MS

    @property
    def before_ms(self) -> tuple[int, int]:
        """Return the span before. It ends at the same hour, so that both spans are equally long."""
        length_ms = self.end_ms - self.start_ms
        known_ms = min(self.end_ms, self.now_ms // HOUR_MS * HOUR_MS + HOUR_MS)
        return self.start_ms - length_ms, known_ms - length_ms


def span_of(form: RangeForm, key: str, now: datetime) -> Span:
    """Return the range of a form. One with an invalid range, or with none of RANGES, gets the last 24 hours."""
    now_ms = int(now.timestamp() * 1000)
    today_ms = now_ms - now_ms % DAY_MS
    tomorrow_ms = today_ms + DAY_MS
    if form.is_valid() and (first := form.cleaned_data["first"]):
        last = min(form.cleaned_data["last"] or form.today, form.today)
        start_ms, end_ms = metrics.day_start_ms(first), metrics.day_start_ms(last + timedelta(days=1))
        days = (end_ms - start_ms) // DAY_MS
        name = _in_words(first, last)
        within = f"on {name}" if days == 1 else f"from {name}"
        before = "the day before" if days == 1 else f"the {days:,} days before"
        return Span(now_ms, CUSTOM, start_ms, end_ms, _step_ms(days), name, within, before)
    if key == ALL and not form.has_days:
        start_ms = min(metrics.first_hour_ms() or today_ms, now_ms)
        start_ms -= start_ms % DAY_MS
        since = f"since {datetime.fromtimestamp(start_ms / 1000, UTC):%-d %b %Y}"
        return Span(now_ms, ALL, start_ms, tomorrow_ms, _step_ms((tomorrow_ms - start_ms) // DAY_MS), since, since, "")
    if key not in RANGES or key == "24h" or form.has_days:
        end_ms = now_ms - now_ms % HOUR_MS + HOUR_MS
        name = "last 24 hours"
        return Span(now_ms, "24h", end_ms - DAY_MS, end_ms, HOUR_MS, name, f"in the {name}", "the 24 hours before")
    days = int(key)
    start_ms = tomorrow_ms - days * DAY_MS
    if days == 1:
        return Span(now_ms, key, start_ms, tomorrow_ms, HOUR_MS, "today", "today", "yesterday by this time")
    name = f"last {days} days"
    return Span(now_ms, key, start_ms, tomorrow_ms, _step_ms(days), name, f"in the {name}", f"the {days} days before")


def _step_ms(days: int) -> int:
    if days <= MOST_HOURLY_DAYS:
        return HOUR_MS
    return DAY_MS if days <= MOST_BARS else -(-days // (7 * MOST_BARS)) * 7 * DAY_MS


def _in_words(first: date, last: date) -> str:
    """Return two days as `1 to 12 Nov 2026`, one day as `12 Nov 2026`."""
    end = f"{last:%-d %b %Y}"
    if first == last:
        return end
    start = "%-d" if (first.year, first.month) == (last.year, last.month) else "%-d %b"
    return f"{first:{start if first.year == last.year else '%-d %b %Y'}} to {end}"
