"""One event: everything that is known of it, whatever is in it."""

import html
import json
import re
from html import unescape
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from events import clock
from events.models import Event
from events.reports import failures
from events.reports.failures import Criteria, ListPosition
from tests.conftest import BANNER_QUERIES, make_event, sign_in, success, text_of
from tests.plans import sought_by
from tests.sourcemaps.maps import V8, large_map, store_map

pytestmark = pytest.mark.django_db


def path_of(event: Event, model: str = "event") -> str:
    return f"/admin/events/{model}/{event.id}/"


def test_staff_without_the_right_may_not(client: Client) -> None:
    sign_in(client)
    assert client.get(path_of(make_event())).status_code == 403


def test_a_deleted_event_is_not_found(client: Client) -> None:
    sign_in(client, "Staff")
    answer = client.get("/admin/events/event/gone/")
    assert answer.status_code == 404
    assert b"Page not found" in answer.content


def test_a_success_is_no_recent_failure(client: Client) -> None:
    sign_in(client, "Staff")
    event = make_event(**success())
    assert client.get(path_of(event)).status_code == 200
    assert client.get(path_of(event, "recentfailure")).status_code == 404


def test_a_failure_links_to_its_group_and_a_success_to_none(client: Client) -> None:
    sign_in(client, "Staff")
    make_event(message="No ACK for block 1")
    failure = make_event(message="No ACK for block 2")
    answer = client.get(path_of(failure))
    assert answer.context["group"].pk == failure.fingerprint
    assert f"group={failure.fingerprint}" in answer.content.decode()
    assert client.get(path_of(make_event(**success()))).context["group"] is None


def test_the_version_leads_to_its_release_if_it_is_one(client: Client) -> None:
    sign_in(client, "Staff")
    failure = make_event(app_version="v 1/2")
    assert "/admin/events/release/" not in text_of(client.get(path_of(failure))).partition("</header>")[2]
    make_event(**success(app_version="v 1/2"))
    address = re.search(r'<a href="([^"]*)">Release</a>', text_of(client.get(path_of(failure))))
    assert address
    assert client.get(address[1]).context["release"].version == "v 1/2"


def test_every_fact_is_there(client: Client) -> None:
    sign_in(client, "Staff")
    event = make_event(
        session_id="sess/1",
        error_name="ProtocolError",
        stack="Error: no\n    at flash (app.js:1:2)",
        log_lines_json=json.dumps(["open port", {"level": 2}]),
        metadata_json=json.dumps({"browser": "Chromium", "nested": {"a": [1, None]}}),
    )
    text = client.get(path_of(event, "recentfailure")).content.decode()
    for part in (
        event.message, event.id, "2026-02-12T18:00:00.000Z", "ProtocolError",
        'href="/admin/events/event/?session=sess%2F1"',
        'href="/admin/events/recentfailure/?model=UV-5RM"',
        'href="/admin/events/recentfailure/?version=19afc18"',
        "<code>Error: no</code>", "<code>    at flash (app.js:1:2)</code>",
        "<code>open port</code>", "<code>{&quot;level&quot;: 2}</code>",
        "Chromium", "{&quot;a&quot;: [1, null]}",
    ):  # fmt: skip
        assert part in text


def test_a_bare_event_says_what_did_not_come(client: Client) -> None:
    sign_in(client, "Staff")
    text = client.get(path_of(make_event())).content.decode()
    for part in ("This event has no stack", "This event has no log lines", "This event has no metadata"):
        assert part in text


def test_of_a_long_log_the_end_is_shown_and_of_a_long_stack_the_beginning(client: Client) -> None:
    sign_in(client, "Staff")
    lines = [f"line {number}" for number in range(1, 101)]
    event = make_event(log_lines_json=json.dumps(lines), stack="\n".join(lines))
    text = client.get(path_of(event)).content.decode()
    assert "<summary>75 earlier lines</summary><ol><li><code>line 1</code>" in text
    assert '<ol start="76"><li><code>line 76</code>' in text
    assert '<summary>75 more lines</summary><ol start="26"><li><code>line 26</code>' in text


