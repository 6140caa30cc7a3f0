"""The texts of issues: what they contain, what they leave out, and their limits."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import User
from markdown_it import MarkdownIt

from events import clock
from events.counting.buckets import DAY_MS
from events.grouping import advice, issues, triage
from events.models import Event, FailureGroup
from events.reports import event_text
from events.reports.groups import breakdowns, ranking
from events.reports.issue_texts import contents, writing
from events.reports.issue_texts.contents import FailureSource, GroupSource, IssueText
from tests.conftest import make_event, success

pytestmark = pytest.mark.django_db

URL = "https://telemetry.example/admin/events/failuregroup/0123456789abcdef/change/"
TEMPLATE = "https://github.com/o/r/issues/new?title={title}&body={body}"
NOW = clock.now()
NOW_MS = clock.epoch_ms(NOW)


@pytest.fixture
def olga() -> User:
    return User.objects.create_user("olga")


def failure(**changes: Any) -> Event:
    return make_event(**{
        "message": "No ACK", "model": "UV-17R", "error_name": "ProtocolError", "session_id": "a-session",
        "stack": "ProtocolError: No ACK\n    at writeBlock (protocol.ts:88:13)",
        "received_at_ms": NOW_MS - 1_000,
    } | changes)  # fmt: skip


def group_source(event: Event | None = None) -> GroupSource:
    group = ranking.seen_until(NOW_MS).get()
    compared = breakdowns.compare(group, NOW_MS - 29 * DAY_MS, NOW_MS)
    whom = [(facet.capitalize(), [(part.name, part) for part in parts], 0) for facet, parts in compared.parts.items()]
    example = (event, event_text.of(event, now_ms=NOW_MS)) if event else None
    return GroupSource(group, contents.counts_of(group, NOW_MS), compared, whom, example, URL, NOW_MS)


def failure_source(event: Event, *, has_group: bool = True) -> FailureSource:
    group = ranking.seen_until(NOW_MS).get(pk=event.fingerprint) if has_group else None
    counts = contents.counts_of(group, NOW_MS) if group else None
    return FailureSource(event, event_text.of(event, now_ms=NOW_MS), group, counts, URL, NOW_MS)


def query_of(address: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query, strict_parsing=True).items()}


def assert_only_the_permalink_is_a_link(text: str) -> None:
    found = [
        node
        for token in MarkdownIt("gfm-like", {"html": True, "linkify": False}).parse(text)
        for node in (token, *(token.children or []))
    ]
    assert [node.attrs["href"] for node in found if node.type == "link_open"] == [URL]
    assert not {"image", "html_inline", "html_block", "table_open"} & {node.type for node in found}


def test_the_text_of_a_group_says_how_often_since_when_for_whom_and_where(olga: User) -> None:
    for number in range(9):
        make_event(**success() | {"session_id": f"s{number}", "model": "UV-5RM", "received_at_ms": NOW_MS - 2_000})
    log = json.dumps([f"line {number}" for number in range(50)])
    for number in range(6):
        event = failure(session_id=f"f{number}", log_lines_json=log)
    issues.link(event.fingerprint or "", "https://github.com/o/r/issues/12", replaces=None, user=olga, at=NOW)
    advice.give(event.fingerprint or "", "Use another cable.", None, user=olga, at=NOW)
    text = writing.as_markdown(contents.of_group(group_source(event)))
    assert text.startswith("### `No ACK`\n\n- Type: `flash_error`\n- Error: `ProtocolError`\n- Events: 6, 6 in")
    day = f"{NOW:%Y-%m-%d}"
    for part in (
        "- Status: open\n",
        "- Advice to users: `Use another cable.`\n",
        "- Issue: `https://github.com/o/r/issues/12`\n",
        f"- Telemetry: <{URL}>\n",
        f" to {day}**\n\n```text\nonly UV-17R (0 % of other flashes)\n",
        f" to {day}**\n\n```text\nevents  of these   of others  Model\n     6   100.0 %       0.0 %  UV-17R\n",
        "**Frames**\n\n```text\nat writeBlock (protocol.ts:88:13)\n```\n",
        "**Log lines, the last 40 of 50**\n\n```text\nline 10\n",
        "line 49\n```\n",
        "- Version: `19afc18`\n",
    ):
        assert part in text
    assert_only_the_permalink_is_a_link(text)


def test_a_group_without_a_stored_failure_has_a_text() -> None:
    failure()
    text = writing.as_markdown(contents.of_group(group_source()))
    assert "- Events: 1, 1 in the last 24 hours, in 1 session\n" in text
    assert "Example" not in text


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"status": "resolved", "fixed_in": "a`b"}, "- Status: resolved in `` a`b ``\n"),
        ({"status": "resolved", "fixed_in": None}, "- Status: resolved in the next version\n"),
        (
            {"status": "resolved", "fixed_in": "abc", "unfixed_at_ms": NOW_MS},
            "- Status: resolved in `abc`\n- Still failing: `abc` is not a release, and newer releases fail too\n",
        ),
        (
            {"status": "open", "fixed_in": "abc", "regressed_at_ms": 1_770_000_000_000},
            "- Status: regression: resolved in `abc`, failed again on 2026-02-02 02:40 UTC\n",
        ),
        ({"status": "muted"}, "- Status: muted for good\n"),
        ({"status": "muted", "muted_until_ms": 4_102_444_800_000}, "- Status: muted until 2100-01-01 00:00 UTC\n"),
        ({"status": "muted", "muted_until_ms": 1}, "- Status: open\n"),
        ({"status": "expected"}, "- Status: expected: these events are no failures\n"),
        ({"noise": "extension"}, "- Probably no failure of the page: browser extension\n"),
    ],
)
def test_both_texts_state_the_decision(columns: dict[str, Any], words: str) -> None:
    event = failure()
    FailureGroup.objects.update(decided_by_name="olga", **columns)
    for text in (contents.of_group(group_source(event)), contents.of_failure(failure_source(event))):
        assert words in writing.as_markdown(text)
        assert "olga" not in writing.as_markdown(text)


def test_the_text_of_a_failure_is_about_one_event_and_names_its_group() -> None:
    failure(message="No ACK for block 1", session_id="other")
    event = failure(
        message="No ACK for block 2",
        metadata_json=json.dumps(
            {
                "browser": "Chrome 139",
                "step": "write",
                "more": "x",
                "causes": [{"name": "NetworkError", "message": "Lost."}],
            }
        ),
    )
    text = writing.as_markdown(contents.of_failure(failure_source(event)))
    assert text.startswith("### `No ACK for block 2`\n\n- Type: `flash_error`\n- Model: `UV-17R`\n")
    for part in (
        "- Group: `No ACK for block …`\n- Events: 2, 2 in the last 24 hours, in 2 sessions\n",
        "- `browser`: `Chrome 139`\n",
        "- `more`: `x`\n",
        "**Causes**\n\n```text\nNetworkError: Lost.\n```\n",
    ):
        assert part in text
    assert "a-session" not in text, "issues are often public"
    assert_only_the_permalink_is_a_link(text)


def test_a_success_has_a_text_without_a_group() -> None:
    event = make_event(**success())
    assert "- Type: `flash_success`\n" in writing.as_markdown(
        contents.of_failure(failure_source(event, has_group=False))
    )


LOG = ["10.1.2.3 answered", "session-of-ann began", "Authorization: Bearer hunter2", r"C:\Users\Bob\x"]
PERSONAL = {
    "message": "Cannot open /home/alice/fw.bin for ann@example.org",
    "stack": "Error: x\n    at f (https://intranet.example/alice/app.js?token=hunter2:1:2)\n    at file:///C:/Users/Bob/b.js:3:4",
    "session_id": "session-of-ann",
    "log_lines_json": json.dumps(LOG),
    "metadata_json": json.dumps({"browser": "Chrome 139", "owner": "ann@example.org", "path": "/home/alice"}),
}
SECRETS = ("alice", "of-ann", "ann@", "Bob", "hunter2", "10.1.2.3", "intranet", "olga", "a note", "owner", "file:")


def test_a_new_issue_has_nothing_personal(olga: User) -> None:
    event = failure(**PERSONAL)
    key = event.fingerprint or ""
    triage.annotate(key, "a note by olga", user=olga, at=NOW)
    triage.resolve([key], fixed_in="abc", user=olga, at=NOW)
    triage.assign([key], person=olga, user=olga, at=NOW)
    for text in (
        contents.of_group(group_source(event), is_public=True),
        contents.of_failure(failure_source(event), is_public=True),
    ):
        query = query_of(writing.new_issue(TEMPLATE, text))
        for secret in SECRETS:
            assert secret not in query["title"] + query["body"], secret
        assert f"<{URL}>" in query["body"]
        assert "/home/[name]/" in query["body"]
        assert "…/app.js:1:2" in query["body"]
        assert "[IP address] answered" in query["body"]
        assert "resolved in `abc`" in query["body"]
        assert_only_the_permalink_is_a_link(query["body"])
    assert "- Browser: `Chrome 139`\n" in query["body"]


def test_a_long_text_loses_log_lines_first_then_frames_and_says_so() -> None:
    log = [f"line {number} {'x' * 200}" for number in range(40)]
    frames = "".join(f"\n    at f{number} ({'y' * 150}.js:{number + 1}:1)" for number in range(20))
    event = failure(stack=f"Error: x{frames}", log_lines_json=json.dumps(log))
    address = writing.new_issue(TEMPLATE, contents.of_failure(failure_source(event), is_public=True))
    body = query_of(address)["body"]
    assert 7_000 < len(address) <= writing.MAX_ADDRESS_BYTES
    assert "**Frames**" in body
    assert "line 39 " in body
    assert "line 0 " not in body
    assert "**Log lines, the last " in body
    small = TEMPLATE + "&x=" + "z" * 4_500  # longer than a valid ISSUE_URL, to leave less room
    body = query_of(writing.new_issue(small, contents.of_failure(failure_source(event), is_public=True)))["body"]
    assert "**Frames, the first " in body
    assert "at f0 (" in body
    assert "Left out, because the text was too long: log lines. The address above has the rest." in body
    assert f"<{URL}>" in body


@pytest.mark.parametrize("character", ["👩\u200d🔧", "🇩🇪", "無", "`", "%", "\u202e", "\x00", "a"])
def test_no_text_exceeds_the_limits(character: str) -> None:
    event = Event(
        id="e" * 64, received_at_ms=NOW_MS, occurred_at=character * 30, event_type="flash_error", model=character * 20,
        write_mode=1, connected=1, app_version=character * 20, message=character * 200, error_name=character * 100,
        stack="\n".join([character * 900] * 4), log_lines_json=json.dumps([character * 2_000] * 60),
        metadata_json=json.dumps({f"{number}{character * 20}": character * 300 for number in range(100)}),
    )  # fmt: skip
    source = failure_source(event, has_group=False)
    assert len(writing.as_markdown(contents.of_failure(source))) <= writing.MAX_MARKDOWN
    for template in (TEMPLATE, f"{TEMPLATE}&x={'y' * 900}", "https://t.example/?b={body}"):
        address = writing.new_issue(template, contents.of_failure(source, is_public=True))
        assert len(address.encode()) <= writing.MAX_ADDRESS_BYTES
        query = query_of(address)
        body = query.get("body") or query["b"]
        assert f"- Telemetry: <{URL}>\n" in body
        assert "\ufffd" not in body
        assert "👩\u200d…" not in body
        assert_only_the_permalink_is_a_link(body)


def test_no_text_changes_the_host_or_another_parameter() -> None:
    text = IssueText("x&labels=bug#{body}?%00@evil.example/", [("Type", "`&x=1`")], [], URL)
    template = "https://github.com/o/r/issues/new?labels=telemetry&title={title}&body={body}#top"
    address = writing.new_issue(template, text)
    parts = urlsplit(address)
    assert (parts.netloc, parts.path, parts.fragment) == ("github.com", "/o/r/issues/new", "top")
    query = query_of(address)
    assert query.keys() == {"labels", "title", "body"}
    assert query["labels"] == "telemetry"
    assert query["title"] == "x&labels=bug#{body}?%00@ evil.example/"
