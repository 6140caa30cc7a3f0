"""Template tags and filters that format figures, times and event types."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from django import template
from django.contrib.admin.utils import quote
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from events import clock
from events.grouping import advice, issues, triage
from events.maintenance import disk
from events.models import AuditEntry, EventType
from events.reports.search import grammar
from events.visible_text import is_visible

register = template.Library()
register.filter("admin_urlquote", quote)

MARKS = {
    EventType.FLASH_SUCCESS: "●",
    EventType.FLASH_ERROR: "▲",
    EventType.CONNECT_ERROR: "◆",
    EventType.WINDOW_ERROR: "■",
    EventType.UNHANDLED_REJECTION: "✚",
    "expected": "○",  # in charts, beside the types
}
MINUTE, HOUR, DAY = 60, 3600, 86_400


@register.simple_tag
def event_type(name: str) -> SafeString:
    mark = MARKS.get(name, "")
    return format_html('<span class="type {0}"><span class="mark" aria-hidden="true">{1}</span> {0}</span>', name, mark)


# The marks of the statuses of groups.
_STATUS_MARKS = {"regression": "↩", "resolved": "✓", "muted": "–", "expected": "○"}
_STILL_FAILING = mark_safe('<span class="status regression">⚠ still failing</span>')


@register.simple_tag
def group_status(status: str, is_unfixed: Any = False, assignee: Any = None) -> SafeString:
    """Return the status of a group, whether it is resolved but still failing, and who works on it."""
    person = '<span class="assignee" title="Assigned to {0}">→ <bdi class="cut">{0}</bdi></span>'
    return format_html(
        '<span class="status {0}">{1} {0}</span>\n{2}\n{3}',
        status,
        _STATUS_MARKS.get(status, ""),
        _STILL_FAILING if is_unfixed else "",
        format_html(person, assignee) if assignee else "",
    )


@register.simple_tag
def sparkline(points: str, kind: str) -> SafeString:
    """Return the points of `charts.sparkline` as SVG, in the colour of an event type."""
    if not points:
        return SafeString()
    return format_html(
        '<svg class="sparkline {}" viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">'
        '<polyline points="{}"/></svg>',
        kind,
        points,
    )


@register.simple_tag
def chart_bars(bars: Iterable[Any], current: int | None = None) -> SafeString:
    """Return bars of `events.admin.charts` as SVG; the bar `current` is hatched. Template nodes take far longer."""
    return mark_safe("".join(_bar(bar, is_current=at == current) for at, bar in enumerate(bars)))  # noqa: S308 (escaped)


def _bar(bar: Any, *, is_current: bool) -> str:
    place = f'x="{bar.x}" width="{bar.width}"'
    fills = "".join(
        f'<rect class="fill {name}" {place} y="{y}" height="{height}"/>' for name, y, height in bar.segments
    )
    title = escape(f"{bar.title} (incomplete)" if is_current else bar.title)
    hatch = f'<rect class="not-over" {place} y="0" height="100%" fill="url(#hatch)"/>' if is_current else ""
    drawn = f'<g class="bar"><title>{title}</title><rect class="hit" {place} y="0" height="100%"/>{fills}{hatch}</g>'
    linked = f'<a href="{escape(bar.url)}" tabindex="-1">{drawn}</a>' if bar.url else drawn
    return f'{linked}<line class="gap" x1="{bar.x}" x2="{bar.x}" y1="0" y2="100%"/>\n'


@register.simple_tag
def figure_rows(rows: Iterable[tuple[str, Sequence[int], str, Sequence[str]]]) -> SafeString:
    """Return rows of a table of figures: the name of a step, its figures, the URL of its events, its new releases."""
    return mark_safe(  # noqa: S308 (escaped)
        "".join(
            f'<tr><th scope="row"><a href="{escape(url)}">{escape(name)}</a>{_new_in(releases)}</th>'
            + "".join(f'<td class="num">{number:,}</td>' for number in numbers)
            + "</tr>\n"
            for name, numbers, url, releases in rows
        )
    )


def _new_in(releases: Sequence[str]) -> str:
    names = "".join(f" <bdi>{escape(name)}</bdi>" for name in releases)
    return f' <small class="quiet"><span aria-hidden="true">┆</span> release{names}</small>' if releases else ""


@register.simple_tag(takes_context=True)
def moment(context: Any, at: int | datetime | None) -> str:
    return time_element(at, context["now"])


@register.simple_tag(takes_context=True)
def since(context: Any, at_ms: int) -> SafeString:
    """Return the UTC time of a moment of today, else its day; the whole time is its title."""
    at, now = datetime.fromtimestamp(at_ms / 1000, UTC), context["now"]
    words = f"{at:%H:%M}" if at.date() == now.date() else f"{at:%-d %b}" if at.year == now.year else f"{at:%-d %b %Y}"
    return format_html('<time datetime="{}" title="{}">{}</time>', clock.iso(at_ms), utc(at_ms), words)


def time_element(at: int | datetime | None, now: datetime) -> str:
    """Return a time relative to `now`, with its UTC time as title. Accepts epoch ms or aware datetimes."""
    if at is None:
        return "never"
    at_ms = clock.epoch_ms(at) if isinstance(at, datetime) else at
    relative = ago(at_ms, clock.epoch_ms(now))
    return format_html('<time datetime="{}" title="{}" data-relative>{}</time>', clock.iso(at_ms), utc(at_ms), relative)


@register.filter
def utc(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


@register.filter
def as_search(text: str) -> str:
    """Return a search for exactly this text, for a link to a list."""
    return grammar.as_text(text)


@register.filter
def isoformat(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")


@register.filter
def figure(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


@register.filter
def in_bytes(number: float | None) -> str:
    """Format a number of bytes with three digits and a binary unit."""
    return "–" if number is None else disk.in_words(number)


@register.filter
def percent(share: float | None) -> str:
    """Format a share (0 to 1) as a percentage with one decimal."""
    return "–" if share is None else f"{100 * share:.1f} %"


@register.filter
def points(share: float) -> str:
    """Format a share (0 to 1) as percentage points, without a unit. Also a width of 0 to 100."""
    return f"{100 * share:.1f}"


@register.filter
def gap(at_ms: int, other_ms: int) -> str:
    """Return how long before or after another time a time is, in one unit."""
    ms = abs(at_ms - other_ms)
    side = "after" if at_ms >= other_ms else "before"
    if ms < 1_000:
        return f"{ms} ms {side}"
    if ms < MINUTE * 1_000:
        return f"{ms / 1_000:.1f} s {side}"
    return f"{ago(0, ms).removesuffix(' ago')} {side}"


@register.filter
def duration(start_ms: int, end_ms: int) -> str:
    """Return the time from a start to an end, in two units. A clock that went back in between gives 0."""
    seconds = max(0, end_ms - start_ms) / 1_000
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), MINUTE)
    if minutes < MINUTE:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


@register.filter
def dash(text: Any) -> Any:
    """Return a dash for None and for text without a visible character."""
    return "–" if text is None or (isinstance(text, str) and not is_visible(text)) else text


@register.filter
def linked(text: str) -> SafeString:
    """Return a note as HTML in which each complete https address is a link. Every other address stays text.

    Punctuation and unpaired brackets at the end are not part of an address.
    """
    parts, end = [], 0
    for match in _ADDRESS.finditer(text):
        url = _without_end(match[0])
        has_pairs = url.count("(") == url.count(")") and url.count("[") == url.count("]")
        if has_pairs and len(url) <= advice.MAX_URL and advice.is_complete_url(url):
            parts += [escape(text[end : match.start()]), _link(url, url)]
            end = match.start() + len(url)
    return mark_safe("".join([*parts, escape(text[end:])]))  # noqa: S308 (escaped)


# An address begins after a space, a bracket or a quotation mark, and ends at a space or a quotation mark.
_ADDRESS = re.compile(r"(?<![^\s(\[<\"'“„«‹])https://[^\s<>\"'`“”„«»‹›]+", re.IGNORECASE)
_OPENING = {")": "(", "]": "["}


def _without_end(url: str) -> str:
    while url[-1] in ".,;:!?" or (url[-1] in _OPENING and url.count(url[-1]) > url.count(_OPENING[url[-1]])):
        url = url[:-1]
    return url


def _link(url: str, words: str) -> SafeString:
    return format_html('<a href="{}" rel="noopener noreferrer">{}</a>', url, words)


@register.filter
def linked_entry(entry: AuditEntry) -> SafeString:
    """Return what an entry of the audit log says. Only addresses that maintainers have typed become links."""
    is_typed = entry.what.startswith((triage.NOTED, issues.LINKED, issues.UNLINKED))
    return linked(entry.what) if is_typed else format_html("{}", entry.what)


@register.filter
def issue_label(url: str) -> SafeString:
    """Return a link to an issue with its short name, such as `owner/name#12`."""
    return format_html(
        '<a href="{}" title="{}" rel="noopener noreferrer"><bdi class="cut">{}</bdi></a>',
        url,
        url,
        issues.label_of(url),
    )


@register.filter
def marked_up(text: str) -> SafeString:
    """Return a text with `code` and *names* as HTML."""
    html = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
    return mark_safe(re.sub(r"\*([^*]+)\*", r"<em>\1</em>", html))  # noqa: S308 (escaped first)


@register.filter
def yes_no(flag: int) -> str:
    return "yes" if flag else "no"


def ago(at_ms: int, now_ms: int) -> str:
    """Return how long ago a time was, in one unit. `site.js` keeps it up to date."""
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