def test_before_and_after_stay_among_failures(client: Client) -> None:
    sign_in(client, "Staff")
    now_ms = clock.now_ms()
    older = make_event(message="older", received_at_ms=now_ms - 30)
    event = make_event(message="this", received_at_ms=now_ms - 20)
    make_event(**success(), received_at_ms=now_ms - 15)
    newer = make_event(message="newer", received_at_ms=now_ms - 10)
    context = client.get(path_of(event, "recentfailure")).context
    assert context["older_url"] == path_of(older, "recentfailure")
    assert context["newer_url"] == path_of(newer, "recentfailure")
    assert client.get(path_of(newer)).context["newer_url"] is None


@pytest.mark.parametrize("model", ["event", "recentfailure"])
def test_before_and_after_are_found_by_an_index_and_walk_past_nothing(client: Client, model: str) -> None:
    sign_in(client, "Staff")
    now_ms = clock.now_ms()
    event, *_ = [make_event(message=f"failure {number}", received_at_ms=now_ms - number) for number in range(150)]
    with CaptureQueriesContext(connection) as captured:
        client.get(path_of(event, model))
    asked = [query["sql"] for query in captured if 'ORDER BY "telemetry_events"' in query["sql"]]
    assert len(asked) == 2
    for query in asked:
        (by,) = sought_by(query)
        assert "received_at_ms" in by


def test_neighbours_of_one_millisecond_are_ordered_by_their_ids(client: Client) -> None:
    sign_in(client, "Staff")
    now_ms = clock.now_ms()
    made = [make_event(message=f"failure {number}", received_at_ms=now_ms) for number in range(5)]
    events = sorted(made, key=lambda event: event.id)
    for at, event in enumerate(events):
        context = client.get(path_of(event)).context
        assert context["newer_url"] == (path_of(events[at + 1]) if at < 4 else None)
        assert context["older_url"] == (path_of(events[at - 1]) if at else None)


def test_a_long_message_is_folded_and_whole(client: Client) -> None:
    sign_in(client, "Staff")
    long, short = "無線機" * 166, "No ACK"
    text = client.get(path_of(make_event(message=long))).content.decode()
    assert f'<h1 class="long"><bdi>{long}</bdi></h1>' in text
    assert "<summary>Whole message</summary>" in text
    text = client.get(path_of(make_event(message=short))).content.decode()
    assert f"<h1><bdi>{short}</bdi></h1>" in text
    assert "Whole message" not in text


@pytest.mark.parametrize("message", ["\u200b\u2060", "\u2800\u3164", "\u202e \u202c"])
def test_a_message_without_a_visible_character_is_marked(client: Client, message: str) -> None:
    sign_in(client, "Staff")
    text = client.get(path_of(make_event(message=message))).content.decode()
    assert '<h1><bdi>–</bdi> <span class="quiet">no visible character</span></h1>' in text


def test_a_message_of_one_visible_character_is_shown(client: Client) -> None:
    sign_in(client, "Staff")
    text = client.get(path_of(make_event(message="\u200b👍\u200b"))).content.decode()
    assert "<h1><bdi>\u200b👍\u200b</bdi></h1>" in text


HOSTILE = "</code><script>alert(1)</script>"


def test_whatever_is_in_the_text_shows_as_text(client: Client) -> None:
    sign_in(client, "Staff")
    event = make_event(
        message=HOSTILE + "\u202eevil",
        model=HOSTILE,
        app_version=HOSTILE,
        error_name=HOSTILE,
        session_id=HOSTILE,
        stack=HOSTILE,
        log_lines_json=json.dumps([HOSTILE, "{{ settings.SECRET_KEY }}"]),
        metadata_json=json.dumps({HOSTILE: HOSTILE}),
    )
    answer = client.get(path_of(event))
    text = answer.content.decode()
    assert "<script>alert" not in text
    assert "{{ settings.SECRET_KEY }}" in text
    # The override that turns text round ends where the text ends.
    assert "<bdi>&lt;/code&gt;&lt;script&gt;alert(1)&lt;/script&gt;\u202eevil</bdi>" in text
    assert "style=" not in text


