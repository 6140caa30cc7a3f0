"""Draws the badge of the public count as SVG, and writes the lines that embed it in a page."""

import re
import unicodedata
from typing import NamedTuple
from urllib.parse import urlencode

from django.utils.html import escape, format_html

DEFAULT_LABEL, DEFAULT_COLOR = "flashes", "2f6fde"
MAX_LABEL = 40
LABEL_COLOR = "555"
FONT_PX, HEIGHT, PADDING = 11, 20, 6
# Advance widths of Verdana, the widest of the fonts, in thousandths of the font size, from the space to the tilde.
_ASCII_WIDTHS = (
    352, 394, 459, 818, 636, 1076, 727, 269, 454, 454, 636, 818, 364, 454, 364, 454, *([636] * 10), 454, 454, 818, 818,
    818, 545, 1000, 684, 686, 698, 771, 632, 575, 775, 751, 421, 455, 693, 557, 843, 748, 787, 603, 787, 695, 684, 616,
    732, 684, 989, 685, 615, 685, 454, 454, 454, 818, 636, 636, 601, 623, 521, 623, 596, 352, 623, 633, 274, 344, 592,
    274, 973, 633, 607, 623, 623, 427, 521, 394, 633, 592, 818, 592, 592, 525, 635, 454, 635, 818,
)  # fmt: skip
_EMOJI_WIDTH, _WIDE, _CAPITAL, _OTHER = 1300, 1000, 800, 700
_JOINERS = "\u200c\u200d"  # parts of emoji and of words in some scripts


class Badge(NamedTuple):
    """A badge. `color` is that of the message: 3 or 6 hex digits."""

    label: str
    message: str
    color: str

    @property
    def text(self) -> str:
        return f"{self.label}: {self.message}"


def of_count(total: int, *, label: str = "", color: str = "") -> Badge:
    return Badge(label or DEFAULT_LABEL, f"{total:,}", (color or DEFAULT_COLOR).lower())


def is_label(text: str) -> bool:
    """Return whether a text can be a label: visible, without control characters and marks that reorder other text."""
    return bool(text.strip()) and all(char.isprintable() or char in _JOINERS for char in text)


def is_color(text: str) -> bool:
    return re.fullmatch("(?:[0-9a-fA-F]{3}){1,2}", text) is not None


def width_of(text: str) -> int:
    """Return an estimate of the width of a text in pixels."""
    return round(sum(map(_advance, text)) * FONT_PX / 1000)


def _advance(char: str) -> int:
    if " " <= char <= "~":
        return _ASCII_WIDTHS[ord(char) - ord(" ")]
    category = unicodedata.category(char)
    if category in ("Mn", "Me", "Cf"):
        return 0  # drawn over the character before
    if category == "So":
        return _EMOJI_WIDTH
    if unicodedata.east_asian_width(char) in "WF":
        return _WIDE
    letter = unicodedata.normalize("NFD", char)[0]
    if letter != char:
        return _advance(letter)  # a letter with an accent
    return _CAPITAL if category == "Lu" else _OTHER


def six_digits(color: str) -> str:
    return color if len(color) == 6 else "".join(digit * 2 for digit in color)


def ink_on(color: str) -> str:
    """Return black or white, whichever has the higher contrast on a colour (WCAG 2)."""
    digits = six_digits(color)
    red, green, blue = (_linear(int(digits[at : at + 2], 16) / 255) for at in (0, 2, 4))
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "000" if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else "fff"


def _linear(value: float) -> float:
    return float(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4)


def as_svg(badge: Badge) -> str:
    """Return the badge as SVG, at most 2 KB. It contains no style and no script.

    `textLength` spaces the letters to the estimated width, so that a text fits also in another font.
    """
    label_width, message_width = width_of(badge.label), width_of(badge.message)
    left, right = label_width + 2 * PADDING, message_width + 2 * PADDING
    return format_html(
        '<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img" aria-label="{text}">'
        "<title>{text}</title>"
        '<clipPath id="r"><rect width="{width}" height="{height}" rx="3"/></clipPath>'
        '<g clip-path="url(#r)"><rect width="{width}" height="{height}" fill="#{label_color}"/>'
        '<rect x="{left}" width="{right}" height="{height}" fill="#{color}"/>'
        # The border shows the shape on a page of the same colour.
        '<rect x=".5" y=".5" width="{inner_width}" height="19" rx="2.5" fill="none" stroke="#808080"'
        ' stroke-opacity=".5"/></g>'
        '<g font-family="Verdana,DejaVu Sans,Geneva,sans-serif" font-size="{font_px}" text-anchor="middle">'
        '<text x="{label_x}" y="14" fill="#{label_ink}" textLength="{label_width}">{label}</text>'
        '<text x="{message_x}" y="14" fill="#{ink}" textLength="{message_width}">{message}</text></g></svg>',
        text=badge.text,
        label=badge.label,
        message=badge.message,
        color=badge.color,
        label_color=LABEL_COLOR,
        ink=ink_on(badge.color),
        label_ink=ink_on(LABEL_COLOR),
        width=left + right,
        inner_width=left + right - 1,
        height=HEIGHT,
        font_px=FONT_PX,
        left=left,
        right=right,
        label_x=left / 2,
        message_x=left + right / 2,
        label_width=label_width,
        message_width=message_width,
    )


def as_shields(badge: Badge) -> dict[str, str | int]:
    """Return the badge in the form that shields.io reads from an endpoint. It refuses any other key."""
    return {"schemaVersion": 1, "label": badge.label, "message": badge.message, "color": badge.color}


class Embedding(NamedTuple):
    """The address of a badge, and one line for each kind of page."""

    url: str
    markdown: str
    html: str
    shields: str


def embedding(label: str, color: str, *, site_url: str, links_to: str | None) -> Embedding:
    """Return how to embed the badge of a site. With `links_to`, the badge is a link."""
    query = urlencode({"label": label, "color": color})
    url = f"{site_url}/badge.svg?{query}"
    shields = f"https://img.shields.io/endpoint?{urlencode({'url': f'{site_url}/badge.json?{query}'})}"
    alternative = re.sub(r"([\\\[\]!*_`<>&])", r"\\\1", label)
    markdown, html = f"![{alternative}]({url})", f'<img src="{escape(url)}" alt="{escape(label)}">'
    if links_to:
        markdown, html = f"[{markdown}]({links_to})", f'<a href="{escape(links_to)}">{html}</a>'
    return Embedding(url, markdown, html, f"![{alternative}]({shields})")
