"""The only module that reads the clock. Callers pass the time on."""

from datetime import UTC, date, datetime


def now() -> datetime:
    return datetime.now(UTC)


def now_ms() -> int:
    """Return epoch milliseconds, UTC."""
    return epoch_ms(now())


def epoch_ms(moment: datetime) -> int:
    """Return an aware moment as epoch milliseconds, rounded down."""
    return int(moment.timestamp() * 1000)


def today() -> date:
    """Return today's date, UTC."""
    return now().date()


def day_of(epoch_ms: int) -> date:
    """Return the UTC day of epoch milliseconds."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).date()


def iso(epoch_ms: int) -> str:
    """Return epoch milliseconds as `YYYY-MM-DDTHH:MM:SS.mmmZ`."""
    seconds, milliseconds = divmod(epoch_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{milliseconds:03d}Z"