@pytest.mark.parametrize(
    ("log_lines", "shown"), [("not json", "not json"), ('{"a": "b"}', "a: b"), ('"one string"', "one string")]
)
def test_log_lines_of_any_shape_are_shown(client: Client, log_lines: str, shown: str) -> None:
    sign_in(client, "Staff")
    event = make_event()
    Event.objects.filter(pk=event.pk).update(log_lines_json=log_lines, metadata_json="[1]")
    assert f"<code>{shown}</code>" in client.get(path_of(event)).content.decode()


def test_a_page_is_a_few_queries_and_no_unbounded_count(client: Client) -> None:
    sign_in(client, "Staff")
    event = make_event()
    with CaptureQueriesContext(connection) as queries:
        client.get(path_of(event))
    assert len(queries) <= 14 + BANNER_QUERIES
    assert not [q for q in queries if "COUNT(" in q["sql"] and not re.search("LIMIT (1001|1000)", q["sql"])]


def test_an_id_with_nul_is_not_found(client: Client) -> None:
    sign_in(client, "Staff")
    assert client.get("/admin/events/event/%00/").status_code == 404


# --- frames ---------------------------------------------------------------------------------------------------


def test_the_top_frame_is_open_with_its_source_lines(client: Client) -> None:
    sign_in(client, "Staff")
    store_map()
    answer = client.get(path_of(make_event(stack=V8)))
    text = text_of(answer)
    assert answer.context["texts"].top_frame.place == "src/protocol.ts:8:32"
    assert text.count("<details open>") == 1
    assert '<li value="8" class="at"><code> if (ack[0] !== 0x06) throw <mark title="Column 32">n</mark>ew' in text
    assert '<li value="5"><code>export class Protocol {</code></li>' in text
    assert text.count('<li class="in-app">') == 4
    assert text.count('<li class="not-in-app">') == 2
    for words in ("in app", "not in app", "native code", "no map for other-A1b2C3d4.js of 19afc18"):
        assert f">{words}<" in text
    assert "at Ht.writeBlock (https://flash.example.org/assets/index-BxY3_kQ2.js:1:101)" in text


def test_a_group_shows_the_frames_of_its_newest_failure(client: Client) -> None:
    sign_in(client, "Staff")
    store_map()
    group = make_event(stack=V8).fingerprint
    assert "src/protocol.ts:8:32" in text_of(client.get(f"/admin/events/failuregroup/{group}/"))


def test_a_failure_without_frames_has_no_such_part(client: Client) -> None:
    sign_in(client, "Staff")
    for stack in (None, "Error: only text"):
        assert "frames-title" not in text_of(client.get(path_of(make_event(stack=stack))))


def test_frames_of_a_large_map_say_that_they_are_being_resolved(client: Client) -> None:
    sign_in(client, "Staff")
    text = json.dumps(large_map(2_000) | {"padding": "x" * 1_000_000}).encode()
    store_map("large", "large-A1b2C3d4.js", content=text)
    event = make_event(stack="at a (https://example.org/large-A1b2C3d4.js:1:5000)", app_version="large")
    assert "A large source map is being read." in text_of(client.get(path_of(event)))
    call_command("resolve_frames")
    assert "A large source map is being read." not in text_of(client.get(path_of(event)))


def test_hostile_frames_and_sources_are_text(client: Client) -> None:
    sign_in(client, "Staff")
    store_map(
        sources=["<img src=x>", "javascript:alert(1)", "\u202e"],
        sourcesContent=["<script>alert(1)</script>\n" * 20, None, None],
        names=["<b>"] * 4,
    )
    text = text_of(client.get(path_of(make_event(stack=V8.replace("Ht.writeBlock", "<i>")))))
    assert "&lt;script&gt;" in text
    for markup in ("<script>alert", "<img src=x", "<b>", "<i>", 'href="javascript'):
        assert markup not in text


