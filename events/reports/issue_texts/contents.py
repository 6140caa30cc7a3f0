"""What the text of an issue says about a group or about one failure: how often, since when, for whom, and where.

A public text is for a tracker that strangers read. It has no id, no metadata except the facets, and its texts are
masked. No text has a session, the name of an account, or the note of a maintainer.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from events.counting import facets
from events.counting.buckets import DAY_MS, FACET_PREFIX
from events.models import Event, FailureGroup, Noise
from events.querysets import NumberOf
from events.reports.event_text import Texts
from events.reports.forms import facet_label
from events.reports.groups import ranking
from events.reports.groups.breakdowns import Comparison, Part
from events.reports.issue_texts import masking
from events.reports.issue_texts.markdown import code_span
from events.sourcemaps.resolve import Frame

LOG_LINES = 40
_STACK_LINES = 50
LONGEST_LINE = 300
_LONGEST_VALUE = 200
_READ = 2_000  # characters of a line that are masked
# Sessions are counted up to this number.
MOST_SESSIONS = 1_000


class Block(NamedTuple):
    """Lines in a fence. If the text gets too long, blocks with a low `rank` lose lines first.

    Of a log, the last lines stay; of other blocks, the first ones. `whole` is the number of all lines.
    """

    title: str
    lines: list[str]
    rank: int
    whole: int
    keeps_last: bool = False


class IssueText(NamedTuple):
    """The text of an issue. `facts` are pairs of a label and Markdown; `url` is the permalink."""

    title: str
    facts: list[tuple[str, str]]
    blocks: list[Block]
    url: str


class Counts(NamedTuple):
    """How often a group failed: in the last 24 hours, and in how many sessions, up to MOST_SESSIONS."""

    last_day: int
    sessions: int


class GroupSource(NamedTuple):
    """A group as its page shows it. `whom` has the label, the shown parts and the number of the other ones of facets.

    `group` is annotated by `ranking.seen_until`. `example` is one of its failures, None if none is stored.
    """

    group: FailureGroup
    counts: Counts
    compared: Comparison
    whom: Sequence[tuple[str, Sequence[tuple[str, Part]], int]]
    example: tuple[Event, Texts] | None
    url: str
    now_ms: int


class FailureSource(NamedTuple):
    """An event as its page shows it, with its group and the counts of the group."""

    event: Event
    texts: Texts
    group: FailureGroup | None
    counts: Counts | None
    url: str
    now_ms: int


def counts_of(group: FailureGroup, now_ms: int) -> Counts:
    from_ms = ranking.last_day_from_ms(now_ms)
    last_day = ranking.failures_between(from_ms, from_ms + DAY_MS)
    found = FailureGroup.objects.filter(pk=group.pk).values_list(last_day, sessions_of(group.pk))
    return next((Counts(*counts) for counts in found), Counts(0, 0))


def sessions_of(fingerprint: str) -> NumberOf:
    """Return the number of sessions of a group, up to MOST_SESSIONS, as an expression for a query."""
    # One event of each type and session is stored, so these are different sessions.
    events = Event.objects.of_group(fingerprint).filter(session_id__isnull=False)
    return NumberOf(events.order_by().values("pk")[:MOST_SESSIONS])


def of_group(source: GroupSource, *, is_public: bool = False) -> IssueText:
    """Return the text about a group, with one of its failures as an example."""
    group, example = source.group, source.example
    clean = _Cleaner([example[0].session_id] if example else [], is_public=is_public)
    facts = [("Type", clean.span(group.event_type))]
    if group.error_name:
        facts.append(("Error", clean.span(group.error_name)))
    facts += [*_extent(group, source.counts), *_decision(group, source.now_ms, clean, is_public=is_public)]
    blocks = [*_spread(source, clean)]
    if example:
        event, texts = example
        facts.append(("Example", f"{_moment(event.received_at_ms)}, {clean.span(event.message)}"))
        facts += _properties(event, clean)
        blocks += _texts(texts, clean)
    return IssueText(clean(group.title), facts, blocks, source.url)


def of_failure(source: FailureSource, *, is_public: bool = False) -> IssueText:
    """Return the text about one event, which names its group."""
    event, texts, group = source.event, source.texts, source.group
    clean = _Cleaner([event.session_id, event.pk], is_public=is_public)
    facts = [("Type", clean.span(event.event_type)), *_properties(event, clean)]
    if event.error_name:
        facts.append(("Error", clean.span(event.error_name)))
    facts.append(("Received", _moment(event.received_at_ms)))
    if is_public:
        facts += [
            (facet_label(name.removeprefix(FACET_PREFIX)), clean.name_span(value))
            for name, value in facets.values_in(event.metadata_json)
        ]
    else:
        facts.append(("Occurred", f"{clean.span(event.occurred_at)} by the client's clock"))
        facts += [(clean.span(name), clean.span(value)) for name, value in texts.metadata]
    if group and source.counts:
        facts.append(("Group", clean.span(group.title)))
        facts += [*_extent(group, source.counts), *_decision(group, source.now_ms, clean, is_public=is_public)]
    return IssueText(clean(event.message), facts, list(_texts(texts, clean)), source.url)


class _Cleaner:
    """Prepares texts of events. Those of a public text are masked, and lose these ids of events and sessions."""

    def __init__(self, ids: Sequence[str | None], *, is_public: bool) -> None:
        self.ids, self.is_public = ids, is_public

    def __call__(self, text: str) -> str:
        return masking.masked(text[:_READ], self.ids) if self.is_public else text

    def name(self, text: str) -> str:
        return masking.masked_name(text[:_READ]) if self.is_public else text

    def span(self, text: str) -> str:
        return code_span(self(text), _LONGEST_VALUE)

    def name_span(self, text: str) -> str:
        return code_span(self.name(text), _LONGEST_VALUE)


def _extent(group: FailureGroup, counts: Counts) -> Iterator[tuple[str, str]]:
    sessions = f"{counts.sessions:,}{' or more' if counts.sessions == MOST_SESSIONS else ''}"
    words = f"{group.accepted:,}, {counts.last_day:,} in the last 24 hours"
    yield "Events", f"{words}, in {sessions} session{'' if sessions == '1' else 's'}" if counts.sessions else words
    yield "First seen", _moment(group.first_ms)
    yield "Last seen", _moment(group.last_ms)


def _decision(group: FailureGroup, now_ms: int, clean: _Cleaner, *, is_public: bool) -> Iterator[tuple[str, str]]:
    status = ranking.status_of(group, now_ms)
    version = clean.name_span(group.fixed_in) if group.fixed_in else "the next version"
    if status == "regression" and group.regressed_ms is not None:
        yield "Status", f"regression: resolved in {version}, failed again on {_moment(group.regressed_ms)}"
    elif status == "resolved":
        yield "Status", f"resolved in {version}"
    elif status == "muted":
        yield "Status", f"muted until {_moment(group.muted_until_ms)}" if group.muted_until_ms else "muted for good"
    elif status == "expected":
        yield "Status", "expected: these events are no failures"
    else:
        yield "Status", "open"
    if ranking.is_unfixed(group) and group.unfixed_at_ms is not None:
        yield "Still failing", f"{version} is not a release, and newer releases fail too"
    if group.noise != Noise.NONE:
        yield "Probably no failure of the page", Noise(group.noise).label
    if group.advice_text:
        link = f", {code_span(group.advice_url, 2_000)}" if group.advice_url else ""
        yield "Advice to users", f"{code_span(group.advice_text, 280)}{link}"
    if group.issue_url and not is_public:
        yield "Issue", code_span(group.issue_url, 500)


def _properties(event: Event, clean: _Cleaner) -> Iterator[tuple[str, str]]:
    yield "Model", clean.name_span(event.model)
    yield "Version", clean.name_span(event.app_version)
    yield "Mode", "write" if event.write_mode else "no write"
    yield "Connected", "yes" if event.connected else "no"


def _spread(source: GroupSource, clean: _Cleaner) -> Iterator[Block]:
    compared = source.compared
    days = f"{_day(compared.start_ms)} to {_day(source.now_ms)}" if compared.start_ms else "all time"
    if compared.findings:
        yield _block(f"What stands out, {days}", [clean.name(str(finding)) for finding in compared.findings], rank=5)
    others = "of others" if compared.is_flash else "of flashes"
    lines: list[str] = []
    for label, parts, more in source.whom:
        if parts:
            lines += [""] if lines else []
            lines.append(f"events  of these  {others:>10}  {label}")
            lines += [_row(words, part, clean) for words, part in parts]
        if more:
            lines.append(f"and {more:,} more")
    if lines:
        yield _block(f"Who is affected, {days}", lines, rank=4)


def _row(words: str, part: Part, clean: _Cleaner) -> str:
    of_others = "–" if part.of_others is None else _percent(part.of_others)
    # The name is last: its direction of writing cannot change the order of the numbers.
    return f"{part.events:>6,}  {_percent(part.of_group):>8}  {of_others:>10}  {clean.name(words)}"


def _texts(texts: Texts, clean: _Cleaner) -> Iterator[Block]:
    frames = [_frame(frame, clean) for frame in texts.frames]
    causes = [" ".join(filter(None, (c.name and f"{c.name}:", c.message, c.frame))) for c in texts.causes]
    log = [*texts.log_lines.early, *texts.log_lines.late]
    stack = [] if frames else [*texts.stack.early, *texts.stack.late]
    if frames:
        yield _block("Frames", frames, rank=1)
    if stack:
        yield Block("Stack", [clean(line) for line in stack[:_STACK_LINES]], 2, len(stack))
    if causes:
        yield _block("Causes", [clean(cause) for cause in causes], rank=3)
    if log:
        yield Block("Log lines", [clean(line) for line in log[-LOG_LINES:]], 0, len(log), keeps_last=True)


def _frame(frame: Frame, clean: _Cleaner) -> str:
    """Return a frame with its original position, or as the engine wrote it."""
    return clean(f"at {frame}" if frame.unresolved is None else frame.raw)


def _block(title: str, lines: list[str], *, rank: int) -> Block:
    return Block(title, lines, rank, len(lines))


def _moment(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _day(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
