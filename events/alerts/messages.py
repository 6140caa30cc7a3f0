"""The messages: a subject, a plain text and an HTML text for a phone.

Titles of failures come from clients. Every text passes through `one_line`, and the HTML is escaped. So no text can add
a header to a mail, reverse the direction of the line, or hide what follows it.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urljoin

from django.conf import settings
from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from events.models import AlertKind
from events.visible_text import is_visible

MAX_SUBJECT = 120
MAX_LINE = 300
_GAP = re.compile(r"\s+")
# Control and format characters (with those that change the direction), surrogates, private and unassigned ones, and the
# separators of lines and paragraphs.
_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_MARKS = {"Mn", "Me"}
_MAX_MARKS = 3  # of one letter: more of them cover the lines above and below

_FONT = "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
_PAGE = f"margin:0;padding:16px;{_FONT};font-size:16px;line-height:1.5;color:#1b1f24;background:#ffffff"
_COLUMN = "max-width:600px;margin:0 auto;overflow-wrap:anywhere"
_HEADING = "margin:0 0 4px;font-size:17px;line-height:1.35"
_LINE = "margin:0 0 4px"
_PART = "margin:0 0 20px"
_LINK = "color:#0a58ca"
_FOOT = "margin:24px 0 0;padding-top:12px;border-top:1px solid #d0d7de;font-size:13px;color:#57606a"


class Message(NamedTuple):
    """What a channel sends. `subject` is one line of at most 120 characters."""

    subject: str
    text: str
    html: str


class Part(NamedTuple):
    """One thing that happened: a heading, lines with the facts, and the path of the page about it, or "".

    `issue_url` is the validated address of an issue about it, or "".
    """

    heading: str
    lines: tuple[str, ...] = ()
    path: str = ""
    issue_url: str = ""


def compose(
    kind: AlertKind, subject: str, parts: Sequence[Part], *, intro: str = "", others: int = 0, left_out: int = 0
) -> Message:
    """Return a message about these parts. The texts may contain any characters.

    The subject has the kind in brackets, `subject`, and the number of `others` that the message is about. `intro` is a
    sentence before the parts, and `left_out` the number of things that have none.
    """
    tail = f" and {others:,} more" if others else ""
    start = f"[{kind}] "
    line = start + one_line(subject, MAX_SUBJECT - len(start) - len(tail)) + tail
    rest = f"… and {left_out:,} more" if left_out else ""
    return Message(line, _as_text(intro, parts, rest), _as_html(line, intro, parts, rest))


def one_line(text: str, length: int = MAX_LINE) -> str:
    """Return a text as one line of at most `length` characters, without characters that are invisible or mislead."""
    characters, marks = [], 0
    for character in text[: 4 * length]:
        category = unicodedata.category(character)
        marks = marks + 1 if category in _MARKS else 0
        if marks <= _MAX_MARKS:
            characters.append(" " if category in _UNSAFE else character)
    line = _GAP.sub(" ", "".join(characters)).strip()
    if not is_visible(line):
        return "(no visible text)"
    return line if len(line) <= length else f"{line[: length - 1].rstrip()}…"


def page(name: str, *args: str) -> str:
    """Return the path of a page of the admin by the name of its route, such as `page("events_jobstate_changelist")`.

    The process of the jobs starts without the admin, so this loads it.
    """
    admin.autodiscover()
    return reverse(f"admin:{name}", args=args)


def address(path: str) -> str:
    """Return the absolute address of a page of the site."""
    return urljoin(settings.SITE_URL, path)


def _as_text(intro: str, parts: Sequence[Part], rest: str) -> str:
    blocks = [one_line(intro)] if intro else []
    for part in parts:
        lines = [one_line(part.heading), *(f"  {one_line(line)}" for line in part.lines)]
        if part.issue_url:
            lines.append(f"  Issue: {part.issue_url}")
        blocks.append("\n".join([*lines, f"  {address(part.path)}"] if part.path else lines))
    if rest:
        blocks.append(f"{rest}: {address('/admin/')}")
    return "\n\n".join([*blocks, f"-- \n{_origin()}"]) + "\n"


def _as_html(subject: str, intro: str, parts: Sequence[Part], rest: str) -> SafeString:
    link = format_html('<p style="{}"><a href="{}" style="{}">{}</a></p>', _LINE, address("/admin/"), _LINK, rest)
    return format_html(
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>{}</title></head>'
        '<body style="{}"><div style="{}">{}{}{}<p style="{}">{}</p></div></body></html>',
        subject,
        _PAGE,
        _COLUMN,
        format_html('<p style="{}">{}</p>', _PART, one_line(intro)) if intro else "",
        format_html_join("", "{}", ((_html_of(part),) for part in parts)),
        link if rest else "",
        _FOOT,
        _origin(),
    )


def _html_of(part: Part) -> SafeString:
    heading: SafeString | str = one_line(part.heading)
    if part.path:
        heading = format_html('<a href="{}" style="{}">{}</a>', address(part.path), _LINK, heading)
    lines = format_html_join("", '<p style="{}">{}</p>', ((_LINE, one_line(line)) for line in part.lines))
    url, link = part.issue_url, '<p style="{0}">Issue: <a href="{1}" style="{2}" rel="noopener noreferrer">{1}</a></p>'
    issue = format_html(link, _LINE, url, _LINK) if url else ""
    return format_html('<div style="{}"><h2 style="{}">{}</h2>{}{}</div>', _PART, _HEADING, heading, lines, issue)


def _origin() -> str:
    return f"Sent by the telemetry site at {settings.SITE_URL}"