# --- the way through a list and a group ------------------------------------------------------------------------------


def link(answer: Any, words: str) -> str:
    """Return the address of the first link whose text begins with the words, "" if there is none."""
    pattern = rf'<a\b[^>]*\bhref="([^"]*)"[^>]*>(?:<[^>]*>|\s)*{re.escape(words)}'
    match = re.search(pattern, answer.content.decode())
    return unescape(match[1]) if match else ""


def store_failures_of_two_models() -> None:
    now_ms = clock.now_ms()
    for number in range(12):
        is_wanted = number % 2 == 0
        make_event(
            message=f"No ACK for block 0x{number:04x} (got 0x15)" if number < 8 else f"Timed out after {number} ms",
            model="UV-17R" if is_wanted else "UV-5RM",
            app_version="19afc18" if is_wanted else "7c1d2e3",
            write_mode=int(is_wanted),
            connected=int(is_wanted),
            session_id=None if is_wanted else f"session {number}",
            stack=f"Error\n    at {'wanted' if is_wanted else 'other'} (a.ts:1:1)" if number > 8 else ...,
            received_at_ms=now_ms - number,
        )


@pytest.mark.parametrize(
    "filters",
    ["model=UV-17R", "version=19afc18", "mode=1", "connected=1", "model=UV-17R&window=7d", "q=UV-17R",
     "model=UV-17R&type=flash_error&q=No+ACK&since=2020-01-01T00%3A00%3A00Z"],
)  # fmt: skip
def test_the_filters_are_kept_from_the_list_to_the_group_and_back(client: Client, filters: str) -> None:
    sign_in(client, "Staff")
    store_failures_of_two_models()
    list_url = f"/admin/events/recentfailure/?{filters}"

    def follow(answer: Any, words: str) -> Any:
        url = link(answer, words)
        page = client.get(url if url.startswith("/") else answer.wsgi_request.path + url)
        assert page.status_code == 200, words
        if page.context.get("event"):
            assert page.context["event"].model == "UV-17R", words
        return page

    failure = follow(client.get(list_url), "No ACK for block 0x0000")
    older = follow(failure, "‹ Older")
    assert older.context["event"].message == "No ACK for block 0x0002 (got 0x15)"
    assert follow(older, "Newer ›").context["event"] == failure.context["event"]

    group = follow(older, "No ACK for block …")
    assert group.context["event"] == older.context["event"]
    assert {event.model for event in group.context["events"]} == {"UV-17R"}
    assert link(group, "‹ Recent failures").startswith("/admin/events/recentfailure/?")
    next_in_group = follow(group, "‹ Older")
    assert next_in_group.context["event"].message == "No ACK for block 0x0004 (got 0x15)"

    within = follow(next_in_group, "Open this failure")
    oldest = follow(within, "‹ Older")
    assert oldest.context["event"].message == "No ACK for block 0x0006 (got 0x15)"
    assert oldest.context["older_url"] is None, "the next one belongs to another group"
    assert follow(oldest, "‹ Its group").context["event"] == oldest.context["event"]

    for page in (failure, group, oldest):
        back = client.get(link(page, "‹ Recent failures"))
        assert {event.model for event in back.context["page"].events} == {"UV-17R"}
    assert len(back.context["page"].events) == 4, "those of the group"
    assert follow(oldest, "Remove these filters")


def test_the_search_of_the_list_of_groups_is_not_one_of_events(client: Client) -> None:
    sign_in(client, "Staff")
    store_failures_of_two_models()
    groups = client.get("/admin/events/failuregroup/", {"q": "block …", "model": "UV-17R", "sort": "-count"})
    group = client.get(link(groups, "No ACK for block …"))
    assert [event.model for event in group.context["events"]] == ["UV-17R"] * 4
    failure = client.get(link(group, "Open this failure"))
    assert failure.context["position"] == ListPosition(1, 4, is_total_exact=True)
    assert "q=" not in link(failure, "‹ Recent failures")
    again = client.get(link(failure, "‹ Its group"))
    assert dict(p.split("=") for p in link(again, "‹ Failure groups").partition("?")[2].split("&")) == {
        "q": "block+%E2%80%A6", "model": "UV-17R", "sort": "-count",
    }  # fmt: skip


