"""How figures, times and event types are written on every page."""

from datetime import UTC, datetime
from typing import Any

from django import template
from django.contrib.admin.utils import quote

from events import clock
from events.models import EventType
from events.visible_text import is_visible

register = template.Library()
register.filter("admin_urlquote", quote)

MARKS = {
    EventType.FLASH_SUCCESS: "●",
    EventType.FLASH_ERROR: "▲",
    EventType.CONNECT_ERROR: "◆",
    EventType.WINDOW_ERROR: "■",
    EventType.UNHANDLED_REJECTION: "✚",
}
MINUTE, HOUR, DAY = 60, 3600, 86_400


@register.inclusion_tag("events/_type.html")
def event_type(name: str) -> dict[str, str]:
    return {"name": name, "mark": MARKS.get(EventType(name), "")}


@register.inclusion_tag("events/_moment.html", takes_context=True)
def moment(context: Any, at: int | datetime | None) -> dict[str, Any]:
    """Show a moment, epoch milliseconds or aware, by its distance from the page's `now`; its UTC time is the title."""
    if at is None:
        return {"iso": None}
    at_ms = int(at.timestamp() * 1000) if isinstance(at, datetime) else at
    iso = clock.iso(at_ms)
    return {"iso": iso, "words": ago(at_ms, int(context["now"].timestamp() * 1000)), "utc": utc(at_ms)}


@register.filter
def utc(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


@register.filter
def isoformat(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")


@register.filter
def figure(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


@register.filter
def percent(share: float | None) -> str:
    """Write a share of 0 to 1 with one decimal."""
    return "–" if share is None else f"{100 * share:.1f} %"


@register.filter
def hundredths(share: float) -> str:
    """Write a share of 0 to 1 as a width of 0 to 100."""
    return f"{100 * share:.1f}"


@register.filter
def points(share: float) -> str:
    """Write a share as percentage points, for what stands behind a ±."""
    return f"{100 * share:.1f}"


@register.filter
def dash(text: Any) -> Any:
    """Show a thin dash for what would leave its place empty: nothing, or nothing that can be seen."""
    return "–" if text is None or (isinstance(text, str) and not is_visible(text)) else text


@register.filter
def yes_no(flag: int) -> str:
    return "yes" if flag else "no"


def ago(at_ms: int, now_ms: int) -> str:
    """Say how long ago something was, in one unit; the page's script keeps it true."""
    seconds = (now_ms - at_ms) // 1000
    if seconds < 0:
        return "in the future"
    if seconds < MINUTE:
        return f"{seconds} s ago"
    if seconds < HOUR:
        return f"{seconds // MINUTE} min ago"
    if seconds < 2 * DAY:
        return f"{seconds // HOUR} h ago"
    return f"{seconds // DAY} days ago"
