"""Writes the text of an issue as Markdown, and as the address of a new issue. Both have a limit on their length.

Where a text is too long, whole lines are left out: first of the log, then of the frames, then of the other blocks, then
facts. The title and the permalink always stay, and the text says what was left out.
"""

from collections.abc import Callable
from urllib.parse import quote

from events.reports.issue_texts import markdown
from events.reports.issue_texts.contents import LONGEST_LINE, Block, IssueText

MAX_MARKDOWN = 60_000  # GitHub accepts 65,536 characters
# GitHub refuses addresses of about 8 kB.
MAX_ADDRESS_BYTES = 7_500
_LONGEST_HEADING = 200
_LONGEST_TITLE = 100


def as_markdown(text: IssueText) -> str:
    """Return the text as Markdown, at most MAX_MARKDOWN characters."""
    return _longest_that_fits(text, lambda written: len(written) <= MAX_MARKDOWN)


def new_issue(template: str, text: IssueText) -> str:
    """Return the address of the form for a new issue: the template with a percent-encoded title and body.

    The template is a valid ISSUE_URL, so both are values of its query, and the address has at most MAX_ADDRESS_BYTES.
    """
    address = template.replace("{title}", quote(markdown.title(text.title, _LONGEST_TITLE), safe=""))
    # A percent-encoded text has no braces.
    if "{body}" not in address:
        return address
    room = MAX_ADDRESS_BYTES - len(address) + len("{body}")
    body = _longest_that_fits(text, lambda written: len(quote(written, safe="")) <= room)
    return address.replace("{body}", quote(body, safe=""))


def _longest_that_fits(text: IssueText, fits: Callable[[str], bool]) -> str:
    """Return the text without as few lines as possible."""
    written = _written(text, 0)
    if fits(written):
        return written
    least, most = 1, sum(len(block.lines) for block in text.blocks) + len(text.facts)
    while least < most:
        middle = (least + most) // 2
        if fits(_written(text, middle)):
            most = middle
        else:
            least = middle + 1
    longest = _LONGEST_HEADING
    while not fits(written := _written(text, most, longest)) and longest > 1:
        longest //= 2
    return written


def _written(text: IssueText, removed: int, longest: int = _LONGEST_HEADING) -> str:
    """Return the text without this number of lines, those of the lowest ranks first, then facts."""
    lines: dict[str, list[str]] = {}
    for block in sorted(text.blocks, key=lambda block: block.rank):
        number = min(removed, len(block.lines))
        removed -= number
        kept = len(block.lines) - number
        lines[block.title] = block.lines[number:] if block.keeps_last else block.lines[:kept]
    facts = text.facts[: len(text.facts) - removed] if removed else text.facts
    left_out = [f"{block.title[:1].lower()}{block.title[1:]}" for block in text.blocks if not lines[block.title]]
    left_out += ["some facts"] if removed else []
    written = [f"### {markdown.code_span(text.title, longest)}", ""]
    written += [f"- {label}: {value}" for label, value in facts]
    written.append(f"- Telemetry: <{text.url}>")
    for block in text.blocks:
        if shown := lines[block.title]:
            written += ["", f"**{_heading(block, len(shown))}**", "", *markdown.fenced(shown, LONGEST_LINE)]
    if left_out:
        written += [
            "",
            f"Left out, because the text was too long: {', '.join(left_out)}. The address above has the rest.",
        ]
    return "\n".join(written) + "\n"


def _heading(block: Block, shown: int) -> str:
    if shown == block.whole:
        return block.title
    return f"{block.title}, the {'last' if block.keeps_last else 'first'} {shown:,} of {block.whole:,}"