@pytest.mark.parametrize(
    "query",
    ["window=never", "model=a%00b", "since=tomorrow", "type=flash_success", "mode=2", "cursor=x", "limit=9",
     "origin=https://evil.example", "sort=x", "status=x", "utm_source=x", "event=%00",
     f"q={'x' * 201}", f"group={'g' * 65}"],
)  # fmt: skip
def test_a_filter_that_cannot_be_is_ignored_and_not_passed_on(client: Client, query: str) -> None:
    sign_in(client, "Staff")
    store_failures_of_two_models()
    event = Event.objects.newest_first()[0]
    answer = client.get(f"{path_of(event, 'recentfailure')}?mode=1&{query}")
    assert answer.status_code == 200
    assert link(answer, "‹ Recent failures") == "/admin/events/recentfailure/" + ("" if "mode=" in query else "?mode=1")
    name = query.partition("=")[0]
    assert name == "mode" or f"{name}=" not in link(answer, "‹ Older")
    group = client.get(f"/admin/events/failuregroup/{event.fingerprint}/?{query}")
    assert group.status_code == 200
    assert group.context["event"] == event


def test_hostile_values_are_quoted_in_every_link(client: Client) -> None:
    sign_in(client, "Staff")
    hostile = '"><script>alert(1)</script>&group=x'
    now_ms = clock.now_ms()
    for number in range(3):
        event = make_event(model=hostile, received_at_ms=now_ms - number, message=f"No ACK {number}")
    page = client.get(path_of(event, "recentfailure"), {"model": hostile})
    group = client.get(link(page, "No ACK …"))
    for answer in (page, group):
        assert "<script>alert" not in answer.content.decode()
        assert answer.context["position"].total == 3


def test_an_event_that_does_not_match_has_no_position(client: Client) -> None:
    sign_in(client, "Staff")
    store_failures_of_two_models()
    event = Event.objects.filter(model="UV-5RM").newest_first()[0]
    answer = client.get(path_of(event, "recentfailure"), {"model": "UV-17R"})
    assert answer.context["position"] is None
    assert answer.context["newer_url"]
    assert answer.context["older_url"]


@pytest.mark.parametrize(
    ("filters", "at", "position"),
    [
        ({}, 0, ListPosition(1, 6, is_total_exact=False)),
        ({}, 5, ListPosition(6, 11, is_total_exact=False)),
        ({}, 6, ListPosition(None, 11, is_total_exact=False)),
        ({}, 11, ListPosition(None, 6, is_total_exact=False)),
        ({"model": "UV-17R"}, 0, ListPosition(1, 3, is_total_exact=False)),
        ({"model": "UV-17R"}, 4, ListPosition(3, 5, is_total_exact=False)),
        ({"model": "UV-17R"}, 10, ListPosition(None, 3, is_total_exact=False)),
        ({"text": "No ACK"}, 0, None),
        ({"session_id": "session 3"}, 3, ListPosition(1, 1, is_total_exact=True)),
    ],
)
def test_a_position_is_counted_as_far_as_the_bound(
    monkeypatch: pytest.MonkeyPatch, filters: dict[str, Any], at: int, position: ListPosition | None
) -> None:
    store_failures_of_two_models()
    monkeypatch.setattr(failures, "COUNTED_ROWS", 5)
    event = Event.objects.newest_first()[at]
    assert failures.position(Criteria(**filters), event) == position


