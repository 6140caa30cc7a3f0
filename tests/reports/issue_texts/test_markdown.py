"""Texts of strangers in Markdown: a parser finds them unchanged in code, and no other node. Also cuts between emoji."""

import re

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from events.reports.issue_texts.markdown import code_span, fenced, shortened, title, visible

# GitHub, GitLab and Gitea also read tables, strikethrough and bare addresses.
PARSERS = [MarkdownIt("commonmark", {"html": True}), MarkdownIt("gfm-like", {"html": True, "linkify": False})]

HOSTILE = [
    "plain",
    "```\n# heading\n@team <img src=x>",
    "`" * 30,
    "a ` b `` c",
    "`",
    "` `",
    "\\`",
    "line\r\n~~~\u2028- item",
    "\u202etxet\u2066 \x00\x1b[31m\u200b\u2069",
    "[link](javascript:alert(1)) | | ",
    "![image](https://evil.example/x.png)",
    "<https://evil.example/> https://evil.example/ www.evil.example",
    "<script>alert(1)</script><!-- ",
    "<details><summary>x",
    "@alice fixes #12, GH-12, owner/name#3, !4, ~label, 0123456789abcdef0123456789abcdef01234567",
    "| a | b |\n|---|---|\n| \\| | `|` |",
    "- item\n1. item\n> quote\n    code\n***",
    "/close\n/assign @alice",
    "$`x`$ $$x$$ :smile: [^1] ~~x~~ **x** _x_ ==x==",
    "&lt;b&gt; &#64;alice &#x60;",
    "[x]: https://evil.example/",
    "\u3000x\u3000",
    "\ttab",
    "e" + "\u0301" * 50,
    "👩\u200d🔧 🏳️\u200d🌈 🇩🇪",
    "\U000e0041\ue000\ufeff",
    "",
    "   ",
]


def tokens(text: str, parser: MarkdownIt) -> list[Token]:
    """Return every node of a text, with those inside of lines."""
    return [node for token in parser.parse(text) for node in (token, *(token.children or []))]


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_text_stays_what_it_was(hostile: str, parser: MarkdownIt) -> None:
    lines = [hostile, f"x {hostile}", hostile * 2]
    text = "\n".join([
        f"### {code_span(hostile, 500)}",
        "",
        f"- Label: {code_span(hostile, 500)}, {code_span(hostile, 500)}",
        f"- {code_span(hostile, 500)}",
        "",
        *fenced(lines, 5_000),
        "",
        "The end",
    ])  # fmt: skip
    found = tokens(text, parser)
    kinds = {token.type for token in found}
    assert kinds == {
        "heading_open", "heading_close", "inline", "code_inline", "text", "bullet_list_open", "bullet_list_close",
        "list_item_open", "list_item_close", "paragraph_open", "paragraph_close", "fence",
    } - (set() if "text" in kinds else {"text"})  # fmt: skip
    spans = [token.content for token in found if token.type == "code_inline"]
    assert spans == [visible(hostile).strip() or "–"] * 4
    (fence,) = [token for token in found if token.type == "fence"]
    assert fence.content == "".join(f"{visible(line)}\n" for line in lines)
    assert [token.content for token in found if token.type == "text"] == ["Label: ", ", ", "The end"]
    assert not re.search("[\x00-\x08\x0b-\x1f\u200b\u2028\u202e\u2066\ufeff]", text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u202eb", "a\\u202eb"),
        ("\x1b[31m", "\\u001b[31m"),
        ("\U000e0041", "\\U000e0041"),
        ("a\r\nb", "a  b"),
        ("a\tb", "a\tb"),
        ("e\u0301\u0301\u0301\u0301", "e\u0301\u0301\u0301\\u0301"),
        ("می\u200cخواهم 👩\u200d🔧", "می\u200cخواهم 👩\u200d🔧"),
        ("\ud800", "\\ud800"),
    ],
)
def test_hidden_characters_are_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("text", "longest", "short"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("a bcd", 3, "a…"),
        ("ab👩\u200d🔧c", 4, "ab…"),
        ("ab👩\u200d🔧cd", 6, "ab👩\u200d🔧…"),
        ("a👍🏽bc", 3, "a…"),
        ("a❤\ufe0fbc", 3, "a…"),
        ("a🇩🇪🇫🇷bc", 5, "a🇩🇪…"),
        ("ae\u0301bc", 3, "a…"),
        ("👩\u200d🔧👩\u200d🔧", 3, "…"),
    ],
)
def test_no_emoji_is_cut_apart(text: str, longest: int, short: str) -> None:
    assert shortened(text, longest) == short


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("No ACK for block 0x001f", "No ACK for block 0x001f"),
        ("@alice broke it", "@ alice broke it"),
        ("fixes #12 and gh-7 and owner/name#3", "fixes # 12 and gh- 7 and owner/name# 3"),
        ("see !4 and &5 and C# and 5 % and a@", "see ! 4 and & 5 and C# and 5 % and a@"),
        ("two\nlines \u202e", "two lines \\u202e"),
        (" ", "–"),
        ("x" * 200, "x" * 99 + "…"),
    ],
)
def test_a_title_mentions_nobody(text: str, shown: str) -> None:
    assert title(text, 100) == shown
