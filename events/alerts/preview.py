"""How many messages given thresholds would have caused in the last 30 days, from rollups and groups.

`[new]`, `[release]`, `[rate]` and `[silence]` are computed anew. `[regression]`, `[job]`, `[disk]` and `[parity]` have
no threshold here, so the alerts that were written count. Alerts of one kind in one hour count as one message: rollups
have whole hours, and alerts of ten minutes are sent together.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import accumulate, pairwise
from typing import NamedTuple

from django.db.models import Sum

from events.alerts.messages import one_line
from events.alerts.rules import rates, releases, silences
from events.counting.buckets import DAY_MS, HOUR_MS
from events.models import Alert, AlertKind, EventType, FailureGroup, GroupHour, GroupStatus
from events.querysets import SUCCESS
from events.reports import metrics
from events.reports.releases import figures
from events.reports.releases.verdicts import Flashes

DAYS = 30
RELEASES = 3  # of each day


class Thresholds(NamedTuple):
    """The values of ALERT_NEW_AFTER and ALERT_SILENCE_HOURS to try."""

    new_after: int
    silence_hours: int


class Previewed(NamedTuple):
    """An alert that would have been written in the hour that starts at `hour_ms`."""

    kind: AlertKind
    hour_ms: int
    heading: str


class Preview(NamedTuple):
    """The alerts of the last DAYS days, oldest first. str() gives their number of messages in words."""

    alerts: list[Previewed]

    @property
    def messages(self) -> dict[AlertKind, int]:
        """Return the number of messages by kind, in the order of AlertKind, without zeros."""
        counts = Counter(kind for kind, _ in {(alert.kind, alert.hour_ms) for alert in self.alerts})
        return {kind: counts[kind] for kind in AlertKind if counts[kind]}

    def __str__(self) -> str:
        number = sum(self.messages.values())
        kinds = ", ".join(f"{count:,} [{kind}]" for kind, count in self.messages.items())
        what = f"{number:,} message{'' if number == 1 else 's'}" if number else "no message"
        return f"would have sent {what} in the last {DAYS} days{': ' + kinds if kinds else ''}"


def preview(thresholds: Thresholds, now: datetime) -> Preview:
    """Return the alerts that these thresholds would have caused."""
    now_ms = int(now.timestamp() * 1000)
    start_ms = now_ms - now_ms % HOUR_MS - DAYS * DAY_MS
    found = [
        *_new(thresholds.new_after, start_ms, now_ms),
        *_releases(now),
        *_rates(start_ms, now_ms),
        *_silences(thresholds.silence_hours, start_ms, now_ms),
        *_written(start_ms, now_ms),
    ]
    return Preview(sorted(found, key=lambda alert: (alert.hour_ms, alert.kind, alert.heading)))


def _new(least: int, start_ms: int, now_ms: int) -> Iterator[Previewed]:
    groups = FailureGroup.objects.exclude(status__in=[GroupStatus.MUTED, GroupStatus.EXPECTED])
    groups = groups.filter(last_seen_ms__gte=start_ms, accepted__gte=least)
    titles = dict(groups.values_list("pk", "title"))
    earlier = GroupHour.objects.filter(fingerprint__in=groups.values("pk"), hour_ms__lt=start_ms)
    counts = dict(earlier.values_list("fingerprint").annotate(Sum("accepted")).order_by())
    hours = GroupHour.objects.filter(fingerprint__in=groups.values("pk"), hour_ms__gte=start_ms, hour_ms__lte=now_ms)
    for key, hour_ms, accepted in hours.order_by("hour_ms").values_list("fingerprint", "hour_ms", "accepted"):
        before = counts.get(key, 0)
        counts[key] = before + accepted
        if before < least <= counts[key] and key in titles:
            yield Previewed(AlertKind.NEW, hour_ms, one_line(titles[key]))


def _releases(now: datetime) -> Iterator[Previewed]:
    """Yield each release at the first midnight with an alarming verdict."""
    found: set[str] = set()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for days_ago in range(DAYS, -1, -1):
        look = midnight - timedelta(days=days_ago)
        for each in figures.newest(RELEASES, look - timedelta(milliseconds=1)):
            version = each.release.version
            if each.verdict.is_alarming and version not in found:
                found.add(version)
                if days_ago < DAYS:  # the first look finds those of before
                    part = releases.part_of(each, look)
                    yield Previewed(AlertKind.RELEASE, int(look.timestamp() * 1000), one_line(part.heading))


def _rates(start_ms: int, now_ms: int) -> Iterator[Previewed]:
    first_ms = start_ms - (rates.PAST_DAYS + 1) * DAY_MS
    hours = metrics.timeseries(first_ms, now_ms - now_ms % HOUR_MS + HOUR_MS, "hour")
    # Sums up to each hour, so that the sum of 24 hours is a difference.
    successes = [0, *accumulate(hour.counts[SUCCESS] for hour in hours)]
    failures = [0, *accumulate(hour.unexpected[EventType.FLASH_ERROR] for hour in hours)]
    is_open = False
    for end in range((rates.PAST_DAYS + 1) * 24 + 1, len(hours) + 1):
        days = [
            Flashes(successes[at] - successes[at - 24], failures[at] - failures[at - 24])
            for at in range(end, end - (rates.PAST_DAYS + 1) * 24, -24)
        ]
        was_open, is_open = is_open, rates.is_above(days[0], days[1:], rates.Z_LASTS if is_open else rates.Z_OPENS)
        if is_open and not was_open:
            yield Previewed(AlertKind.RATE, hours[end - 1].start_ms, rates.heading(days[0]))


def _silences(least_hours: int, start_ms: int, now_ms: int) -> Iterator[Previewed]:
    hours = silences.hours_with_events(now_ms, days=DAYS + 2 * silences.PAST_DAYS)
    for number, (last_ms, next_ms) in enumerate(pairwise([*hours, now_ms]), 1):
        if next_ms - last_ms <= least_hours * HOUR_MS or next_ms < start_ms:
            continue
        alert_ms = silences.alert_after(hours[:number], least_hours)
        if alert_ms is not None and start_ms <= alert_ms < next_ms:
            yield Previewed(AlertKind.SILENCE, alert_ms - alert_ms % HOUR_MS, "No event")
            if number < len(hours):
                yield Previewed(AlertKind.SILENCE, next_ms, "Events arrive again")


def _written(start_ms: int, now_ms: int) -> Iterator[Previewed]:
    kinds = [AlertKind.REGRESSION, AlertKind.JOB, AlertKind.DISK, AlertKind.PARITY]
    rows = Alert.objects.filter(kind__in=kinds, happened_at_ms__gte=start_ms, happened_at_ms__lte=now_ms)
    for alert in rows.order_by("id"):
        heading = alert.facts.get("heading") or "A failure came back"
        yield Previewed(AlertKind(alert.kind), alert.happened_at_ms - alert.happened_at_ms % HOUR_MS, heading)