def test_a_position_in_a_group_is_counted_by_an_index_alone() -> None:
    now_ms = clock.now_ms()
    # One of 40 events is in the group, so that PostgreSQL does not find another index as cheap.
    events = [
        make_event(
            message=f"No ACK {number}",
            event_type="window_error" if number % 40 else "flash_error",
            received_at_ms=now_ms - number,
        )
        for number in range(400)
    ]
    event = events[200]  # many events are newer, and many are older
    with CaptureQueriesContext(connection) as captured:
        failures.position(Criteria(fingerprint=event.fingerprint), event)
    (query,) = captured
    counted = re.findall(r"\(SELECT COUNT\(\*\) FROM \((.*?) LIMIT 1001\) AS counted\)", query["sql"])
    assert len(counted) == 2
    for inner in counted:
        (by,) = sought_by(inner)
        assert "fingerprint" in by
        assert "received_at_ms" in by


# --- what surrounds a failure ---------------------------------------------------------------------------------------


def test_the_other_events_of_its_session_are_listed_with_their_distance(client: Client) -> None:
    sign_in(client, "Staff")
    now_ms = clock.now_ms() - 600_000
    make_event(event_type="connect_error", message="No port", session_id="s", received_at_ms=now_ms - 2_300)
    event = make_event(session_id="s", received_at_ms=now_ms)
    make_event(**success(session_id="s", received_at_ms=now_ms + 180_000))
    make_event(**success(session_id="another"))
    answer = client.get(path_of(event, "recentfailure"))
    assert [other.event_type for other in answer.context["session_events"]] == ["connect_error", "flash_success"]
    text = answer.content.decode()
    for part in ("In the same session", "2.3 s before", "3 min after"):
        assert part in text
    assert client.get(link(answer, "Flash complete")).status_code == 200
    assert "In the same session" not in client.get(path_of(make_event(message="alone"))).content.decode()


def test_causes_are_blocks_and_other_shapes_are_metadata(client: Client) -> None:
    sign_in(client, "Staff")
    causes = [{"name": "NetworkError", "message": HOSTILE, "frame": "at read (main.js:4:7)"}]
    text = client.get(path_of(make_event(metadata_json=json.dumps({"causes": causes})))).content.decode()
    assert "Caused by" in text
    assert "<strong><bdi>NetworkError</bdi></strong> <bdi>&lt;/code&gt;" in text
    assert "This event has no other metadata" in text
    text = client.get(path_of(make_event(message="x", metadata_json='{"causes": [1]}'))).content.decode()
    assert "Caused by" not in text
    assert "<bdi>causes</bdi>" in text


def test_a_failure_can_be_copied_as_markdown(client: Client, settings: Any) -> None:
    sign_in(client, "Staff")
    event = make_event(message="</textarea><script>alert(1)</script>")
    settings.SITE_URL = "https://telemetry.example"
    answer = client.get(path_of(event, "recentfailure"))
    assert f"Telemetry: <https://telemetry.example{path_of(event, 'recentfailure')}>" in answer.context["markdown"]
    text = answer.content.decode()
    assert '<textarea class="terminal" id="event-markdown" readonly' in text
    assert "### `&lt;/textarea&gt;&lt;script&gt;" in text


def test_a_new_issue_opens_the_form_of_the_tracker(client: Client, settings: Any) -> None:
    sign_in(client, "Staff")
    failure = path_of(make_event(message="No ACK @alice"))
    text = client.get(failure).content.decode()
    assert "New issue <span" not in text
    assert "set <code>ISSUE_URL</code> to the form of your tracker" in text_of(client.get(failure))
    settings.ISSUE_URL = "https://tracker.example/new?title={title}&body={body}"
    answer = client.get(failure)
    text = answer.content.decode()
    assert f'href="{html.escape(answer.context["new_issue_url"])}" target="_blank" rel="noopener noreferrer"' in text
    assert "https://tracker.example/new?title=No%20ACK%20%40%20alice&amp;body=%23%23%23%20" in text
    assert "opens tracker.example in a new tab" in text
    success_page = path_of(make_event(**success()))
    text = client.get(success_page).content.decode()
    assert "New issue" not in text, "a success is no failure"
    assert "ISSUE_URL" not in text
