"""When a message may be sent, and times in the words of the site's time zone: ALERT_QUIET, ALERT_TIME_ZONE."""

from datetime import UTC, datetime, timedelta

from django.conf import settings

from events.models import AlertKind

# These do not wait for the end of the quiet hours.
URGENT = frozenset({AlertKind.SILENCE, AlertKind.JOB, AlertKind.DISK})


def after_quiet(kind: AlertKind, at_ms: int) -> int:
    """Return the first time from `at_ms` on at which a message of this kind may be sent, in epoch milliseconds."""
    if settings.ALERT_QUIET is None or kind in URGENT:
        return at_ms
    first, last = settings.ALERT_QUIET
    local = _local(at_ms)
    if (local.hour - first) % 24 >= (last - first) % 24:
        return at_ms
    end = local.replace(hour=last, minute=0, second=0, microsecond=0, fold=0)
    end_ms = _ms(end)
    if end_ms <= at_ms:
        # The wall clock of the next day; its distance from UTC may be another one.
        end_ms = _ms((end.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=local.tzinfo))
    return end_ms


def last_monday(hour: int, now_ms: int) -> datetime:
    """Return the last Monday at this hour of the site's time zone, not after `now_ms`."""
    local = _local(now_ms)
    monday = (local.replace(tzinfo=None) - timedelta(days=local.weekday())).replace(
        hour=hour, minute=0, second=0, microsecond=0
    )
    found = monday.replace(tzinfo=local.tzinfo)
    if _ms(found) > now_ms:
        found = (monday - timedelta(days=7)).replace(tzinfo=local.tzinfo)
    return found


def moment(at_ms: int) -> str:
    """Return a time such as `Thu 12 Feb 2026, 13:00 CET`."""
    return f"{_local(at_ms):%a %-d %b %Y, %H:%M %Z}"


def duration(milliseconds: int) -> str:
    """Return a duration in its largest unit: `90 minutes`, `26 hours`, `3 days`."""
    minutes = milliseconds // 60_000
    for size, unit in ((1_440, "day"), (60, "hour")):
        if minutes >= 2 * size:
            return f"{minutes // size:,} {unit}s"
    return f"{minutes} minute{'' if minutes == 1 else 's'}"


def _local(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(settings.ALERT_TIME_ZONE)


def _ms(moment: datetime) -> int:
    # Python compares and subtracts two times of one zone by the wall clock, so convert first.
    return int(moment.astimezone(UTC).timestamp() * 1000)
