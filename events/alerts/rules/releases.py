"""Finds releases that are worse than the release before.

The verdict of `reports.releases` is made for one look each day: so it is asked for the counts up to the last midnight,
UTC. Between two midnights, only an interval of 99.9 % counts: a look after every flash at 99 % would report one in
eighteen unchanged releases. A catastrophe is reported within minutes nevertheless.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from statistics import NormalDist

from django.contrib.admin.utils import quote

from events.alerts import timing
from events.alerts.messages import Part, page
from events.alerts.rules import affected
from events.alerts.rules.evaluation import Problem
from events.reports.releases import figures, verdicts
from events.reports.releases.figures import Comparison

NEWEST = 10
Z_AT_ONCE = NormalDist().inv_cdf(1 - 0.001 / 2)


def find(now: datetime) -> Iterator[Problem]:
    """Yield the newest releases; those that are alarmingly worse open an alert, once for each release."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    alarming = {
        each.release.version
        for each in figures.newest(NEWEST, midnight - timedelta(milliseconds=1))
        if each.verdict.is_alarming
    }
    for each in figures.newest(NEWEST, now):
        opens = each.release.version in alarming or is_alarming_at_once(each)
        yield Problem(each.release.version, part_of(each, now) if opens else None, opens=opens)


def is_alarming_at_once(comparison: Comparison) -> bool:
    """Return whether an alert must not wait until midnight."""
    if not comparison.verdict.is_alarming or comparison.other is None:
        return False
    return verdicts.difference_interval(comparison.release.flashes, comparison.other.flashes, Z_AT_ONCE)[0] > 0


def part_of(comparison: Comparison, now: datetime) -> Part:
    """Return the text about a release."""
    release, other, verdict = comparison
    lines = [f"{_rate(release)} since {timing.moment(release.first_seen_ms)}."]
    if other is not None:
        lines.append(f"{_rate(other)}, the release before.")
    lines += affected.lines(release.first_seen_ms, int(now.timestamp() * 1000) + 1, app_version=release.version)
    path = page("events_release_change", quote(release.version))
    return Part(f"{release.version}: {verdict}", tuple(lines), path)


def _rate(release: figures.Figures) -> str:
    flashes = release.flashes
    share = "" if flashes.failure_rate is None else f" ({100 * flashes.failure_rate:.1f} %)"
    return f"{flashes.failures:,} of {flashes.total:,} flashes{share} failed in {release.version}"
