"""`events/reports/badges.py`: how wide a text is, which ink can be read on a colour, and what can be a label."""

from xml.etree import ElementTree

import pytest

from events.reports import badges
from events.reports.badges import Badge

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("text", "pixels"),
    [
        ("iiii", 12), ("WWWW", 44), ("0000", 28), ("焊接", 22), ("ｗ", 11), ("é", 7), ("e\u0301", 7), ("📻", 14),
        ("👩\u200d🚀", 29), ("Ж", 9), ("ж", 8), ("한국", 22), ("", 0),
    ],
)  # fmt: skip
def test_the_width_of_a_text_depends_on_its_characters(text: str, pixels: int) -> None:
    assert abs(badges.width_of(text) - pixels) <= 1


@pytest.mark.parametrize(
    ("color", "ink"),
    [
        ("fff", "000"), ("ff0", "000"), ("ffffff", "000"), ("4c1", "000"), ("e05d44", "000"), ("777777", "000"),
        ("000", "fff"), ("2f6fde", "fff"), ("555", "fff"), ("00f", "fff"), ("0D1117", "fff"), ("757575", "fff"),
    ],
)  # fmt: skip
def test_the_ink_is_the_one_with_more_contrast(color: str, ink: str) -> None:
    assert badges.ink_on(color) == ink


@pytest.mark.parametrize(
    ("text", "is_label"),
    [
        ("radios flashed", True), ("<script>", True), ("👩\u200d🚀", True), ("שלום", True), ("焊接", True), ("é", True),
        ("", False), (" ", False), ("\u200d \u200d", True), ("a\0", False), ("a\nb", False), ("\u202eabc", False),
        ("a\u2028b", False), ("\ufeff", False), ("\uffff", False),
    ],
)  # fmt: skip
def test_a_label_is_visible_text(text: str, is_label: bool) -> None:
    assert badges.is_label(text) is is_label


@pytest.mark.parametrize("label", ["<&>\"'" * 8, "📻" * 40, "W" * 40, "i", "شغل" * 13, "]]>", "{text}"])
@pytest.mark.parametrize("total", [0, 12_914, 10**18])
def test_the_svg_is_small_well_formed_and_every_text_has_room(label: str, total: int) -> None:
    badge = badges.of_count(total, label=label, color="ABC")
    drawn = badges.as_svg(badge)
    assert len(drawn.encode()) <= 2_048
    root = ElementTree.fromstring(drawn)
    title = root.find(f"{SVG}title")
    assert title is not None
    assert (root.get("role"), root.get("aria-label"), title.text) == ("img", badge.text, badge.text)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        "svg",
        "title",
        "clipPath",
        "g",
        "rect",
        "text",
    }
    assert not [name for element in root.iter() for name in element.attrib if name.startswith("on") or name == "style"]
    left, right = root.iter(f"{SVG}text")
    assert (left.text, right.text, right.get("fill")) == (label, f"{total:,}", "#000")
    width = int(root.get("width") or 0)
    widths = [int(text.get("textLength") or 0) for text in (left, right)]
    assert width == sum(widths) + 4 * badges.PADDING


def test_shields_gets_its_four_keys() -> None:
    badge = Badge("flashes", "12,914", "2f6fde")
    assert badges.as_shields(badge) == {"schemaVersion": 1, "label": "flashes", "message": "12,914", "color": "2f6fde"}
