"""Monday's digest: the last seven UTC days against the seven before, on one screen. It is written when it is sent.

`digest_lines()` of an AppConfig returns a tuple of functions, which return lines about the state of the site.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.apps import apps
from django.db.models import Count, QuerySet

from events import clock
from events.alerts import timing
from events.alerts.messages import Message, Part, compose, one_line, page
from events.alerts.rules import affected
from events.counting.buckets import DAY_MS
from events.grouping import issues
from events.models import AlertKind, Event, EventType, FailureGroup, GroupHour, GroupStatus, Noise
from events.querysets import SUCCESS
from events.reports import metrics
from events.reports.groups import ranking
from events.reports.releases import figures

DigestSource = Callable[[datetime], Iterable[str]]

SHOWN = 3
RELEASES_SHOWN = 4
TITLE_CHARACTERS = 60
LABEL_CHARACTERS = 30
# A group is gone if it had this many failures in the week before, and none in the last one.
LEAST_BEFORE = 3


class Week(NamedTuple):
    """The counts of seven days: all flashes, those that failed, and the failures of every type."""

    flashes: int
    failed: int
    failures: int


def message(at_ms: int) -> Message:
    """Return the digest of the seven UTC days before the day that contains `at_ms`."""
    end_ms = at_ms - at_ms % DAY_MS
    start_ms = end_ms - 7 * DAY_MS
    last, before = _week(start_ms), _week(start_ms - 7 * DAY_MS)
    now = datetime.fromtimestamp(at_ms / 1000, UTC)
    first, final = clock.day_of(start_ms), clock.day_of(end_ms - DAY_MS)
    parts = [
        Part(f"{first:%-d %b} to {final:%-d %b %Y}", tuple(_totals(last, before)), page("index")),
        Part("Releases", tuple(_releases(now, start_ms)) or ("No release was used.",)),
        Part("Failure groups", tuple(_changes(start_ms, end_ms)), page("events_failuregroup_changelist")),
        Part("Who is affected", tuple(_affected(start_ms, end_ms)) or ("Nobody.",)),
        Part("Waiting longest for a decision", tuple(_undecided(start_ms, end_ms)) or ("None.",)),
        Part("The site", tuple(_state(now))),
    ]
    subject = f"{last.flashes:,} flashes, {_rate(last)} failed" if last.flashes else "No flashes"
    return compose(AlertKind.SUMMARY, subject, parts)


def _week(start_ms: int) -> Week:
    counts: Counter[str] = Counter()
    for day in metrics.timeseries(start_ms, start_ms + 7 * DAY_MS, "day"):
        counts.update(day.unexpected)
    failures = counts.total() - counts[SUCCESS]
    return Week(counts[SUCCESS] + counts[EventType.FLASH_ERROR], counts[EventType.FLASH_ERROR], failures)


def _totals(last: Week, before: Week) -> Iterator[str]:
    yield f"Flashes: {last.flashes:,} (the week before: {before.flashes:,})."
    yield f"Failed flashes: {last.failed:,}, a rate of {_rate(last)} ({before.failed:,}, {_rate(before)})."
    yield f"Failures of every type: {last.failures:,} ({before.failures:,})."


def _rate(week: Week) -> str:
    return f"{100 * week.failed / week.flashes:.1f} %" if week.flashes else "no share"


def _releases(now: datetime, start_ms: int) -> Iterator[str]:
    used = [each for each in figures.newest(2 * RELEASES_SHOWN, now) if (each.release.last_seen_ms or 0) >= start_ms]
    for release, _, verdict in used[:RELEASES_SHOWN]:
        flashes = release.flashes
        yield f"{release.version}: {verdict} ({flashes.failures:,} of {flashes.total:,} flashes failed)."


def _changes(start_ms: int, end_ms: int) -> Iterator[str]:
    groups = FailureGroup.objects.filter(noise=Noise.NONE).exclude(status__in=[GroupStatus.EXPECTED, GroupStatus.MUTED])
    week = GroupHour.objects.filter(hour_ms__gte=start_ms, hour_ms__lt=end_ms, accepted__gt=0).values("fingerprint")
    gone = groups.annotate(before=ranking.failures_between(start_ms - 7 * DAY_MS, start_ms)).filter(
        last_seen_ms__gte=start_ms - 7 * DAY_MS, before__gte=LEAST_BEFORE
    )
    yield _named("New", groups.filter(first_seen_ms__gte=start_ms, first_seen_ms__lt=end_ms))
    yield _named("Came back", groups.filter(regressed_at_ms__gte=start_ms, regressed_at_ms__lt=end_ms))
    yield _named("Gone", gone.exclude(pk__in=week))


def _named(label: str, groups: QuerySet[Any]) -> str:
    number = groups.count()
    if not number:
        return f"{label}: none."
    shown = "; ".join(_title(group) for group in groups.order_by("-accepted", "pk")[:SHOWN])
    more = f"; and {number - SHOWN:,} more" if number > SHOWN else ""
    return f"{label}: {number:,} ({shown}{more})."


def _affected(start_ms: int, end_ms: int) -> Iterator[str]:
    failed = Event.objects.failures().between(start_ms, end_ms).filter(session_id__isnull=False)
    if sessions := failed.exclude(fingerprint__in=FailureGroup.objects.expected().values("pk")).aggregate(
        sessions=Count("session_id", distinct=True)
    )["sessions"]:
        yield f"{sessions:,} session{'' if sessions == 1 else 's'} with a failure."
    yield from affected.lines(start_ms, end_ms)


def _undecided(start_ms: int, end_ms: int) -> Iterator[str]:
    groups = FailureGroup.objects.filter(
        status=GroupStatus.OPEN, decided_at_ms=None, noise=Noise.NONE, first_seen_ms__lt=end_ms
    )
    for group in groups.filter(last_seen_ms__gte=start_ms).order_by("first_seen_ms", "pk")[:SHOWN]:
        number = f"{group.accepted:,} failure{'' if group.accepted == 1 else 's'}"
        yield f"{_title(group)}: {number} since {timing.moment(group.first_seen_ms)}."


def _title(group: FailureGroup) -> str:
    """Return the title, with the label of the issue: its whole address could be longer than the line."""
    issue = f" [{issues.label_of(group.issue_url, LABEL_CHARACTERS)}]" if group.issue_url else ""
    return f"{one_line(group.title, TITLE_CHARACTERS)}{issue}"


def _state(now: datetime) -> Iterator[str]:
    for config in apps.get_app_configs():
        offer = getattr(config, "digest_lines", None)
        for find in offer() if offer else ():
            yield from find(now)
